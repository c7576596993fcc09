"""Starts the console as a program of its own, ``slotmeter-dashboards`` or ``-m``."""

from __future__ import annotations

import argparse
import asyncio
import signal
import socket
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import uvicorn

from slotmeter.errors import ConfigError
from slotmeter_dashboards.client import ApiClient
from slotmeter_dashboards.console import build

__all__ = ["main"]

KEY_BYTES_MAX = 4_096
STOP_GRACE_S = 3
BACKLOG = 128


class _Server(uvicorn.Server):
    """Leaves signals to us, so that being told to stop ends with exit code 0."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="slotmeter-dashboards",
        description="Show the platform's state in the browser. Reads through the HTTP API only.",
    )
    parser.add_argument(
        "--api", metavar="URL", required=True, help="the platform, as http://127.0.0.1:8480"
    )
    parser.add_argument(
        "--key-file", metavar="FILE", type=Path, required=True, help="holds an API key of a viewer"
    )
    parser.add_argument("--host", default="127.0.0.1", help="listen here (default 127.0.0.1)")
    parser.add_argument("--port", type=int, default=8481, help="(default 8481; 0 takes a free one)")
    parser.add_argument(
        "--prefix", default="/", help="the path under which a proxy shows the console (default /)"
    )
    return parser.parse_args(argv)


def _api_url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise ConfigError("api_url", f"expected --api as http://HOST:PORT, got {text!r}")
    if parts.username or parts.password:
        raise ConfigError("api_url", "expected --api without a password: use --key-file")
    return text.rstrip("/").removesuffix("/api/v1")


def _key(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(KEY_BYTES_MAX)
    except OSError as error:
        raise ConfigError(
            "key_file", f"the key file {path} cannot be read: {error.strerror}"
        ) from error
    try:
        key = content.decode("ascii").strip()
    except UnicodeDecodeError as error:
        raise ConfigError("key_file", f"expected an API key in {path}, got other bytes") from error
    if not key or not key.isprintable() or " " in key:
        raise ConfigError("key_file", f"expected one API key in {path}, as smk_...")
    return key


def _prefix(text: str) -> str:
    inner = text.strip("/")
    if any(character in inner for character in "?#%\\ \"'<>"):
        raise ConfigError(
            "prefix", f"expected --prefix as a plain path such as /console/, got {text!r}"
        )
    return f"/{inner}/" if inner else "/"


def _listen(host: str, port: int) -> socket.socket:
    listener: socket.socket | None = None
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except (OSError, OverflowError) as error:
        if listener is not None:
            listener.close()
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(
            "listen", f"the console cannot listen on {host} port {port}: {reason}"
        ) from error
    return listener


async def _serve(server: uvicorn.Server, listener: socket.socket) -> None:
    def stop() -> None:
        server.should_exit = True

    if threading.current_thread() is threading.main_thread():
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop)
    await server.serve(sockets=[listener])


def main(argv: Sequence[str] | None = None) -> int:
    """Run the console until it is told to stop; returns the exit code."""
    arguments = _arguments(argv)
    try:
        client = ApiClient(_api_url(arguments.api), _key(arguments.key_file))
        prefix = _prefix(arguments.prefix)
        listener = _listen(arguments.host, arguments.port)
    except ConfigError as error:
        print(f"slotmeter-dashboards: {error.message}", file=sys.stderr)  # noqa: T201  a program
        return 1
    config = uvicorn.Config(
        build(client, prefix),
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=STOP_GRACE_S,
        server_header=False,
    )
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    print(f"dashboards at http://{shown}:{port}{prefix}", flush=True)  # noqa: T201  a program
    asyncio.run(_serve(_Server(config), listener))
    return 0
