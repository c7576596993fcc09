"""A data folder made by the commands that a person would type, for demos, proofs and benchmarks."""

from __future__ import annotations

import contextlib
import io
import os
import secrets
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from slotmeter.cli import EXIT_OK, main
from slotmeter.vending.sts import VendingKey

__all__ = ["Site", "SiteBroken", "bring_in", "free_ports", "make_site"]

NAME: Final = "Mji Utilities"
SGC: Final = "600727"
KRN: Final = 1
KEY_BYTES: Final = 20
PORT_TRIES_MAX: Final = 100


class SiteBroken(Exception):
    """A command did not do what it should; the text is what it said."""


@dataclass(frozen=True, slots=True)
class Site:
    """A data folder that is ready to be served.

    Args:
        folder: the data folder; ``slotmeter.toml`` is in it.
        http_port: of the API.
        dashboards_port: of the pages; 0 when there are none.
        nbiot_port: of the CoAP head-end.
        vending_key: of all meters that hold their credit, so that virtual ones can be coded.
    """

    folder: Path
    http_port: int
    dashboards_port: int
    nbiot_port: int
    vending_key: VendingKey

    @property
    def config(self) -> Path:
        """The settings file."""
        return self.folder / "slotmeter.toml"

    @property
    def api(self) -> str:
        """Address of the HTTP API."""
        return f"http://127.0.0.1:{self.http_port}"

    @property
    def pages(self) -> str:
        """Address of the dashboards."""
        return f"http://127.0.0.1:{self.dashboards_port}"

    def key_of(self, name: str) -> str:
        """Return the API key of a principal that :func:`make_site` made."""
        return (self.folder / f"{name}.key").read_text(encoding="utf-8").strip()


def free_ports(count: int) -> list[int]:
    """Return ports of 127.0.0.1 that were free for TCP and UDP a moment ago."""
    found: list[int] = []
    for _ in range(PORT_TRIES_MAX):
        with (
            socket.socket(socket.AF_INET, socket.SOCK_STREAM) as stream,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagram,
        ):
            stream.bind(("127.0.0.1", 0))
            port = int(stream.getsockname()[1])
            try:
                datagram.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in found:
            found.append(port)
        if len(found) == count:
            return found
    raise OSError(f"expected {count} free ports within {PORT_TRIES_MAX} tries, got {len(found)}")


def make_site(
    folder: Path,
    *,
    meter_file: str,
    tariffs: Sequence[Mapping[str, Any]],
    principals: Mapping[str, tuple[str, str]],
    policy: Mapping[str, Any] | None = None,
    ports: tuple[int, int, int] = (0, 0, 0),
    vending_key: bytes = b"",
    database_url: str = "",
) -> Site:
    """Make a data folder with a utility, tariffs, a vending key, people with keys, and meters.

    Args:
        folder: made if it is missing; it must hold no utility yet.
        meter_file: CSV text of the meters; those with tokens under ``SGC`` and ``KRN``.
        tariffs: tariff documents.
        principals: name to kind and role; the key of each is written to ``NAME.key``.
        policy: the utility's policy, if not the empty one.
        ports: HTTP, dashboards and NB-IoT; 0 takes a free one. Dashboards -1: none.
        vending_key: 20 bytes; drawn if not given.
        database_url: of an empty database on PostgreSQL; a file in the folder if not given.

    Raises:
        SiteBroken: a command failed; the text says why.
    """
    wanted = iter(free_ports(len(ports)))
    http_port, dashboards_port, nbiot_port = (port or next(wanted) for port in ports)
    pages = ["--no-dashboards"] if dashboards_port < 0 else []
    database = ["--database-url", database_url] if database_url else []
    dashboards_port = max(0, dashboards_port)
    _run(
        *("init", "--data", str(folder), "--utility-name", NAME, "--code", "mji"),
        *("--tax-number", "P051234567X", "--address", "Kenyatta Avenue 1, Nairobi"),
        *("--http-port", str(http_port), "--dashboards-port", str(dashboards_port)),
        *("--nbiot-port", str(nbiot_port), *pages, *database),
        *("--admin-key-file", str(folder / "admin.key")),
    )
    key = VendingKey(
        key=vending_key or secrets.token_bytes(KEY_BYTES),
        sgc=SGC,
        krn=KRN,
        kt=2,
        dkga="04",
        base_date=2014,
    )
    with _file(folder / "vending-key.hex", key.key.hex()) as path:
        in_vault = ("--sgc", SGC, "--krn", str(KRN), "--key-file", str(path))
        _run("vending-key", "add", "--data", str(folder), *in_vault)
    for tariff in tariffs:
        with _file(folder / "tariff.yaml", yaml.safe_dump(dict(tariff))) as path:
            _run("tariff", "add", str(path), "--data", str(folder))
    if policy is not None:
        with _file(folder / "policy.yaml", yaml.safe_dump(dict(policy))) as path:
            _run("utility", "policy", "--data", str(folder), "--file", str(path))
    for principal, (kind, role) in principals.items():
        _add_principal(folder, principal, kind, role)
    with _file(folder / "meters.csv", meter_file) as path:
        _run("import", "meters", str(path), "--data", str(folder))
    return Site(folder, http_port, dashboards_port, nbiot_port, key)


def bring_in(site: Site, *, debt_file: str, who: str, free_file: str = "") -> None:
    """Bring debts and registrations for free units into a site.

    Args:
        site: where.
        debt_file: CSV text.
        free_file: CSV text; empty for nobody.
        who: a person in the office, with a key; see :func:`make_site`.

    Raises:
        SiteBroken: a command failed; the text says why.
    """
    acting = ("--data", str(site.folder), "--key-file", str(site.folder / f"{who}.key"))
    for text, command in ((debt_file, ("import", "debts")), (free_file, ("free-units", "import"))):
        if not text:
            continue
        with _file(site.folder / "office.csv", text) as path:
            _run(*command, str(path), *acting, "--reason", "setting up")


def _add_principal(folder: Path, name: str, kind: str, role: str) -> None:
    at = ("--data", str(folder))
    _run("user", "add", name, "--kind", kind, "--role", role, *at)
    _run("user", "key", name, "--key-file", str(folder / f"{name}.key"), *at)


def _run(*arguments: str) -> None:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(arguments)
    if code != EXIT_OK:
        said = err.getvalue().strip() or out.getvalue().strip()
        raise SiteBroken(f"slotmeter {' '.join(arguments[:2])} ended with {code}: {said}")


@contextlib.contextmanager
def _file(path: Path, text: str) -> Any:
    """A file for one command, readable by its owner only and removed after it."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    try:
        yield path
    finally:
        path.unlink()
