"""The gate of every command to a meter: what may be cut, and the only place that queues commands.

A cutting command needs a :class:`CutVerdict`, and only :func:`may_cut` can make one. A verdict
other than *allowed* still becomes a row: refused and held commands are visible with their causes.
The checks are made again when a command is handed to its medium (``services.command_queue``).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from slotmeter.devices.commands import CUTTING, MOVABLE, RESTORING, CommandKind, CommandState
from slotmeter.ports import Insert, NewId, Row, Step
from slotmeter.services.command_order import (
    is_awaited,
    outlived_steps,
    overtake_steps,
    says_as_much,
)
from slotmeter.services.command_rows import (
    EXPIRES_US,
    HELD_CUT_EXPIRES_US,
    HELD_RECHECK_US,
    PRIORITY,
    Cause,
    CommandCause,
    hold_text,
    log_step,
    movable_state,
)
from slotmeter.services.events import Event, event_step
from slotmeter.services.orders import Order, Target
from slotmeter.services.protection import Policy, protected_until
from slotmeter.units import HOUR_US, Commodity

__all__ = [
    "Cut",
    "CutFacts",
    "CutVerdict",
    "Order",
    "Queued",
    "RestoreVerdict",
    "Target",
    "Verdict",
    "cutting_kind",
    "fits",
    "may_cut",
    "may_restore",
    "queue_steps",
    "restoring_kind",
]

_RELAY: Final = frozenset(
    {CommandKind.OPEN_RELAY, CommandKind.CLOSE_RELAY, CommandKind.SET_LOAD_LIMIT}
)
_VALVE: Final = frozenset({CommandKind.OPEN_VALVE, CommandKind.CLOSE_VALVE, CommandKind.SET_VALVE})


_GIVING: Final = RESTORING | {CommandKind.SET_VALVE}
"""Kinds that let something through that may have been shut."""


class Verdict(StrEnum):
    """What the gate says."""

    ALLOWED = "allowed"
    HELD = "held"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class CutFacts:
    """Everything that a decision to cut one meter rests on. Times are UTC epoch microseconds.

    Args:
        meter_id: the meter.
        now_us: our clock.
        time_zone: of the utility.
        policy: of the utility; None when it cannot be read.
        installed: the meter hangs at a supply point with an account.
        measured_us: the meter's clock in its newest report, None before the first.
        received_us: our clock when that report came.
        critical_until_us: the account is marked critical until then.
        balance: credit left, in the unit that the credit is held in; None when it is not known.
        noticed_us: the newest low-credit or credit-used-up notice.
        paid_us: the newest payment.
        cuts_last_hour: other unconfirmed cuts of the utility within one hour.
        cause: who wants the cut.
        confirmed: a second person has agreed to go beyond the cuts of an hour.
        safety: a person states that supply is dangerous; what protects debtors does not apply.
    """

    meter_id: int
    now_us: int
    time_zone: str
    policy: Policy | None
    installed: bool
    measured_us: int | None
    received_us: int | None
    critical_until_us: int | None
    balance: int | None
    noticed_us: int | None
    paid_us: int | None
    cuts_last_hour: int
    cause: CommandCause
    confirmed: bool = False
    safety: bool = False


@dataclass(frozen=True, slots=True)
class _Seal:
    """What a verdict said when the gate gave it; a verdict that says anything else is no verdict.

    Only :func:`may_cut` makes one, so a copy with other words (``dataclasses.replace``) is found.
    """

    verdict: Verdict
    causes: tuple[Cause, ...]
    until_us: int | None
    meter_id: int
    at_us: int


@dataclass(frozen=True, slots=True)
class CutVerdict:
    """Whether one meter may be cut now; only :func:`may_cut` makes one.

    Args:
        verdict: allowed, held or refused.
        causes: all of them, none when allowed.
        until_us: until when it is held, where the causes tell.
        meter_id: the meter it is about.
        at_us: when it was given; it is good for this moment only.
        gate_seal: proof that the gate said exactly this.
    """

    verdict: Verdict
    causes: tuple[Cause, ...]
    until_us: int | None
    meter_id: int
    at_us: int
    gate_seal: object = field(repr=False, compare=False)

    def __post_init__(self) -> None:
        """Refuse a verdict that ``may_cut`` did not give in these words."""
        said = _Seal(self.verdict, self.causes, self.until_us, self.meter_id, self.at_us)
        if not isinstance(self.gate_seal, _Seal) or self.gate_seal != said:
            raise TypeError("a CutVerdict is made by services.control.may_cut and nowhere else")


@dataclass(frozen=True, slots=True)
class RestoreVerdict:
    """Whether supply may be given back from afar, and if not, why."""

    verdict: Verdict
    causes: tuple[Cause, ...] = ()


def _evidence_causes(facts: CutFacts, policy: Policy) -> Iterable[Cause]:
    """Yield what is missing to know that this customer has no credit left and was told so."""
    if facts.measured_us is None or facts.received_us is None:
        yield Cause("stale_reading", "the meter has not reported yet")
    else:
        # A clock that runs ahead must not make a reading younger.
        age_us = facts.now_us - min(facts.measured_us, facts.received_us)
        if age_us > policy.reading_age_hours_max * HOUR_US:
            yield Cause(
                "stale_reading",
                f"the newest reading is {age_us // HOUR_US} h old; at most "
                f"{policy.reading_age_hours_max} h are allowed",
            )
    if facts.balance is None:
        yield Cause("unknown_balance", "the credit left is not known; unknown is not zero")
    elif facts.cause is not CommandCause.PERSON and facts.balance > 0:
        yield Cause("credit_left", "there is credit left")
    paid_us = facts.paid_us if facts.paid_us is not None else 0
    if facts.noticed_us is None or facts.noticed_us < paid_us:
        yield Cause("no_notice", "no low-credit notice was recorded since the last payment")


def _refusals(facts: CutFacts) -> Iterable[Cause]:
    if facts.policy is None:
        yield Cause("policy_unreadable", "the utility's policy cannot be read; ask its office")
    if not facts.installed:
        yield Cause("meter_not_installed", "the meter belongs to no account now")
    if facts.critical_until_us is not None and facts.now_us < facts.critical_until_us:
        yield Cause(
            "critical_account",
            "the account is marked critical: supply is never cut from afar",
            facts.critical_until_us,
        )
    if not facts.safety:
        yield from _evidence_causes(facts, facts.policy or Policy())


def _holds(facts: CutFacts, policy: Policy) -> Iterable[Cause]:
    until_us = None
    if not facts.safety:
        until_us = protected_until(facts.now_us, policy, facts.time_zone)
    if until_us is not None:
        yield Cause("protected_hours", "supply is protected at this time", until_us)
    if facts.cuts_last_hour >= policy.cuts_per_hour and not facts.confirmed:
        yield Cause(
            "cut_limit",
            f"{facts.cuts_last_hour} meters were cut within the hour; more than "
            f"{policy.cuts_per_hour} need a second person",
        )


def may_cut(facts: CutFacts) -> CutVerdict:
    """Decide whether supply may be taken from one meter now; pure.

    Every opening of a relay and every closing of a valve passes here, whoever wants it. A cut is

    * refused: ``critical_account``, ``stale_reading``, ``unknown_balance``, ``no_notice``,
      ``credit_left`` (unless a person asks), ``meter_not_installed``, ``policy_unreadable``;
    * held: ``protected_hours`` (until they end), ``cut_limit`` (until a second person agrees or the
      hour has passed).

    A person who states that safety is the cause needs no reading, balance or notice and does not
    wait for protected hours: those protect people who owe. A critical account and the limit of cuts
    still count. Neither rules nor programs can state safety.
    """
    if facts.safety and facts.cause is not CommandCause.PERSON:
        raise TypeError("only a person states that safety is the cause")
    refusals = tuple(_refusals(facts))
    holds = tuple(_holds(facts, facts.policy or Policy()))
    verdict = Verdict.REFUSED if refusals else Verdict.HELD if holds else Verdict.ALLOWED
    ends_us = [cause.until_us for cause in holds if cause.until_us is not None]
    until_us = max(ends_us) if ends_us and verdict is Verdict.HELD else None
    seal = _Seal(verdict, refusals + holds, until_us, facts.meter_id, facts.now_us)
    return CutVerdict(
        verdict=seal.verdict,
        causes=seal.causes,
        until_us=seal.until_us,
        meter_id=seal.meter_id,
        at_us=seal.at_us,
        gate_seal=seal,
    )


def may_restore(commodity: Commodity) -> RestoreVerdict:
    """Decide whether supply may be given back from afar; pure. It is never late, limited or held.

    Gas is never opened from afar: somebody at the site must know that all appliances are off.
    """
    if commodity is Commodity.GAS:
        cause = Cause(
            "gas_needs_person_at_site",
            "a gas valve is opened by a person at the site who made sure that appliances are off",
        )
        return RestoreVerdict(Verdict.REFUSED, (cause,))
    return RestoreVerdict(Verdict.ALLOWED)


def fits(kind: CommandKind, commodity: Commodity) -> bool:
    """Say whether a meter of this commodity has what the command moves."""
    if kind in _RELAY:
        return commodity is Commodity.ELECTRICITY
    return kind not in _VALVE or commodity is not Commodity.ELECTRICITY


def cutting_kind(commodity: Commodity) -> CommandKind:
    """Return what takes supply away from a meter of this commodity."""
    if commodity is Commodity.ELECTRICITY:
        return CommandKind.OPEN_RELAY
    return CommandKind.CLOSE_VALVE


def restoring_kind(commodity: Commodity) -> CommandKind:
    """Return what gives supply back to a meter of this commodity."""
    if commodity is Commodity.ELECTRICITY:
        return CommandKind.CLOSE_RELAY
    return CommandKind.OPEN_VALVE


# --- queueing ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Cut:
    """A command that takes supply away, with what the gate said.

    Args:
        verdict: from :func:`may_cut` on the facts of this very moment.
        cause: rule, person or service.
        reason: a sentence for the command's history.
        principal_id: the person behind it.
        safety: the person stated that safety is the cause.
    """

    verdict: CutVerdict
    cause: CommandCause
    reason: str
    principal_id: int | None = None
    safety: bool = False


@dataclass(frozen=True, slots=True)
class Queued:
    """A command's row and what is written; the row is not new when one like it waits already."""

    command: Row
    steps: tuple[Step, ...]
    is_new: bool = True


