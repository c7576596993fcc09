"""How long it is remembered what a device has proven."""

from __future__ import annotations

import pytest

from slotmeter.errors import NotSignedIn
from slotmeter.services.device_proofs import CLOCK_WITHIN_S, DeviceProofs, Proven
from slotmeter.testing.clocks import FakeClock


class AllKeys:
    """Every device has a key, and every proof is right."""

    def of(self, _entry_key: str) -> AllKeys:
        return self

    async def verify(self, _device: str, _message: bytes, _mac: bytes) -> bool:
        return True

    async def sign(self, _device: str, _message: bytes) -> bytes | None:
        return None

    async def knows(self, _device: str, _key: bytes) -> bool:
        return True


async def call(proofs: DeviceProofs, clock: FakeClock, device: str, nonce: str) -> Proven:
    time_s = int(clock.now().timestamp())
    said = f"HMAC-SHA256 device={device},time={time_s},nonce={nonce},mac={'0' * 64}"
    return await proofs.check("town", said, method="GET", target="/", body=b"", in_clear=False)


async def test_what_was_proven_is_remembered_as_long_as_it_could_come_again_and_no_longer() -> None:
    clock = FakeClock()
    proofs = DeviceProofs(AllKeys(), clock)
    for number in range(50):
        await call(proofs, clock, f"M{number}", "nonce-01")
    with pytest.raises(NotSignedIn):
        await call(proofs, clock, "M0", "nonce-01")
    remembered = len(proofs)
    clock.advance(seconds=CLOCK_WITHIN_S + 1)
    for number in range(50):
        await call(proofs, clock, "M0", f"nonce-{number:02}")

    assert (remembered, len(proofs)) == (50, 1)
