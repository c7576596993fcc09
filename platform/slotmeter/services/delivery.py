"""How the delivery of a sale moves on: pure steps from what happened to what its seller sees."""

from __future__ import annotations

from enum import StrEnum
from types import MappingProxyType

from slotmeter.ports import SqlValue, Step, Update

__all__ = ["Delivery", "Happening", "after", "delivery_steps"]


class Delivery(StrEnum):
    """Where the credit of a sale is on its way to the meter."""

    NONE = "none"  # the platform holds the credit
    KEYPAD = "keypad"  # nothing reaches the meter; the buyer types the digits
    PENDING = "pending"
    SENT = "sent"
    ACCEPTED = "accepted"
    VERIFIED = "verified"
    ALREADY_USED = "already_used"
    FAILED = "failed"


class Happening(StrEnum):
    """What a medium or a meter tells about the token of a sale."""

    SENT = "sent"  # a medium took the command
    ACCEPTED = "accepted"  # the meter took the token from us
    TYPED = "typed"  # the meter took the token from its keypad
    ALREADY_USED = "already_used"  # the meter had it before
    PROVEN = "proven"  # the meter's credit rose by it
    GAVE_UP = "gave_up"  # refused by the meter, expired, or tried too often


_D, _H = Delivery, Happening
_NEXT = MappingProxyType(
    {
        (_D.PENDING, _H.SENT): _D.SENT,
        (_D.PENDING, _H.ACCEPTED): _D.ACCEPTED,
        (_D.PENDING, _H.ALREADY_USED): _D.ALREADY_USED,
        (_D.PENDING, _H.GAVE_UP): _D.FAILED,
        (_D.SENT, _H.ACCEPTED): _D.ACCEPTED,
        (_D.SENT, _H.ALREADY_USED): _D.ALREADY_USED,
        (_D.SENT, _H.GAVE_UP): _D.FAILED,
        (_D.ACCEPTED, _H.PROVEN): _D.VERIFIED,
        # The command was given up, yet the credit arrived.
        (_D.FAILED, _H.ACCEPTED): _D.ACCEPTED,
        (_D.FAILED, _H.ALREADY_USED): _D.ALREADY_USED,
        (_D.FAILED, _H.TYPED): _D.ALREADY_USED,
    }
)


def after(before: Delivery, happening: Happening) -> Delivery:
    """Return the state of a delivery after something happened; most things change nothing.

    A token typed at the keypad leaves a delivery that is on its way alone: it ends as *already
    used* when the meter says so.
    """
    return _NEXT.get((before, happening), before)


_ARRIVED = frozenset({Happening.ACCEPTED, Happening.TYPED, Happening.ALREADY_USED})


def delivery_steps(
    utility_id: int, sale_row_id: int, before: str, happening: Happening, *, now_us: int
) -> tuple[Delivery, list[Step]]:
    """Return the state of a sale's delivery after something happened, and what writes it.

    Args:
        utility_id: whose sale.
        sale_row_id: the sale.
        before: its delivery as read in this unit.
        happening: what happened.
        now_us: our clock; every stamp of a sale is of this one clock.
    """
    state = after(Delivery(before), happening)
    # A stamp that is set already stays: the statement keeps the first.
    params: dict[str, SqlValue] = {
        "of_utility": utility_id,
        "of_sale": sale_row_id,
        "of_delivery": before,
        "to_delivery": state.value,
        "to_sent_us": now_us if happening is Happening.SENT else None,
        "to_accepted_us": now_us if happening in _ARRIVED else None,
        "to_verified_us": now_us if happening is Happening.PROVEN else None,
    }
    return state, [Update("control_delivery", params)]
