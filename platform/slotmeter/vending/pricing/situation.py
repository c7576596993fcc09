"""What pricing needs to know of the buyer at one instant; stored with the sale as JSON.

With the tariff version and the tender it determines the priced lines completely: pricing it again
after years gives the same lines, digit for digit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from operator import attrgetter
from typing import Any, Final, Self

__all__ = [
    "ChargeState",
    "DebtState",
    "FreeState",
    "PriceChange",
    "PricedBefore",
    "Situation",
    "Transfer",
]


class Transfer(StrEnum):
    """What a credit token carries."""

    UNITS = "units"
    CURRENCY = "currency"


@dataclass(frozen=True, slots=True)
class ChargeState:
    """One fixed charge of one period that is open, with what was taken of it, minor units net.

    Args:
        code: the item's code in the tariff.
        period: ``2026-11`` for months, ``2026-11-21`` for days.
        taken_minor: taken so far, without tax.
        tendered_minor: tendered so far in this period, with this purchase not included (for
            charges that small purchases pay in proportion).
        due_minor: what the charge of an earlier period came to, without tax, where that depends on
            the use of then; 0 when it is not known.
    """

    code: str
    period: str
    taken_minor: int = 0
    tendered_minor: int = 0
    due_minor: int = 0


@dataclass(frozen=True, slots=True)
class DebtState:
    """One open debt, as of the instant.

    Args:
        debt_id: the row.
        kind: ``arrears``, ``loan``, ``fine``, ``emergency_credit`` or the utility's own word.
        label: for people.
        priority: smaller is taken first; equal ones by id.
        balance_minor: what is owed.
        due_minor: what this purchase shall take at most (instalments due); None for no limit.
        percent: share of the tender that goes to it, as text; None when ``due_minor`` says all.
        tax_percent: tax within what is repaid, as text; None for none.
        bypasses_cap: emergency credit is repaid before anything else, cap or not.
        number: as ``D00000001``; names the debt's ledger account.
    """

    debt_id: int
    kind: str
    label: str
    priority: int
    balance_minor: int
    due_minor: int | None = None
    percent: str | None = None
    tax_percent: str | None = None
    bypasses_cap: bool = False
    number: str = ""


@dataclass(frozen=True, slots=True)
class FreeState:
    """Free units that may be claimed now.

    Args:
        code: the item's code in the tariff.
        periods: months open to be claimed, as ``2026-11``, the oldest first.
    """

    code: str
    periods: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PricedBefore:
    """Units of the window that a correction takes back, and the prices that were paid for them.

    Args:
        table: of the tariff, by whose prices they were sold.
        total: the window's total that they were priced for, after them; Wh or mL.
        units: so many, the last of that total.
    """

    table: str
    total: int
    units: int


@dataclass(frozen=True, slots=True)
class PriceChange:
    """What units sold before cost more, or less, by prices that count from an earlier day.

    Args:
        account: of the ledger that earns it.
        label: for people.
        since: the day that the prices count from, as ``2026-03-15``.
        units: sold since then at older prices, Wh or mL.
        cost_minor: what they had cost, minor units on this account.
        minor: so much more they cost now; negative for less.
    """

    account: str
    label: str
    since: str
    units: int
    cost_minor: int
    minor: int


@dataclass(frozen=True, slots=True)
class Situation:
    """The buyer, the meter and the moment.

    Args:
        at_us: the instant, UTC epoch microseconds.
        time_zone: IANA name that local dates follow.
        prior_units: units counted in the block window so far, Wh or mL (Wh for gas priced by
            energy).
        prior_lifeline_units: of these, bought at a price that a correction takes back.
        customer_class: code, or None.
        average_units: average monthly use over the tariff's months, or None when unknown.
        connection: size of the connection, or None.
        load_w: sanctioned load in W, or None.
        demand_w: highest demand measured in the period before, or None.
        channel: till, web, phone, bank.
        vendor: the seller's branch code.
        transfer: what the token carries.
        is_meter_credit: the meter holds the credit; else the ledger does and no token is made.
        sts_grid: the credit goes by STS tokens, which count tenths of a kWh or m³ and, above 1638.3
            of these, coarser; False for a meter credited in another way, for a calculator or bill.
        account_number: whose account platform-held credit goes to.
        meter_max_minor: the largest purchase for this meter, or None.
        advance_minor: kept from an earlier purchase for this one.
        calorific_value: MJ/m³ of the day and zone as text, or None for the tariff's own.
        charges: open fixed charges, in the order in which they are taken.
        debts: open debts, in any order.
        free: free units that may be claimed.
        missed_windows: block windows without a purchase before this one, for counters that keep
            their first blocks (``Counter.missed``); 0 else.
        priced_before: what was paid for ``prior_lifeline_units``, the oldest first, where that is
            not the price that the buyer's own table has for the total so far; empty where it is.
        price_changes: what earlier sales cost more, or less, as prices count from before them.
        repriced_sales: the rows of these sales.
        repriced_lifeline_units: of their units, so many are now at a price of this window that a
            later correction takes back; they are within ``prior_lifeline_units``.
        used_units: used in the window so far, Wh or mL, where the ledger holds the credit, for
            charges that depend on it; purchases count no units there.
    """

    at_us: int
    time_zone: str
    prior_units: int = 0
    prior_lifeline_units: int = 0
    customer_class: str | None = None
    average_units: int | None = None
    connection: str | None = None
    load_w: int | None = None
    demand_w: int | None = None
    channel: str = "till"
    vendor: str = ""
    transfer: Transfer = Transfer.UNITS
    is_meter_credit: bool = True
    sts_grid: bool = True
    account_number: str = ""
    meter_max_minor: int | None = None
    advance_minor: int = 0
    calorific_value: str | None = None
    charges: tuple[ChargeState, ...] = ()
    debts: tuple[DebtState, ...] = ()
    free: tuple[FreeState, ...] = ()
    missed_windows: int = 0
    priced_before: tuple[PricedBefore, ...] = ()
    used_units: int = 0
    price_changes: tuple[PriceChange, ...] = ()
    repriced_sales: tuple[int, ...] = ()
    repriced_lifeline_units: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able copy of what differs from nothing; :meth:`from_dict` reads it."""
        body: dict[str, Any] = {
            name: value
            for name, value, nothing in zip(_FIELDS, _values(self), _NOTHING, strict=True)
            if value is not nothing and value != nothing
        }
        for name in _PARTS:
            if name in body:
                body[name] = [_as_dict(part) for part in body[name]]
        return body

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Build from :meth:`to_dict`."""
        given = dict(data)
        if "transfer" in given:
            given["transfer"] = Transfer(given["transfer"])
        for name, kind in _PARTS.items():
            given[name] = tuple(kind(**_lists_as_tuples(part)) for part in given.get(name, ()))
        return cls(**_lists_as_tuples(given))


_Part = ChargeState | DebtState | FreeState | PricedBefore | PriceChange
_PARTS: Final[Mapping[str, type[_Part]]] = {
    "charges": ChargeState,
    "debts": DebtState,
    "free": FreeState,
    "priced_before": PricedBefore,
    "price_changes": PriceChange,
}
_FIELDS: Final = tuple(field.name for field in fields(Situation))
_NOTHING: Final = tuple(field.default for field in fields(Situation))
_values: Final = attrgetter(*_FIELDS)


def _as_dict(part: _Part) -> dict[str, Any]:
    body = {name: getattr(part, name) for name in part.__slots__}
    if isinstance(part, ChargeState) and not part.due_minor:
        del body["due_minor"]
    return body


def _lists_as_tuples(part: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: tuple(value) if isinstance(value, list) else value for name, value in part.items()
    }
