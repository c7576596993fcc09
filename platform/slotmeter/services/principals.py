"""The list of who may act: branches, principals and their API keys; every change is an act."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from slotmeter.errors import Conflict, NotFound, Refused
from slotmeter.ports import (
    Changes,
    Clock,
    From,
    Insert,
    NewId,
    Read,
    Right,
    Row,
    Rows,
    SqlValue,
    UnitOfWork,
    Update,
)
from slotmeter.services.access import ROLES, Origin, act_row, make_key_text, rights_of
from slotmeter.services.act_changes import changed
from slotmeter.services.events import compact_json
from slotmeter.units import epoch_us, instant

__all__ = ["KeyInfo", "NewKey", "PrincipalInfo", "Principals"]

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}")
CODE = re.compile(r"[a-z0-9][a-z0-9._-]{0,31}")
KINDS = ("person", "service")


@dataclass(frozen=True, slots=True)
class PrincipalInfo:
    """A principal as an administrator sees it; times are aware UTC."""

    id: int
    name: str
    kind: str
    roles: tuple[str, ...]
    branch_code: str
    disabled_at: datetime | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """What may be known of a key after it was made; times are aware UTC."""

    id: int
    label: str
    rights: tuple[Right, ...] | None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key just made: the only moment its text exists outside its owner's hands."""

    id: int
    text: str

    def __repr__(self) -> str:
        """Show the key's number only."""
        return f"NewKey(id={self.id})"


