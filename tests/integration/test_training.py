"""Practice: its own keys, its own books, and a mark on everything."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from slotmeter.api.sales import sale_fields
from slotmeter.cli import EXIT_FAILED, EXIT_OK, EXIT_UNUSABLE, main
from slotmeter.errors import Refused
from slotmeter.ports import Caller
from slotmeter.security.software import SoftwareSecurityModule
from slotmeter.services.key_change_plan import KeyWish
from slotmeter.services.selling import SellRequest
from slotmeter.services.training import check_training_key
from slotmeter.testing.api_town import ApiTown
from slotmeter.testing.key_town import KeyTown, Wire, open_key_town
from slotmeter.testing.office_folder import OFFICE_TARIFF, make_office_folder
from slotmeter.testing.small_utility import VENDING_KEY, meter_number
from slotmeter.vending.receipts import render_html, render_message, render_text
from slotmeter_drivers.slotmeter_virtual import DRIVER
from slotmeter_nbiot.push_meter import decode_commands, encode_report
from slotmeter_rules import RULES

pytestmark = pytest.mark.both_databases

WIRE = Wire(DRIVER, RULES.credit_control, encode_report, decode_commands)


@pytest.fixture
async def town(tmp_path: Path) -> AsyncIterator[KeyTown]:
    async with open_key_town(tmp_path, WIRE) as opened:
        yield opened


def in_training(caller: Caller) -> Caller:
    return replace(caller, principal=replace(caller.principal, training=True))


async def test_every_form_of_the_receipt_and_the_answer_are_marked(town: KeyTown) -> None:
    row, _ = await town.meter(online=False)
    await town.shop.security.load("training-1", replace(VENDING_KEY, key=VENDING_KEY.key[::-1]))
    town.shop.sql("UPDATE meter SET key_id = 'training-1'")
    trainee = in_training(town.shop.till)

    sale, _ = await town.shop.selling.sell(trainee, SellRequest("s1", row.number, "116.00"))
    receipt = await town.shop.selling.receipt(trainee, sale.receipt_number)

    assert receipt.mark == "training"
    assert "TRAINING" in render_text(receipt)
    assert "TRAINING" in render_html(receipt)
    assert "TRAINING" in render_message(receipt).text
    assert sale_fields(sale, training=True)["mark"] == "training"
    (text,) = town.shop.column("SELECT text FROM event WHERE kind = 'sale'")
    assert text.startswith("TRAINING: Sold")


async def test_practice_sells_under_no_real_key_and_nobody_else_under_its_own(
    town: KeyTown,
) -> None:
    row, _ = await town.meter(online=False)
    with pytest.raises(Refused) as refused:
        await town.shop.selling.sell(
            in_training(town.shop.till), SellRequest("s1", row.number, "116.00")
        )
    assert refused.value.code == "training_key_needed"
    await town.shop.security.load(
        "training-2", replace(VENDING_KEY, key=VENDING_KEY.key[::-1], krn=2)
    )
    with pytest.raises(Refused) as refused:
        await town.changes.make(
            town.supervisor, row.number, KeyWish(key_id="training-2"), "by mistake"
        )
    assert refused.value.code == "training_key_refused"
    assert town.shop.column("SELECT count(*) FROM sale") == [0]


@pytest.mark.parametrize(("key_id", "training"), [("training-1", True), ("1", False), (None, True)])
def test_keys_that_fit_are_let_through(key_id: str | None, training: bool) -> None:
    check_training_key(key_id, training=training)


def test_a_utility_for_practice_is_made_beside_the_real_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = str(make_office_folder(tmp_path))
    (tmp_path / "tariff.yaml").write_text(OFFICE_TARIFF)
    (tmp_path / "practice.csv").write_text(
        "meter,commodity,credit_mode,customer_number,customer_name,phone,address,area,tariff,"
        "installed_on,sgc,krn,ti,kt,base_date\n"
        f"{meter_number(5)},electricity,meter,C-9,Nobody,,Road 9,North,DOM-E,2025-03-01,"
        "999999,1,1,2,2014\n"
    )
    at = ("--data", data, "--utility", "training")
    capsys.readouterr()

    made = [
        main(["training", "begin", "training", "--data", data, "--keys-to", str(tmp_path)]),
        main(["tariff", "add", str(tmp_path / "tariff.yaml"), *at]),
        main(["import", "meters", str(tmp_path / "practice.csv"), *at]),
    ]
    begin = ["training", "begin", "training", "--data", data, "--utility", "utility"]
    again = main([*begin, "--keys-to", str(tmp_path)])

    assert made == [EXIT_OK] * 3
    assert again in (EXIT_FAILED, EXIT_UNUSABLE)
    assert (tmp_path / "training-trainee.key").stat().st_mode & 0o077 == 0


async def test_what_makes_a_sale_good_in_practice_is_marked_as_well(api: ApiTown) -> None:
    vault = SoftwareSecurityModule.open(api.path.parent)
    await vault.load("training-1", replace(VENDING_KEY, key=VENDING_KEY.key[::-1]))
    await vault.close()
    meters = [await api.utility.add_meter(online=False) for _ in range(3)]
    api.sql("UPDATE utility SET training = 1")
    api.sql("UPDATE meter SET key_id = 'training-1'")
    await api.join("till", "vendor", kind="service")
    await api.join("boss", "supervisor")
    body = {"sale_id": "s1", "meter": meters[0].number, "tendered": "116.00"}
    sold = await api.post("/api/v1/sales", "till", json=body)
    declared = {"declared": "the customer", "reason": "wrong number"}

    replaced = await api.post(
        f"/api/v1/receipts/{sold.json['receipt_number']}/replacement",
        "boss",
        json={"request_id": "p1", "meter": meters[1].number, **declared},
    )
    swapped = await api.post(
        f"/api/v1/meters/{meters[2].number}/swap",
        "boss",
        json={"request_id": "w1", "new": meter_number(900), "credit": "1", "reason": "broken"},
    )

    assert (replaced.status, swapped.status) == (201, 201)
    assert replaced.json["sale"]["mark"] == "training"
    assert swapped.json["mark"] == "training"
    assert api.sql("SELECT key_id FROM meter WHERE number = ?", meter_number(900)) == [
        ("training-1",)
    ]
