"""A key and tokens that are known to the test are looked for wherever they must not be."""

from __future__ import annotations

import base64
import json
import os
import resource
import secrets
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from slotmeter.cli import main
from slotmeter.testing.postgres_server import PostgresServer, find_programs
from slotmeter.testing.site import KRN, SGC, Site, make_site
from slotmeter.testing.small_utility import meter_number
from slotmeter.vending.receipts import group_digits

pytestmark = pytest.mark.e2e

PATIENCE_S = 60
TARIFF = {
    "tariff": "domestic",
    "title": "Domestic",
    "commodity": "electricity",
    "currency": "KES",
    "energy": {"price": "20.00"},
}
LOOKED_AT = (
    *("/meters", "/sales", "/events", "/alarms", "/overview", "/commands", "/tariffs"),
    "/openapi.json",
)
OF_KEYS = ("/vending-keys", "/vending-key-components", "/supply-groups")


@dataclass(frozen=True)
class Planted:
    """A site with a key and a master key that the test knows, its server, and what was sold."""

    site: Site
    process: subprocess.Popen[bytes]
    log: Path
    tokens: tuple[str, ...]
    meters: tuple[str, ...]

    def call(self, method: str, path: str, who: str, body: Any = None) -> bytes:
        """Return the answer's bytes, also of a refusal."""
        request = urllib.request.Request(  # noqa: S310  loopback
            f"{self.site.api}/api/v1{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={
                "Authorization": f"Bearer {self.site.key_of(who)}",
                "Content-Type": "application/json",
            },
            method=method,
        )
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:  # noqa: S310  loopback
                return bytes(answer.read())
        except urllib.error.HTTPError as error:
            return bytes(error.read())


def _meters() -> tuple[str, tuple[str, ...]]:
    numbers = tuple(meter_number(serial) for serial in range(1, 4))
    head = (
        "meter,commodity,credit_mode,sgc,krn,ti,tariff,account,customer_number,customer_name,"
        "address,installed_on\n"
    )
    rows = [
        f"{number},electricity,meter,{SGC},{KRN},1,domestic,A{at},C{at},Customer {at},"
        f"Street {at},2026-01-05\n"
        for at, number in enumerate(numbers, 1)
    ]
    return head + "".join(rows), numbers


def _forms_of(secret: bytes) -> list[bytes]:
    """Return the ways in which bytes are usually written."""
    return [
        secret,
        secret.hex().encode(),
        secret.hex().upper().encode(),
        base64.b64encode(secret).rstrip(b"="),
        base64.urlsafe_b64encode(secret).rstrip(b"="),
        repr(secret).encode(),
    ]


def _start(site: Site, log: Path) -> subprocess.Popen[bytes]:
    def allow_core_files() -> None:
        hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
        resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))

    with log.open("ab") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "slotmeter", "serve", "--config", str(site.config), "--json"],
            stdout=subprocess.PIPE,
            stderr=file,
            cwd=site.folder,
            preexec_fn=allow_core_files,
        )
    assert process.stdout is not None
    assert process.stdout.readline(), log.read_text()
    return process


@pytest.fixture(params=["sqlite", "postgresql"])
def server(request: pytest.FixtureRequest) -> Iterator[PostgresServer | None]:
    """A server of PostgreSQL of its own that keeps what it commits; None for a file."""
    if request.param == "sqlite":
        yield None
        return
    programs = find_programs()
    if programs is None:
        if os.environ.get("CI") == "true":
            pytest.fail("PostgreSQL is not installed, and CI must run this test")
        pytest.skip("PostgreSQL is not installed (apt install postgresql)")
    with PostgresServer(programs, durable=True) as started:
        yield started


@pytest.fixture
def planted(tmp_path: Path, server: PostgresServer | None) -> Iterator[Planted]:
    meter_file, numbers = _meters()
    site = make_site(
        tmp_path / "data",
        meter_file=meter_file,
        tariffs=[TARIFF],
        principals={
            "till": ("person", "vendor"),
            "viewer": ("person", "viewer"),
            "officer": ("person", "key_officer"),
        },
        ports=(0, -1, 0),
        vending_key=secrets.token_bytes(20),
        database_url="" if server is None else server.url(server.make_database()),
    )
    config = site.config.read_text().replace('level = "info"', 'level = "debug"')
    site.config.write_text(config)
    log = tmp_path / "server.log"
    process = _start(site, log)
    made = Planted(site, process, log, (), numbers)
    tokens = []
    for at, number in enumerate(numbers):
        body = {"sale_id": f"s{at}", "meter": number, "tendered": "100.00"}
        tokens.append(json.loads(made.call("POST", "/sales", "till", body))["token"])
    yield Planted(site, process, log, tuple(tokens), numbers)
    process.kill()
    process.communicate()


