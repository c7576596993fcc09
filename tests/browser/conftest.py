"""Programs that browser tests start: a platform of paper, the console, Chromium."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

START_S_MAX = 20
STOP_S_MAX = 10
FAKE_API = Path(__file__).parent / "fake_api.py"
CALM = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    "--disable-dev-shm-usage",
    # No name resolves but the loopback's: a page that calls out fails here at once.
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
)


@dataclass
class Started:
    """A program of ours that listens on a port of the loopback."""

    command: list[str]
    port: int
    process: subprocess.Popen[bytes] | None = field(default=None)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        self.process = subprocess.Popen(self.command)
        deadline = time.monotonic() + START_S_MAX
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"{self.command[1:3]} did not start")
            time.sleep(0.05)

    def answers(self) -> bool:
        """Say whether it listens, without asking it anything: the first question is a test's."""
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True

    def stop(self) -> int:
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(STOP_S_MAX)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise

    def tell(self, path: str) -> None:
        """Make something happen on the platform of paper."""
        request = urllib.request.Request(self.url + path, data=b"")  # noqa: S310  our own port
        urllib.request.urlopen(request, timeout=5).close()  # noqa: S310  our own port


@pytest.fixture(scope="session")
def platform_of_paper(free_ports: Callable[[], int]) -> Iterator[Started]:
    port = free_ports()
    started = Started([sys.executable, str(FAKE_API), "--port", str(port)], port)
    started.start()
    yield started
    started.stop()


@pytest.fixture
def troubled_platform(platform_of_paper: Started) -> Iterator[Started]:
    """The platform of paper for a test that stops or empties it; fresh again for the next test."""
    yield platform_of_paper
    try:
        platform_of_paper.stop()
    finally:
        platform_of_paper.start()


@pytest.fixture(scope="session")
def started(free_ports: Callable[[], int]) -> Callable[..., Started]:
    """Call it with a module and its arguments for that program, listening on a port of its own."""

    def start(module: str, *arguments: object) -> Started:
        port = free_ports()
        command = [sys.executable, "-m", module, *map(str, arguments), "--port", str(port)]
        program = Started(command, port)
        program.start()
        return program

    return start


@pytest.fixture(scope="session")
def console(
    started: Callable[..., Started],
    platform_of_paper: Started,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Started]:
    key_file = tmp_path_factory.mktemp("console") / "viewer.key"
    key_file.write_text("smk_of_a_viewer\n")
    program = started(
        "slotmeter_dashboards", "--api", platform_of_paper.url, "--key-file", key_file
    )
    yield program
    program.stop()


@pytest.fixture(scope="session")
def chromium(
    require_program: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = require_program("chromium")
    service = Service(require_program("chromedriver"))
    for flag in (*CALM, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=service)
    driver.set_page_load_timeout(START_S_MAX)
    yield driver
    driver.quit()


@pytest.fixture
def window(chromium: webdriver.Chrome) -> Callable[[int, int, str], None]:
    """Call it with width, height and ``light`` or ``dark`` for a screen of that kind."""

    def shape(width: int, height: int, scheme: str) -> None:
        size: dict[str, Any] = {"width": width, "height": height, "deviceScaleFactor": 1}
        chromium.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride", {**size, "mobile": width < 500}
        )
        wish = {"name": "prefers-color-scheme", "value": scheme}
        chromium.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [wish]})

    return shape


@pytest.fixture
def blocked(chromium: webdriver.Chrome) -> Iterator[Callable[..., None]]:
    """Call it with patterns of addresses that Chromium must not reach; call it without to end."""

    def block(*patterns: str) -> None:
        chromium.execute_cdp_cmd("Network.setBlockedURLs", {"urls": patterns})

    chromium.execute_cdp_cmd("Network.enable", {})
    yield block
    block()
