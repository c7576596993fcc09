"""The how-to for drivers works as it is written, from the sheet to a reading in a server."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from slotmeter.testing.server import Server

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "add-a-driver.md"
BLOCK = re.compile(r"^```(sh|sh serve|python)\n(.*?)^```", flags=re.MULTILINE | re.DOTALL)
MODULE = Path("brightwell-drivers") / "brightwell_drivers" / "brightwell_bw15.py"
TIMEOUT_S = 240

# The packs of this machine stay as they are, and its default ports may be taken.
SHELL = """
set -euo pipefail
slotmeter() {
    case $1 in
        init) set -- "$@" --no-dashboards --http-port "$HTTP" --nbiot-port "$COAP" ;;
    esac
    "$PYTHON" -m slotmeter "$@"
}
pip() {
    "$PYTHON" -m pip "$1" --quiet --no-index --no-deps --no-build-isolation \\
        --target "$PYTHONPATH" "${@:2}"
}
python3() { "$PYTHON" "$@"; }
curl() { command curl "${@//:8480/:$HTTP}"; }
"""


def do(commands: str, folder: Path, http: int, coap: int) -> str:
    """Run a block, and return what it printed."""
    done = subprocess.run(
        ["bash", "-c", SHELL + commands],
        cwd=folder,
        env={**os.environ, "PYTHON": sys.executable, "HTTP": str(http), "COAP": str(coap)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, f"{commands}\n{done.stdout}"
    return done.stdout


def wait_for(line: str, log: Path) -> None:
    """Wait until the server has said something, as a person would."""
    end_s = time.monotonic() + TIMEOUT_S
    while line not in log.read_text(encoding="utf-8"):
        assert time.monotonic() < end_s, log.read_text(encoding="utf-8")
        time.sleep(0.1)


@pytest.mark.e2e
@pytest.mark.timeout(300)
def test_the_page_leads_from_a_sheet_to_a_reading(
    tmp_path: Path, free_ports: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "installed"))
    http, coap = free_ports(), free_ports()
    folder, printed, server = tmp_path, [""], None
    try:
        for kind, text in BLOCK.findall(PAGE.read_text(encoding="utf-8")):
            if kind == "python":
                (folder / MODULE).write_text(text, encoding="utf-8")
            elif kind == "sh":
                printed.append(do(text, folder, http, coap))
                if "cd trial" in text:
                    folder = folder / "trial"
            else:
                config = folder / "slotmeter-data" / "slotmeter.toml"
                server = Server(config, port=http, log=folder / "serve.log")
                server.launch()
                server.wait_until_ready()
                wait_for("entry town is loaded", folder / "serve.log")
    finally:
        if server is not None:
            server.stop()

    assert any(re.search("brightwell_bw15 +Brightwell BW-15 +ip ", each) for each in printed)
    (answer,) = re.findall(r"^\{.*\}", printed[-1], flags=re.MULTILINE)
    readings = json.loads(answer)["items"]
    assert readings == [{"at": "2026-09-21T12:00:00.000000Z", "value": 1_234_560_000}]
    assert "serial_mismatch" not in printed[-1]
