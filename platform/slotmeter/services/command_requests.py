"""What people ask of meters, and what a second person agrees to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from slotmeter.devices.commands import (
    CREDIT_MODES,
    CUTTING,
    TEXT_OF,
    VALUE_OF,
    CommandKind,
    CommandState,
)
from slotmeter.devices.drivers import Driver
from slotmeter.errors import NotAllowed, NotFound, Refused
from slotmeter.ports import (
    Caller,
    Changes,
    Clock,
    From,
    NewId,
    Read,
    Right,
    Row,
    Rows,
    Step,
    UnitOfWork,
)
from slotmeter.services.access import Origin, act_row
from slotmeter.services.bus import Bus, CommandsChanged, EventsRecorded
from slotmeter.services.command_rows import (
    CommandCause,
    causes_of,
    confirmed_by,
    render_command,
    states_safety,
)
from slotmeter.services.control import Cut, cutting_kind, fits, may_cut, queue_steps
from slotmeter.services.cut_facts import cut_facts, fact_reads
from slotmeter.services.metrics import DeviceMetrics
from slotmeter.services.orders import LOAD_LIMIT_W_MIN, Order, Target, would_cut
from slotmeter.services.regate import apply_verdict
from slotmeter.units import Commodity, epoch_us

__all__ = ["REASON_CHARACTERS_MAX", "CommandRequests"]

REASON_CHARACTERS_MAX: Final = 200

TARIFF_DIGITS_MAX: Final = 9

_BY_PEOPLE: Final = frozenset(CommandKind) - {CommandKind.LOAD_TOKEN}


def _right(caller: Caller, right: Right) -> None:
    if right not in caller.principal.rights:
        raise NotAllowed("right_missing", f"this needs the right {right.value}")


def _may_send(caller: Caller, kind: str) -> None:
    """Who sells may ask a meter to report; everything else needs the right to send commands."""
    if kind != CommandKind.READ_NOW or Right.METERS_ASK not in caller.principal.rights:
        _right(caller, Right.COMMAND_SEND)


def _cause(caller: Caller) -> CommandCause:
    """Return who asks; whatever is not known to be a person is a program."""
    by_person = caller.principal.kind == "person"
    return CommandCause.PERSON if by_person else CommandCause.SERVICE


def _reason(reason: str) -> str:
    text = reason.strip()
    if not text:
        raise Refused("reason_missing", "say why, for the meter's history", field="reason")
    if len(text) > REASON_CHARACTERS_MAX:
        raise Refused(
            "reason_too_long",
            f"expected at most {REASON_CHARACTERS_MAX} characters, got {len(text)}",
            field="reason",
        )
    return text


def _kind(kind: str) -> CommandKind:
    if kind not in {known.value for known in _BY_PEOPLE}:
        known = ", ".join(sorted(_BY_PEOPLE))
        raise Refused("kind_unknown", f"expected one of {known}", field="kind")
    return CommandKind(kind)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What is asked for, checked as far as that needs no meter."""

    kind: CommandKind
    value: int | None
    text: str | None


def _wanted(kind: str, value: int | None, text: str | None) -> _Wanted:
    """Check what a command says.

    Raises:
        Refused: ``kind_unknown``, ``value_wrong``, ``text_wrong`` or ``load_limit_too_low``.
    """
    wanted = _kind(kind)
    allowed = VALUE_OF.get(wanted, ())
    if wanted is CommandKind.SET_VALVE and value == 0:
        return _Wanted(wanted, value, _text(wanted, text))  # a cut, and asked for as one
    if (value is None) == bool(allowed) or (value is not None and value not in allowed):
        expected = f"{allowed[0]} to {allowed[-1]}" if allowed else "no value"
        raise Refused("value_wrong", f"{kind}: expected {expected}, got {value}", field="value")
    if wanted is CommandKind.SET_LOAD_LIMIT and 0 < (value or 0) < LOAD_LIMIT_W_MIN:
        raise Refused(
            "load_limit_too_low",
            f"expected 0 or at least {LOAD_LIMIT_W_MIN} W, got {value}; a lower limit is a cut",
            field="value",
        )
    return _Wanted(wanted, value, _text(wanted, text))


def _text(kind: CommandKind, text: str | None) -> str | None:
    if kind not in TEXT_OF:
        if text is None:
            return None
        raise Refused("text_wrong", f"{kind}: expected no text", field="text")
    if kind is CommandKind.SET_CREDIT_MODE:
        if text not in CREDIT_MODES:
            known = " or ".join(CREDIT_MODES)
            raise Refused("text_wrong", f"{kind}: expected {known}", field="text")
    elif not (text and text.isascii() and text.isdigit() and len(text) <= TARIFF_DIGITS_MAX):
        # Its report tells a tariff by its number: another name could never be verified.
        raise Refused("text_wrong", f"{kind}: expected a tariff's number", field="text")
    return text


