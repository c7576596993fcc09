"""The API's answers as the dashboards read them, held to the API's own shapes."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, TypeVar

import pytest
from pydantic import BaseModel

from slotmeter.api import device_models, models
from slotmeter.errors import Unavailable
from slotmeter_dashboards import model

AT = "2026-11-21T08:00:00.000000Z"


def answered(document: models.Out) -> dict[str, Any]:
    """The JSON object that the server would send."""
    decoded: dict[str, Any] = json.loads(document.model_dump_json(by_alias=True))
    return decoded


M = TypeVar("M", bound=BaseModel)


def made(shape: type[M], /, **values: object) -> M:
    """The server's document of one kind; fields that it has besides do not matter here."""
    assert set(values) <= set(shape.model_fields)
    return shape.model_construct(**values)  # type: ignore[arg-type]  # any field, checked above


def alarm() -> device_models.Alarm:
    return made(
        device_models.Alarm,
        id=3,
        meter="07100000003",
        kind="tamper",
        severity="alarm",
        text="cover opened",
        raised_at=AT,
        cleared_at=None,
    )


def command() -> device_models.Command:
    return made(
        device_models.Command,
        id=7,
        meter="07100000003",
        commodity="electricity",
        kind="open_relay",
        state="held",
        cause="rule",
        reason="credit at zero",
        result=None,
        causes=[made(device_models.Hold, code="protected_hours", text="protected hours", until=AT)],
        attempts=0,
        asked_by=None,
        receipt_number=None,
        created_at=AT,
        sent_at=None,
        acknowledged_at=None,
        ended_at=None,
        expires_at=AT,
    )


def overview() -> device_models.Overview:
    units = made(device_models.SoldUnits, electricity="12.5", water="0.100", gas="0")
    return made(
        device_models.Overview,
        as_of=AT,
        day_start=AT,
        time_zone="Africa/Nairobi",
        currency="KES",
        sales=made(device_models.SalesToday, count=2, tendered="150.00", units=units),
        sales_by_hour=[made(device_models.HourOfSales, hour=AT, count=2, tendered="150.00")],
        meters=made(
            device_models.MeterCounts,
            total=4,
            heard=3,
            by_supply=made(device_models.BySupply, on=3, off=1),
            by_commodity=made(device_models.ByCommodity, electricity=4),
        ),
        alarms=made(device_models.OverviewAlarms, open=1, items=[alarm()]),
        commands=made(device_models.OverviewCommands, by_state={"held": 1}, items=[command()]),
        quarantined=0,
        ledger_balanced=True,
    )


def test_the_servers_overview_is_understood() -> None:
    read = model.parse_overview(answered(overview()))

    assert (read.sale_count, read.tendered, read.units["electricity"]) == (
        2,
        Decimal("150.00"),
        Decimal("12.5"),
    )
    assert read.hours[0].start == datetime(2026, 11, 21, 8, tzinfo=UTC)
    assert (read.by_supply["off"], read.alarms[0].text) == (1, "cover opened")
    assert read.commands[0].hold == ("protected hours",)


def test_the_servers_meter_is_understood_with_all_that_may_be_absent() -> None:
    document = made(
        device_models.Meter,
        number="07100000003",
        commodity="water",
        credit_mode="meter",
        state="active",
        area=None,
        address=None,
        customer=None,
        account=None,
        critical=False,
        supply="unknown",
        unit="m³",
        register_value=None,
        credit_balance=None,
        credit_total=None,
        account_balance=None,
        currency="KES",
        tamper=False,
        online=False,
        last_contact_at=None,
        measured_at=None,
        driver=None,
        medium=None,
    )

    read = model.parse_meter(answered(document))

    assert (read.number, read.unit, read.register, read.address) == ("07100000003", "m³", None, "")


def test_the_servers_register_is_read_under_its_short_name() -> None:
    document = made(
        device_models.Meter,
        number="1",
        commodity="electricity",
        credit_mode="meter",
        state="active",
        area="a",
        address="b",
        customer="c",
        account="d",
        critical=True,
        supply="on",
        unit="kWh",
        register_value="1234.5",
        credit_balance="3.2",
        credit_total="9",
        account_balance=None,
        currency="KES",
        tamper=True,
        online=True,
        last_contact_at=AT,
        measured_at=AT,
        driver="slotmeter_virtual",
        medium="nbiot",
    )

    assert model.parse_meter(answered(document)).register == Decimal("1234.5")


@pytest.mark.parametrize(
    ("unit", "raw", "shown"),
    [("Wh", 1_500, "1.5"), ("mL", 250_000, "0.25"), ("%", 80, "80")],
)
def test_readings_become_the_unit_that_is_sold(unit: str, raw: int, shown: str) -> None:
    bucket = made(
        device_models.Bucket,
        start=AT,
        end="2026-11-21T09:00:00.000000Z",
        min=raw,
        max=raw,
        first=raw,
        last=raw,
        count=1,
    )
    document = made(
        device_models.Readings,
        register_name="volume",
        unit=unit,
        from_at=AT,
        to_at=AT,
        items=[],
        buckets=[bucket],
        truncated=False,
    )

    (read,) = model.parse_readings(answered(document))

    assert (read.first, read.last) == (Decimal(shown), Decimal(shown))


def test_the_servers_sale_token_and_event_are_understood() -> None:
    sale = made(
        models.SaleLine,
        sale_id="till:1",
        receipt_number="R1",
        state="issued",
        meter="1",
        commodity="gas",
        credit_mode="meter",
        channel="till",
        tendered="50.00",
        currency="KES",
        units="1.2",
        unit="m³",
        sold_by="till-1",
        sold_at=AT,
        issued_at=AT,
        delivery=made(
            models.Delivery, state="sent", sent_at=AT, accepted_at=None, verified_at=None
        ),
    )
    token = made(
        device_models.MeterToken,
        receipt_number="R1",
        sold_at=AT,
        tendered="50.00",
        currency="KES",
        units="1.2",
        unit="m³",
        state="accepted",
        delivery="already_used",
        accepted_by="keypad",
        accepted_at=AT,
        token_masked="****...1234",  # noqa: S106  a masked token is no secret
        purpose="free",
    )
    event = made(
        device_models.Event,
        id=5,
        at=AT,
        kind="tamper",
        severity="alarm",
        meter=None,
        text="cover opened",
        data={},
    )

    assert model.parse_sale(answered(sale)).delivery == "sent"
    assert model.parse_token(answered(token)).masked == "****...1234"
    assert model.parse_token(answered(token)).is_free
    assert model.parse_event(answered(event)).meter is None


@pytest.mark.parametrize(
    ("key", "wrong"),
    [
        ("as_of", "yesterday"),
        ("as_of", None),
        ("sales", []),
        ("sales_by_hour", [1]),
        ("currency", 5),
        ("commands", {"items": [{"id": "seven"}]}),
        ("meters", {"total": "many"}),
    ],
)
def test_an_answer_that_is_not_what_was_promised_is_said_to_be_so(key: str, wrong: object) -> None:
    spoilt = {**answered(overview()), key: wrong}

    with pytest.raises(Unavailable) as caught:
        model.parse_overview(spoilt)

    assert caught.value.code == "api_not_understood"


def test_what_a_newer_platform_adds_is_passed_over() -> None:
    assert model.parse_overview({**answered(overview()), "weather": "fine"}).sale_count == 2
