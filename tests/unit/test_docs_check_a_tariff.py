"""The page on checking a tariff does what it says, and names all that a case may hold."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest

from slotmeter.cli import main
from slotmeter.vending.pricing.case_inputs import INPUTS
from slotmeter.vending.pricing.case_results import RESULTS
from slotmeter.vending.pricing.conformance import KINDS

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "check-a-tariff.md").read_text()


def blocks(language: str) -> list[str]:
    found = re.findall(rf"^   ```{language}\n(.*?)^   ```$", PAGE, flags=re.MULTILINE | re.DOTALL)
    return [textwrap.dedent(block) for block in found]


def test_the_example_gives_what_the_page_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "tariffs").mkdir()
    (tmp_path / "tariffs" / "xx-simple.yaml").write_text(blocks("yaml")[0])
    (tmp_path / "cases.json").write_text(blocks("json")[0])
    monkeypatch.chdir(tmp_path)

    code = main(blocks("sh")[0].split()[1:])

    assert code == 0
    assert capsys.readouterr().out == blocks("text")[0]


@pytest.mark.parametrize("name", [*KINDS, *INPUTS, *RESULTS])
def test_the_page_names_every_kind_input_and_result(name: str) -> None:
    assert f"`{name}`" in PAGE