class CommandRequests:
    """Commands asked for by a person or a program with the right to send them."""

    def __init__(
        self,
        uow: UnitOfWork,
        clock: Clock,
        *,
        drivers: Mapping[str, Driver],
        metrics: DeviceMetrics,
        bus: Bus,
    ) -> None:
        """Join the parts."""
        self._uow = uow
        self._clock = clock
        self._drivers = drivers
        self._metrics = metrics
        self._bus = bus

    async def request_command(
        self,
        caller: Caller,
        meter: str,
        kind: str,
        reason: str,
        *,
        safety: bool = False,
        value: int | None = None,
        text: str | None = None,
    ) -> dict[str, object]:
        """Ask for a command; a held or refused one is a command too, with its causes.

        Args:
            caller: who asks.
            meter: the meter's number.
            kind: any of ``CommandKind`` but ``load_token``.
            reason: why; kept in the history.
            safety: the caller, a person, states that supply is dangerous; for cuts only.
            value: percent for ``set_valve``, W for ``set_load_limit``. A valve set to 0 percent is
                closed: that is a cut.
            text: a tariff's number for ``set_tariff``, a credit mode for ``set_credit_mode``.

        Returns:
            The command as ``render_command`` gives it: a new one, or the same that waits already.

        Raises:
            NotAllowed: ``right_missing``, or ``person_needed`` when a program states safety.
            NotFound: ``meter_unknown``.
            Refused: ``reason_missing``, ``reason_too_long``, ``kind_unknown``,
                ``kind_does_not_fit``, ``kind_unsupported``, ``meter_not_connected``,
                ``meter_removed``, ``safety_is_for_cuts``, ``value_wrong``, ``text_wrong``,
                ``load_limit_too_low`` or ``credit_mode_would_cut``.
        """
        _may_send(caller, kind)
        why, wanted = _reason(reason), _wanted(kind, value, text)
        is_cut = wanted.kind in CUTTING or (wanted.kind is CommandKind.SET_VALVE and value == 0)
        if safety and not is_cut:
            raise Refused("safety_is_for_cuts", f"{kind} takes no supply away", field="safety")
        if safety and _cause(caller) is not CommandCause.PERSON:
            raise NotAllowed("person_needed", "only a person states that supply is dangerous")
        utility_id = caller.principal.utility_id
        now_us = epoch_us(self._clock.now())

        def decide(rows: Rows, new_id: NewId) -> Changes[Row]:
            found = self._meter(rows, wanted, meter)
            order = _order(rows, caller, wanted, why, now_us=now_us, safety=safety)
            queued = queue_steps(
                order,
                _target(found),
                pending=rows["pending"],
                now_us=now_us,
                new_id=new_id,
            )
            act = act_row(
                new_id,
                Origin.of(caller),
                utility_id,
                now_us,
                what="command.request",
                subject=f"meter:{meter}",
                reason=why,
                data={
                    "command_id": queued.command["id"],
                    "kind": kind,
                    **_told(wanted),
                    "state": queued.command["state"],
                    "new": queued.is_new,
                    "safety": safety,
                },
            )
            return Changes({**queued.command, "new": queued.is_new}, [*queued.steps, act])

        meter_id = From("meter", "id")
        reads = [
            Read("control_meter", {"utility_id": utility_id, "number": meter}, "meter"),
            Read("control_pending", {"utility_id": utility_id, "meter_id": meter_id}, "pending"),
            *fact_reads(utility_id, meter_id, now_us),
        ]
        row = await self._uow.run(reads, decide)
        if row["new"]:
            self._tell(row)
        return render_command({**row, "meter_number": meter})

    def _meter(self, rows: Rows, wanted: _Wanted, number: str) -> Row:
        if not rows["meter"]:
            raise NotFound("meter_unknown", f"no meter {number} is known here")
        meter = rows["meter"][0]
        if meter["state"] == "removed":
            raise Refused("meter_removed", f"meter {number} is no longer in use", field="meter")
        commodity, kind = Commodity(meter["commodity"]), wanted.kind
        if fits(kind, commodity) and wanted.value == 0 and kind is CommandKind.SET_VALVE:
            kind = cutting_kind(commodity)
        if not fits(kind, commodity):
            raise Refused(
                "kind_does_not_fit", f"a {meter['commodity']} meter does not {kind}", field="kind"
            )
        if meter["device_id"] is None:
            raise Refused(
                "meter_not_connected", f"meter {number} is not reached by any medium", field="meter"
            )
        driver = self._drivers.get(meter["driver"])
        if driver is None or kind not in driver.commands:
            raise Refused(
                "kind_unsupported",
                f"the driver of meter {number} does not know {kind}",
                field="kind",
            )
        if would_cut(wanted.text, meter["credit_balance"]):
            raise Refused(
                "credit_mode_would_cut",
                f"meter {number} is not known to have credit of its own; on {CREDIT_MODES[0]} it "
                "would cut supply at once. Sell to it first",
                field="text",
            )
        return meter

    async def confirm(self, caller: Caller, command_id: int, reason: str) -> dict[str, object]:
        """Agree, as a second person, to a cut beyond the cuts of an hour.

        What else holds the cut still holds it.

        Returns:
            The command as ``render_command`` gives it.

        Raises:
            NotAllowed: ``right_missing``, ``person_needed`` or ``second_person_needed``.
            NotFound: ``command_unknown``.
            Refused: ``reason_missing``, ``reason_too_long`` or ``nothing_to_confirm``.
        """
        _right(caller, Right.COMMAND_CONFIRM)
        text = _reason(reason)
        utility_id = caller.principal.utility_id
        now_us = epoch_us(self._clock.now())

        def decide(rows: Rows, new_id: NewId) -> Changes[Row]:
            row = _confirmable(rows, caller)
            facts = cut_facts(
                rows,
                CommandCause(row["cause"]),
                now_us=now_us,
                confirmed=True,
                safety=states_safety(row["hold"]),
            )
            after, steps = apply_verdict(
                row,
                may_cut(facts),
                pending=rows["pending"],
                now_us=now_us,
                new_id=new_id,
                confirmed_by_id=caller.principal.id,
            )
            act: Step = act_row(
                new_id,
                Origin.of(caller),
                utility_id,
                now_us,
                what="command.confirm",
                subject=f"command:{command_id}",
                reason=text,
                data={"state": after["state"]},
            )
            return Changes(after, [*steps, act])

        meter_id = From("command", "meter_id")
        reads = [
            Read("control_command", {"utility_id": utility_id, "id": command_id}, "command"),
            Read("control_pending", {"utility_id": utility_id, "meter_id": meter_id}, "pending"),
            *fact_reads(utility_id, meter_id, now_us, but_id=command_id),
        ]
        row = await self._uow.run(reads, decide)
        self._tell(row)
        return render_command(row)

    def _tell(self, row: Row) -> None:
        codes = [str(cause["code"]) for cause in causes_of(row["hold"])]
        self._metrics.count_command(row["state"], codes)
        self._bus.publish(CommandsChanged(row["device_id"]))
        self._bus.publish(EventsRecorded())


