"""Photographs the dashboards for the README: a real demo town, looked at in headless Chromium.

``python docs/screenshots.py`` starts ``slotmeter demo``, waits until a day of the meters' time has
passed, and writes ``docs/images/overview.png`` and ``docs/images/meter.png``. With ``--fake`` the
pages show the platform of paper of the browser tests, for looking at a change of style at once;
such pictures go elsewhere (``--out``), never into the README.
"""

from __future__ import annotations

import argparse
import csv
import io
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.support.ui import WebDriverWait

ROOT = Path(__file__).resolve().parents[1]
WIDTH, HEIGHT = 1400, 1000
START_S_MAX = 120
STOP_S_MAX = 60
DAY_AT_DEMO_SPEED_S = 160
CHROMIUM_FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--disable-dev-shm-usage", "--hide-scrollbars", f"--window-size={WIDTH},{HEIGHT}"),
)


def free_ports(count: int) -> list[int]:
    """Ports of the loopback, free just now."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]


@contextmanager
def program(command: list[str], stop: signal.Signals) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program until the end of the block, then tell it to stop."""
    process = subprocess.Popen(command, stdout=sys.stderr)
    try:
        yield process
    finally:
        process.send_signal(stop)
        try:
            print(f"{Path(command[0]).name} ended with {process.wait(STOP_S_MAX)}", file=sys.stderr)
        except subprocess.TimeoutExpired:
            process.kill()
            raise


@contextmanager
def demo(seconds: int) -> Iterator[str]:
    """Run a demo town, wait until it has lived for a while, and give its pages' address."""
    slotmeter = Path(sys.executable).with_name("slotmeter")
    http, pages, nbiot = free_ports(3)
    with tempfile.TemporaryDirectory() as folder:
        command = [str(slotmeter), "demo", "--plain", "--data", f"{folder}/data"]
        command += ["--http-port", str(http), "--dashboards-port", str(pages)]
        with program([*command, "--nbiot-port", str(nbiot)], signal.SIGINT):
            url = f"http://127.0.0.1:{pages}"
            answer(url)
            time.sleep(seconds)
            yield url


@contextmanager
def paper() -> Iterator[str]:
    """Run the platform of paper and the console in front of it."""
    api, pages = free_ports(2)
    fake = [sys.executable, str(ROOT / "tests" / "browser" / "fake_api.py"), "--port", str(api)]
    with tempfile.TemporaryDirectory() as folder, program(fake, signal.SIGTERM):
        key_file = Path(folder) / "viewer.key"
        key_file.write_text("smk_of_a_viewer")
        console = [sys.executable, "-m", "slotmeter_dashboards", "--key-file", str(key_file)]
        console += ["--api", f"http://127.0.0.1:{api}", "--port", str(pages)]
        with program(console, signal.SIGTERM):
            url = f"http://127.0.0.1:{pages}"
            answer(f"http://127.0.0.1:{api}/api/v1/overview")
            answer(url)
            yield url


def answer(url: str) -> str:
    """Get a document, waiting until somebody listens."""
    deadline = time.monotonic() + START_S_MAX
    while True:
        try:
            with urllib.request.urlopen(url, timeout=10) as response:  # noqa: S310  http to loopback
                return str(response.read().decode("utf-8-sig"))
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)


def lively_meter(url: str) -> str:
    """Choose the electricity meter that is on and bought most often."""
    meters = csv.DictReader(io.StringIO(answer(f"{url}/csv/meters")))
    wanted = {
        row["Meter"]
        for row in meters
        if (row["Commodity"], row["Credit held by"], row["Supply"])
        == ("electricity", "meter", "on")
    }
    sales = csv.DictReader(io.StringIO(answer(f"{url}/csv/sales")))
    bought = Counter(row["Meter"] for row in sales if row["Meter"] in wanted)
    return bought.most_common(1)[0][0]


@contextmanager
def chromium() -> Iterator[webdriver.Chrome]:
    """Run a browser with an empty profile."""
    found = {name: shutil.which(name) for name in ("chromium", "chromedriver")}
    missing = [name for name, path in found.items() if path is None]
    if missing:
        sys.exit(f"{' and '.join(missing)} missing: apt install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = str(found["chromium"])
    with tempfile.TemporaryDirectory() as profile:
        for flag in (*CHROMIUM_FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        driver = webdriver.Chrome(options=options, service=Service(str(found["chromedriver"])))
        try:
            yield driver
        finally:
            driver.quit()


def photograph(driver: webdriver.Chrome, url: str, file: Path, scheme: str) -> None:
    """Wait until a page is drawn and live, and keep what it shows."""
    size = {"width": WIDTH, "height": HEIGHT, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    wish = {"name": "prefers-color-scheme", "value": scheme}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [wish]})
    driver.get(url)
    drawn = (
        "return document.querySelector('.badge.live') && !document.querySelector('.waiting')"
        " && document.querySelector('.main-svg') && document.fonts.status === 'loaded'"
    )
    WebDriverWait(driver, START_S_MAX).until(lambda page: page.execute_script(drawn))
    time.sleep(1.5)  # the charts' last step has no event to wait for
    driver.save_screenshot(str(file))
    print(f"{file} {file.stat().st_size // 1024} kB")


def main() -> None:
    """Take both pictures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--fake", action="store_true", help="show the platform of paper instead")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "images", metavar="DIR")
    parser.add_argument("--scheme", choices=["light", "dark"], default="light")
    parser.add_argument(
        "--life", type=int, default=DAY_AT_DEMO_SPEED_S, metavar="SECONDS",
        help="how long the town lives before the pictures",
    )  # fmt: skip
    options = parser.parse_args()
    if options.fake and options.out == ROOT / "docs" / "images":
        parser.error("pictures of the platform of paper do not belong there: give --out")
    options.out.mkdir(parents=True, exist_ok=True)
    with paper() if options.fake else demo(options.life) as url, chromium() as driver:
        photograph(driver, f"{url}/", options.out / "overview.png", options.scheme)
        meter = lively_meter(url)
        photograph(driver, f"{url}/meters/{meter}", options.out / "meter.png", options.scheme)


if __name__ == "__main__":
    main()
