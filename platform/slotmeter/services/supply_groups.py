"""Supply groups: which code a utility sells under, and which vending key its meters shall be on."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from slotmeter.errors import Refused
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
from slotmeter.services.access import Origin, act_row
from slotmeter.units import epoch_us

__all__ = ["SupplyGroups"]

SGC: Final = re.compile(r"[0-9]{6}")
TITLE_CHARACTERS_MAX: Final = 100


class SupplyGroups:
    """The transaction boundary of supply groups."""

    def __init__(self, uow: UnitOfWork, clock: Clock) -> None:
        """Join the parts."""
        self._uow = uow
        self._clock = clock

    async def groups(self, utility_id: int) -> Sequence[Row]:
        """Return every supply group of a utility, by code."""
        params: dict[str, SqlValue] = {"utility_id": utility_id, "sgc": None}
        return (await self._uow.read([Read("supply_groups", params, "groups")]))["groups"]

    async def put(
        self, caller: Caller, sgc: str, *, title: str, key_name: str | None, reason: str
    ) -> None:
        """Make a supply group, or change what one is called and which key its meters shall be on.

        Raises:
            Refused: ``bad_sgc``, ``bad_title``; ``vending_key_unknown``, ``vending_key_retired`` or
                ``vending_key_differs``: the key is not of this supply group.
        """
        _check_named(sgc, title)
        principal, now_us = caller.principal, epoch_us(self._clock.now())

        def decide(rows: Rows, new_id: NewId) -> Changes[None]:
            if key_name is not None:
                _check_key(rows["keys"], sgc, key_name)
            there = rows["groups"][0] if rows["groups"] else None
            after = {"title": title, "key": key_name}
            before = None if there is None else {"title": there["title"], "key": there["key_name"]}
            if before == after:
                return Changes(None)
            act = act_row(
                new_id,
                Origin.of(caller),
                principal.utility_id,
                now_us,
                what="supply_group.put",
                subject=sgc,
                reason=reason,
                data={"before": before, "after": after},
            )
            return Changes(None, [_step(principal, there, sgc, after, new_id, now_us), act])

        of_utility: dict[str, SqlValue] = {"utility_id": principal.utility_id}
        reads = [
            Read("supply_groups", of_utility | {"sgc": sgc}, "groups"),
            Read("vending_keys", of_utility | {"name": key_name or ""}, "keys"),
        ]
        await self._uow.run(reads, decide)


def _step(
    principal: Principal,
    there: Row | None,
    sgc: str,
    after: dict[str, str | None],
    new_id: NewId,
    now_us: int,
) -> Step:
    if there is not None:
        params: dict[str, SqlValue] = {
            "of_id": there["id"],
            "new_title": after["title"],
            "new_key_name": after["key"],
        }
        return Update("supply_group_change", params)
    row: dict[str, SqlValue] = {
        "id": new_id(),
        "utility_id": principal.utility_id,
        "sgc": sgc,
        "title": after["title"],
        "key_name": after["key"],
        "created_us": now_us,
    }
    return Insert("supply_group", row)


def _check_named(sgc: str, title: str) -> None:
    if SGC.fullmatch(sgc) is None:
        raise Refused("bad_sgc", "a supply group code has six digits", field="sgc")
    if not 1 <= len(title.strip()) <= TITLE_CHARACTERS_MAX:
        raise Refused(
            "bad_title", f"expected 1 to {TITLE_CHARACTERS_MAX} characters", field="title"
        )


def _check_key(keys: Sequence[Row], sgc: str, name: str) -> None:
    if not keys:
        raise Refused("vending_key_unknown", f"there is no vending key {name!r}", field="key")
    if keys[0]["state"] != "active":
        raise Refused("vending_key_retired", f"the vending key {name!r} is retired", field="key")
    if keys[0]["sgc"] != sgc:
        raise Refused(
            "vending_key_differs",
            f"the vending key {name!r} is of supply group {keys[0]['sgc']}, not of {sgc}",
            field="key",
        )
