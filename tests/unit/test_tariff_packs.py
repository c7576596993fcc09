"""The examples that come along: each can be read and says where its figures come from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from slotmeter.tariff_packs import pack_texts
from slotmeter.vending.tariff.reader import check_tariff

VECTORS = json.loads((Path(__file__).resolve().parents[1] / "vectors" / "tariffs.json").read_text())
PUBLISHED = {entry["id"]: entry for entry in VECTORS["tariffs"]}


@pytest.mark.parametrize("code", pack_texts())
def test_a_pack_is_named_by_its_code_and_says_its_source(code: str) -> None:
    tariff = check_tariff(pack_texts()[code]).tariff

    assert tariff.code == code
    assert tariff.source
    assert tariff.time_zone


def test_every_published_tariff_has_a_pack() -> None:
    assert set(PUBLISHED) <= set(pack_texts())


@pytest.mark.parametrize("code", PUBLISHED)
def test_a_pack_is_for_the_commodity_and_currency_of_its_publication(code: str) -> None:
    tariff = check_tariff(pack_texts()[code]).tariff

    assert tariff.commodity == PUBLISHED[code]["resource"]
    assert tariff.currency == PUBLISHED[code]["currency"]


def test_warnings_of_packs_are_these() -> None:
    warned = {
        code: [warning.path for warning in warnings]
        for code, text in pack_texts().items()
        if (warnings := check_tariff(text).warnings)
    }

    assert warned == {
        "gb-gas-volume-to-kwh": ["energy"],  # a formula without a price
        "za-eskom-homelight-2024-25": ["energy.use"],  # 20 A and 60 A only
        "za-eskom-homelight-2025-26": ["energy.use"],
    }
