"""``slotmeter demo``: a town that buys and uses, on the product itself, checked at the end.

The demo is a user: it makes a data folder by the commands of this command line, starts ``slotmeter
serve`` on it as a process, attaches virtual meters by their radio protocol, and sells over HTTP.
Meters live on the faster clock; protocol time-outs, retries and people's patience on real time.
"""

from __future__ import annotations

import argparse
import asyncio
import fcntl
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from slotmeter.cli import EXIT_FAILED, EXIT_OK
from slotmeter.errors import ConfigError

if TYPE_CHECKING:
    from slotmeter.cli import Subparsers
    from slotmeter.testing.site import Site
    from slotmeter.testing.town import Town

__all__ = ["register"]

MARK = ".slotmeter-demo"
DEFAULT_FOLDER = Path("demo-data")
DEFAULT_PORTS = (8480, 8481, 5683)
STARTS_MAX = 5
"""Between the choice of a port and its use another program may take it."""
SPEED_MAX = 10_000
METERS_MAX = 5_000
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(s|m|h|)")
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3_600}


def register(subparsers: Subparsers) -> None:
    """Add ``demo``."""
    parser = subparsers.add_parser(
        "demo",
        help="run a small town with virtual meters, and check it at the end",
        description="Run a town of households with virtual meters on a real server: they use, run "
        "out, buy at a till, lose the network, type tokens. At the end everything is checked; "
        "exit code 0 only if all of it is true. Ctrl-C stops it with the same report.",
    )
    parser.add_argument("--meters", type=_meters, default=30, help="default %(default)s")
    parser.add_argument(
        "--for",
        dest="for_s",
        type=_duration,
        metavar="TIME",
        help="how long, as 90s or 2m; until Ctrl-C if left out",
    )
    parser.add_argument(
        "--speed",
        type=_speed,
        default=600,
        help="seconds that pass for meters in one second; default %(default)s",
    )
    parser.add_argument("--seed", type=int, default=1, help="default %(default)s")
    parser.add_argument(
        "--data",
        type=Path,
        default=DEFAULT_FOLDER,
        metavar="DIR",
        help="data folder, made anew; default %(default)s",
    )
    for name, port in zip(("http", "dashboards", "nbiot"), DEFAULT_PORTS, strict=True):
        parser.add_argument(
            f"--{name}-port",
            type=_port,
            metavar="PORT",
            help=f"default {port}, or a free one if it is taken",
        )
    parser.add_argument("--no-dashboards", action="store_true", help="run without the pages")
    parser.add_argument("--plain", action="store_true", help="lines instead of a live screen")
    parser.set_defaults(run=_run)


def _meters(text: str) -> int:
    return _whole(text, 1, METERS_MAX)


def _speed(text: str) -> int:
    return _whole(text, 1, SPEED_MAX)


def _port(text: str) -> int:
    return _whole(text, 0, 65_535)


def _whole(text: str, low: int, high: int) -> int:
    if not text.isascii() or not text.isdigit() or not low <= int(text) <= high:
        raise argparse.ArgumentTypeError(f"expected a number from {low} to {high}, got {text!r}")
    return int(text)


def _duration(text: str) -> float:
    found = _DURATION.fullmatch(text)
    if found is None or float(found[1]) <= 0:
        raise argparse.ArgumentTypeError(f"expected a time such as 90s, 2m or 1h, got {text!r}")
    return float(found[1]) * _SECONDS[found[2]]


def _run(options: argparse.Namespace) -> int:
    from slotmeter.testing.server import ServerFailed
    from slotmeter.testing.site import SiteBroken
    from slotmeter.testing.town import plan_town

    town = plan_town(options.meters, options.seed)
    with _fresh(options.data):
        try:
            return EXIT_OK if _held(options, town) else EXIT_FAILED
        except (ServerFailed, SiteBroken) as error:
            print(f"the demo ended early: {error}")
            return EXIT_FAILED