@dataclass(frozen=True, slots=True)
class _Plan:
    """A command before it has a row."""

    kind: CommandKind
    state: CommandState
    causes: tuple[Cause, ...]
    not_before_us: int
    expires_us: int
    expected_us: int | None = None


def _plan_cut(cut: Cut, target: Target, now_us: int) -> _Plan:
    verdict = cut.verdict
    if verdict.meter_id != target.meter_id or verdict.at_us != now_us:
        raise TypeError("the verdict is about another meter or another moment")
    kind = cutting_kind(target.commodity)
    state = {
        Verdict.ALLOWED: CommandState.QUEUED,
        Verdict.HELD: CommandState.HELD,
        Verdict.REFUSED: CommandState.REFUSED,
    }[verdict.verdict]
    not_before_us, expires_us = now_us, now_us + EXPIRES_US[kind]
    if state is CommandState.HELD:
        not_before_us = verdict.until_us or now_us + HELD_RECHECK_US
        expires_us = not_before_us + HELD_CUT_EXPIRES_US
    plan = _Plan(kind, state, verdict.causes, not_before_us, expires_us)
    return _awaiting(plan, target, now_us)


def _awaiting(plan: _Plan, target: Target, now_us: int) -> _Plan:
    """Have a command that may go wait for its meter's contact, where that is expected."""
    if plan.state is not CommandState.QUEUED:
        return plan
    state, expected_us = movable_state(target.expected_us, now_us)
    return replace(plan, state=state, expected_us=expected_us)


