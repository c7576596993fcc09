"""``slotmeter serve`` as a child process: started, asked whether it is ready, stopped or killed."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

__all__ = ["READY_TIMEOUT_S", "STOP_TIMEOUT_S", "PortTaken", "Server", "ServerFailed"]

READY_TIMEOUT_S: Final = 60.0
STOP_TIMEOUT_S: Final = 30.0
POLL_S: Final = 0.05
GET_TIMEOUT_S: Final = 5.0
LOG_TAIL_BYTES: Final = 4_000
READY_LINE: Final = b"ready; Ctrl-C stops"
PORT_TAKEN: Final = b"(port_in_use)"


class ServerFailed(Exception):
    """The server ended or did not get ready; the text is the end of its log."""


class PortTaken(ServerFailed):
    """The server ended because another program has one of its ports."""


class Server:
    """One server process at a time on one data folder.

    Args:
        config: its settings file.
        port: of the HTTP API on 127.0.0.1.
        log: file that takes what it writes; appended over restarts.
        wrapper: words before the command, such as a tracer's.
        options: further options of ``slotmeter serve``.
    """

    def __init__(
        self,
        config: Path,
        *,
        port: int,
        log: Path,
        wrapper: Sequence[str] = (),
        options: Sequence[str] = (),
    ) -> None:
        self._config = config
        self._port = port
        self._log = log
        self._wrapper = tuple(wrapper)
        self._options = tuple(options)
        self._process: subprocess.Popen[bytes] | None = None
        self._log_from = 0

    @property
    def pid(self) -> int | None:
        """The process, or None."""
        return self._process.pid if self._process is not None else None

    @property
    def ended(self) -> int | None:
        """The exit code of a process that has ended by itself, else None."""
        return self._process.poll() if self._process is not None else None

    def launch(self) -> None:
        """Start the process and return at once."""
        child = [sys.executable, "-m", "slotmeter.runtime.child", "slotmeter.cli:main"]
        with self._log.open("ab") as log:
            self._log_from = log.tell()
            self._process = subprocess.Popen(  # noqa: S603  our own program
                [*self._wrapper, *child, "serve", "--config", str(self._config), *self._options],
                stdin=subprocess.PIPE,  # it ends when we do, even by kill -9
                stdout=log,
                stderr=log,
                # A group of its own: Ctrl-C in the terminal reaches us, and we stop it in order.
                start_new_session=True,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )

    def is_ready(self) -> bool:
        """Ask once whether it answers requests: itself, not another server on its port."""
        if READY_LINE not in self._said():
            return False
        try:
            return self._get("/readyz")[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def _said(self) -> bytes:
        """Return what the process wrote since its launch."""
        with contextlib.suppress(OSError), self._log.open("rb") as log:
            log.seek(self._log_from)
            return log.read()
        return b""

    def synchronous(self) -> str:
        """Return the ``synchronous`` setting that the server read from its database connection."""
        _, text = self._get("/metrics")
        found = re.search(rb'synchronous="(\w+)"', text)
        return found[1].decode() if found else "unknown"

    def _get(self, path: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=GET_TIMEOUT_S)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def wait_until_ready(self, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Wait until it answers requests.

        Raises:
            PortTaken: it ended because of that.
            ServerFailed: it ended otherwise, or the time is over.
        """
        end_s = time.monotonic() + timeout_s
        while not self.is_ready():
            self._check_alive(end_s, timeout_s)
            time.sleep(POLL_S)

    async def start(self, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Start the process and wait until it answers requests.

        Raises:
            PortTaken: it ended because of that.
            ServerFailed: it ended otherwise, or the time is over.
        """
        self.launch()
        await asyncio.to_thread(self.wait_until_ready, timeout_s)

    def _check_alive(self, end_s: float, timeout_s: float) -> None:
        if self.ended is not None:
            kind = PortTaken if PORT_TAKEN in self._said() else ServerFailed
            raise kind(f"the server ended with {self.ended}:\n{self.log_tail()}")
        if time.monotonic() >= end_s:
            said = self.log_tail() or "it said nothing; a busy machine needs longer, so try again"
            raise ServerFailed(f"not ready within {timeout_s:g} s:\n{said}")

    def log_tail(self) -> str:
        """Return the end of what it wrote."""
        with contextlib.suppress(OSError), self._log.open("rb") as log:
            log.seek(0, os.SEEK_END)
            log.seek(max(0, log.tell() - LOG_TAIL_BYTES))
            return log.read().decode("utf-8", "replace")
        return ""

    def kill(self) -> None:
        """End it as a power cut would, with everything that it has started."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._forget()

    def _forget(self) -> None:
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
        self._process = None

    def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> int:
        """Ask it to stop and return its exit code; it is killed when it does not.

        Raises:
            ServerFailed: it had to be killed.
        """
        if self._process is None:
            return 0
        process = self._process
        with contextlib.suppress(ProcessLookupError):
            # A tracer keeps signals for itself, so the server under it is told directly.
            if self._wrapper:
                os.killpg(process.pid, signal.SIGTERM)
            else:
                process.terminate()
        try:
            code = process.wait(timeout_s)
        except subprocess.TimeoutExpired as error:
            self.kill()
            raise ServerFailed(f"it did not stop within {timeout_s:g} s") from error
        self._forget()
        return code
