"""The tutorial works as it is written: its blocks are run one after the other."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from slotmeter.testing.server import Server

PAGE = Path(__file__).parents[2] / "docs" / "tutorial" / "first-sale.md"
BLOCK = re.compile(r"^```sh( serve)?\n(.*?)^```", flags=re.MULTILINE | re.DOTALL)

# A person's machine has the default ports free; this one may not.
SHELL = """
set -euo pipefail
slotmeter() {
    case $1 in
        init)
            "$PYTHON" -m slotmeter "$@" --no-dashboards --http-port "$HTTP" --nbiot-port "$COAP"
            ;;
        sell) "$PYTHON" -m slotmeter "$@" --api "http://127.0.0.1:$HTTP" ;;
        *) "$PYTHON" -m slotmeter "$@" ;;
    esac
}
"""


@pytest.mark.e2e
def test_each_block_of_the_first_sale_works(tmp_path: Path, free_ports: Callable[[], int]) -> None:
    http, coap = free_ports(), free_ports()
    environment = {
        **os.environ,
        "PYTHON": sys.executable,
        "HTTP": str(http),
        "COAP": str(coap),
    }
    server: Server | None = None
    said = ""
    try:
        for serves, commands in BLOCK.findall(PAGE.read_text()):
            if serves:
                config = tmp_path / "slotmeter-data" / "slotmeter.toml"
                server = Server(config, port=http, log=tmp_path / "serve.log")
                server.launch()
                server.wait_until_ready()
                continue
            done = subprocess.run(
                ["bash", "-c", SHELL + commands],
                cwd=tmp_path,
                env=environment,
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            said += done.stdout
            assert done.returncode == 0, f"{commands}\n{done.stdout}{done.stderr}"
    finally:
        if server is not None:
            server.stop()

    tokens = re.findall(r"\d{4} \d{4} \d{4} \d{4} \d{4}", said)
    assert len(tokens) == 3
    assert tokens[1] == tokens[2], "the same sale_id gives the same token"
    assert tokens[0] != tokens[1]
    assert "2 sales for 300.00 KES, 2 tokens" in said