def _target(meter: Row) -> Target:
    return Target(
        utility_id=meter["utility_id"],
        meter_id=meter["id"],
        device_id=meter["device_id"],
        commodity=Commodity(meter["commodity"]),
        expected_us=meter["expected_us"],
    )


def _told(wanted: _Wanted) -> dict[str, int | str]:
    """Return what a command says beside its kind, as far as it says anything."""
    told = {"value": wanted.value, "text": wanted.text}
    return {name: each for name, each in told.items() if each is not None}


def _order(
    rows: Rows, caller: Caller, wanted: _Wanted, reason: str, *, now_us: int, safety: bool
) -> Cut | Order:
    by = _cause(caller)
    shuts = wanted.kind is CommandKind.SET_VALVE and wanted.value == 0
    if wanted.kind not in CUTTING and not shuts:
        return Order(
            wanted.kind,
            by,
            reason,
            caller.principal.id,
            value=wanted.value,
            text=wanted.text,
        )
    verdict = may_cut(cut_facts(rows, by, now_us=now_us, safety=safety))
    return Cut(verdict, by, reason, caller.principal.id, safety=safety)


def _confirmable(rows: Rows, caller: Caller) -> Row:
    if not rows["command"]:
        raise NotFound("command_unknown", "no such command is known here")
    row = rows["command"][0]
    if _cause(caller) is not CommandCause.PERSON:
        raise NotAllowed("person_needed", "a program never agrees in a person's place")
    if row["principal_id"] == caller.principal.id:
        raise NotAllowed("second_person_needed", "who asked for a cut cannot agree to it as well")
    codes = {cause["code"] for cause in causes_of(row["hold"])}
    waits = row["state"] == CommandState.HELD and "cut_limit" in codes
    if not waits or confirmed_by(row["hold"]) is not None:
        raise Refused(
            "nothing_to_confirm",
            f"only a held cut beyond the cuts of an hour waits for a second person; this command "
            f"is {row['state']}",
        )
    return row
