"""The vending keys of the database: wrapped under the root key, bound to what they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from operator import xor
from typing import Final

from slotmeter.errors import ConfigError, Refused
from slotmeter.ports import (
    Changes,
    Clock,
    Insert,
    KeyFacts,
    NewId,
    Read,
    Row,
    Rows,
    SqlValue,
    UnitOfWork,
    Update,
    WrappedKey,
)
from slotmeter.security.envelope import Envelope
from slotmeter.security.key_store import same_or_conflict
from slotmeter.units import epoch_us
from slotmeter.vending.sts import (
    DerivationOptions,
    VendingKey,
    check_vending_key_bytes,
    vending_key_check_value,
)

__all__ = ["DatabaseKeys", "VaultKeyWrapping", "facts_of", "key_of_row", "key_row", "wrap_key"]

VENDING: Final = "vending"
ACTIVE: Final = "active"


def facts_of(name: str, key: VendingKey) -> KeyFacts:
    """Return what a key is, without the key."""
    return KeyFacts(name, key.sgc, key.krn, key.kt, key.dkga, key.base_date, key.ken)


def _bound(facts: KeyFacts) -> list[object]:
    """Return what a vending key is bound to: exchanging rows or facts is found when unwrapping."""
    return [
        VENDING,
        *(facts.name, facts.sgc, facts.krn, facts.kt, facts.dkga, facts.base_date, facts.ken),
    ]


def _bound_part(facts: KeyFacts, part: int, parts: int) -> list[object]:
    return ["component", part, parts, *_bound(facts)]


def wrap_key(envelope: Envelope, name: str, key: VendingKey) -> WrappedKey:
    """Wrap a vending key."""
    return WrappedKey(
        envelope.wrap(key.key, _bound(facts_of(name, key))),
        envelope.name,
        vending_key_check_value(key.key, key.dkga),
    )


def key_of_row(envelope: Envelope, row: Row) -> VendingKey:
    """Unwrap a row of ``vault_key``.

    Raises:
        ConfigError: ``vault_key_unreadable``.
    """
    name = row["name"]
    facts = KeyFacts(
        name,
        *(row[each] for each in ("sgc", "krn", "kt", "dkga", "base_date", "ken")),
    )
    material = envelope.unwrap(row["wrapped"], _bound(facts), name)
    try:
        return VendingKey(
            material, facts.sgc, facts.krn, facts.kt, facts.dkga, facts.base_date, facts.ken
        )
    except Refused as error:
        raise ConfigError(
            "vault_key_unreadable", f"the key {name!r} of the vault is damaged: {error.message}"
        ) from error


def key_row(
    new_id: int, utility_id: int | None, facts: KeyFacts, wrapped: WrappedKey, now_us: int
) -> dict[str, SqlValue]:
    """Return the row of a new vending key."""
    return {
        "id": new_id,
        "utility_id": utility_id,
        "name": facts.name,
        "kind": VENDING,
        "sgc": facts.sgc,
        "krn": facts.krn,
        "kt": facts.kt,
        "dkga": facts.dkga,
        "base_date": facts.base_date,
        "ken": facts.ken,
        "check_value": wrapped.check_value,
        "wrapped": wrapped.wrapped,
        "wrapped_by": wrapped.wrapped_by,
        "state": ACTIVE,
        "created_us": now_us,
    }


class DatabaseKeys:
    """Implements ``key_store.KeyStore`` on the table ``vault_key``."""

    def __init__(self, uow: UnitOfWork, clock: Clock, envelope: Envelope) -> None:
        """Join the parts."""
        self._uow = uow
        self._clock = clock
        self._envelope = envelope
        self._seen: list[tuple[object, ...]] = []
        self._retired: frozenset[str] = frozenset()

    @property
    def retired(self) -> frozenset[str]:
        """Ids of retired keys as of the last read."""
        return self._retired

    async def read(self) -> Mapping[str, VendingKey]:
        """Unwrap every active key; see ``KeyStore``."""
        return self.unwrapped(await self._rows())

    async def changed(self) -> bool:
        """Compare the rows with those that were read; see ``KeyStore``."""
        return [_stamp(row) for row in await self._rows()] != self._seen

    async def add(self, key_id: str, key: VendingKey) -> Mapping[str, VendingKey]:
        """Wrap and store; see ``KeyStore``."""
        wrapped = wrap_key(self._envelope, key_id, key)
        now_us = epoch_us(self._clock.now())

        def decide(rows: Rows, new_id: NewId) -> Changes[None]:
            present = next((row for row in rows["vault_keys"] if row["name"] == key_id), None)
            if present is None:
                utilities = [row["id"] for row in rows["vault_utilities"]]
                only = utilities[0] if len(utilities) == 1 else None
                row = key_row(new_id(), only, facts_of(key_id, key), wrapped, now_us)
                return Changes(None, [Insert("vault_key", row)])
            if present["kind"] != VENDING:
                raise Refused("bad_key_id", "this id is taken by the vault itself", field="key_id")
            same_or_conflict(key_id, key_of_row(self._envelope, present), key)
            if present["ken"] == key.ken:
                return Changes(None)
            return Changes(None, [_expiry(key_id, present["ken"], key.ken, wrapped)])

        await self._uow.run([Read("vault_keys"), Read("vault_utilities")], decide)
        return await self.read()

    def unwrapped(self, rows: Sequence[Row]) -> dict[str, VendingKey]:
        """Unwrap the active ones of rows of the read ``vault_keys``."""
        vending = [row for row in rows if row["kind"] == VENDING]
        active = [row for row in vending if row["state"] == ACTIVE]
        self._seen = [_stamp(row) for row in vending]
        self._retired = frozenset(row["name"] for row in vending) - {row["name"] for row in active}
        return {row["name"]: key_of_row(self._envelope, row) for row in active}

    async def _rows(self) -> Sequence[Row]:
        rows = (await self._uow.read([Read("vault_keys")]))["vault_keys"]
        return [row for row in rows if row["kind"] == VENDING]


def _stamp(row: Row) -> tuple[object, ...]:
    return row["id"], row["state"], row["ken"], row["wrapped"]


def _expiry(name: str, before: int, ken: int, wrapped: WrappedKey) -> Update:
    params: dict[str, SqlValue] = {
        "of_name": name,
        "expected": before,
        "new_ken": ken,
        "new_wrapped": wrapped.wrapped,
    }
    return Update("vault_key_expiry", params)


class VaultKeyWrapping:
    """Implements ``ports.KeyWrapping``."""

    def __init__(self, envelope: Envelope, options: DerivationOptions) -> None:
        """Wrap under the root key; ``options`` say whether parity is checked."""
        self._envelope = envelope
        self._options = options

    def wrap_part(self, facts: KeyFacts, part: int, parts: int, material: bytes) -> WrappedKey:
        """Wrap a component; see ``ports.KeyWrapping``."""
        check_vending_key_bytes(material, facts.dkga, self._options)
        return WrappedKey(
            self._envelope.wrap(material, _bound_part(facts, part, parts)),
            self._envelope.name,
            vending_key_check_value(material, facts.dkga),
        )

    def join(self, facts: KeyFacts, parts: Sequence[bytes]) -> WrappedKey:
        """Join components; see ``ports.KeyWrapping``."""
        components = [
            self._envelope.unwrap(
                wrapped, _bound_part(facts, at, len(parts)), f"{facts.name}, component {at}"
            )
            for at, wrapped in enumerate(parts, start=1)
        ]
        joined = bytes(reduce(xor, each) for each in zip(*components, strict=True))
        if facts.dkga != "04" and len(parts) > 1:
            # Two bytes of odd parity have even parity together: the sum gets its own parity bits.
            joined = bytes(map(_with_odd_parity, joined))
        key = VendingKey(
            joined, facts.sgc, facts.krn, facts.kt, facts.dkga, facts.base_date, facts.ken
        )
        check_vending_key_bytes(key.key, key.dkga, self._options)
        return wrap_key(self._envelope, facts.name, key)


def _with_odd_parity(byte: int) -> int:
    """Set the lowest bit so that the count of ones is odd, as in every byte of a DES key."""
    return byte ^ 1 if byte.bit_count() % 2 == 0 else byte
