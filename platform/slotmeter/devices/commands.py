"""Commands to meters: their kinds, their states and the steps between them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

__all__ = [
    "CREDIT_MODES",
    "CUTTING",
    "ENDED",
    "MOVABLE",
    "NOT_DONE",
    "RESTORING",
    "SETTING",
    "STEPS",
    "TEXT_CHARACTERS_MAX",
    "TEXT_OF",
    "VALUE_OF",
    "CommandKind",
    "CommandOut",
    "CommandResult",
    "CommandState",
    "Outcome",
    "may_step",
]


class CommandKind(StrEnum):
    """What a meter can be asked to do."""

    LOAD_TOKEN = "load_token"  # noqa: S105  a command's name, not a secret
    OPEN_RELAY = "open_relay"  # electricity off
    CLOSE_RELAY = "close_relay"  # electricity on
    CLOSE_VALVE = "close_valve"  # water or gas off
    OPEN_VALVE = "open_valve"  # water or gas on
    READ_NOW = "read_now"
    SET_VALVE = "set_valve"  # value: percent open, 1 to 100
    SET_LOAD_LIMIT = "set_load_limit"  # value: W; 0 takes the limit away
    SET_TARIFF = "set_tariff"  # text: the tariff's number at the meter
    SET_CLOCK = "set_clock"  # value: seconds since 1970, of the moment in which it is handed out
    SET_CREDIT_MODE = "set_credit_mode"  # text: one of CREDIT_MODES
    CLEAR_TAMPER = "clear_tamper"


CUTTING = frozenset({CommandKind.OPEN_RELAY, CommandKind.CLOSE_VALVE})
"""Kinds that take supply away: only ``services.control.may_cut`` lets them through."""

RESTORING = frozenset({CommandKind.CLOSE_RELAY, CommandKind.OPEN_VALVE})
"""Kinds that give supply back."""

SETTING = frozenset(
    {
        *(CommandKind.SET_LOAD_LIMIT, CommandKind.SET_TARIFF),
        *(CommandKind.SET_CLOCK, CommandKind.SET_CREDIT_MODE),
    }
)
"""Kinds of which only the newest counts: a newer one of the same kind leaves older ones behind."""

VALUE_OF = MappingProxyType(
    {
        CommandKind.SET_VALVE: range(1, 101),
        CommandKind.SET_LOAD_LIMIT: range(10_000_001),
    }
)
"""Kinds that need a value, and which may be given."""

TEXT_OF = frozenset({CommandKind.SET_TARIFF, CommandKind.SET_CREDIT_MODE})
"""Kinds that need a text."""

CREDIT_MODES = ("prepaid", "postpaid")
"""What ``SET_CREDIT_MODE`` may say: the meter cuts at zero credit, or only counts."""

TEXT_CHARACTERS_MAX = 64
"""No ``CommandOut.text`` is longer."""


class CommandState(StrEnum):
    """Where a command is on its way.

    ``VERIFIED`` is reached only by the meter's own report, never by a network acknowledgement.
    """

    QUEUED = "queued"
    WAITING = "waiting"  # queued, and its meter is expected to be heard at a known time
    HELD = "held"
    REFUSED = "refused"
    SENT = "sent"
    ACKNOWLEDGED = "acknowledged"
    VERIFIED = "verified"
    FAILED = "failed"
    EXPIRED = "expired"
    SUPERSEDED = "superseded"


ENDED = frozenset(
    {
        CommandState.REFUSED,
        CommandState.VERIFIED,
        CommandState.FAILED,
        CommandState.EXPIRED,
        CommandState.SUPERSEDED,
    }
)
"""States that a command never leaves."""

MOVABLE = frozenset({CommandState.QUEUED, CommandState.WAITING})
"""States in which a command goes out as soon as its meter is heard."""

_S = CommandState
STEPS = MappingProxyType(
    {
        _S.QUEUED: frozenset({_S.WAITING, _S.SENT, _S.HELD, _S.REFUSED, _S.EXPIRED, _S.SUPERSEDED}),
        _S.WAITING: frozenset({_S.QUEUED, _S.SENT, _S.HELD, _S.REFUSED, _S.EXPIRED, _S.SUPERSEDED}),
        _S.HELD: frozenset({_S.QUEUED, _S.WAITING, _S.REFUSED, _S.EXPIRED, _S.SUPERSEDED}),
        _S.SENT: frozenset(
            {
                *(_S.QUEUED, _S.WAITING, _S.ACKNOWLEDGED, _S.VERIFIED),
                *(_S.FAILED, _S.EXPIRED, _S.SUPERSEDED),
            }
        ),
        _S.ACKNOWLEDGED: frozenset({_S.VERIFIED, _S.FAILED, _S.SUPERSEDED}),
    }
)
"""Which state may follow which; a sent command goes back to queued when its lease runs out."""


def may_step(before: CommandState, after: CommandState) -> bool:
    """Say whether a command may go from one state to another."""
    return after in STEPS.get(before, frozenset())


class Outcome(StrEnum):
    """What a meter says of a command; the token results are those of IEC 62055-41 entry."""

    DONE = "done"
    ALREADY_USED = "already_used"
    OLD_TOKEN = "old_token"  # noqa: S105  a result's name, not a secret
    KEY_EXPIRED = "key_expired"
    REJECTED = "rejected"
    WAITING = "waiting"  # another section of a key change set is expected
    UNSUPPORTED = "unsupported"


NOT_DONE = frozenset(
    {Outcome.OLD_TOKEN, Outcome.KEY_EXPIRED, Outcome.REJECTED, Outcome.UNSUPPORTED}
)
"""What a meter says of a command that changed nothing."""


@dataclass(frozen=True, slots=True)
class CommandOut:
    """A command as a driver and a medium see it.

    Args:
        id: the queue's identifier, echoed by the meter.
        kind: what to do.
        token: the 20 digits for ``LOAD_TOKEN``, else None. Never log it.
        value: percent for ``SET_VALVE``, W for ``SET_LOAD_LIMIT``, seconds since 1970 for
            ``SET_CLOCK``, else None.
        text: the number for ``SET_TARIFF``, one of ``CREDIT_MODES`` for ``SET_CREDIT_MODE``, else
            None.
        slot: the place of the meter behind the node that takes the command; None for a device that
            speaks for itself.
    """

    id: int
    kind: CommandKind
    token: str | None = None
    value: int | None = None
    text: str | None = None
    slot: int | None = None

    def __repr__(self) -> str:
        """Show the command without its token."""
        return f"CommandOut(id={self.id}, kind={self.kind.value})"


@dataclass(frozen=True, slots=True)
class CommandResult:
    """What the meter reports of one command.

    Args:
        command_id: the identifier it was sent with.
        outcome: what came of it.
        tid: identifier of the token, minutes since the meter's base date, for token commands.
        amount: credit added, in Wh or mL, for accepted credit tokens.
    """

    command_id: int
    outcome: Outcome
    tid: int | None = None
    amount: int | None = None
