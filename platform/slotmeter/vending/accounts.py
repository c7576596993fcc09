"""Who buys: a meter with its supply point, account and customer as a sale sees them."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from slotmeter.errors import Refused
from slotmeter.units import Commodity

__all__ = ["CreditMode", "Supply", "Terms", "check_may_buy", "masked_name", "words_of"]

WORD_CHARACTERS_MAX: Final = 40
"""What is beyond this of a word is not looked at."""


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


def words_of(*texts: str) -> list[str]:
    """Return each word of some texts once, in their order, to find a customer by.

    A word is a run of letters and digits without case and accents: ``Müller-Otieno`` is ``muller``
    and ``otieno``.
    """
    folded = unicodedata.normalize("NFKD", " ".join(texts).casefold())
    kept = "".join(
        each if each.isalnum() else "" if unicodedata.combining(each) else " " for each in folded
    )
    return list(dict.fromkeys(word[:WORD_CHARACTERS_MAX] for word in kept.split()))
