"""The keys that devices prove themselves with: made or taken in here, kept sealed, shown once.

A key is text: ``smd_`` and 43 base64url characters of 32 random bytes, or what the factory burnt
into the meter. It is the key of HMAC-SHA-256 as it stands, in UTF-8. The platform keeps it sealed
by the vault, one document for each device of an entry.
"""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from slotmeter.errors import NotFound, Refused
from slotmeter.ports import (
    Body,
    Caller,
    Clock,
    NewId,
    RecordKind,
    SecretBox,
    Step,
    UnitOfWork,
)
from slotmeter.services.access import caller_act
from slotmeter.services.guarded_acts import check_reason
from slotmeter.services.plugin_records import PlatformRecords
from slotmeter.units import epoch_us

__all__ = [
    "DEVICE",
    "DEVICE_KEY_PREFIX",
    "DeviceKeyInfo",
    "DeviceKeyRing",
    "EntryDeviceKeys",
    "key_names",
]

DEVICE_KEY_PREFIX: Final = "smd_"
KEY_RANDOM_BYTES: Final = 32

DEVICE: Final = r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}"
"""An address that a key can belong to, as a regular expression."""

_KEY: Final = re.compile(r"[\x21-\x39\x3b-\x7e]{22,128}")
_DEVICE: Final = re.compile(DEVICE)
_KIND: Final = RecordKind("device_key")


@dataclass(frozen=True, slots=True)
class DeviceKeyInfo:
    """What may be known of a device's key: not the key.

    Args:
        device: address of the device.
        made_at: when it was made or taken in, aware UTC.
        source: ``made`` here, or ``given``.
    """

    device: str
    made_at: datetime
    source: str


def key_names(entry_key: str) -> str:
    """Return the key under which the platform keeps its own documents about an entry."""
    return f"{entry_key}:platform"  # no entry's key has a colon


@dataclass(frozen=True, slots=True)
class _Why:
    """Where a key comes from, and the reason that was given."""

    source: str
    reason: str


class DeviceKeyRing:
    """Keeps the keys of devices, for all entries."""

    def __init__(self, uow: UnitOfWork, clock: Clock, box: SecretBox) -> None:
        """Hold the database, the clock, and what seals."""
        self._uow = uow
        self._clock = clock
        self._box = box

    def of(self, entry_key: str) -> EntryDeviceKeys:
        """Return the keys of one entry's devices, as its plugin may use them."""
        return EntryDeviceKeys(self, entry_key)

    async def make(self, caller: Caller, entry_key: str, device: str, *, reason: str) -> str:
        """Make a key and return it; it is never shown again, and replaces the one before.

        Raises:
            Refused: ``bad_device``, ``reason_missing`` or ``reason_too_long``.
        """
        key = DEVICE_KEY_PREFIX + secrets.token_urlsafe(KEY_RANDOM_BYTES)
        await self._keep(caller, entry_key, device, key, _Why("made", check_reason(reason)))
        return key

    async def take_in(
        self, caller: Caller, entry_key: str, keys: Mapping[str, str], *, reason: str
    ) -> int:
        """Take in keys that devices have from their maker; return how many.

        Raises:
            Refused: ``bad_device``, ``bad_device_key``, ``reason_missing`` or ``reason_too_long``;
                nothing was taken in then.
        """
        why = _Why("given", check_reason(reason))
        for device, key in keys.items():
            _check_device(device)
            if not _KEY.fullmatch(key):
                raise Refused(
                    "bad_device_key",
                    f"{device}: expected 22 to 128 printable ASCII characters, no blank or colon",
                )
        for device, key in keys.items():
            await self._keep(caller, entry_key, device, key, why)
        return len(keys)

    async def withdraw(self, caller: Caller, entry_key: str, device: str, *, reason: str) -> None:
        """Forget a key: the device is refused from now on.

        Raises:
            NotFound: ``device_key_unknown``.
            Refused: ``bad_device``, ``reason_missing`` or ``reason_too_long``.
        """
        why = check_reason(reason)
        _check_device(device)

        def gone(body: Body | None) -> None:
            if body is None:
                raise NotFound(
                    "device_key_unknown", f"{device} has no key at {entry_key}", field="device"
                )

        await self._records(entry_key).change_with(
            _KIND,
            device,
            gone,
            also=lambda new_id: [self._act(new_id, caller, "withdraw", entry_key, device, why)],
        )

    async def listed(
        self, entry_key: str, *, after: str = "", limit: int = 100
    ) -> Sequence[DeviceKeyInfo]:
        """Return what may be known of the keys, by device."""
        found = await self._records(entry_key).page(_KIND, after=after, limit=limit)
        return [DeviceKeyInfo(each.name, each.at, str(each.body["source"])) for each in found]

    async def key(self, entry_key: str, device: str) -> bytes | None:
        """Return a key for as long as it takes to use it; None when the device has none."""
        record = await self._records(entry_key).get(_KIND, device)
        if record is None:
            return None
        return self._box.open(_owner(entry_key, device), str(record.body["sealed"])).encode()

    def _records(self, entry_key: str) -> PlatformRecords:
        return PlatformRecords(key_names(entry_key), self._uow, self._clock)

    async def _keep(self, caller: Caller, entry_key: str, device: str, key: str, why: _Why) -> None:
        _check_device(device)
        body: Body = {
            "sealed": self._box.seal(_owner(entry_key, device), key),
            "source": why.source,
        }
        await self._records(entry_key).change_with(
            _KIND,
            device,
            lambda _: body,
            also=lambda new_id: [
                self._act(new_id, caller, why.source, entry_key, device, why.reason)
            ],
        )

    def _act(
        self, new_id: NewId, caller: Caller, what: str, entry_key: str, device: str, reason: str
    ) -> Step:
        return caller_act(
            caller,
            new_id,
            epoch_us(self._clock.now()),
            f"device_key.{what}",
            f"{entry_key} {device}",
            reason,
        )


class EntryDeviceKeys:
    """Implements ``ports.DeviceKeys`` for one entry."""

    def __init__(self, ring: DeviceKeyRing, entry_key: str) -> None:
        """Hold the keys of all."""
        self._ring = ring
        self._entry_key = entry_key

    async def verify(self, device: str, message: bytes, mac: bytes) -> bool:
        """Say whether a message is a device's; see ``ports.DeviceKeys``."""
        made = await self.sign(device, message)
        return made is not None and hmac.compare_digest(made, mac)

    async def sign(self, device: str, message: bytes) -> bytes | None:
        """Sign for a device; see ``ports.DeviceKeys``."""
        key = await self._ring.key(self._entry_key, device)
        return None if key is None else hmac.digest(key, message, "sha256")

    async def knows(self, device: str, key: bytes) -> bool:
        """Say whether this is the key of a device."""
        kept = await self._ring.key(self._entry_key, device)
        return kept is not None and hmac.compare_digest(kept, key)


def _check_device(device: str) -> None:
    if not _DEVICE.fullmatch(device):
        raise Refused(
            "bad_device", "expected 1 to 64 of A-Z a-z 0-9 . _ : -, a letter or digit first"
        )


def _owner(entry_key: str, device: str) -> str:
    return f"device {entry_key} {device}"
