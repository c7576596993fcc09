"""The page on virtual meters and the page on their protocol say what the code does."""

from __future__ import annotations

import doctest
import re
import tomllib
from pathlib import Path

from slotmeter_drivers.slotmeter_virtual import DRIVER
from slotmeter_nbiot.options import Options

DOCS = Path(__file__).parents[2] / "docs"
HOW_TO = DOCS / "how-to" / "use-a-virtual-meter.md"
PROTOCOL = DOCS / "reference" / "nbiot-push.md"


def fenced(page: Path, language: str) -> list[str]:
    text = page.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def test_what_the_page_on_virtual_meters_shows_happens() -> None:
    source = "\n".join(block for block in fenced(HOW_TO, "python") if block.startswith(">>>"))
    example = doctest.DocTestParser().get_doctest(source, {}, HOW_TO.name, str(HOW_TO), 0)
    runner = doctest.DocTestRunner(verbose=False)

    results = runner.run(example)

    assert results.attempted > 10
    assert results.failed == 0


def test_the_program_that_the_page_shows_is_python() -> None:
    programs = [block for block in fenced(HOW_TO, "python") if not block.startswith(">>>")]

    assert [compile(program, HOW_TO.name, "exec") is not None for program in programs] == [True]


def test_the_options_on_the_protocol_page_are_all_and_with_their_defaults() -> None:
    entry = tomllib.loads(fenced(PROTOCOL, "toml")[0])["entry"][0]
    del entry["medium"]

    assert Options.from_mapping(entry) == Options()
    assert set(entry) == set(Options.__slots__)


def test_the_frame_on_the_protocol_page_is_the_drivers_first_example() -> None:
    lines = fenced(PROTOCOL, "text")[0].splitlines()
    written = "".join("".join(re.findall(r"^ *((?:[0-9a-f]{2,} *)+?)(?:  |$)", x)) for x in lines)

    assert bytes.fromhex(re.sub(r"\s", "", written)) == DRIVER.examples[0].payload