def _must_not_hold(planted: Planted, what: str, content: bytes) -> None:
    secrets_of = _forms_of(planted.site.vending_key.key)
    secrets_of += [token.encode() for token in planted.tokens]
    secrets_of += [group_digits(token).encode() for token in planted.tokens]
    for secret in secrets_of:
        assert secret not in content, f"a planted secret is in {what}"


def _files(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.rglob("*")) if path.is_file()]


def _database_of(planted: Planted, server: PostgresServer | None) -> list[Path]:
    """Return the files that the database is kept in, its log of changes among them."""
    if server is None:
        return [path for path in _files(planted.site.folder) if "slotmeter.db" in path.name]
    return [path for path in _files(server._folder) if path.stat().st_size]


def test_a_planted_key_and_tokens_are_in_no_file_log_or_answer(
    planted: Planted, server: PostgresServer | None
) -> None:
    answers = {path: planted.call("GET", path, "viewer") for path in LOOKED_AT}
    answers |= {path: planted.call("GET", path, "officer") for path in OF_KEYS}
    answers["traces"] = planted.call(
        "POST", "/audit/traces", "viewer", {"receipt_number": "R00000001"}
    )
    answers["token traces"] = planted.call(
        "POST", "/audit/token-traces", "viewer", {"token": planted.tokens[0]}
    )
    for number in planted.meters:
        for part in ("", "/tokens", "/commands"):
            path = f"/meters/{number}{part}"
            answers[path] = planted.call("GET", path, "viewer")
    for at in range(len(planted.tokens)):
        receipt = f"R0000000{at + 1}"
        for form in ("json", "text", "html", "message"):
            path = f"/receipts/{receipt}?format={form}"
            answers[path] = planted.call("GET", path, "viewer")
    body = {"sale_id": planted.tokens[0], "meter": "1", "tendered": "x"}
    planted.call("POST", "/sales", "till", body)

    assert all(token and len(token) == 20 for token in planted.tokens)
    for path, content in answers.items():
        assert content, path
        assert b"right_missing" not in content, path
        _must_not_hold(planted, f"the answer of {path}", content)
    _must_not_hold(planted, "the log", planted.log.read_bytes())
    database = _database_of(planted, server)
    assert any(b"R00000001" in path.read_bytes() for path in database)
    for file in (*database, *_files(planted.site.folder)):
        _must_not_hold(planted, file.name, file.read_bytes())


def test_the_master_key_is_in_its_file_alone(
    planted: Planted, server: PostgresServer | None
) -> None:
    text = (planted.site.folder / "master.key").read_text().strip()

    elsewhere = [path for path in _files(planted.site.folder) if path.name != "master.key"]

    forms = _forms_of(bytes.fromhex(text))
    for file in (*elsewhere, *_database_of(planted, server), planted.log):
        content = file.read_bytes()
        assert not any(form in content for form in forms), file.name


def test_a_server_that_is_killed_by_a_fault_leaves_no_core_file(planted: Planted) -> None:
    limits = Path(f"/proc/{planted.process.pid}/limits").read_text()

    planted.process.send_signal(signal.SIGABRT)
    planted.process.wait(PATIENCE_S)

    line = next(line for line in limits.splitlines() if line.startswith("Max core file size"))
    assert line.split()[4:6] == ["0", "0"]
    assert not os.WCOREDUMP(-planted.process.returncode)
    assert [path.name for path in _files(planted.site.folder) if path.name.startswith("core")] == []


def test_a_backup_holds_no_planted_secret(planted: Planted, tmp_path: Path) -> None:
    folder = tmp_path / "backup"

    assert main(["backup", str(folder), "--data", str(planted.site.folder)]) == 0

    files = _files(folder)
    assert files
    for path in files:
        _must_not_hold(planted, f"the backup's {path.name}", path.read_bytes())
        assert "master" not in path.name
