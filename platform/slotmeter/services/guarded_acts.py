"""Acts that only some may do, of which also the attempts of others are kept."""

from __future__ import annotations

from collections.abc import Mapping

from slotmeter.errors import NotAllowed, Refused
from slotmeter.ports import Caller, Changes, Clock, NewId, Right, Rows, UnitOfWork
from slotmeter.services.access import caller_act
from slotmeter.units import epoch_us

__all__ = ["REASON_CHARACTERS_MAX", "check_reason", "need_right"]

REASON_CHARACTERS_MAX = 200


def check_reason(reason: str) -> str:
    """Return a reason without blanks around it.

    Raises:
        Refused: ``reason_missing`` or ``reason_too_long``.
    """
    text = reason.strip()
    if not text:
        raise Refused("reason_missing", "say why this is done", field="reason")
    if len(text) > REASON_CHARACTERS_MAX:
        raise Refused(
            "reason_too_long",
            f"expected at most {REASON_CHARACTERS_MAX} characters, got {len(text)}",
            field="reason",
        )
    return text


async def need_right(
    uow: UnitOfWork,
    clock: Clock,
    caller: Caller,
    right: Right,
    *,
    what: str,
    subject: str,
    reason: str = "",
    data: Mapping[str, object] | None = None,
) -> None:
    """Let only those go on who have a right; the attempt of anybody else is an act of its own.

    Args:
        uow: the database.
        clock: our time.
        caller: who asks.
        right: what the act needs.
        what: name of the act; that of the attempt is ``<what>.refused``.
        subject: what it would have been done to.
        reason: that was given for it.
        data: further facts; never a token.

    Raises:
        NotAllowed: ``right_missing``.
    """
    if right in caller.principal.rights:
        return

    def decide(_rows: Rows, new_id: NewId) -> Changes[None]:
        act = caller_act(
            caller,
            new_id,
            epoch_us(clock.now()),
            what=f"{what}.refused",
            subject=subject,
            reason=reason[:REASON_CHARACTERS_MAX],
            data={"right_missing": right.value, **(data or {})},
        )
        return Changes(None, [act])

    await uow.run([], decide)
    raise NotAllowed("right_missing", f"this needs the right {right.value}")
