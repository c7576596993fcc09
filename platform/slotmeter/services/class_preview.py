"""One purchase under the class that an account has and under another one, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from slotmeter.errors import NotFound, Refused
from slotmeter.ports import Caller, Clock, Read, Row, Rows, SqlValue, UnitOfWork
from slotmeter.services.pricing import PurchaseReads, price
from slotmeter.units import Commodity, Money, commodity_quantity, epoch_us, parse_money
from slotmeter.vending.pricing.priced import PricedLine

__all__ = ["ClassPreview", "UnderClass"]

CHANNEL: Final = "till"


@dataclass(frozen=True, slots=True)
class UnderClass:
    """What a purchase gives under a class; refused says why nothing could be bought.

    Args:
        class_code: the class, or None.
        units: in the unit sold, as text; empty when refused.
        unit: of these.
        lines: how the tender is used.
        refused: code and sentence of the refusal, or None.
    """

    class_code: str | None
    units: str
    unit: str
    lines: Sequence[PricedLine]
    refused: tuple[str, str] | None = None


class ClassPreview:
    """Prices purchases that nobody makes."""

    def __init__(self, uow: UnitOfWork, clock: Clock) -> None:
        """Hold the database and the clock."""
        self._uow = uow
        self._clock = clock

    async def preview(
        self, caller: Caller, meter: str, tendered: str, class_code: str | None
    ) -> tuple[UnderClass, UnderClass]:
        """Return what a purchase now gives under the class of now, and under another.

        Raises:
            NotFound: ``meter_unknown`` or ``class_unknown``.
            Refused: nothing is sold for this meter, or the amount is none.
        """
        principal = caller.principal
        tender = parse_money(tendered, principal.currency)
        asked = PurchaseReads(principal, meter, epoch_us(self._clock.now()), CHANNEL)
        of_class: dict[str, SqlValue] = {
            "utility_id": principal.utility_id,
            "code": class_code or "",
        }
        rows = await self._uow.read([*asked.reads(), Read("class_by_code", of_class, "class")])
        if not rows["meter"]:
            raise NotFound(
                "meter_unknown", "no meter with this number is known here", field="meter"
            )
        if class_code is not None and not rows["class"]:
            raise NotFound("class_unknown", f"there is no class {class_code}", field="class")
        found = rows["meter"][0]
        other: Row = {**found, "class_code": class_code}
        return (
            _under(rows, asked, tender, found),
            _under({**rows, "meter": [other]}, asked, tender, other),
        )


def _under(rows: Rows, asked: PurchaseReads, tender: Money, meter: Row) -> UnderClass:
    quantity = commodity_quantity(Commodity(meter["commodity"]))
    code: str | None = meter["class_code"]
    try:
        priced = price(rows, asked, tender).priced
    except Refused as error:
        return UnderClass(code, "", quantity.sold_symbol, (), (error.code, error.message))
    units = quantity(priced.units)
    return UnderClass(code, units.sold_text, units.sold_symbol, priced.lines)
