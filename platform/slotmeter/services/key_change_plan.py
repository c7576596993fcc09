"""What changing one meter's key takes and shows, and what of it cannot be; pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from slotmeter.errors import Conflict, NotFound, Refused
from slotmeter.ports import From, Read, Row, Rows, SqlValue
from slotmeter.services.key_wanted import Coding
from slotmeter.units import DAY_US
from slotmeter.vending.accounts import CreditMode
from slotmeter.vending.sts import (
    KeyParameters,
    change_due,
    check_change,
    kt_allowed,
    set_subclasses,
)

__all__ = [
    "UNUSED_DAYS",
    "ChangeView",
    "KeyPlan",
    "KeyWish",
    "SetToken",
    "check_new_key",
    "check_same",
    "codable",
    "found_change",
    "meter_reads",
    "open_change",
]

UNUSED_DAYS: Final = 90
"""Tokens of this time that no meter reported are named before a change makes them worthless."""

UNUSED_MAX: Final = 50


@dataclass(frozen=True, slots=True)
class KeyWish:
    """What a meter shall be coded with.

    Args:
        key_id: of the vending key; None takes that of the meter's supply group, else its own.
        tariff_index: 0 to 99; None leaves the meter's.
        three_tokens: EA07: let the set carry the supply group code as well.
        with_sale: make the set with the meter's next sale, not now.
    """

    key_id: str | None = None
    tariff_index: int | None = None
    three_tokens: bool = False
    with_sale: bool = False


@dataclass(frozen=True, slots=True)
class KeyPlan:
    """What a change would do.

    Args:
        meter: the row of the read ``key_meter``.
        current: what the meter is coded with.
        coding: what it would be coded with.
        unused: recent tokens of credit that it makes worthless if they are not typed before.
    """

    meter: Row
    current: KeyParameters
    coding: Coding
    unused: Sequence[Row]


@dataclass(frozen=True, slots=True)
class SetToken:
    """One token of a set.

    ``command`` is the state of its newest delivery to the meter, None without one.
    """

    place: int
    subclass: int
    digits: str
    state: str
    command: str | None


@dataclass(frozen=True, slots=True)
class ChangeView:
    """A change of one meter's key.

    Args:
        row: of a ``key_change...`` read.
        tokens: its set in the order of typing; empty before the sale that makes it is complete.
        unused: tokens that were not reported as used when it was made, with what became of them.
    """

    row: Row
    tokens: Sequence[SetToken]
    unused: Sequence[Row]


def meter_reads(utility_id: int, meter: str, now_us: int) -> list[Read]:
    """Return what a change of a meter's key needs to know of it."""
    of_meter: dict[str, SqlValue | From] = {
        "utility_id": utility_id,
        "meter_id": From("meter", "id"),
    }
    unused: dict[str, SqlValue | From] = {
        **of_meter,
        "parameters": From("meter", "parameters"),
        "since_us": now_us - UNUSED_DAYS * DAY_US,
        "limit": UNUSED_MAX,
    }
    return [
        Read("key_meter", {"utility_id": utility_id, "number": meter}, "meter"),
        Read("key_unused", unused, "unused"),
        Read("control_pending", of_meter, "pending"),
    ]


def codable(rows: Rows, number: str) -> Row:
    """Return a meter that has a key.

    Raises:
        NotFound: ``meter_unknown``.
        Refused: ``meter_removed``, ``meter_without_key``.
    """
    if not rows["meter"]:
        raise NotFound("meter_unknown", f"no meter {number} is known here")
    row = rows["meter"][0]
    if row["state"] == "removed":
        raise Refused("meter_removed", f"meter {number} is no longer in use", field="meter")
    if row["credit_mode"] != CreditMode.METER or row["parameters"] is None:
        raise Refused(
            "meter_without_key",
            f"meter {number} takes no tokens: the platform holds its credit",
            field="meter",
        )
    return row


def check_new_key(
    current: KeyParameters, new: KeyParameters, same_key: bool, wish: KeyWish, minute: int
) -> None:
    """Refuse a change that is none, or that the meter or the new key cannot bear."""
    if same_key and not change_due(current, new):
        raise Refused("key_change_not_due", "the meter is coded with this key already", field="key")
    check_change(current, new, minute)
    set_subclasses(new.ea, three_tokens=wish.three_tokens)
    if not kt_allowed(current.kt, new.kt, magnetic_carrier=False):
        raise Refused(
            "key_type_not_allowed",
            f"no meter goes from a key of type {current.kt} to one of type {new.kt}",
            field="key",
        )


def check_same(row: Row, planned: Row) -> None:
    """Refuse to write a set that was made for what the meter is not coded with any more."""
    if any(row[name] != planned[name] for name in ("key_id", "parameters", "wanted")):
        raise Conflict("changed_meanwhile", "the meter's key was changed meanwhile; ask again")


def found_change(rows: Sequence[Row]) -> Row:
    """Return the change that was read.

    Raises:
        NotFound: ``key_change_unknown``.
    """
    if not rows:
        raise NotFound("key_change_unknown", "there is no such key change")
    return rows[0]


def open_change(rows: Sequence[Row]) -> Row:
    """Return the change that was read and has not ended.

    Raises:
        NotFound: ``key_change_unknown``.
        Refused: ``key_change_ended``.
    """
    row = found_change(rows)
    if row["state"] != "open":
        raise Refused("key_change_ended", f"this key change is {row['state']} already")
    return row
