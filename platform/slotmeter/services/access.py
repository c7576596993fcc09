"""Who acts and what they may do: roles, rights, and signing in with an API key.

An API key is ``smk_`` and 43 base64url characters of 32 random bytes; only the SHA-256 of the whole
text is stored, so that a key is shown once and never again. A key can narrow the rights of its
principal's roles, never widen them.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from slotmeter.errors import NotSignedIn
from slotmeter.ports import (
    Caller,
    Clock,
    Insert,
    NewId,
    Principal,
    Read,
    Right,
    Row,
    UnitOfWork,
)
from slotmeter.services.events import compact_json
from slotmeter.units import epoch_us

__all__ = [
    "KEY_PREFIX",
    "ROLES",
    "Access",
    "Origin",
    "SignedIn",
    "act_row",
    "caller_act",
    "make_key_text",
    "rights_of",
]

KEY_PREFIX = "smk_"
KEY_RANDOM_BYTES = 32
KEY_TEXT = re.compile(r"smk_[A-Za-z0-9_-]{43}")
CACHE_S_MAX = 1.0
CACHE_KEYS_MAX = 10_000

_VENDOR = frozenset({Right.QUOTE, Right.SELL, Right.SALES_OWN, Right.METERS, Right.METERS_ASK})
_LOOK = frozenset(
    {
        Right.SALES_ALL,
        Right.METERS,
        Right.READINGS,
        Right.COMMANDS,
        Right.EVENTS,
        Right.TARIFFS,
        Right.DEBTS,
    }
)
_OPERATOR = (
    _LOOK | {Right.COMMAND_SEND, Right.TOKENS_ALL, Right.INTEGRATIONS} | {Right.METERS_INSTALL}
)
_OFFICE = frozenset(
    {
        Right.TARIFF_DRAFT,
        Right.TOKENS_ALL,
        Right.CLASSES_WRITE,
        Right.DEBTS_WRITE,
        Right.FREE_WRITE,
        Right.ACCOUNTS_WRITE,
        Right.LEDGER,
        Right.FLOAT_DEPOSIT,
        Right.SALE_REVERSE,
    }
)
_MONEY = frozenset(
    {
        Right.LEDGER_CLOSE,
        Right.FLOAT_LIMIT,
        Right.COMMISSION_WRITE,
        Right.SALE_CORRECT,
        Right.METER_SWAP,
        Right.REFUND,
    }
)

ROLES: Mapping[str, frozenset[Right]] = MappingProxyType(
    {
        "vendor": _VENDOR,
        "operator": _OPERATOR,
        "installer": frozenset({Right.METERS, Right.METERS_INSTALL}),
        "office": _LOOK | _OFFICE,
        "supervisor": _OPERATOR
        | _OFFICE
        | _MONEY
        | {Right.COMMAND_CONFIRM, Right.METERS_WRITE, Right.TARIFF_APPROVE}
        | {Right.KEYS_CHANGE, Right.TOKENS_MANAGE, Right.KEYS},
        "key_officer": frozenset({Right.KEYS, Right.KEYS_LOAD, Right.KEYS_WRITE, Right.METERS}),
        "auditor": _LOOK | {Right.LEDGER, Right.TOKENS_ALL, Right.KEYS, Right.INTEGRATIONS},
        "viewer": _LOOK,
        "admin": frozenset(Right),
    }
)
"""What each role may do."""


@dataclass(frozen=True, slots=True)
class SignedIn:
    """Whom a key belongs to, with the rights that key carries and what it is labelled."""

    principal: Principal
    api_key_id: int
    key_label: str


@dataclass(frozen=True, slots=True)
class Origin:
    """Who did something and from where, as every act records it.

    Args:
        address: network address, or ``local:<user>`` for the command line.
        principal_id: None for somebody at the machine itself, who has no key.
    """

    address: str
    request_id: str
    principal_id: int | None = None
    api_key_id: int | None = None

    @classmethod
    def of(cls, caller: Caller) -> Origin:
        """Return the origin of a request."""
        return cls(caller.address, caller.request_id, caller.principal.id, caller.api_key_id)


def rights_of(roles: Iterable[str]) -> frozenset[Right]:
    """Return what roles together allow; a role that is unknown allows nothing."""
    return frozenset().union(*(ROLES.get(role, frozenset()) for role in roles))


def make_key_text() -> str:
    """Draw a new API key."""
    return KEY_PREFIX + secrets.token_urlsafe(KEY_RANDOM_BYTES)


def act_row(
    new_id: NewId,
    origin: Origin,
    utility_id: int,
    at_us: int,
    *,
    what: str,
    subject: str,
    reason: str,
    data: Mapping[str, object] | None = None,
) -> Insert:
    """Return the row that records an act; ``data`` never holds a key or a token."""
    return Insert(
        "act",
        {
            "id": new_id(),
            "utility_id": utility_id,
            "at_us": at_us,
            "principal_id": origin.principal_id,
            "api_key_id": origin.api_key_id,
            "address": origin.address,
            "request_id": origin.request_id,
            "what": what,
            "subject": subject,
            "reason": reason,
            "data": compact_json(data or {}),
        },
    )


def caller_act(
    caller: Caller,
    new_id: NewId,
    at_us: int,
    what: str,
    subject: str,
    reason: str,
    data: Mapping[str, object] | None = None,
) -> Insert:
    """Return the row that records an act of somebody who is signed in."""
    return act_row(
        new_id,
        Origin.of(caller),
        caller.principal.utility_id,
        at_us,
        what=what,
        subject=subject,
        reason=reason,
        data=data,
    )


class Access:
    """Signs callers in."""

    def __init__(self, uow: UnitOfWork, clock: Clock) -> None:
        """Start with nobody remembered."""
        self._uow = uow
        self._clock = clock
        self._cache: OrderedDict[str, tuple[float, Row]] = OrderedDict()

    async def principal_of(self, authorization: str | None) -> SignedIn:
        """Return whom the ``Authorization`` header stands for.

        What is known of a key may be up to ``CACHE_S_MAX`` old.

        Raises:
            NotSignedIn: ``key_missing``, ``key_malformed``, ``key_unknown``, ``key_revoked``,
                ``key_expired`` or ``principal_disabled``.
        """
        row = await self._key_row(_digest(authorization))
        if row["revoked_us"] is not None:
            raise NotSignedIn("key_revoked", "this API key was withdrawn")
        if row["expires_us"] is not None and row["expires_us"] <= self._now_us():
            raise NotSignedIn("key_expired", "this API key has expired")
        if row["disabled_us"] is not None:
            raise NotSignedIn("principal_disabled", "the owner of this API key is disabled")
        signed_in: SignedIn = row["signed_in"]
        return signed_in

    async def _key_row(self, digest: str) -> Row:
        now_s = self._clock.monotonic_s()
        found = self._cache.get(digest)
        if found is not None and 0 <= now_s - found[0] < CACHE_S_MAX:
            return found[1]
        rows = (await self._uow.read([Read("access_key", {"sha256": digest})]))["access_key"]
        if not rows:
            self._cache.pop(digest, None)
            raise NotSignedIn("key_unknown", "this API key is not known here")
        row = {**rows[0], "signed_in": _signed_in(rows[0])}
        self._cache[digest] = (now_s, row)
        self._cache.move_to_end(digest)
        while len(self._cache) > CACHE_KEYS_MAX:
            self._cache.popitem(last=False)
        return row

    def _now_us(self) -> int:
        return epoch_us(self._clock.now())


def _digest(authorization: str | None) -> str:
    if not authorization:
        raise NotSignedIn("key_missing", "send the API key as 'Authorization: Bearer smk_...'")
    scheme, _, text = authorization.partition(" ")
    text = text.strip()
    if scheme.lower() != "bearer" or KEY_TEXT.fullmatch(text) is None:
        raise NotSignedIn(
            "key_malformed", "expected 'Bearer smk_' and 43 characters in Authorization"
        )
    return hashlib.sha256(text.encode()).hexdigest()


def _signed_in(row: Row) -> SignedIn:
    rights = rights_of(json.loads(row["roles"]))
    if row["rights"] is not None:
        kept = json.loads(row["rights"])
        rights &= {right for right in Right if right.value in kept}
    principal = Principal(
        id=row["principal_id"],
        utility_id=row["utility_id"],
        branch_id=row["branch_id"],
        name=row["name"],
        kind=row["kind"],
        rights=rights,
        currency=row["currency"],
        time_zone=row["time_zone"],
        training=bool(row["training"]),
    )
    return SignedIn(principal, row["api_key_id"], row["key_label"])
