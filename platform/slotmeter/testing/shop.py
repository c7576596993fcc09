"""A small utility with somebody at the till, on a real database: for tests of selling."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from slotmeter.ports import Caller, Read, Row
from slotmeter.security.software import SoftwareSecurityModule, create_vault
from slotmeter.services.sale_begin import SaleBegin
from slotmeter.services.selling import SaleView, Selling, SellRequest
from slotmeter.storage.opening import AnyDatabase
from slotmeter.storage.sale_stream import Place
from slotmeter.testing.clocks import FakeClock
from slotmeter.testing.databases import Behind, opened_in, settings_of
from slotmeter.testing.sample_safe import sample_safe
from slotmeter.testing.small_utility import (
    KEY_ID,
    VENDING_KEY,
    SmallMeter,
    SmallUtility,
    tariff_document,
)
from slotmeter.units import epoch_us
from slotmeter.vending.sts import Register, derive_decoder_key
from slotmeter.vending.sts.meter import StsMeter
from slotmeter.vending.sts.meter_state import MeterConfig

__all__ = ["SERVICE_CHARGE", "SHOP_OPENS_AT", "Shop", "open_shop"]

SHOP_OPENS_AT = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)
SERVICE_CHARGE = {"code": "service", "label": "Service charge", "amount": "50.00", "taxed": True}


@dataclass
class Shop:
    """A small utility with somebody at the till."""

    path: Path
    behind: Behind
    database: AnyDatabase
    utility: SmallUtility
    selling: Selling
    clock: FakeClock
    security: SoftwareSecurityModule
    till: Caller
    paid_meters: list[int] = field(default_factory=list)

    @property
    def place(self) -> Place:
        """Where whoever looks at stored sales finds them."""
        database = settings_of(self.path.parent).database
        return database if database.url else self.path

    async def sell(self, meter: str, tendered: str = "116.00", sale_id: str = "s1") -> SaleView:
        """Sell and return the sale."""
        view, _ = await self.selling.sell(self.till, SellRequest(sale_id, meter, tendered))
        return view

    async def rows(self, statement: str, **params: Any) -> Sequence[Row]:
        """Return the rows of one named read."""
        return (await self.database.read([Read(statement, params)]))[statement]

    def sql(self, text: str, *values: object) -> None:
        """Change a row behind the platform's back."""
        self.behind.rows(text, *values)

    def rows_of(self, text: str, *values: object) -> list[dict[str, Any]]:
        """Return what a query of one's own finds."""
        return self.behind.rows(text, *values)

    def column(self, text: str, *values: object) -> list[Any]:
        """Return the first column of what a query of one's own finds."""
        return self.behind.values(text, *values)

    def code_meter(self, meter: SmallMeter, **changes: Any) -> None:
        """Change how the platform thinks a meter is coded; without changes, as it was."""
        assert meter.parameters is not None
        parameters = json.dumps(meter.parameters.to_dict() | changes)
        self.sql("UPDATE meter SET parameters = ? WHERE id = ?", parameters, meter.id)

    async def ledger(self, *codes: str) -> dict[str, int]:
        """Return the balances, in minor units, of the accounts that exist."""
        params: dict[str, Any] = {"utility_id": self.utility.utility_id}
        params |= {f"code{at}": code for at, code in enumerate(codes)}
        params |= {f"code{at}": None for at in range(len(codes), 8)}
        rows = await self.rows("ledger_accounts", **params)
        return {row["code"]: row["balance_minor"] for row in rows}

    async def first_commit_only(self, request: SellRequest) -> None:
        """Leave a sale as a crash between its two commits leaves it."""
        now_us = epoch_us(self.clock.now())
        begin = SaleBegin(self.till, request, now_us=now_us, rnd=7)
        await self.database.run(begin.reads(), begin.decide)

    def sts_meter(self, number: str) -> StsMeter:
        """Return a new meter with this number, coded as the platform has it."""
        parameters = self.utility.meters[number].parameters
        assert parameters is not None
        key = derive_decoder_key(VENDING_KEY.key, parameters)
        register = Register[self.utility.meters[number].commodity.upper()]
        config = MeterConfig(parameters.pan, frozenset({register}))
        return StsMeter.made(config, parameters, key, made_tid=1)


@asynccontextmanager
async def open_shop(folder: Path) -> AsyncIterator[Shop]:
    """Make everything in an empty folder, and close it at the end."""
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(opened_in(folder))
        create_vault(folder)
        security = SoftwareSecurityModule.open(folder)
        stack.push_async_callback(security.close)
        await security.load(KEY_ID, VENDING_KEY)
        yield await _furnished(folder, database, security)


async def _furnished(folder: Path, database: AnyDatabase, security: SoftwareSecurityModule) -> Shop:
    clock = FakeClock(SHOP_OPENS_AT)
    utility = await SmallUtility(database, epoch_us(SHOP_OPENS_AT)).make()
    for commodity in ("electricity", "water", "gas"):
        await utility.add_tariff(tariff_document(commodity))
    paid: list[int] = []

    async def after_payment(meter_id: int) -> None:
        paid.append(meter_id)

    selling = Selling(
        database,
        security,
        clock,
        safe=sample_safe(),
        draw_rnd=lambda: 5,
        after_payment=after_payment,
        on_issued=lambda: None,
    )
    till = await utility.add_principal("Till 1", "vendor")
    path, behind = folder / "slotmeter.db", Behind(folder)
    return Shop(path, behind, database, utility, selling, clock, security, till, paid)