def _held(options: argparse.Namespace, town: Town) -> bool:
    """Run the town, on other ports when somebody else was quicker; say whether everything held."""
    from slotmeter.cli.demo_run import DemoRun
    from slotmeter.testing.server import PortTaken

    asked = {options.http_port, options.dashboards_port, options.nbiot_port}
    starts = STARTS_MAX if asked == {None} else 1
    while True:
        site = _make_site(options, town)
        try:
            return asyncio.run(DemoRun(options, town, site).run())
        except PortTaken:
            starts -= 1
            if not starts:
                raise
            print("another program has just taken one of these ports; trying others", flush=True)
            _empty(options.data)


@contextmanager
def _fresh(folder: Path) -> Iterator[None]:
    """Make the folder anew, and keep other demos out of it until the block ends.

    A folder that no demo has made, or that a demo or a server uses, is left as it is.

    Raises:
        ConfigError: ``folder_not_empty`` or ``data_folder_in_use``.
    """
    from slotmeter.cli.data_folder import make_folder
    from slotmeter.runtime.data_lock import DataLock

    if folder.exists() and any(folder.iterdir()) and not (folder / MARK).exists():
        raise ConfigError(
            "folder_not_empty",
            f"{folder} holds something that no demo has made; choose another with --data",
        )
    make_folder(folder)
    # The lock of the data folder is the server's while it runs, so a demo locks its own mark.
    with (folder / MARK).open("ab") as mark:
        try:
            fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
            served = DataLock.take(folder)
        except (BlockingIOError, ConfigError) as error:
            if isinstance(error, ConfigError) and error.code != "data_folder_in_use":
                raise
            raise ConfigError(
                "data_folder_in_use", f"a demo runs in {folder}; stop it, or use another --data"
            ) from error
        _empty(folder)
        served.release()
        yield


def _empty(folder: Path) -> None:
    """Remove everything but the marks that keep others out."""
    from slotmeter.runtime.data_lock import LOCK_FILE

    for path in folder.iterdir():
        if path.name not in (MARK, LOCK_FILE):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def _make_site(options: argparse.Namespace, town: Town) -> Site:
    from datetime import UTC, datetime, timedelta
    from zoneinfo import ZoneInfo

    from slotmeter.testing.site import bring_in, make_site
    from slotmeter.testing.town import POLICY, TARIFFS, TILL, TIME_ZONE

    asked = (options.http_port, options.dashboards_port, options.nbiot_port)
    ports = [
        _usable(default) if port is None else port
        for port, default in zip(asked, DEFAULT_PORTS, strict=True)
    ]
    if options.no_dashboards:
        ports[1] = -1
    print(f"making a town of {len(town.homes)} homes in {options.data}", flush=True)
    now = datetime.now(UTC)
    site = make_site(
        options.data,
        meter_file=town.meter_file((now - timedelta(days=30)).date()),
        tariffs=TARIFFS,
        principals={
            TILL: ("service", "vendor"),
            "till": ("service", "vendor"),  # for whoever wants to sell in the town too
            "office": ("person", "office"),
            "auditor": ("service", "auditor"),
            "supervisor": ("person", "supervisor"),
        },
        policy=POLICY,
        ports=(ports[0], ports[1], ports[2]),
    )
    today = now.astimezone(ZoneInfo(TIME_ZONE)).date()
    bring_in(site, debt_file=town.debt_file(), free_file=town.free_file(today), who="office")
    return site


def _usable(port: int) -> int:
    """Return the port, or one that is free, and say so, when somebody listens there."""
    import socket

    from slotmeter.testing.site import free_ports

    with (
        socket.socket(socket.AF_INET, socket.SOCK_STREAM) as stream,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagram,
    ):
        try:
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            stream.bind(("127.0.0.1", port))
            datagram.bind(("127.0.0.1", port))
        except OSError:
            [free] = free_ports(1)
            print(f"{port} is taken, using {free}", flush=True)
            return free
    return port
