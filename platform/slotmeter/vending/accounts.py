"""Who buys: a meter with its supply point, account and customer as a sale sees them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from slotmeter.errors import Refused
from slotmeter.units import Commodity

__all__ = ["CreditMode", "Supply", "Terms", "check_may_buy", "masked_name"]


class CreditMode(StrEnum):
    """Who holds the credit."""

    METER = "meter"  # the meter; credit goes by token
    PLATFORM = "platform"  # the ledger; the platform decides on relay and valve


class Terms(StrEnum):
    """When an account pays."""

    PREPAID = "prepaid"
    POSTPAID = "postpaid"


@dataclass(frozen=True, slots=True)
class Supply:
    """A meter at a place, with who pays for it."""

    meter_number: str
    commodity: Commodity
    credit_mode: CreditMode
    state: str
    account_number: str
    customer_number: str
    customer_name: str
    customer_address: str
    area: str


def check_may_buy(supply: Supply) -> None:
    """Refuse a purchase for a meter that is blocked or taken away.

    Raises:
        Refused: ``meter_blocked`` or ``meter_removed``.
    """
    if supply.state == "blocked":
        raise Refused(
            "meter_blocked",
            f"meter {supply.meter_number} is blocked for sales; ask the utility's office",
            field="meter",
        )
    if supply.state != "active":
        raise Refused(
            "meter_removed", f"meter {supply.meter_number} is no longer in use", field="meter"
        )


def masked_name(name: str) -> str:
    """Show enough of a name to recognise it and no more: ``A**** O*****``."""
    return " ".join(word[0] + "*" * (len(word) - 1) for word in name.split())