class Principals:
    """Keeps branches, principals and keys of every utility."""

    def __init__(self, uow: UnitOfWork, clock: Clock) -> None:
        """Hold the database and the clock."""
        self._uow = uow
        self._clock = clock

    async def add_branch(
        self, origin: Origin, utility_id: int, *, code: str, name: str, reason: str
    ) -> int:
        """Add a branch and return its id.

        Raises:
            Refused: ``bad_code``.
            Conflict: ``branch_exists``.
        """
        _check(CODE, code, "bad_code", "code", "lower-case letters, digits, '.', '_' or '-'")
        at_us = self._now_us()

        def decide(rows: Rows, new_id: NewId) -> Changes[int]:
            if rows["access_branch"]:
                raise Conflict("branch_exists", f"there is a branch {code} already", field="code")
            branch_id = new_id()
            row: dict[str, SqlValue] = {
                "id": branch_id,
                "utility_id": utility_id,
                "code": code,
                "name": name,
            }
            act = act_row(
                new_id,
                origin,
                utility_id,
                at_us,
                what="branch.add",
                subject=code,
                reason=reason,
                data=changed(None, {"name": name}),
            )
            return Changes(branch_id, [Insert("branch", row), act])

        reads = [Read("access_branch", {"utility_id": utility_id, "code": code})]
        return await self._uow.run(reads, decide)

    async def add_principal(
        self,
        origin: Origin,
        utility_id: int,
        *,
        name: str,
        kind: str,
        roles: Iterable[str],
        branch_code: str,
        reason: str,
    ) -> int:
        """Add a person or a service and return its id.

        Raises:
            Refused: ``bad_name``, ``bad_kind``, ``unknown_role`` or ``unknown_branch``.
            Conflict: ``principal_exists``.
        """
        chosen = _check_principal(name, kind, roles)
        at_us = self._now_us()

        def decide(rows: Rows, new_id: NewId) -> Changes[int]:
            if rows["access_principal"]:
                raise Conflict(
                    "principal_exists", f"there is a principal {name} already", field="name"
                )
            if not rows["access_branch"]:
                raise Refused("unknown_branch", f"there is no branch {branch_code}", field="branch")
            principal_id = new_id()
            row: dict[str, SqlValue] = {
                "id": principal_id,
                "utility_id": utility_id,
                "branch_id": rows["access_branch"][0]["id"],
                "kind": kind,
                "name": name,
                "roles": compact_json(chosen),
                "created_us": at_us,
            }
            act = act_row(
                new_id,
                origin,
                utility_id,
                at_us,
                what="principal.add",
                subject=name,
                reason=reason,
                data=changed(None, {"kind": kind, "roles": chosen, "branch": branch_code}),
            )
            return Changes(principal_id, [Insert("principal", row), act])

        reads = [
            Read("access_principal", {"utility_id": utility_id, "name": name}),
            Read("access_branch", {"utility_id": utility_id, "code": branch_code}),
        ]
        return await self._uow.run(reads, decide)

    async def add_key(
        self,
        origin: Origin,
        utility_id: int,
        *,
        name: str,
        label: str,
        reason: str,
        rights: Iterable[Right] | None = None,
        expires_at: datetime | None = None,
    ) -> NewKey:
        """Make an API key for a principal; its text is in the answer and nowhere else.

        Args:
            origin: who asks.
            utility_id: the utility of the principal.
            name: the principal's name.
            label: what the key is for.
            reason: for the act.
            rights: the only rights the key shall carry; None keeps all of the roles' rights.
            expires_at: aware UTC, in the future; None never expires.

        Raises:
            NotFound: ``unknown_principal``.
            Refused: ``rights_not_held`` or ``expiry_in_the_past``.
        """
        at_us = self._now_us()
        narrowed = None if rights is None else sorted(right.value for right in set(rights))
        expires_us = None if expires_at is None else epoch_us(expires_at)
        if expires_us is not None and expires_us <= at_us:
            raise Refused(
                "expiry_in_the_past", "a key must expire later than now", field="expires_at"
            )
        text = make_key_text()

        def decide(rows: Rows, new_id: NewId) -> Changes[NewKey]:
            owner = _one(rows, name)
            held = {right.value for right in rights_of(json.loads(owner["roles"]))}
            beyond = [right for right in narrowed or () if right not in held]
            if beyond:
                raise Refused(
                    "rights_not_held", f"{name} does not hold {', '.join(beyond)}", field="rights"
                )
            key_id = new_id()
            row: dict[str, SqlValue] = {
                "id": key_id,
                "utility_id": utility_id,
                "principal_id": owner["id"],
                "label": label,
                "sha256": hashlib.sha256(text.encode()).hexdigest(),
                "rights": None if narrowed is None else compact_json(narrowed),
                "created_us": at_us,
                "expires_us": expires_us,
            }
            act = act_row(
                new_id,
                origin,
                utility_id,
                at_us,
                what="key.add",
                subject=name,
                reason=reason,
                data={
                    "key": key_id,
                    **changed(None, {"label": label, "rights": narrowed, "expires_us": expires_us}),
                },
            )
            return Changes(NewKey(key_id, text), [Insert("api_key", row), act])

        reads = [Read("access_principal", {"utility_id": utility_id, "name": name})]
        return await self._uow.run(reads, decide)

    async def revoke_key(
        self, origin: Origin, utility_id: int, *, name: str, key_id: int, reason: str
    ) -> None:
        """Withdraw a key; it stops working within ``CACHE_S_MAX``.

        Raises:
            NotFound: ``unknown_principal`` or ``unknown_key``.
        """
        at_us = self._now_us()

        def decide(rows: Rows, new_id: NewId) -> Changes[None]:
            owner = _one(rows, name)
            keys = {row["id"]: row for row in rows["access_keys"]}
            if key_id not in keys:
                raise NotFound("unknown_key", f"{name} has no key {key_id}")
            before = {"revoked_us": keys[key_id]["revoked_us"]}
            params = {
                "of_utility": utility_id,
                "of_principal": owner["id"],
                "of_key": key_id,
                "at_us": at_us,
            }
            act = act_row(
                new_id,
                origin,
                utility_id,
                at_us,
                what="key.revoke",
                subject=name,
                reason=reason,
                data={"key": key_id, **changed(before, {"revoked_us": at_us})},
            )
            return Changes(None, [Update("access_revoke", params, rows=None), act])

        reads = [
            Read("access_principal", {"utility_id": utility_id, "name": name}),
            Read(
                "access_keys",
                {"utility_id": utility_id, "principal_id": From("access_principal", "id")},
            ),
        ]
        await self._uow.run(reads, decide)

    async def set_disabled(
        self, origin: Origin, utility_id: int, *, name: str, disabled: bool, reason: str
    ) -> None:
        """Disable a principal with all its keys, or let it act again.

        Raises:
            NotFound: ``unknown_principal``.
        """
        at_us = self._now_us()

        def decide(rows: Rows, new_id: NewId) -> Changes[None]:
            owner = _one(rows, name)
            params: dict[str, int] = {"of_utility": utility_id, "of_principal": owner["id"]}
            if disabled:
                step = Update("access_disable", {**params, "at_us": at_us}, rows=None)
            else:
                step = Update("access_enable", params, rows=None)
            act = act_row(
                new_id,
                origin,
                utility_id,
                at_us,
                what="principal.disable" if disabled else "principal.enable",
                subject=name,
                reason=reason,
                data=changed(
                    {"disabled_us": owner["disabled_us"]},
                    {"disabled_us": at_us if disabled else None},
                ),
            )
            return Changes(None, [step, act])

        reads = [Read("access_principal", {"utility_id": utility_id, "name": name})]
        await self._uow.run(reads, decide)

    async def principals(self, utility_id: int) -> list[PrincipalInfo]:
        """Return the principals of a utility by name."""
        rows = await self._uow.read([Read("access_principals", {"utility_id": utility_id})])
        return [
            PrincipalInfo(
                id=row["id"],
                name=row["name"],
                kind=row["kind"],
                roles=tuple(json.loads(row["roles"])),
                branch_code=row["branch_code"],
                disabled_at=_time(row["disabled_us"]),
                created_at=instant(row["created_us"]),
            )
            for row in rows["access_principals"]
        ]

    async def keys(self, utility_id: int, name: str) -> list[KeyInfo]:
        """Return the keys of a principal, oldest first.

        Raises:
            NotFound: ``unknown_principal``.
        """
        rows = await self._uow.read(
            [
                Read("access_principal", {"utility_id": utility_id, "name": name}),
                Read(
                    "access_keys",
                    {"utility_id": utility_id, "principal_id": From("access_principal", "id")},
                ),
            ]
        )
        _one(rows, name)
        return [_key_info(row) for row in rows["access_keys"]]

    def _now_us(self) -> int:
        return epoch_us(self._clock.now())


