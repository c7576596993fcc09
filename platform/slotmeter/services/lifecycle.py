"""The life of a meter: received, stored, installed, swapped, repaired, scrapped; and where it was.

Which supply point a meter hangs at, and when it was taken off, its installations say. What happened
to it elsewhere is recorded here. Both together are its life, at any time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from slotmeter.errors import Conflict, NotFound, Refused
from slotmeter.ports import (
    Caller,
    Changes,
    Clock,
    From,
    Insert,
    NewId,
    Read,
    Row,
    Rows,
    SqlValue,
    Step,
    UnitOfWork,
    Update,
)
from slotmeter.services.access import caller_act
from slotmeter.services.act_changes import changed
from slotmeter.services.events import Event, event_step
from slotmeter.services.guarded_acts import check_reason
from slotmeter.services.list_pages import LIST_ROWS, cut
from slotmeter.services.taken_off import taken_off_reads, taken_off_steps
from slotmeter.units import epoch_us, iso_utc

__all__ = ["NEXT", "RECORDED", "STATES", "Life", "LifeEvent", "Lifecycle", "LivesPage", "life_row"]

STATES: Final = ("received", "stored", "installed", "swapped", "repaired", "scrapped")
"""``swapped`` is taken off, with or without another one in its place."""

NEXT: Final[Mapping[str, frozenset[str]]] = {
    "unknown": frozenset({"received", "stored", "installed", "repaired", "scrapped"}),
    "received": frozenset({"stored", "installed", "scrapped"}),
    "stored": frozenset({"stored", "installed", "repaired", "scrapped"}),
    "installed": frozenset({"swapped"}),
    "swapped": frozenset({"stored", "repaired", "scrapped"}),
    "repaired": frozenset({"stored", "installed", "repaired", "scrapped"}),
    "scrapped": frozenset(),
}
"""What may follow a state; ``unknown`` is a meter of which nothing was recorded."""

RECORDED: Final = frozenset({"stored", "repaired", "scrapped"})
"""States that people record; the others come of what is done to a meter."""

PLACE_CHARACTERS_MAX: Final = 120
HISTORY_ROWS_MAX: Final = 500


@dataclass(frozen=True, slots=True)
class Life:
    """Where a meter is at a time.

    Args:
        state: one of :data:`STATES`, or ``unknown``.
        place: the supply point's number, or what was recorded.
        since_us: since when; None when nothing is known.
    """

    meter: str
    commodity: str
    state: str
    place: str
    since_us: int | None


@dataclass(frozen=True, slots=True)
class LifeEvent:
    """Something that happened to a meter; ``by`` and ``reason`` are of what was recorded here."""

    state: str
    at_us: int
    place: str
    by: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class LivesPage:
    """Meters by number, and where the next page begins."""

    rows: Sequence[Life]
    next: str | None


def life_row(
    new_id: NewId, caller: Caller, meter_id: int, state: str, at_us: int, place: str, reason: str
) -> Insert:
    """Return the row of one event of a life."""
    row: dict[str, SqlValue] = {
        "id": new_id(),
        "utility_id": caller.principal.utility_id,
        "meter_id": meter_id,
        "state": state,
        "at_us": at_us,
        "place": place,
        "principal_id": caller.principal.id,
        "reason": reason,
    }
    return Insert("meter_life", row)


class Lifecycle:
    """The transaction boundary of the lives of meters."""

    def __init__(self, uow: UnitOfWork, clock: Clock) -> None:
        """Join the parts."""
        self._uow = uow
        self._clock = clock

    # --- looking ----------------------------------------------------------------------------------

    async def lives(
        self,
        utility_id: int,
        *,
        at: datetime | None = None,
        state: str | None = None,
        after: str = "",
        limit: int = LIST_ROWS,
    ) -> LivesPage:
        """Return state and place of meters at a time, by number.

        Args:
            utility_id: whose.
            at: the time, aware; not given, this moment.
            state: only meters of this state.
            after: the last number of the page before.
            limit: rows of a page.

        Raises:
            Refused: ``state_unknown``.
        """
        if state is not None and state not in {*STATES, "unknown"}:
            raise Refused(
                "state_unknown", f"expected one of {', '.join(STATES)}, got {state[:32]!r}"
            )
        params: dict[str, SqlValue] = {
            "utility_id": utility_id,
            "at_us": self._us(at),
            "state": state,
            "after": after,
            "limit": limit + 1,
        }
        rows = (await self._uow.read([Read("lives", params)]))["lives"]
        page, following = cut(rows, limit, lambda row: str(row["number"]))
        return LivesPage([_life(row) for row in page], following)

    async def counts(self, utility_id: int, *, at: datetime | None = None) -> Mapping[str, int]:
        """Return how many meters are in each state at a time."""
        params: dict[str, SqlValue] = {"utility_id": utility_id, "at_us": self._us(at)}
        rows = (await self._uow.read([Read("life_counts", params)]))["life_counts"]
        return {row["state"]: row["meters"] for row in rows}

    async def life(self, utility_id: int, number: str, *, at: datetime | None = None) -> Life:
        """Return state and place of one meter at a time.

        Raises:
            NotFound: ``meter_unknown``, also of a meter that was not known then.
        """
        rows = (await self._uow.read([_life_read(utility_id, number, self._us(at))]))["life"]
        return _life(_known(rows, number))

    async def history(self, utility_id: int, number: str) -> Sequence[LifeEvent]:
        """Return everything that happened to a meter, the newest first.

        Raises:
            NotFound: ``meter_unknown``.
        """
        of: dict[str, SqlValue] = {"utility_id": utility_id}
        of_meter: dict[str, SqlValue | From] = {
            **of,
            "meter_id": From("meter", "id"),
            "limit": HISTORY_ROWS_MAX,
        }
        rows = await self._uow.read(
            [
                Read("life_meter", {**of, "number": number}, "meter"),
                Read("life_rows", of_meter, "recorded"),
                Read("life_installations", of_meter, "installations"),
            ]
        )
        _known(rows["meter"], number)
        return _events(rows["recorded"], rows["installations"])

    # --- what happens -----------------------------------------------------------------------------

    async def record(
        self,
        caller: Caller,
        number: str,
        state: str,
        *,
        place: str,
        reason: str,
        at: datetime | None = None,
    ) -> Life:
        """Record that a meter was stored, repaired or scrapped.

        A scrapped meter is never sold for nor installed again.

        Args:
            caller: who records it.
            number: of the meter.
            state: one of :data:`RECORDED`.
            place: where it is from then on: a store, a workshop, who took it away.
            reason: why.
            at: when it happened; not given, this moment.

        Raises:
            NotFound: ``meter_unknown``.
            Conflict: ``life_step_impossible``: that does not follow its state.
            Refused: ``state_not_recorded``, ``place_malformed``, ``time_in_future``,
                ``life_out_of_order``, ``reason_missing`` or ``reason_too_long``.
        """
        if state not in RECORDED:
            raise Refused(
                "state_not_recorded",
                f"expected {', '.join(sorted(RECORDED))}: a meter is received by a file, installed "
                "and taken off by what is done at a supply point",
                field="state",
            )
        why, where = check_reason(reason), _place(place)
        now_us = epoch_us(self._clock.now())
        at_us = now_us if at is None else _not_ahead(epoch_us(at), now_us)

        def decide(rows: Rows, new_id: NewId) -> Changes[None]:
            meter = _known(rows["meter"], number)
            _check_step(_known(rows["life"], number), state, at_us)
            steps: list[Step] = [life_row(new_id, caller, meter["id"], state, at_us, where, why)]
            if state == "scrapped":
                steps.append(_state_step(caller, meter, "removed"))
                steps += taken_off_steps(caller.principal.utility_id, rows, new_id, now_us=now_us)
            life = rows["life"][0]
            steps.append(self._act(caller, new_id, number, life, state, where, at_us, why))
            return Changes(None, steps)

        await self._uow.run(self._reads(caller, number, now_us), decide)
        return await self.life(caller.principal.utility_id, number)

    async def install(self, caller: Caller, number: str, supply_point: str, *, reason: str) -> Life:
        """Hang a meter that hangs nowhere at a supply point that has none.

        A meter in the place of another one is a swap; a meter at a place that is not known yet
        comes in by the meter file.

        Raises:
            NotFound: ``meter_unknown`` or ``supply_point_unknown``.
            Conflict: ``life_step_impossible``, ``supply_point_taken``.
            Refused: ``commodity_differs``, ``platform_credit_elsewhere``, ``reason_missing`` or
                ``reason_too_long``.
        """
        why = check_reason(reason)
        utility_id, now_us = caller.principal.utility_id, epoch_us(self._clock.now())

        def decide(rows: Rows, new_id: NewId) -> Changes[None]:
            meter = _known(rows["meter"], number)
            life = _known(rows["life"], number)
            _check_step(life, "installed", now_us)
            point = _free_point(rows, supply_point, meter)
            steps: list[Step] = []
            if meter["state"] == "removed":
                steps.append(_state_step(caller, meter, "active"))
            installation: dict[str, SqlValue] = {
                "id": new_id(),
                "utility_id": utility_id,
                "supply_point_id": point["id"],
                "meter_id": meter["id"],
                "from_us": now_us,
            }
            place = point["number"]
            steps += [
                Insert("installation", installation),
                life_row(new_id, caller, meter["id"], "installed", now_us, place, why),
                self._act(caller, new_id, number, life, "installed", place, now_us, why),
                _told(
                    caller, new_id, meter, now_us, "meter_installed", f"was installed at {place}"
                ),
            ]
            return Changes(None, steps)

        point: dict[str, SqlValue] = {"utility_id": utility_id, "number": supply_point}
        meter_id = From("meter", "id")
        reads = [
            *self._reads(caller, number, now_us),
            Read("life_point", point, "point"),
            Read("charging_segment", {"utility_id": utility_id, "meter_id": meter_id}, "segment"),
        ]
        await self._uow.run(reads, decide)
        return await self.life(utility_id, number)

    async def take_off(self, caller: Caller, number: str, *, place: str, reason: str) -> Life:
        """Take a meter off its supply point without putting another one there.

        Nothing is sold for it until it is installed again, what waits to be sent to it is not
        sent any more, and the slot behind a node that it was in is empty. Swap a meter instead
        where another one comes in its place: only so is its credit moved.

        Args:
            caller: who takes it off.
            number: of the meter.
            place: where it goes.
            reason: why.

        Raises:
            NotFound: ``meter_unknown``.
            Conflict: ``life_step_impossible``.
            Refused: ``place_malformed``, ``reason_missing`` or ``reason_too_long``.
        """
        why, where = check_reason(reason), _place(place)
        utility_id, now_us = caller.principal.utility_id, epoch_us(self._clock.now())

        def decide(rows: Rows, new_id: NewId) -> Changes[None]:
            meter = _known(rows["meter"], number)
            life = _known(rows["life"], number)
            _check_step(life, "swapped", now_us)
            ended: dict[str, SqlValue] = {
                "of_utility": utility_id,
                "of_meter": meter["id"],
                "at_us": now_us,
            }
            steps: list[Step] = [
                Update("life_take_off", ended),
                _state_step(caller, meter, "removed"),
                life_row(new_id, caller, meter["id"], "swapped", now_us, where, why),
                self._act(caller, new_id, number, life, "swapped", where, now_us, why),
                _told(caller, new_id, meter, now_us, "meter_taken_off", "was taken off"),
                *taken_off_steps(utility_id, rows, new_id, now_us=now_us),
            ]
            return Changes(None, steps)

        await self._uow.run(self._reads(caller, number, now_us), decide)
        return await self.life(utility_id, number)

    # --- what they share --------------------------------------------------------------------------

    def _us(self, at: datetime | None) -> int:
        return epoch_us(self._clock.now() if at is None else at)

    def _reads(self, caller: Caller, number: str, now_us: int) -> list[Read]:
        utility_id = caller.principal.utility_id
        return [
            Read("life_meter", {"utility_id": utility_id, "number": number}, "meter"),
            _life_read(utility_id, number, now_us),
            *taken_off_reads(utility_id, number),
        ]

    def _act(
        self,
        caller: Caller,
        new_id: NewId,
        number: str,
        before: Row,
        state: str,
        place: str,
        at_us: int,
        reason: str,
    ) -> Insert:
        after = {"state": state, "place": place, "at": iso_utc(at_us)}
        since_us = before["since_us"]
        was = {
            "state": before["state"],
            "place": before["place"],
            "at": None if since_us is None else iso_utc(since_us),
        }
        return caller_act(
            caller,
            new_id,
            epoch_us(self._clock.now()),
            what=f"meter.{state}",
            subject=number,
            reason=reason,
            data=changed(was, after),
        )


def _life_read(utility_id: int, number: str, at_us: int) -> Read:
    params: dict[str, SqlValue] = {"utility_id": utility_id, "number": number, "at_us": at_us}
    return Read("life_of_meter", params, "life")


def _known(rows: Sequence[Row], number: str) -> Row:
    if not rows:
        raise NotFound("meter_unknown", f"no meter {number[:32]!r} is known here", field="meter")
    return rows[0]


def _life(row: Row) -> Life:
    return Life(row["number"], row["commodity"], row["state"], row["place"], row["since_us"])


def _events(recorded: Sequence[Row], installations: Sequence[Row]) -> list[LifeEvent]:
    """Join what was recorded with what installations say; one thing is told once."""
    events = [
        LifeEvent(row["state"], row["at_us"], row["place"], row["by"], row["reason"])
        for row in recorded
    ]
    told = {(event.state, event.at_us) for event in events}
    for row in installations:
        if ("installed", row["from_us"]) not in told:
            events.append(LifeEvent("installed", row["from_us"], row["place"], None, ""))
        if row["to_us"] is not None and ("swapped", row["to_us"]) not in told:
            events.append(LifeEvent("swapped", row["to_us"], row["place"], None, ""))
    return sorted(events, key=lambda each: each.at_us, reverse=True)


def _place(place: str) -> str:
    text = place.strip()
    if not 1 <= len(text) <= PLACE_CHARACTERS_MAX or not text.isprintable():
        raise Refused(
            "place_malformed",
            f"say where it is in 1 to {PLACE_CHARACTERS_MAX} characters without line breaks",
            field="place",
        )
    return text


def _not_ahead(at_us: int, now_us: int) -> int:
    if at_us > now_us:
        raise Refused("time_in_future", "what has not happened is not recorded", field="at")
    return at_us


def _check_step(life: Row, state: str, at_us: int) -> None:
    if state not in NEXT[life["state"]]:
        follow = ", ".join(each for each in STATES if each in NEXT[life["state"]]) or "nothing"
        where = f" at {life['place']}" if life["place"] else ""
        raise Conflict(
            "life_step_impossible",
            f"meter {life['number']} is {life['state']}{where}; next it can be {follow}, "
            f"not {state}",
        )
    if life["since_us"] is not None and at_us < life["since_us"]:
        raise Refused(
            "life_out_of_order",
            f"the meter is {life['state']} since {iso_utc(life['since_us'])}; what was before "
            "that is not recorded any more",
            field="at",
        )


def _free_point(rows: Rows, number: str, meter: Row) -> Row:
    if not rows["point"]:
        raise NotFound(
            "supply_point_unknown",
            f"no supply point {number[:64]!r} is known here; a new place with its customer comes "
            "in by the meter file",
            field="supply_point",
        )
    point = rows["point"][0]
    if point["meter"] is not None:
        raise Conflict(
            "supply_point_taken",
            f"meter {point['meter']} hangs at {point['number']}; swap it instead",
        )
    if point["commodity"] != meter["commodity"]:
        raise Refused(
            "commodity_differs",
            f"{point['number']} is for {point['commodity']}, the meter for {meter['commodity']}",
            field="supply_point",
        )
    segment = rows["segment"][0] if rows["segment"] else None
    if segment is not None and segment["account_id"] != point["account_id"]:
        raise Refused(
            "platform_credit_elsewhere",
            f"meter {meter['number']} was charged to another account; install another meter here",
            field="meter",
        )
    return point


def _state_step(caller: Caller, meter: Row, state: str) -> Update:
    params: dict[str, SqlValue] = {
        "of_utility": caller.principal.utility_id,
        "of_meter": meter["id"],
        "to_state": state,
    }
    return Update("life_meter_state", params)


def _told(caller: Caller, new_id: NewId, meter: Row, now_us: int, kind: str, words: str) -> Insert:
    event = Event(
        utility_id=caller.principal.utility_id,
        at_us=now_us,
        kind=kind,
        text=f"Meter {meter['number']} {words}",
        meter_id=meter["id"],
    )
    return event_step(event, new_id)
