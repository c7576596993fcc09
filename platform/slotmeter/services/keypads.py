"""Keypads of split meters: which belongs to which meter, and since when."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
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
from slotmeter.services.guarded_acts import check_reason
from slotmeter.services.list_pages import ID_MAX, LIST_ROWS, cut
from slotmeter.units import epoch_us

__all__ = ["Keypads", "KeypadsPage"]

SERIAL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class KeypadsPage:
    """Keypads of a meter, the newest first, and where the next page begins."""

    rows: Sequence[Row]
    next: int | None


class Keypads:
    """The transaction boundary of keypads."""

    def __init__(self, uow: UnitOfWork, clock: Clock) -> None:
        """Join the parts."""
        self._uow = uow
        self._clock = clock

    async def keypads(
        self, utility_id: int, number: str, *, before: int | None = None, limit: int = LIST_ROWS
    ) -> KeypadsPage:
        """Return which keypads a meter had, the newest first.

        Raises:
            NotFound: ``meter_unknown``.
        """
        params: dict[str, SqlValue | From] = {
            "utility_id": utility_id,
            "meter_id": From("meter", "id"),
            "before": ID_MAX if before is None else before,
            "limit": limit + 1,
        }
        reads = [_meter_read(utility_id, number), Read("keypads_of_meter", params, "rows")]
        rows = await self._uow.read(reads)
        _known(rows["meter"], number)
        page, following = cut(rows["rows"], limit, lambda row: int(row["id"]))
        return KeypadsPage(page, following)

    async def meter_of(self, utility_id: int, serial: str) -> str:
        """Return the number of the meter that a keypad belongs to now.

        Raises:
            NotFound: ``keypad_unknown``.
        """
        rows = (await self._uow.read([_keypad_read(utility_id, serial)]))["keypad"]
        if not rows:
            raise NotFound("keypad_unknown", f"no keypad {serial[:64]!r} is in use here")
        number: str = rows[0]["meter"]
        return number

    async def give(
        self,
        caller: Caller,
        number: str,
        serial: str | None,
        *,
        reason: str,
        is_moved: bool = False,
    ) -> None:
        """Give a meter a keypad in the place of the one it had; the same again changes nothing.

        Args:
            caller: who does it.
            number: of the meter.
            serial: of the keypad, as printed on it; None to take away the one it has.
            reason: why.
            is_moved: take it from the meter that it belongs to.

        Raises:
            NotFound: ``meter_unknown``.
            Conflict: ``keypad_elsewhere``, ``meter_removed``.
            Refused: ``serial_malformed``, ``reason_missing`` or ``reason_too_long``.
        """
        why = check_reason(reason)
        if serial is not None and SERIAL.fullmatch(serial) is None:
            raise Refused(
                "serial_malformed",
                "expected 1 to 64 letters, digits, dots, hyphens or underscores",
                field="serial",
            )
        utility_id, now_us = caller.principal.utility_id, epoch_us(self._clock.now())

        def decide(rows: Rows, new_id: NewId) -> Changes[None]:
            meter = _known(rows["meter"], number)
            before = rows["live"][0]["serial"] if rows["live"] else None
            if before == serial:
                return Changes(None)
            if serial is not None and meter["state"] == "removed":
                raise Conflict("meter_removed", f"meter {number} is no longer in use")
            elsewhere = rows["keypad"]
            if elsewhere and not is_moved:
                raise Conflict(
                    "keypad_elsewhere",
                    f"keypad {serial} belongs to meter {elsewhere[0]['meter']}; say that it is "
                    "moved if it was taken from there",
                )
            steps: list[Step] = [
                _end(row, utility_id, now_us) for row in (*rows["live"], *elsewhere)
            ]
            if serial is not None:
                steps.append(_given(new_id(), utility_id, meter, serial, now_us))
            more = {"taken_from": elsewhere[0]["meter"]} if elsewhere else {}
            act = caller_act(
                caller,
                new_id,
                now_us,
                what="meter.keypad",
                subject=number,
                reason=why,
                data={**changed({"keypad": before}, {"keypad": serial}), **more},
            )
            return Changes(None, [*steps, act])

        live: dict[str, SqlValue | From] = {
            "utility_id": utility_id,
            "meter_id": From("meter", "id"),
        }
        reads = [
            _meter_read(utility_id, number),
            Read("keypad_live_of_meter", live, "live"),
            _keypad_read(utility_id, serial or ""),
        ]
        await self._uow.run(reads, decide)


def _meter_read(utility_id: int, number: str) -> Read:
    return Read("life_meter", {"utility_id": utility_id, "number": number}, "meter")


def _keypad_read(utility_id: int, serial: str) -> Read:
    return Read("keypad_live", {"utility_id": utility_id, "serial": serial}, "keypad")


def _end(row: Row, utility_id: int, now_us: int) -> Update:
    params: dict[str, SqlValue] = {
        "of_utility": utility_id,
        "of_keypad": row["id"],
        "at_us": now_us,
    }
    return Update("keypad_end", params)


def _given(keypad_id: int, utility_id: int, meter: Row, serial: str, now_us: int) -> Insert:
    row: dict[str, SqlValue] = {
        "id": keypad_id,
        "utility_id": utility_id,
        "meter_id": meter["id"],
        "serial": serial,
        "from_us": now_us,
        "to_us": None,
    }
    return Insert("keypad", row)


def _known(rows: Sequence[Row], number: str) -> Row:
    if not rows:
        raise NotFound("meter_unknown", f"no meter {number[:32]!r} is known here", field="meter")
    return rows[0]
