"""Frames that could not be read: counted, listed, and handed in again once that is mended.

Replaying a frame writes it into the log once more, as it was received and when, and notes that it
was, both in one unit: it takes effect once, however often somebody asks. When it cannot be read
even now, it is set aside again under its new number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from slotmeter.errors import Conflict, NotFound, Refused
from slotmeter.ports import (
    Caller,
    Changes,
    Clock,
    Insert,
    NewId,
    Principal,
    Read,
    Row,
    Rows,
    SqlValue,
    Step,
    UnitOfWork,
    Update,
)
from slotmeter.services.access import caller_act
from slotmeter.services.bus import Bus, FrameLogged
from slotmeter.services.list_pages import ID_MAX, cut
from slotmeter.services.metrics import DeviceMetrics
from slotmeter.units import epoch_us

__all__ = ["REPLAY_TOGETHER_MAX", "Aside", "AsidePage", "Quarantine", "Replayed"]

REPLAY_TOGETHER_MAX: Final = 500
"""Frames of one unit; more are replayed unit by unit."""


@dataclass(frozen=True, slots=True)
class Aside:
    """How many frames a code set aside.

    Args:
        code: why.
        waiting: not replayed yet.
        replayed: handed in again.
        first_us: when the oldest was set aside, our clock.
        last_us: when the newest was.
    """

    code: str
    waiting: int
    replayed: int
    first_us: int
    last_us: int


@dataclass(frozen=True, slots=True)
class AsidePage:
    """Frames, the newest first, and before which the next page begins."""

    rows: Sequence[Row]
    next: int | None


@dataclass(frozen=True, slots=True)
class Replayed:
    """Frames that were handed in again: how many, and the newest of them by its new number."""

    frames: int
    newest: int | None


class Quarantine:
    """What was set aside."""

    def __init__(
        self, uow: UnitOfWork, clock: Clock, bus: Bus, metrics: DeviceMetrics | None = None
    ) -> None:
        """Join the parts; without ``metrics`` nothing is counted."""
        self._metrics = metrics
        self._uow = uow
        self._clock = clock
        self._bus = bus

    async def counts(self, principal: Principal) -> Sequence[Aside]:
        """Count frames by why they were set aside."""
        read = Read("quarantine_counts", {"utility_id": principal.utility_id}, "counts")
        return [Aside(**row) for row in (await self._uow.read([read]))["counts"]]

    async def page(
        self,
        principal: Principal,
        *,
        code: str | None = None,
        medium: str | None = None,
        replayed: bool = False,
        before: int | None = None,
        limit: int,
    ) -> AsidePage:
        """List frames, the newest first; those that were replayed only when asked for."""
        params: dict[str, SqlValue] = {
            "utility_id": principal.utility_id,
            "code": code,
            "medium": medium,
            "all": int(replayed),
            "before": ID_MAX if before is None else before,
            "limit": limit + 1,
        }
        rows = (await self._uow.read([Read("quarantine_page", params, "frames")]))["frames"]
        return AsidePage(*cut(rows, limit, lambda row: row["frame_id"]))

    async def frame(self, principal: Principal, frame_id: int) -> Row:
        """Return one frame.

        Raises:
            NotFound: ``frame_unknown``.
        """
        params: dict[str, SqlValue] = {"utility_id": principal.utility_id, "frame_id": frame_id}
        found = (await self._uow.read([Read("quarantine_frame", params, "frames")]))["frames"]
        if not found:
            raise NotFound("frame_unknown", f"there is no frame {frame_id} in quarantine")
        return found[0]

    async def replay(self, caller: Caller, frame_id: int, *, reason: str) -> Replayed:
        """Hand one frame in again.

        Raises:
            NotFound: ``frame_unknown``.
            Conflict: ``frame_replayed``: it was handed in again already.
            Refused: ``reason_missing``.
        """
        text = _reason(reason)
        params: dict[str, SqlValue] = {
            "utility_id": caller.principal.utility_id,
            "frame_id": frame_id,
        }

        def decide(rows: Rows, new_id: NewId) -> Changes[Replayed]:
            if not rows["frames"]:
                raise NotFound("frame_unknown", f"there is no frame {frame_id} in quarantine")
            if rows["frames"][0]["replayed_us"] is not None:
                raise Conflict("frame_replayed", f"frame {frame_id} was replayed already")
            return self._again(caller, rows["frames"], new_id, text, f"frame:{frame_id}")

        return self._tell(await self._uow.run([Read("quarantine_frame", params, "frames")], decide))

    async def replay_all(
        self, caller: Caller, code: str, *, medium: str | None = None, reason: str
    ) -> Replayed:
        """Hand in again what a code set aside until now, oldest first, unit by unit.

        When this stops in the middle, the rest waits: ask again.

        Raises:
            Refused: ``reason_missing``.
        """
        text = _reason(reason)
        rows = await self._uow.read([Read("quarantine_newest", {}, "newest")])
        # What fails again gets a number above this one: it is not replayed for ever.
        through = rows["newest"][0]["frame_id"] or 0
        after, total, newest = 0, 0, None
        while True:
            params: dict[str, SqlValue] = {
                "utility_id": caller.principal.utility_id,
                "code": code,
                "medium": medium,
                "after": after,
                "through": through,
                "limit": REPLAY_TOGETHER_MAX,
            }

            def decide(rows: Rows, new_id: NewId) -> Changes[tuple[Replayed, int]]:
                found = rows["frames"]
                if not found:
                    return Changes((Replayed(0, None), through))
                done = self._again(caller, found, new_id, text, f"code:{code}")
                return Changes((done.result, found[-1]["frame_id"]), done.steps)

            done, after = await self._uow.run(
                [Read("quarantine_of_code", params, "frames")], decide
            )
            total, newest = total + done.frames, self._tell(done).newest or newest
            if done.frames < REPLAY_TOGETHER_MAX:
                return Replayed(total, newest)

    def _again(
        self, caller: Caller, frames: Sequence[Row], new_id: NewId, reason: str, subject: str
    ) -> Changes[Replayed]:
        now_us = epoch_us(self._clock.now())
        inserts: list[Step] = []
        updates: list[Step] = []
        names = ("medium", "address", "path", "payload", "received_us", "entry_id")
        frame_id = None
        for frame in frames:
            frame_id = new_id()
            inserts.append(Insert("frame", {"id": frame_id, **{n: frame[n] for n in names}}))
            of = {"of_frame": frame["frame_id"], "to_us": now_us}
            updates.append(Update("quarantine_replayed", of))
        act = caller_act(
            caller,
            new_id,
            now_us,
            "quarantine.replay",
            subject,
            reason,
            {"frames": len(frames), "first": frames[0]["frame_id"], "last": frames[-1]["frame_id"]},
        )
        return Changes(Replayed(len(frames), frame_id), [*inserts, *updates, act])

    def _tell(self, done: Replayed) -> Replayed:
        if done.newest is not None:
            self._bus.publish(FrameLogged(done.newest))
        if self._metrics is not None:
            self._metrics.quarantine_replayed.inc(done.frames)
        return done


def _reason(reason: str) -> str:
    text = reason.strip()
    if not text:
        raise Refused("reason_missing", "say why the frames are handed in again", field="reason")
    return text
