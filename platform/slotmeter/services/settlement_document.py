"""A settlement as a document that the customer can check: JSON, and text for a printer."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Self
from zoneinfo import ZoneInfo

from slotmeter.ports import Principal, Row
from slotmeter.services.settlement import Balances, Settled, Valued
from slotmeter.units import Commodity, Money, commodity_quantity, iso_utc
from slotmeter.vending.accounts import Terms

__all__ = ["MeterSettled", "settlement_document", "settlement_text"]

COLUMNS: Final = 42


@dataclass(frozen=True, slots=True)
class MeterSettled:
    """What one meter adds to a settlement.

    Args:
        meter_id: the meter.
        number: its number.
        commodity: what it delivers.
        transfer: what its credit counts: units or currency.
        register: at the settlement, Wh or mL.
        is_charged: the platform holds its credit and has charged it up to the register.
        credit_left: on the meter: Wh, mL or minor units; None where it was not asked.
        parts: which purchases that came from.
        used: since the terms changed last, Wh or mL; None where the platform charges.
        cost: what goes back, or is owed, by the ledger account; minor units.
    """

    meter_id: int
    number: str
    commodity: str
    transfer: str
    register: int
    is_charged: bool
    credit_left: int | None
    parts: tuple[Valued, ...]
    used: int | None
    cost: Mapping[str, int]

    @classmethod
    def of(
        cls,
        meter: Row,
        register: int,
        *,
        is_charged: bool = False,
        credit_left: int | None = None,
        parts: tuple[Valued, ...] = (),
        used: int | None = None,
        used_cost: Mapping[str, int] | None = None,
    ) -> Self:
        """Build it for a meter of the read ``terms_meters``."""
        cost = dict(used_cost or {})
        for part in parts:
            for account, minor in part.cost.items():
                cost[account] = cost.get(account, 0) + minor
        return cls(
            meter_id=meter["meter_id"],
            number=meter["number"],
            commodity=meter["commodity"],
            transfer=meter["transfer"],
            register=register,
            is_charged=is_charged,
            credit_left=credit_left,
            parts=parts,
            used=used,
            cost=cost,
        )

    @staticmethod
    def registers_of(settlement: str | None) -> dict[str, int]:
        """Return the register of each meter in a stored settlement, Wh or mL."""
        if settlement is None:
            return {}
        return {each["meter"]: each["register_base"] for each in json.loads(settlement)["meters"]}


def settlement_document(
    *,
    account: Row,
    to: Terms,
    at_us: int,
    by: Principal,
    reason: str,
    meters: Sequence[MeterSettled],
    balances: Balances,
    moved: Settled,
) -> dict[str, Any]:
    """Return a settlement as it is stored and handed out; money is text in major units."""
    currency = account["currency"]

    def money(minor: int) -> str:
        return str(Money(minor, currency))

    return {
        "title": "Settlement",
        "account": account["number"],
        "customer": account["customer_name"],
        "terms": to.value,
        "at": iso_utc(at_us),
        "time_zone": by.time_zone,
        "by": by.name,
        "reason": reason,
        "currency": currency,
        "meters": [_meter(each, money) for each in meters],
        "before": {
            "credit": money(-balances.customer - balances.advance),
            "owed": money(balances.receivable),
        },
        "moved": [
            {"account": each.account, "amount": money(each.amount_minor)} for each in moved.postings
        ],
        "after": {"credit": money(moved.credit_minor), "owed": money(moved.owed_minor)},
    }


def _meter(settled: MeterSettled, money: Any) -> dict[str, Any]:
    quantity = commodity_quantity(Commodity(settled.commodity))
    counts_money = settled.transfer == "currency"

    def carried(amount: int) -> str:
        return money(amount) if counts_money else quantity(amount).sold_text

    left = settled.credit_left
    return {
        "meter": settled.number,
        "register": quantity(settled.register).sold_text,
        "register_base": settled.register,
        "unit": quantity.sold_symbol,
        "used": None if settled.used is None else quantity(settled.used).sold_text,
        "credit_left": None if left is None else carried(left),
        "credit_to_clear": bool(left),
        "parts": [
            {
                "receipt_number": part.receipt_number,
                "left": carried(part.left),
                "free": quantity(part.free).sold_text,
                "amount": money(part.minor),
            }
            for part in settled.parts
        ],
        "amount": money(sum(settled.cost.values())),
        "lines": [
            {"account": account, "amount": money(minor)} for account, minor in settled.cost.items()
        ],
    }


def settlement_text(document: Mapping[str, Any]) -> str:
    """Return a stored settlement as lines of at most ``COLUMNS`` characters."""
    return "\n".join(_text_lines(document)) + "\n"


def _text_lines(document: Mapping[str, Any]) -> Iterator[str]:
    at = datetime.fromisoformat(document["at"]).astimezone(ZoneInfo(document["time_zone"]))
    yield document["title"].upper().center(COLUMNS).rstrip()
    yield _pair("Account", document["account"])
    yield _pair("Customer", document["customer"])
    yield _pair("From now on", document["terms"])
    yield _pair("At", f"{at:%Y-%m-%d %H:%M}")
    yield "-" * COLUMNS
    for meter in document["meters"]:
        yield from _meter_lines(meter)
    currency = document["currency"]
    yield "-" * COLUMNS
    yield _pair("Credit before", f"{document['before']['credit']} {currency}")
    yield _pair("Owed before", f"{document['before']['owed']} {currency}")
    yield _pair("Credit now", f"{document['after']['credit']} {currency}")
    yield _pair("Owed now", f"{document['after']['owed']} {currency}")
    yield "-" * COLUMNS
    yield _pair("By", document["by"])
    yield _pair("Reason", document["reason"])


def _meter_lines(meter: Mapping[str, Any]) -> Iterator[str]:
    yield _pair(f"Meter {meter['meter']}", f"{meter['register']} {meter['unit']}")
    if meter["used"] is not None:
        yield _pair(f"  used {meter['used']} {meter['unit']}", meter["amount"])
    if meter["credit_left"] is not None:
        yield _pair(f"  left on it {meter['credit_left']}", meter["amount"])
    for part in meter["parts"]:
        free = f", {part['free']} free" if part["free"] not in ("0", "0.0") else ""
        yield _pair(f"  {part['receipt_number']}: {part['left']}{free}", part["amount"])
    if meter["credit_to_clear"]:
        yield "  the credit on the meter is to be cleared"


def _pair(label: str, value: str) -> str:
    room = COLUMNS - len(value) - 1
    return f"{label[:room]:<{max(0, room)}} {value}"
