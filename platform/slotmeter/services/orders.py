"""What is asked of a meter before it is a command: for which meter, and what it says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from slotmeter.devices.commands import (
    CREDIT_MODES,
    CUTTING,
    TEXT_CHARACTERS_MAX,
    TEXT_OF,
    VALUE_OF,
    CommandKind,
)
from slotmeter.services.command_rows import CommandCause
from slotmeter.units import Commodity

__all__ = ["LOAD_LIMIT_W_MIN", "Order", "Target", "would_cut"]

LOAD_LIMIT_W_MIN: Final = 300
"""A smaller limit would cut nearly every household: that is a cut and is asked for as one."""


def would_cut(text: str | None, credit_balance: int | None) -> bool:
    """Say whether a meter that is given a credit mode would cut supply at once.

    Args:
        text: of a command; only credit modes say anything here.
        credit_balance: what the meter last told of its own credit.
    """
    return text == CREDIT_MODES[0] and (credit_balance or 0) <= 0


@dataclass(frozen=True, slots=True)
class Target:
    """The meter a command is for, and the device that carries it.

    ``expected_us`` says when the device is expected to be heard, where that is known.
    """

    utility_id: int
    meter_id: int
    device_id: int
    commodity: Commodity
    expected_us: int | None = None


@dataclass(frozen=True, slots=True)
class Order:
    """A command that takes no supply away.

    Args:
        kind: any but the cutting ones; those are a :class:`Cut`.
        cause: who wants it.
        reason: a sentence for the command's history.
        principal_id: the person or vendor behind it.
        token_id: the token to load.
        sale_row_id: the sale it delivers.
        value: for the kinds in ``VALUE_OF``: percent or W.
        text: for the kinds in ``TEXT_OF``.
    """

    kind: CommandKind
    cause: CommandCause
    reason: str
    principal_id: int | None = None
    token_id: int | None = None
    sale_row_id: int | None = None
    value: int | None = None
    text: str | None = None

    def __post_init__(self) -> None:
        """Refuse what would go round the gate, and what no meter can mean."""
        if self.kind in CUTTING:
            raise TypeError(f"{self.kind} takes supply away: it needs a Cut with a verdict")
        if (self.kind is CommandKind.LOAD_TOKEN) != (self.token_id is not None):
            raise TypeError(f"{self.kind} and token_id do not fit together")
        values = VALUE_OF.get(self.kind)
        if (values is None) != (self.value is None) or (values and self.value not in values):
            raise TypeError(f"{self.kind} and the value {self.value} do not fit together")
        if self.kind is CommandKind.SET_LOAD_LIMIT and 0 < (self.value or 0) < LOAD_LIMIT_W_MIN:
            raise TypeError(f"a limit of {self.value} W takes supply away")
        if (self.kind in TEXT_OF) != (self.text is not None):
            raise TypeError(f"{self.kind} and the text do not fit together")
        if self.text is not None and not 0 < len(self.text) <= TEXT_CHARACTERS_MAX:
            raise TypeError(f"expected a text of 1 to {TEXT_CHARACTERS_MAX} characters")