def _check(pattern: re.Pattern[str], text: str, code: str, field: str, expected: str) -> None:
    if pattern.fullmatch(text) is None:
        raise Refused(code, f"expected {expected}, got {text[:80]!r}", field=field)


def _check_principal(name: str, kind: str, roles: Iterable[str]) -> list[str]:
    _check(
        NAME,
        name,
        "bad_name",
        "name",
        "1 to 64 letters, digits or . _ @ + -, a letter or digit first",
    )
    if kind not in KINDS:
        raise Refused("bad_kind", f"expected person or service, got {kind!r}", field="kind")
    chosen = sorted(set(roles))
    unknown = [role for role in chosen if role not in ROLES]
    if unknown or not chosen:
        got = ", ".join(unknown) or "none"
        raise Refused(
            "unknown_role", f"expected roles among {', '.join(ROLES)}; got {got}", field="role"
        )
    return chosen


def _one(rows: Rows, name: str) -> Row:
    if not rows["access_principal"]:
        raise NotFound("unknown_principal", f"there is no principal {name}", field="name")
    return rows["access_principal"][0]


def _key_info(row: Row) -> KeyInfo:
    rights = None
    if row["rights"] is not None:
        rights = tuple(Right(right) for right in json.loads(row["rights"]))
    return KeyInfo(
        id=row["id"],
        label=row["label"],
        rights=rights,
        created_at=instant(row["created_us"]),
        expires_at=_time(row["expires_us"]),
        revoked_at=_time(row["revoked_us"]),
    )


def _time(us: int | None) -> datetime | None:
    return None if us is None else instant(us)
