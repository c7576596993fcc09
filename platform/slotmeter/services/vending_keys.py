"""Vending keys and the people who look after them: brought by two officers, listed, retired.

Nobody who works alone can bring a vending key in, and nobody at all can read one: a key is joined
from components of different persons, or proposed by one and confirmed by another who holds its
check value. What was brought is wrapped at once and erased when the key is complete.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from slotmeter.errors import Conflict, NotAllowed, NotFound, Refused
from slotmeter.ports import (
    Caller,
    Changes,
    Clock,
    Insert,
    KeyFacts,
    KeyWrapping,
    NewId,
    Principal,
    Read,
    Row,
    Rows,
    SqlValue,
    Step,
    UnitOfWork,
    Update,
    WrappedKey,
)
from slotmeter.services.access import Origin, act_row
from slotmeter.services.act_changes import changed
from slotmeter.services.key_dates import days_left, key_expires_us
from slotmeter.units import epoch_us

__all__ = ["PARTS_MAX", "Brought", "KeyLine", "NewPart", "VendingKeys"]

PARTS_MAX: Final = 3
PERSON: Final = "person"
CONFIRM: Final = "confirm"
COMPONENTS: Final = "components"
_USES: Final = {
    "vending_key_pending": "pending sales",
    "vending_key_waiting": "tokens that wait to be made",
    "vending_key_meters": "meters",
    "vending_key_changes": "key changes",
    "vending_key_groups": "supply groups",
}
"""Reads that count what needs a key, and what that is."""

_FACTS: Final = ("sgc", "krn", "kt", "dkga", "base_date", "ken")


@dataclass(frozen=True, slots=True)
class NewPart:
    """What an officer brings.

    Args:
        facts: of the whole key.
        part: number of the component, from 1.
        parts: how many there are; 1 when this is the whole key, which another officer confirms.
        material: the component; as long as the key itself.
    """

    facts: KeyFacts
    part: int
    parts: int
    material: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Brought:
    """What became of it.

    Args:
        check_value: of the component; compare it with the one on its paper.
        key_check_value: of the key, when it is complete now; else None.
    """

    name: str
    part: int
    parts: int
    check_value: str
    key_check_value: str | None


@dataclass(frozen=True, slots=True)
class KeyLine:
    """A vending key as it may be shown; times are UTC epoch microseconds.

    Args:
        state: active or retired.
        expires_us: no token can be made under it from then on.
        days_left: until then; below 0 when that has passed.
        officer: who brought or proposed it; None for one that came when the utility was set up.
        second_officer: who completed or confirmed it.
    """

    name: str
    sgc: str
    krn: int
    kt: int
    dkga: str
    base_date: int
    ken: int
    check_value: str
    state: str
    expires_us: int
    days_left: int
    created_us: int
    retired_us: int | None
    officer: str | None
    second_officer: str | None


class VendingKeys:
    """The transaction boundary of vending keys."""

    def __init__(
        self,
        uow: UnitOfWork,
        clock: Clock,
        wrapping: KeyWrapping,
        refresh: Callable[[], Awaitable[None]],
    ) -> None:
        """Join the parts.

        Args:
            uow: the database.
            clock: stamps what is done.
            wrapping: of the vault.
            refresh: lets the security module take in what was changed.
        """
        self._uow = uow
        self._clock = clock
        self._wrapping = wrapping
        self._refresh = refresh

    # --- bringing a key -------------------------------------------------------------------------

    async def bring(self, caller: Caller, new: NewPart, *, reason: str) -> Brought:
        """Take one officer's part; with the last one the key is complete and usable.

        Raises:
            NotAllowed: ``person_needed``: a service; ``second_person_needed``: this officer has
                brought another part of the same key.
            Conflict: ``vending_key_exists``, or ``component_there``: this part was brought.
            Refused: ``bad_component``, ``component_differs`` or ``components_equal``, or the key
                cannot be used.
        """
        _check_person(caller.principal)
        _check_part(new)
        wrapped = self._wrapping.wrap_part(new.facts, new.part, new.parts, new.material)
        now_us = epoch_us(self._clock.now())

        def decide(rows: Rows, new_id: NewId) -> Changes[Brought]:
            return self._bring(caller, new, wrapped, rows, new_id, reason, now_us)

        made = await self._uow.run(_reads(caller.principal, new.facts.name), decide)
        await self._refresh()
        return made

    def _bring(
        self,
        caller: Caller,
        new: NewPart,
        wrapped: WrappedKey,
        rows: Rows,
        new_id: NewId,
        reason: str,
        now_us: int,
    ) -> Changes[Brought]:
        facts, there = new.facts, rows["components"]
        _check_free(rows, facts.name)
        _check_joins(caller.principal, new, wrapped, there)
        row = _component(caller, new, wrapped, new_id(), reason, now_us)
        brought = {**_facts(facts), "part": new.part, "parts": new.parts}
        data = changed(None, {**brought, "check_value": wrapped.check_value})
        act = _act(caller, "vending_key.component", facts.name, reason, data, now_us)
        if new.parts == 1 or len(there) + 1 < new.parts:
            waits = Brought(facts.name, new.part, new.parts, wrapped.check_value, None)
            return Changes(waits, [Insert("vault_component", row), act(new_id)])
        parts = sorted([*there, row], key=lambda each: each["part"])
        joined = self._wrapping.join(facts, [each["wrapped"] for each in parts])
        steps: list[Step] = [
            Insert("vault_component", {**row, "wrapped": None, "state": "used"}),
            act(new_id),
            *_ended(there, "used", now_us),
            *_key_steps(caller, facts, joined, there[0]["officer_id"], reason, new_id, now_us),
        ]
        made = Brought(facts.name, new.part, new.parts, wrapped.check_value, joined.check_value)
        return Changes(made, steps)

    async def confirm(self, caller: Caller, name: str, check_value: str, *, reason: str) -> KeyLine:
        """Let a second officer, who holds the check value, confirm what the first one proposed.

        Raises:
            NotFound: ``component_unknown``: nothing waits under this name.
            NotAllowed: ``person_needed`` or ``second_person_needed``.
            Conflict: ``vending_key_exists``.
            Refused: ``check_value_differs``, or the key cannot be used.
        """
        _check_person(caller.principal)
        now_us = epoch_us(self._clock.now())

        def decide(rows: Rows, new_id: NewId) -> Changes[None]:
            _check_free(rows, name)
            proposed = next((row for row in rows["components"] if row["method"] == CONFIRM), None)
            if proposed is None:
                raise _nothing_waits(name)
            _check_second(caller.principal, [proposed])
            if check_value.strip().upper() != proposed["check_value"]:
                raise Refused(
                    "check_value_differs",
                    "the check value is not that of the key that was proposed: compare both with "
                    "the key's paper, and withdraw the proposal if it is wrong",
                    field="check_value",
                )
            facts = KeyFacts(name, *(proposed[each] for each in _FACTS))
            joined = self._wrapping.join(facts, [proposed["wrapped"]])
            steps = [
                *_ended([proposed], "used", now_us),
                *_key_steps(caller, facts, joined, proposed["officer_id"], reason, new_id, now_us),
            ]
            return Changes(None, steps)

        await self._uow.run(_reads(caller.principal, name), decide)
        await self._refresh()
        return await self.key(caller.principal.utility_id, name)

    async def withdraw(self, caller: Caller, name: str, *, reason: str) -> int:
        """Erase the components that wait under a name; return how many there were.

        Raises:
            NotFound: ``component_unknown``.
        """
        now_us = epoch_us(self._clock.now())

        def decide(rows: Rows, new_id: NewId) -> Changes[int]:
            there = rows["components"]
            if not there:
                raise _nothing_waits(name)
            data = changed({"parts": [row["part"] for row in there]}, None)
            act = _act(caller, "vending_key.withdraw", name, reason, data, now_us)
            return Changes(len(there), [*_ended(there, "withdrawn", now_us), act(new_id)])

        return await self._uow.run(_reads(caller.principal, name), decide)

    async def check_alone(self, utility_id: int, *, two_officers: bool) -> None:
        """Refuse one person's key once a utility has sold, or where the site wants two always.

        Raises:
            NotAllowed: ``two_officers_needed``.
        """
        rows = await self._uow.read([Read("vault_has_sold", {"utility_id": utility_id}, "sold")])
        if two_officers or rows["sold"]:
            raise NotAllowed(
                "two_officers_needed",
                "a vending key is brought by two officers: each brings a component with "
                "`vending-key component`, or one proposes it and the other confirms it",
            )

    # --- looking --------------------------------------------------------------------------------

    async def keys(self, utility_id: int) -> list[KeyLine]:
        """Return every vending key of a utility, by name."""
        now_us = epoch_us(self._clock.now())
        read = Read("vending_keys", {"utility_id": utility_id, "name": None}, "keys")
        return [_line(row, now_us) for row in (await self._uow.read([read]))["keys"]]

    async def key(self, utility_id: int, name: str) -> KeyLine:
        """Return one vending key.

        Raises:
            NotFound: ``vending_key_unknown``.
        """
        found = [line for line in await self.keys(utility_id) if line.name == name]
        if not found:
            raise _unknown_key(name)
        return found[0]

    async def components(self, utility_id: int) -> Sequence[Row]:
        """Return what officers have brought of keys that are not complete; no material."""
        params: dict[str, SqlValue] = {"utility_id": utility_id, "name": None}
        rows = (await self._uow.read([Read("vault_components", params, "all")]))["all"]
        return [{name: row[name] for name in row if name != "wrapped"} for row in rows]

    # --- retiring -------------------------------------------------------------------------------

    async def retire(self, caller: Caller, name: str, *, reason: str) -> KeyLine:
        """Let no token be made under a key any more.

        Raises:
            NotFound: ``vending_key_unknown``.
            Conflict: ``vending_key_retired``, or ``vending_key_in_use``: sales wait for their
                tokens or others for theirs, meters are coded with it, or change to or from it.
        """
        principal, now_us = caller.principal, epoch_us(self._clock.now())

        def decide(rows: Rows, new_id: NewId) -> Changes[None]:
            _check_retires(rows, name)
            data = changed({"state": "active"}, {"state": "retired"})
            act = _act(caller, "vending_key.retire", name, reason, data, now_us)
            update = Update("vault_key_retire", {"of_name": name, "at_us": now_us})
            return Changes(None, [update, act(new_id)])

        of_key: dict[str, SqlValue] = {"name": name}
        of_utility: dict[str, SqlValue] = {"utility_id": principal.utility_id}
        reads = [
            Read("vending_keys", of_utility | of_key, "keys"),
            *(Read(each, of_key) for each in _USES),
        ]
        await self._uow.run(reads, decide)
        await self._refresh()
        return await self.key(principal.utility_id, name)


def _reads(principal: Principal, name: str) -> list[Read]:
    of_name: dict[str, SqlValue] = {"utility_id": principal.utility_id, "name": name}
    return [
        Read("vault_key_named", {"name": name}, "key"),
        Read("vault_components", of_name, "components"),
    ]


def _check_person(principal: Principal) -> None:
    if principal.kind != PERSON:
        raise NotAllowed("person_needed", "vending keys are brought by persons, not by services")


def _check_part(new: NewPart) -> None:
    if not 1 <= new.part <= new.parts <= PARTS_MAX:
        raise Refused(
            "bad_component",
            f"expected component 1 to {PARTS_MAX} of at most {PARTS_MAX},"
            f" got {new.part} of {new.parts}",
            field="part",
        )


def _check_free(rows: Rows, name: str) -> None:
    if rows["key"]:
        raise Conflict(
            "vending_key_exists",
            f"the name {name!r} is taken by a vending key; give this one a new name",
            field="name",
        )


def _check_second(principal: Principal, there: Sequence[Row]) -> None:
    if any(row["officer_id"] == principal.id for row in there):
        raise NotAllowed(
            "second_person_needed",
            "you have brought a part of this key; another officer must bring the next",
        )


def _check_joins(
    principal: Principal, new: NewPart, wrapped: WrappedKey, there: Sequence[Row]
) -> None:
    if any(row["part"] == new.part for row in there):
        raise Conflict(
            "component_there",
            f"component {new.part} of {new.facts.name!r} was brought already; withdraw what waits "
            "if it was wrong",
        )
    _check_second(principal, there)
    for row in there:
        wanted = {**_facts(new.facts), "parts": new.parts}
        for name, value in wanted.items():
            if row[name] != value:
                raise Refused(
                    "component_differs",
                    f"the component that is there says {name} {row[name]}, this one {value}",
                    field=name,
                )
        if row["check_value"] == wrapped.check_value:
            raise Refused(
                "components_equal",
                "two components are the same: their exclusive or would be a key of zeros",
            )


def _check_retires(rows: Rows, name: str) -> None:
    if not rows["keys"]:
        raise _unknown_key(name)
    if rows["keys"][0]["state"] != "active":
        raise Conflict("vending_key_retired", f"the vending key {name!r} is retired already")
    for read, what in _USES.items():
        count = rows[read][0]["count"]
        if count:
            raise Conflict(
                "vending_key_in_use",
                f"{count} {what} need the vending key {name!r}; bring them to another first",
            )


def _nothing_waits(name: str) -> NotFound:
    return NotFound(
        "component_unknown", f"no component of a key {name!r} waits for another officer"
    )


def _unknown_key(name: str) -> NotFound:
    return NotFound("vending_key_unknown", f"there is no vending key {name!r}", field="name")


def _facts(facts: KeyFacts) -> dict[str, str | int]:
    return {name: getattr(facts, name) for name in _FACTS}


def _component(
    caller: Caller, new: NewPart, wrapped: WrappedKey, row_id: int, reason: str, now_us: int
) -> dict[str, SqlValue]:
    return {
        **_facts(new.facts),
        "id": row_id,
        "utility_id": caller.principal.utility_id,
        "name": new.facts.name,
        "method": CONFIRM if new.parts == 1 else COMPONENTS,
        "part": new.part,
        "parts": new.parts,
        "check_value": wrapped.check_value,
        "wrapped": wrapped.wrapped,
        "state": "open",
        "officer_id": caller.principal.id,
        "reason": reason,
        "created_us": now_us,
    }


def _ended(there: Sequence[Row], state: str, now_us: int) -> list[Step]:
    return [
        Update("vault_component_end", {"of_id": row["id"], "new_state": state, "at_us": now_us})
        for row in there
    ]


def _key_steps(
    caller: Caller,
    facts: KeyFacts,
    wrapped: WrappedKey,
    first_officer_id: int,
    reason: str,
    new_id: NewId,
    now_us: int,
) -> list[Step]:
    row: dict[str, SqlValue] = {
        **_facts(facts),
        "id": new_id(),
        "utility_id": caller.principal.utility_id,
        "name": facts.name,
        "kind": "vending",
        "check_value": wrapped.check_value,
        "wrapped": wrapped.wrapped,
        "wrapped_by": wrapped.wrapped_by,
        "state": "active",
        "created_us": now_us,
        "officer_id": first_officer_id,
        "second_officer_id": caller.principal.id,
    }
    whole = {**_facts(facts), "check_value": wrapped.check_value, "officer": first_officer_id}
    data = changed(None, whole)
    act = _act(caller, "vending_key.add", facts.name, reason, data, now_us)
    return [Insert("vault_key", row), act(new_id)]


def _act(
    caller: Caller, what: str, name: str, reason: str, data: Mapping[str, object], now_us: int
) -> Callable[[NewId], Insert]:
    origin, utility_id = Origin.of(caller), caller.principal.utility_id
    return lambda new_id: act_row(
        new_id, origin, utility_id, now_us, what=what, subject=name, reason=reason, data=data
    )


def _line(row: Row, now_us: int) -> KeyLine:
    expires_us = key_expires_us(row["base_date"], row["ken"])
    return KeyLine(
        **{name: row[name] for name in ("name", *_FACTS, "check_value", "state")},
        expires_us=expires_us,
        days_left=days_left(expires_us, now_us),
        created_us=row["created_us"],
        retired_us=row["retired_us"],
        officer=row["officer"],
        second_officer=row["second_officer"],
    )
