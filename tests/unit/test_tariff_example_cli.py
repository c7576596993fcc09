"""``slotmeter tariff example`` prints the published tariffs that come along."""

from __future__ import annotations

import json

import pytest

from slotmeter.cli import EXIT_FAILED, EXIT_OK, main
from slotmeter.tariff_packs import pack_texts

KENYA = "ke-kplc-dc-fixed-charge-era"


def test_every_example_is_listed_with_its_title(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tariff", "example", "--json"]) == EXIT_OK

    listed = {each["code"]: each["title"] for each in json.loads(capsys.readouterr().out)}
    assert set(listed) == set(pack_texts())
    assert listed[KENYA] == "Kenya Power domestic DC, with fixed charge"


def test_an_example_is_printed_as_it_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tariff", "example", KENYA]) == EXIT_OK

    assert capsys.readouterr().out == pack_texts()[KENYA]


def test_an_example_that_does_not_exist_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tariff", "example", "atlantis"]) == EXIT_FAILED

    assert "example_unknown" in capsys.readouterr().err