def _plan_order(order: Order, target: Target, now_us: int) -> _Plan:
    restore = may_restore(target.commodity) if order.kind in _GIVING else None
    refused = restore is not None and restore.verdict is Verdict.REFUSED
    plan = _Plan(
        kind=order.kind,
        state=CommandState.REFUSED if refused else CommandState.QUEUED,
        causes=restore.causes if restore is not None else (),
        not_before_us=now_us,
        expires_us=now_us + EXPIRES_US[order.kind],
    )
    return _awaiting(plan, target, now_us)


def queue_steps(
    order: Order | Cut,
    target: Target,
    *,
    pending: Sequence[Row],
    now_us: int,
    new_id: NewId,
) -> Queued:
    """Return the command's row and what writes it. No other function makes rows of ``command``.

    A command that says the same as one that waits or is on its way is not doubled. A newer command
    supersedes opposite ones that have not ended (:func:`overtake_steps`), also when it is not
    doubled: what was held since the one like it was asked for must not go out after it.

    Args:
        order: what to do.
        target: the meter and its device.
        pending: the meter's commands that have not ended (statement ``control_pending``), read in
            the same unit; empty for a new token, which nothing can double.
        now_us: our clock.
        new_id: the unit's source of ids.
    """
    if isinstance(order, Cut):
        plan = _plan_cut(order, target, now_us)
    else:
        plan = _plan_order(order, target, now_us)
    if not fits(plan.kind, target.commodity):
        raise AssertionError(f"a {target.commodity} meter has nothing that {plan.kind} moves")
    says = (plan.kind, *_said(order))
    twins = [row for row in pending if (row["kind"], *(row.get(name) for name in _SAYS)) == says]
    held = [row for row in twins if row["state"] == CommandState.HELD]
    moving = [row for row in twins if row not in held and is_awaited(row, now_us)]
    same = moving or (held if plan.state is CommandState.HELD else [])
    hold = hold_text((), safety=isinstance(order, Cut) and order.safety)
    same = [row for row in same if says_as_much(row["hold"], hold)]
    if same and plan.state is not CommandState.REFUSED:
        steps = outlived_steps(same[0], pending, now_us=now_us, new_id=new_id)
        return Queued(same[0], tuple(steps), is_new=False)
    row, steps = _new_row(order, plan, target, now_us=now_us, new_id=new_id)
    steps += overtake_steps(row, pending, now_us=now_us, new_id=new_id)
    return Queued(row, tuple(steps))


