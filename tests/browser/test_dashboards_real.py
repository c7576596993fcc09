"""The dashboards on the real platform: a small demo town, seen in the browser while it lives."""

from __future__ import annotations

import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

WAIT_S = 30
STOP_S_MAX = 60
FILES = ["meters", "sales", "commands", "alarms", "events"]


@pytest.fixture
def town(free_ports: Callable[[], int], tmp_path: Path) -> Iterator[str]:
    """The address of the pages of a living town; what it proves of itself is tested elsewhere."""
    pages = free_ports()
    command = [str(Path(sys.executable).with_name("slotmeter")), "demo", "--plain"]
    command += ["--meters", "8", "--data", str(tmp_path / "town"), "--dashboards-port", str(pages)]
    command += ["--http-port", str(free_ports()), "--nbiot-port", str(free_ports())]
    log = (tmp_path / "demo.log").open("w+")
    process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    url = f"http://127.0.0.1:{pages}"
    yield url
    process.send_signal(signal.SIGINT)
    process.wait(STOP_S_MAX)
    log.seek(0)
    said = log.read()
    log.close()
    assert "Traceback" not in said, said


def until(chromium: Chrome, script: str, *arguments: object) -> None:
    WebDriverWait(chromium, WAIT_S, poll_frequency=0.1).until(
        lambda driver: driver.execute_script(script, *arguments)
    )


def test_every_page_lives_on_the_real_platform(
    chromium: Chrome, town: str, window: Callable[[int, int, str], None]
) -> None:
    window(1400, 1000, "light")
    WebDriverWait(chromium, WAIT_S).until(lambda _: listens(town))
    live = "return !!document.querySelector('.badge.live') && !document.querySelector('.waiting')"
    count = "parseInt(document.querySelector('.tile .under a')?.textContent)"
    chromium.get(town)
    until(chromium, f"return {count} > 0")
    first = chromium.execute_script(f"return {count}")
    until(chromium, "return !!document.querySelector('.columns .table a.meter')")

    meter = chromium.find_element(By.CSS_SELECTOR, ".columns .table a.meter").text
    for path in (f"/meters/{meter}", "/meters", "/sales?day=today", "/commands", "/events"):
        chromium.get(town + path)
        until(chromium, live)
        until(chromium, "return !!document.querySelector('tbody tr, .feed-item')")
    chromium.get(f"{town}/")
    until(chromium, live)
    until(chromium, f"return {count} > arguments[0]", first)

    for name in FILES:
        with urllib.request.urlopen(f"{town}/csv/{name}", timeout=WAIT_S) as answer:  # noqa: S310  our own port
            assert answer.status == 200
    log: Any = chromium.get_log
    assert [entry for entry in log("browser") if entry["level"] != "DEBUG"] == []


def listens(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=1).close()  # noqa: S310  our own port
    except OSError:
        return False
    return True
