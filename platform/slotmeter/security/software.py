"""The security module in software: vending keys in memory, wrapped wherever they are stored.

It serves from a :class:`KeyStore`: the vault in the database (``security.vault``), or a folder with
``vault.json``, which releases before that wrote and which simulations still use. There every
vending key is wrapped by AES-256-GCM, with its name and its public facts as additional data, so
that no entry can be exchanged for another. The wrapping key is 32 bytes in hex in a file of its
own, by default ``master.key`` beside it. Both files must be readable by their owner alone. Key
material never leaves this module.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Self

from slotmeter.errors import NotFound, Refused, Unavailable
from slotmeter.security.key_store import FileKeys, KeyStore, check_key_id, info_of
from slotmeter.security.vault_file import VaultFile, create_vault_file
from slotmeter.vending.sts import (
    TABLE_SETS,
    BlockCipher,
    DecoderKey,
    DerivationOptions,
    IssuedToken,
    KeyParameters,
    TableSet,
    TokenRequest,
    VendingKey,
    VendingKeyInfo,
    check_change,
    check_vending_key_bytes,
    cipher_for,
    derive_decoder_key,
    issue_token,
    key_change_tokens,
    tid_expired,
)

__all__ = ["DECODER_KEYS_MAX", "SoftwareSecurityModule", "create_vault"]


DECODER_KEYS_MAX: Final = 4096
"""Decoder keys kept ready; about 3 KB each."""

_DEFAULT_OPTIONS: Final = DerivationOptions(refuse_even_parity=True)
_MATCHING: Final = ("sgc", "krn", "kt", "base_date", "dkga")


def create_vault(folder: Path, *, master_key_file: Path | None = None) -> None:
    """Create an empty vault.

    Args:
        folder: made if it is missing, for its owner alone.
        master_key_file: made with a random key if it is missing; by default ``master.key`` in the
            folder. A file on another medium keeps a stolen backup of the folder useless.

    Raises:
        ConfigError: there is a vault already, or a file cannot be written.
    """
    create_vault_file(folder, master_key_file)


class SoftwareSecurityModule:
    """A :class:`slotmeter.ports.SecurityModule` in this process."""

    def __init__(
        self,
        store: KeyStore,
        keys: Mapping[str, VendingKey],
        *,
        table_sets: Mapping[str, TableSet] = TABLE_SETS,
        options: DerivationOptions = _DEFAULT_OPTIONS,
        decoder_keys_max: int = DECODER_KEYS_MAX,
    ) -> None:
        """Serve from a store and what it held a moment ago; most callers want :meth:`open`."""
        self._store: KeyStore | None = store
        self._keys = dict(keys)
        self._table_sets = dict(table_sets)
        self._options = options
        self._ciphers: OrderedDict[tuple[str, KeyParameters], BlockCipher] = OrderedDict()
        self._ciphers_max = decoder_keys_max
        self._lock = asyncio.Lock()

    @classmethod
    def open(
        cls,
        folder: Path,
        *,
        master_key_file: Path | None = None,
        table_sets: Mapping[str, TableSet] = TABLE_SETS,
        options: DerivationOptions = _DEFAULT_OPTIONS,
        decoder_keys_max: int = DECODER_KEYS_MAX,
    ) -> Self:
        """Open a vault file and unwrap its keys. Reads files: call it before the loop is busy.

        Args:
            folder: what :func:`create_vault` made.
            master_key_file: by default ``master.key`` in the folder.
            table_sets: STA tables by name, with a site's own among them.
            options: where a site has to decide; by default a DES key without odd parity is refused.
            decoder_keys_max: how many decoder keys are kept ready.

        Raises:
            ConfigError: a file is missing, readable by others, damaged, or of another master key.
        """
        vault = VaultFile.open(folder, master_key_file)
        return cls(
            FileKeys(vault),
            vault.read(),
            table_sets=table_sets,
            options=options,
            decoder_keys_max=decoder_keys_max,
        )

    def __repr__(self) -> str:
        """Say how many keys there are, and nothing about them."""
        return f"<SoftwareSecurityModule with {len(self._keys)} vending keys>"

    async def issue(
        self, key_id: str, parameters: KeyParameters, request: TokenRequest
    ) -> IssuedToken:
        """Make a token; the same arguments give the same digits.

        Raises:
            NotFound: ``vending_key_unknown``.
            Refused: the key is not the one that ``parameters`` name, has expired, or a field does
                not fit.
            Unavailable: the module is closed.
        """
        cipher = self._ciphers.get((key_id, parameters))
        if cipher is None:
            cipher = await self._cipher(key_id, parameters)
        else:
            self._ciphers.move_to_end((key_id, parameters))
        held = self._keys.get(key_id) or await self._vending_key(key_id)
        ken = held.ken
        if request.tid is not None and tid_expired(request.tid, ken):
            raise Refused(
                "key_expired",
                f"the vending key expired (KEN {ken}); change the meter to a newer key",
                field="tid",
            )
        return issue_token(cipher, parameters, request)

    async def change_key(
        self,
        current: tuple[str, KeyParameters],
        new: tuple[str, KeyParameters],
        *,
        three_tokens: bool = False,
        now_minute_1993: int | None = None,
    ) -> tuple[IssuedToken, ...]:
        """Make the tokens that move a meter to another key, in the order of entry.

        Args:
            current: vending key id and parameters that the meter is coded with.
            new: those that it shall be coded with.
            three_tokens: EA07 only: add the token with the supply group code.
            now_minute_1993: when given, a new key that has expired is refused.

        Raises:
            NotFound, Refused, Unavailable: as :meth:`issue`; the current key may have expired.
        """
        check_change(current[1], new[1], now_minute_1993)
        cipher = await self._cipher(*current)
        new_key = await self._decoder_key(*new)
        return key_change_tokens(cipher, current[1], new_key, new[1], three_tokens=three_tokens)

    async def load(self, key_id: str, key: VendingKey) -> VendingKeyInfo:
        """Take in a vending key. It is on disk, wrapped, when this returns.

        The same key may be loaded again, also with another expiry number.

        Raises:
            Conflict: ``vending_key_exists``: the id is taken by another key.
            Refused: the id or the key cannot be used.
            Unavailable: the module is closed.
        """
        check_key_id(key_id)
        check_vending_key_bytes(key.key, key.dkga, self._options)
        async with self._lock:
            self._hold(await self._open_store().add(key_id, key))
        return info_of(key_id, key)

    async def describe(self, key_id: str) -> VendingKeyInfo:
        """Return what may be told of a vending key.

        Raises:
            NotFound: ``vending_key_unknown``.
            Unavailable: the module is closed.
        """
        return info_of(key_id, await self._vending_key(key_id))

    async def refresh(self) -> None:
        """Take in what another process loaded or retired since.

        Raises:
            Unavailable: the module is closed, or the store cannot be read now.
        """
        async with self._lock:
            store = self._open_store()
            if await store.changed():
                self._hold(await store.read())

    async def close(self) -> None:
        """Forget all keys; every later call but this one is refused as Unavailable."""
        self._store = None
        self._keys = {}
        self._ciphers.clear()

    def _open_store(self) -> KeyStore:
        if self._store is None:
            raise Unavailable("vault_closed", "the security module is closed")
        return self._store

    def _hold(self, keys: Mapping[str, VendingKey]) -> None:
        """Keep these keys, and forget the decoder keys of those that are gone."""
        self._keys = dict(keys)
        for kept in [kept for kept in self._ciphers if kept[0] not in self._keys]:
            del self._ciphers[kept]

    async def _vending_key(self, key_id: str) -> VendingKey:
        store = self._open_store()
        if key_id not in self._keys:
            await self.refresh()  # another process may have loaded it since
        key = self._keys.get(key_id)
        if key is not None:
            return key
        if key_id in store.retired:
            raise Refused(
                "vending_key_retired", f"the vending key {key_id!r} is retired", field="key_id"
            )
        raise NotFound("vending_key_unknown", f"there is no vending key {key_id!r}", field="key_id")

    async def _decoder_key(self, key_id: str, parameters: KeyParameters) -> DecoderKey:
        key = await self._vending_key(key_id)
        for name in _MATCHING:
            if getattr(key, name) != getattr(parameters, name):
                raise Refused(
                    "vending_key_mismatch",
                    f"the vending key has {name} {getattr(key, name)}, the meter's parameters"
                    f" say {getattr(parameters, name)}",
                    field=name,
                )
        return derive_decoder_key(key.key, parameters, self._options)

    async def _cipher(self, key_id: str, parameters: KeyParameters) -> BlockCipher:
        decoder_key = await self._decoder_key(key_id, parameters)
        tables = self._table_sets.get(parameters.table_set)
        if tables is None:
            raise Refused(
                "unknown_table_set",
                f"there is no table set {parameters.table_set!r}",
                field="table_set",
            )
        cipher = self._ciphers[key_id, parameters] = cipher_for(decoder_key, tables)
        while len(self._ciphers) > self._ciphers_max:
            self._ciphers.popitem(last=False)
        return cipher
