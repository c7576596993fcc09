"""The dashboards as a child process: started, started again when it dies, ended with the server."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Final

from slotmeter.config import DashboardsConfig
from slotmeter.errors import ConfigError

__all__ = ["Console", "check_key_file", "choose_port"]

LOG = logging.getLogger("slotmeter.runtime.console")
PAUSE_S_FIRST: Final = 1.0
PAUSE_S_MAX: Final = 30.0
RAN_WELL_S: Final = 60.0
STOP_WITHIN_S: Final = 5.0

CHILD: Final = Path(__file__).with_name("child.py")
"""Run as a file and not as ``-m``, which would load the whole server into the child first."""


def check_key_file(path: Path) -> None:
    """Check the file with the dashboards' key, without reading the key.

    Raises:
        ConfigError: ``dashboards_key_missing`` or ``dashboards_key_exposed``.
    """
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise ConfigError(
            "dashboards_key_missing",
            f"the dashboards need an API key in {path}, which cannot be read ({error.strerror}); "
            f"make one with: slotmeter user key dashboards --key-file {path}, or set "
            "dashboards.enabled = false",
            field="dashboards.api_key_file",
        ) from error
    if mode & 0o077:
        raise ConfigError(
            "dashboards_key_exposed",
            f"{path} can be read by others; set its mode to 0600",
            field="dashboards.api_key_file",
        )


def choose_port(config: DashboardsConfig) -> int:
    """Return the port that the child will listen on; for 0 one that is free now.

    Raises:
        ConfigError: ``port_in_use`` or ``address_unusable``.
    """
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((config.host, config.port))
        except OSError as error:
            raise cannot_listen(config.host, config.port, error, "dashboards.port") from error
        return int(probe.getsockname()[1])


def cannot_listen(host: str, port: int, error: OSError, field: str) -> ConfigError:
    """Return the error for an address that cannot be listened on."""
    import errno

    if error.errno == errno.EADDRINUSE:
        return ConfigError(
            "port_in_use",
            f"{host}:{port} is in use by another program; stop it or set another {field}",
            field=field,
        )
    return ConfigError(
        "address_unusable",
        f"cannot listen on {host}:{port}: {error.strerror or error}",
        field=field,
    )


class Console:
    """Keeps one child process alive until it is stopped."""

    def __init__(self, point: EntryPoint, arguments: list[str]) -> None:
        """Prepare; :meth:`run` starts it."""
        self._name = point.name
        target = f"{point.module}:{point.attr}"
        # -P: the modules beside the file are not the child's to import by their bare names.
        self._command = [sys.executable, "-P", str(CHILD), target, *arguments]
        self._process: asyncio.subprocess.Process | None = None

    async def run(self) -> None:
        """Start the child, and again with growing pauses whenever it ends; until cancelled."""
        loop = asyncio.get_running_loop()
        pause_s = PAUSE_S_FIRST
        try:
            while True:
                started_s = loop.time()
                process = self._process = await asyncio.create_subprocess_exec(
                    *self._command,
                    stdin=asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.DEVNULL,
                    env={**os.environ, "PYTHONUNBUFFERED": "1"},
                )
                code = await process.wait()
                if loop.time() - started_s > RAN_WELL_S:
                    pause_s = PAUSE_S_FIRST
                LOG.error(
                    "%s ended with %s; it is started again in %.0f s", self._name, code, pause_s
                )
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, PAUSE_S_MAX)
        finally:
            await self._end()

    async def _end(self) -> None:
        process = self._process
        if process is None:
            return
        if process.returncode is None:
            process.terminate()
            try:
                async with asyncio.timeout(STOP_WITHIN_S):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()
        if process.stdin is not None:
            process.stdin.close()