_SAYS: Final = ("token_id", "value", "text")


def _said(order: Order | Cut) -> tuple[int | str | None, ...]:
    """Return what a command says beside its kind, in the order of ``_SAYS``."""
    if isinstance(order, Cut):
        return (None, None, None)
    return (order.token_id, order.value, order.text)


def _new_row(
    order: Order | Cut, plan: _Plan, target: Target, *, now_us: int, new_id: NewId
) -> tuple[Row, list[Step]]:
    row = {
        "id": new_id(),
        "utility_id": target.utility_id,
        "meter_id": target.meter_id,
        "device_id": target.device_id,
        "kind": plan.kind.value,
        **dict(zip(_SAYS, _said(order), strict=True)),
        "sale_row_id": order.sale_row_id if isinstance(order, Order) else None,
        "principal_id": order.principal_id,
        "cause": order.cause.value,
        "reason": order.reason,
        "priority": PRIORITY[plan.kind],
        "state": plan.state.value,
        "result": None,
        "hold": hold_text(plan.causes, safety=isinstance(order, Cut) and order.safety),
        "attempts": 0,
        "not_before_us": plan.not_before_us,
        "expires_us": plan.expires_us,
        "lease_us": None,
        "created_us": now_us,
        "expected_us": plan.expected_us,
        "cell": None,
        "sent_us": None,
        "acknowledged_us": None,
        "ended_us": now_us if plan.state is CommandState.REFUSED else None,
    }
    steps: list[Step] = [
        Insert("command", row),
        log_step(row, plan.state.value, _detail(order, plan), now_us=now_us, new_id=new_id),
    ]
    if plan.kind in CUTTING | RESTORING:
        steps.append(_event(row, plan, now_us=now_us, new_id=new_id))
    return row, steps


def _detail(order: Order | Cut, plan: _Plan) -> str:
    if not plan.causes:
        return order.reason
    return f"{order.reason}; {'; '.join(cause.text for cause in plan.causes)}"


def _event(row: Row, plan: _Plan, *, now_us: int, new_id: NewId) -> Insert:
    what = "Cut" if plan.kind in CUTTING else "Reconnection"
    why = "".join(f"; {cause.text}" for cause in plan.causes)
    event = Event(
        utility_id=row["utility_id"],
        at_us=now_us,
        kind=f"command_{'queued' if plan.state in MOVABLE else plan.state.value}",
        severity="info" if plan.state in MOVABLE else "warning",
        text=f"{what} {plan.state} ({row['cause']}: {row['reason']}){why}",
        meter_id=row["meter_id"],
        data={
            "command_id": row["id"],
            "kind": row["kind"],
            "causes": [cause.code for cause in plan.causes],
        },
    )
    return event_step(event, new_id)
