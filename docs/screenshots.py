"""Photographs the dashboards for the README: a real demo town, looked at in headless Chromium.

``python docs/screenshots.py`` starts ``slotmeter demo``, waits until a day of the meters' time has
passed, commissions a meter there, and writes ``docs/images/overview.png``, ``meter.png``,
``devices.png``, ``devices-phone.png`` and ``commissioning.png``. With ``--fake`` the pages show the
platform of paper of the browser tests, whose devices are in every state: for looking at a change of
style at once. Such pictures go elsewhere (``--out``), and never into the README; those of devices
and of commissioning may stand in how-tos that call them example data. With ``--every`` every page
is photographed, as on a desk and as on a phone: for looking at all of them.
"""

from __future__ import annotations

import argparse
import asyncio
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
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import aiocoap  # type: ignore[import-untyped]  # ships no types
import cbor2
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.support.ui import WebDriverWait

ROOT = Path(__file__).resolve().parents[1]
WIDTH, HEIGHT = 1400, 1000
PHONE = (390, 844)
LISTS = ("meters", "devices", "commissioning", "sales", "commands", "alarms", "events")
SETTLE_S = 15
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
    """Run a demo town, wait until it has lived for a while and something was commissioned in it,
    and give its pages' address."""
    slotmeter = Path(sys.executable).with_name("slotmeter")
    http, pages, nbiot = free_ports(3)
    with tempfile.TemporaryDirectory() as folder:
        command = [str(slotmeter), "demo", "--plain", "--data", f"{folder}/data"]
        command += ["--http-port", str(http), "--dashboards-port", str(pages)]
        with program([*command, "--nbiot-port", str(nbiot)], signal.SIGINT):
            url = f"http://127.0.0.1:{pages}"
            answer(url)
            time.sleep(seconds)
            commission([str(slotmeter), "commission"], f"{folder}/data", url, nbiot)
            yield url


def commission(command: list[str], data: str, url: str, port: int) -> None:
    """Hang two meters that only had a keypad, of which one speaks; a third one is nobody's."""
    rows = csv.DictReader(io.StringIO(answer(f"{url}/csv/meters")))
    spoken, silent, *_ = [row["Meter"] for row in rows if not row["Last contact"]]
    asyncio.run(push(port, {"imei-867400041234567": spoken, "imei-867400041234575": "07000000013"}))
    time.sleep(SETTLE_S)
    for meter in (spoken, silent):
        act = ["scan", f"SN:{meter};HW:B", "--data", data, "--reason", "new connection"]
        subprocess.run([*command, *act], check=True, stdout=sys.stderr)
    time.sleep(SETTLE_S)


async def push(port: int, devices: Mapping[str, str]) -> None:
    """Have devices report once over CoAP, each with the number that it gives as its own."""
    coap = await aiocoap.Context.create_client_context(transports=["udp6"])
    for address, number in devices.items():
        report = {1: number, 2: 1, 3: int(time.time()), 4: 1_234_000, 7: 1}
        uri = f"coap://127.0.0.1:{port}/m?ep={address}"
        message = aiocoap.Message(
            code=aiocoap.POST, uri=uri, payload=cbor2.dumps(report), content_format=60
        )
        await coap.request(message).response
    await coap.shutdown()


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
        driver.set_page_load_timeout(START_S_MAX)
        driver.set_script_timeout(START_S_MAX)  # a busy machine draws slowly
        try:
            yield driver
        finally:
            driver.quit()


def photograph(
    driver: webdriver.Chrome,
    url: str,
    file: Path,
    scheme: str,
    size: tuple[int, int] = (WIDTH, HEIGHT),
) -> None:
    """Wait until a page is drawn and live, and keep what it shows."""
    screen = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    wish = {"name": "prefers-color-scheme", "value": scheme}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [wish]})
    driver.get(url)
    drawn = (
        "return document.querySelector('.badge.live') && !document.querySelector('.waiting')"
        " && [...document.querySelectorAll('.dash-graph')].every(e => e.querySelector('.main-svg'))"
        " && document.fonts.status === 'loaded'"
    )
    WebDriverWait(driver, START_S_MAX).until(lambda page: page.execute_script(drawn))
    time.sleep(1.5)  # the charts' last step has no event to wait for
    driver.save_screenshot(str(file))
    print(f"{file} {file.stat().st_size // 1024} kB")


def photograph_every_page(
    driver: webdriver.Chrome, url: str, meter: str, out: Path, scheme: str
) -> None:
    """Take pictures of every page, as on a desk and as on a phone."""
    for name, path in {**{each: each for each in LISTS}, "overview": "", "meter": meter}.items():
        for suffix, size in (("", (WIDTH, HEIGHT)), ("-phone", PHONE)):
            photograph(driver, f"{url}/{path}", out / f"{name}{suffix}.png", scheme, size)


def main() -> None:
    """Take the pictures."""
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
    parser.add_argument("--every", action="store_true", help="every page, wide and narrow")
    options = parser.parse_args()
    if (options.fake or options.every) and options.out == ROOT / "docs" / "images":
        parser.error("such pictures do not belong there: give --out")
    options.out.mkdir(parents=True, exist_ok=True)
    with paper() if options.fake else demo(options.life) as url, chromium() as driver:
        meter = lively_meter(url)
        if options.every:
            photograph_every_page(driver, url, f"meters/{meter}", options.out, options.scheme)
            return
        for path, name, size in (
            ("", "overview", (WIDTH, HEIGHT)),
            (f"meters/{meter}", "meter", (WIDTH, HEIGHT)),
            ("devices", "devices", (WIDTH, HEIGHT)),
            ("devices", "devices-phone", PHONE),
            ("commissioning", "commissioning", (WIDTH, HEIGHT)),
        ):
            photograph(driver, f"{url}/{path}", options.out / f"{name}.png", options.scheme, size)


if __name__ == "__main__":
    main()
