"""A broker for tests: Mosquitto on a free port of loopback, with names and passwords if wanted."""

from __future__ import annotations

import asyncio
import getpass
import shutil
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

__all__ = ["Broker", "broker_program", "broker_running", "free_port"]

START_TRIES: Final = 400
START_PAUSE_S: Final = 0.05
STOP_WITHIN_S: Final = 10


def broker_program() -> str | None:
    """Return where Mosquitto is, if it is here; Debian puts it where only root looks."""
    return shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")


def free_port() -> int:
    """Return a TCP port of loopback that nobody listens on at this moment."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@dataclass(slots=True)
class Broker:
    """A broker that can be stopped and started again on its port.

    Args:
        folder: for its files.
        port: of loopback.
        users: names with passwords; anybody may come when there are none.
        certificate: file with its certificate; with it, it speaks TLS.
        private_key: file with the key of the certificate.
        saves: it writes its sessions down each second, not only when it stops.
    """

    folder: Path
    port: int
    users: Mapping[str, str] = field(default_factory=dict, repr=False)
    certificate: Path | None = None
    private_key: Path | None = None
    saves: bool = False
    _process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it, and return when it answers.

        Raises:
            TimeoutError: it did not.
        """
        program = broker_program()
        if program is None:
            raise FileNotFoundError("mosquitto is not installed")
        self._process = await asyncio.create_subprocess_exec(
            program,
            "-c",
            str(await self._written()),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        for _ in range(START_TRIES):
            if await self._answers():
                return
            await asyncio.sleep(START_PAUSE_S)
        await self.stop()
        raise TimeoutError("the broker does not answer")

    async def stop(self) -> None:
        """Stop it; what it kept in its sessions stays, as of a broker that is restarted."""
        process, self._process = self._process, None
        if process is None or process.returncode is not None:
            return
        process.terminate()
        try:
            async with asyncio.timeout(STOP_WITHIN_S):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()

    async def kill(self) -> None:
        """End it at once, as a loss of power does; it saves nothing more."""
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            process.kill()
            await process.wait()

    @property
    def saved(self) -> bytes:
        """What of its sessions is on the disk."""
        file = self.folder / "mosquitto.db"
        return file.read_bytes() if file.exists() else b""

    async def _written(self) -> Path:
        config = self.folder / "mosquitto.conf"
        lines = [
            f"listener {self.port} 127.0.0.1",
            f"user {getpass.getuser()}",
            "persistence true",
            f"persistence_location {self.folder}/",
            "log_type error",
        ]
        if self.saves:
            lines.append("autosave_interval 1")
        if self.certificate is not None:
            lines += [f"certfile {self.certificate}", f"keyfile {self.private_key}"]
        if self.users:
            passwords = self.folder / "passwords"
            passwords.write_text("".join(f"{each}:{word}\n" for each, word in self.users.items()))
            passwords.chmod(0o600)
            hashing = await asyncio.create_subprocess_exec("mosquitto_passwd", "-U", str(passwords))
            await hashing.wait()
            lines += ["allow_anonymous false", f"password_file {passwords}"]
        else:
            lines.append("allow_anonymous true")
        config.write_text("\n".join(lines) + "\n")
        return config

    async def _answers(self) -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            return False
        writer.close()
        await writer.wait_closed()
        return True


@asynccontextmanager
async def broker_running(
    folder: Path, users: Mapping[str, str] | None = None
) -> AsyncIterator[Broker]:
    """Run a broker for as long as the block lasts."""
    broker = Broker(folder, free_port(), users or {})
    await broker.start()
    try:
        yield broker
    finally:
        await broker.stop()
