"""When the watch of silent devices looked, and the time that devices are owed for when it did not.

Time in which nobody listened is added to when every device is expected: once, whenever a process
dies. What is still owed, and to which devices, is written in the unit that gives it to some of
them, so that no unit is large, and whoever comes next goes on where this one stopped.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Self

from slotmeter.errors import Conflict
from slotmeter.ports import Changes, Insert, NewId, Read, Rows, SqlValue, Step, UnitOfWork, Update
from slotmeter.services.events import compact_json

__all__ = ["SOME_DEVICES", "LookingTimes"]

SOME_DEVICES: Final = 2_000
"""A unit that changes every device changes so many, and the next one goes on."""

_STATE: Final[Mapping[str, SqlValue]] = {
    "entry_key": "slotmeter:contacts",
    "kind": "watch",
    "name": "state",
}
"""Where the state is kept; the colon keeps it apart from every integration."""


@dataclass(frozen=True, slots=True)
class _State:
    """What is kept.

    Args:
        at_us: of the last look.
        since_us: of the first one.
        owed_us: what is added to when devices are expected; 0 for nothing.
        after: the device up to which it is added already.
    """

    at_us: int
    since_us: int
    owed_us: int = 0
    after: int = 0

    @classmethod
    def of(cls, body: str) -> Self:
        """Read it."""
        return cls(**json.loads(body))

    @property
    def body(self) -> str:
        """What is written of it."""
        given = {"at_us": self.at_us, "since_us": self.since_us}
        return compact_json(
            {**given, "owed_us": self.owed_us, "after": self.after} if self.owed_us else given
        )


class LookingTimes:
    """Notes looks; for one watch of a database."""

    def __init__(self, uow: UnitOfWork, deaf_us_min: int) -> None:
        """Join the parts; between looks that are further apart nobody listened."""
        self._uow = uow
        self._deaf_us_min = deaf_us_min

    async def note(self, now_us: int) -> tuple[int, int]:
        """Note a look, and give devices the time that nobody listened.

        Returns:
            When the first look was, and for how long nobody listened before this one.
        """
        rows = await self._uow.read([_read()])
        if rows["state"]:
            await self._give(_State.of(rows["state"][0]["body"]))
        state = await self._uow.run([_read()], _Noting(now_us, self._deaf_us_min))
        await self._give(state)
        return state.since_us, state.owed_us

    async def _give(self, state: _State) -> None:
        while state.owed_us:
            page: dict[str, SqlValue] = {"after": state.after, "limit": SOME_DEVICES}
            reads = [_read(), Read("contacts_through", page, "through")]
            state = await self._uow.run(reads, _Giving(state))


@dataclass(frozen=True, slots=True)
class _Noting:
    """Decides what a look writes."""

    now_us: int
    deaf_us_min: int

    def __call__(self, rows: Rows, new_id: NewId) -> Changes[_State]:
        found = rows["state"]
        if not found:
            state = _State(self.now_us, self.now_us)
            row = {"id": new_id(), **_STATE, "body": state.body, "at_us": self.now_us}
            return Changes(state, [Insert("plugin_record", row)])
        known = _State.of(found[0]["body"])
        away_us = self.now_us - known.at_us
        owed_us = away_us if away_us >= self.deaf_us_min else 0
        state = _State(self.now_us, known.since_us, owed_us)
        return Changes(state, [_put(state)])


@dataclass(frozen=True, slots=True)
class _Giving:
    """Decides which devices are given what is owed next."""

    state: _State

    def __call__(self, rows: Rows, _new_id: NewId) -> Changes[_State]:
        if _State.of(rows["state"][0]["body"]) != self.state:
            raise Conflict("changed_meanwhile", "another process watches this database as well")
        through = rows["through"][0]["id"]
        if through is None:
            state = _State(self.state.at_us, self.state.since_us)
            return Changes(state, [_put(state)])
        state = replace(self.state, after=through)
        shift: dict[str, SqlValue] = {
            "of_after": self.state.after,
            "of_through": through,
            "by_us": state.owed_us,
        }
        steps: list[Step] = [Update("contacts_shift", shift, rows=None), _put(state)]
        return Changes(state, steps)


def _read() -> Read:
    return Read("plugin_record", _STATE, "state")


def _put(state: _State) -> Update:
    of = {f"of_{name.removesuffix('_key')}": value for name, value in _STATE.items()}
    to: dict[str, SqlValue] = {"to_body": state.body, "to_at_us": state.at_us}
    return Update("plugin_record_put", {**of, **to, **dict.fromkeys(("to_i1", "to_i2", "to_i3"))})
