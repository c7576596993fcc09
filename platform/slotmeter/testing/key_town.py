"""A shop whose meters are within reach, with vending keys to change to, for tests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from slotmeter.devices.commands import CommandOut
from slotmeter.devices.drivers import Driver
from slotmeter.ports import Caller, CreditRule, TokenSafe
from slotmeter.services.coding_office import CodingOffice
from slotmeter.services.key_changes import KeyChanges
from slotmeter.services.key_replacements import KeyReplacements
from slotmeter.services.management_tokens import ManagementTokens
from slotmeter.services.sale_begin import ONE_LANE
from slotmeter.testing.consumption import Household
from slotmeter.testing.device_side import DeviceSide
from slotmeter.testing.meter_reports import MeterReport
from slotmeter.testing.sample_safe import sample_safe
from slotmeter.testing.shop import Shop, open_shop
from slotmeter.testing.small_utility import VENDING_KEY, SmallMeter
from slotmeter.testing.virtual_meter import VirtualMeter
from slotmeter.vending.sts import KeyParameters, VendingKey, derive_decoder_key

__all__ = ["KEYS", "KeyTown", "Wire", "open_key_town"]

_OTHER: Final = bytes.fromhex("949494949494949401234567abababababababab")


KEYS: Final[Mapping[str, VendingKey]] = {
    "krn-2": replace(VENDING_KEY, key=_OTHER, krn=2),
    "base-1993": replace(VENDING_KEY, key=_OTHER, base_date=1993),
    "expired": replace(VENDING_KEY, key=_OTHER, krn=3, ken=10),
    "common": replace(VENDING_KEY, key=_OTHER, krn=4, kt=3),
}
"""Keys that the vault holds beside the one of all meters; they protect nothing."""


@dataclass(frozen=True, slots=True)
class Wire:
    """How a meter's own protocol is written and read.

    Args:
        driver: of the meters.
        rule: what keeps credit.
        encode: a report as the meter sends it.
        decode: commands as the meter gets them.
    """

    driver: Driver
    rule: CreditRule
    encode: Callable[[MeterReport], bytes]
    decode: Callable[[bytes], Sequence[CommandOut]]


@dataclass
class KeyTown:
    """The shop, its device side, and a person who may change keys."""

    shop: Shop
    side: DeviceSide
    wire: Wire
    safe: TokenSafe
    office: CodingOffice
    supervisor: Caller

    @property
    def changes(self) -> KeyChanges:
        """Key changes."""
        return self.office.changes

    @property
    def replacements(self) -> KeyReplacements:
        """Replacements after them."""
        return self.office.replacements

    @property
    def management(self) -> ManagementTokens:
        """Management tokens."""
        return self.office.management

    async def meter(
        self,
        commodity: str = "electricity",
        *,
        online: bool = True,
        key_id: str | None = None,
        **coded: Any,
    ) -> tuple[SmallMeter, VirtualMeter]:
        """Add a meter and the thing itself; ``coded`` changes its parameters.

        Args:
            commodity: what it meters.
            online: a medium reaches it.
            key_id: one of :data:`KEYS`; by default the key of all meters.
            coded: fields of ``KeyParameters``.
        """
        row = await self.shop.utility.add_meter(commodity, online=online)
        key = VENDING_KEY if key_id is None else KEYS[key_id]
        assert row.parameters is not None
        parameters = replace(row.parameters, krn=key.krn, base_date=key.base_date, **coded)
        self.shop.code_meter(row, **parameters.to_dict())
        if key_id is not None:
            self.shop.sql("UPDATE meter SET key_id = ? WHERE id = ?", key_id, row.id)
        return row, self.thing(row, parameters, key)

    def thing(self, row: SmallMeter, parameters: KeyParameters, key: VendingKey) -> VirtualMeter:
        """Return a meter that was made while its key's identifiers lasted."""
        made_at = self.shop.clock.now()
        if parameters.base_date == 1993:
            made_at = made_at.replace(year=2020)
        thing = VirtualMeter.create(
            number=row.number,
            commodity=row.commodity,
            household=Household(seed=1, people=2),
            made_at=made_at,
            decoder_key=derive_decoder_key(key.key, parameters),
            parameters=parameters,
        )
        self.run_to(thing, self.shop.clock.now())
        return thing

    def run_to(self, thing: VirtualMeter, at: datetime) -> None:
        """Let a meter live up to a time."""
        thing.run_to(at)

    async def push(self, row: SmallMeter, thing: VirtualMeter, times: int = 4) -> None:
        """Let the meter report and do what comes back, so many times, a minute apart."""
        for _ in range(times):
            self.shop.clock.advance(seconds=60)
            thing.run_to(self.shop.clock.now())
            report = thing.report()
            await self.side.hand_in(row, self.wire.encode(report))
            answer = await self.side.queue.take(str(row.address), limit=8)
            thing.acknowledge(report)
            for command in self.wire.decode(answer or b""):
                thing.execute(command)
            await self.side.consumer.step()

    def coded(self, row: SmallMeter) -> dict[str, Any]:
        """Return what the platform thinks a meter is coded with, and shall be."""
        sql = "SELECT key_id, parameters, wanted FROM meter WHERE id = ?"
        (found,) = self.shop.rows_of(sql, row.id)
        return found


@asynccontextmanager
async def open_key_town(folder: Path, wire: Wire) -> AsyncIterator[KeyTown]:
    """Make everything in an empty folder, and close it at the end."""
    async with open_shop(folder) as shop:
        for key_id, key in KEYS.items():
            await shop.security.load(key_id, key)
        drivers = {wire.driver.key: wire.driver}
        side = DeviceSide(shop.database, shop.clock, wire.rule, drivers=drivers)
        safe = sample_safe()
        office = CodingOffice.of(
            shop.database, shop.security, safe, shop.clock, draw_rnd=lambda: 5, tids=ONE_LANE
        )
        supervisor = await shop.utility.add_principal("Supervisor", "supervisor")
        yield KeyTown(shop, side, wire, safe, office, supervisor)
