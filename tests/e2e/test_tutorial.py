"""The tutorials work as they are written: their blocks are run one after the other."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from slotmeter.testing.server import Server

PAGES = Path(__file__).parents[2] / "docs" / "tutorial"
BLOCK = re.compile(r"^```(sh|sh serve|output)\n(.*?)^```", flags=re.MULTILINE | re.DOTALL)
MONTH = re.compile(r"\b20\d\d-\d\d\b")
LEFT_OUT = "..."

# A person's machine has the default ports free; this one may not.
SHELL = """
set -euo pipefail
slotmeter() {
    case $1 in
        init)
            "$PYTHON" -m slotmeter "$@" --no-dashboards --http-port "$HTTP" --nbiot-port "$COAP"
            ;;
        sell | receipt) "$PYTHON" -m slotmeter "$@" --api "http://127.0.0.1:$HTTP" ;;
        *) "$PYTHON" -m slotmeter "$@" ;;
    esac
}
"""


@dataclass
class Reader:
    """Somebody who types what a tutorial says, in a folder of their own."""

    folder: Path
    http: int
    coap: int
    said: str = ""
    server: Server | None = field(default=None)

    def do(self, commands: str) -> str:
        """Run a block, and return what it printed, errors too."""
        done = subprocess.run(
            ["bash", "-c", SHELL + commands],
            cwd=self.folder,
            env={
                **os.environ,
                "PYTHON": sys.executable,
                "HTTP": str(self.http),
                "COAP": str(self.coap),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=False,
        )
        self.said += done.stdout
        assert done.returncode == 0, f"{commands}\n{done.stdout}"
        return done.stdout

    def serve(self) -> None:
        """Start the server, as in a second terminal."""
        config = self.folder / "slotmeter-data" / "slotmeter.toml"
        self.server = Server(config, port=self.http, log=self.folder / "serve.log")
        self.server.launch()
        self.server.wait_until_ready()


@contextmanager
def reading(page: str, folder: Path, free_ports: Callable[[], int]) -> Iterator[Reader]:
    """Do all that a page says, and hold what comes against what it shows."""
    reader = Reader(folder, free_ports(), free_ports())
    try:
        came = ""
        for kind, text in BLOCK.findall((PAGES / page).read_text()):
            if kind == "sh serve":
                reader.serve()
            elif kind == "sh":
                came = reader.do(text)
            else:
                hold(text, came)
        yield reader
    finally:
        if reader.server is not None:
            reader.server.stop()


def hold(shown: str, came: str) -> None:
    """Assert that the lines shown came in this order, and nothing between them but at ``...``.

    A line may end in ``...`` as well. Another month than the page's is the same month.
    """
    lines = [MONTH.sub("MONTH", line) for line in came.splitlines()]
    at, may_skip = 0, False
    for line in shown.splitlines():
        if line == LEFT_OUT:
            may_skip = True
            continue
        wanted = MONTH.sub("MONTH", line)
        found = [place for place in range(at, len(lines)) if is_shown(wanted, lines[place])][:1]
        assert found, f"not printed: {line}\n{came}"
        assert may_skip or found[0] == at, f"before {line!r} came {lines[at]!r}"
        at, may_skip = found[0] + 1, False
    assert may_skip or at == len(lines), f"more came: {lines[at:]}"


def is_shown(wanted: str, line: str) -> bool:
    if wanted.endswith(LEFT_OUT):
        return line.startswith(wanted.removesuffix(LEFT_OUT))
    return line.strip() == wanted.strip()


@pytest.mark.e2e
def test_each_block_of_the_first_sale_works(tmp_path: Path, free_ports: Callable[[], int]) -> None:
    with reading("first-sale.md", tmp_path, free_ports) as reader:
        tokens = re.findall(r"\d{4} \d{4} \d{4} \d{4} \d{4}", reader.said)

    assert len(tokens) == 3
    assert tokens[1] == tokens[2], "the same sale_id gives the same token"
    assert tokens[0] != tokens[1]
    assert "2 sales for 300.00 KES, 2 tokens" in reader.said


@pytest.mark.e2e
def test_kenyas_tariff_sells_step_by_step_what_was_published(
    tmp_path: Path, free_ports: Callable[[], int]
) -> None:
    with reading("sell-with-kenyas-tariff.md", tmp_path, free_ports) as reader:
        bought = re.findall(r"^Units +([0-9.]+) kWh$", reader.said, flags=re.MULTILINE)

    assert bought == ["32.3", "31.3", "14.8", "14.8"]
