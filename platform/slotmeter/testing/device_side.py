"""The device side of the platform on a real database, with a scripted driver and a fake clock.

For tests of what frames, commands and time do; nothing runs by itself.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from slotmeter.devices.commands import CommandKind, CommandOut
from slotmeter.devices.drivers import Driver, Example
from slotmeter.devices.frames import Frame, Reading, Report
from slotmeter.errors import FrameError
from slotmeter.ports import (
    Caller,
    Changes,
    CreditRule,
    Insert,
    NewId,
    Rows,
    SqlValue,
    UnitOfWork,
    Update,
)
from slotmeter.services.booking import Entry, accounts_read, posting_steps
from slotmeter.services.bus import Bus
from slotmeter.services.command_queue import CommandQueue, Contacts
from slotmeter.services.command_requests import CommandRequests
from slotmeter.services.command_rows import CommandCause
from slotmeter.services.command_sweep import CommandSweep
from slotmeter.services.control import Order, Target, queue_steps
from slotmeter.services.credit import CreditControl
from slotmeter.services.ingest import DeviceConsumer, Frames
from slotmeter.services.metrics import DeviceMetrics
from slotmeter.testing.clocks import FakeClock
from slotmeter.testing.databases import Behind, opened_in
from slotmeter.testing.sample_safe import sample_safe
from slotmeter.testing.small_utility import SmallMeter, SmallUtility, tariff_document
from slotmeter.units import Commodity, epoch_us
from slotmeter.vending.ledger import Posting, customer_account, till_account

__all__ = ["MEDIUM", "DeviceSide", "DeviceTown", "Script", "device_town"]

MEDIUM = "nbiot"
DRIVER_KEY = "slotmeter_virtual"


@dataclass(slots=True)
class Script:
    """What a driver reads out of payloads: whatever a test put there.

    A payload that is not in the script raises ``FrameError``; one in ``faults`` what stands there.
    """

    reports: dict[bytes, Report] = field(default_factory=dict)
    faults: dict[bytes, Exception] = field(default_factory=dict)
    commands: frozenset[CommandKind] = frozenset(CommandKind)

    def decode(self, _path: str, payload: bytes) -> Report:
        """Return the report of a payload."""
        if payload in self.faults:
            raise self.faults[payload]
        if payload not in self.reports:
            raise FrameError("not_in_script", "the payload is not in the script")
        return self.reports[payload]

    def encode(self, commands: tuple[CommandOut, ...]) -> bytes:
        """Write commands as JSON."""
        return json.dumps(
            [
                {"id": each.id, "kind": each.kind.value, "token": each.token}
                | ({} if each.value is None else {"value": each.value})
                | ({} if each.text is None else {"text": each.text})
                for each in commands
            ]
        ).encode()

    def driver(self) -> Driver:
        """Return a driver that follows the script."""
        return Driver(
            key=DRIVER_KEY,
            maker="test",
            model="scripted",
            medium=MEDIUM,
            commodities=frozenset(Commodity),
            registers=("energy_import", "volume", "credit_balance", "credit_total"),
            decode=self.decode,
            encode=self.encode,
            commands=self.commands,
            examples=(Example("none", "m", b"", {}),),
        )


class DeviceSide:
    """Everything between a medium and the database, joined as a server joins it."""

    def __init__(
        self,
        uow: UnitOfWork,
        clock: FakeClock,
        rule: CreditRule,
        *,
        script: Script | None = None,
        drivers: Mapping[str, Driver] | None = None,
    ) -> None:
        """Join the parts; ``drivers`` take the place of the scripted one."""
        self.uow, self.clock = uow, clock
        self.script = script or Script()
        self.drivers = dict(drivers or {DRIVER_KEY: self.script.driver()})
        self.registry = CollectorRegistry()
        self.metrics = DeviceMetrics(self.registry)
        self.bus = Bus()
        self.contacts = Contacts(uow)
        parts: dict[str, Any] = {"metrics": self.metrics, "bus": self.bus}
        self.frames = Frames(uow, **parts)
        self.consumer = DeviceConsumer(uow, clock, drivers=self.drivers, **parts)
        self.requests = CommandRequests(uow, clock, drivers=self.drivers, **parts)
        self.sweep = CommandSweep(uow, clock, contacts=self.contacts, **parts)
        self.credit = CreditControl(uow, clock, rule, drivers=self.drivers, **parts)
        self.queue = CommandQueue(
            MEDIUM,
            uow,
            clock,
            safe=sample_safe(),
            drivers=self.drivers,
            contacts=self.contacts,
            **parts,
        )
        self._payloads = 0

    @property
    def now_us(self) -> int:
        """Our clock."""
        return epoch_us(self.clock.now())

    async def hand_in(self, meter: SmallMeter | str, payload: bytes) -> int:
        """Log a frame without looking at it."""
        address = meter if isinstance(meter, str) else str(meter.address)
        return await self.frames.hand_in(Frame(MEDIUM, address, "m", payload, self.clock.now()))

    async def report(
        self,
        meter: SmallMeter,
        readings: dict[str, int] | None = None,
        *,
        at: datetime | None = None,
        consume: bool = True,
        **told: Any,
    ) -> bytes:
        """Have a meter report something, and take it in unless told otherwise.

        ``told`` are further fields of a ``Report``: supply, tamper, results, entries, events.
        """
        measured_at = at or self.clock.now()
        self._payloads += 1
        payload = f"report {self._payloads}".encode()
        self.script.reports[payload] = Report(
            measured_at=measured_at,
            readings=tuple(
                Reading(name, value, measured_at) for name, value in (readings or {}).items()
            ),
            **told,
        )
        await self.hand_in(meter, payload)
        if consume:
            await self.consumer.step()
        return payload

    async def take(self, meter: SmallMeter, limit: int = 1) -> list[dict[str, Any]]:
        """Return what a meter is given when it asks."""
        payload = await self.queue.take(str(meter.address), limit=limit)
        taken: list[dict[str, Any]] = json.loads(payload) if payload is not None else []
        return taken

    def count(self, name: str, **labels: str) -> float:
        """Return the value of a counter."""
        return self.registry.get_sample_value(name, labels) or 0.0


@dataclass(slots=True)
class DeviceTown:
    """A small utility with its device side, and a second look into its database."""

    side: DeviceSide
    utility: SmallUtility
    seller: Caller
    path: Path
    behind: Behind
    _sales: int = 0

    @property
    def now_us(self) -> int:
        """Our clock."""
        return epoch_us(self.side.clock.now())

    def later(self, **by: int) -> datetime:
        """Return a time after now."""
        return self.side.clock.now() + timedelta(**by)

    def rows(self, sql: str, *params: SqlValue) -> list[dict[str, Any]]:
        """Return what is committed."""
        return self.behind.rows(sql, *params)

    def row(self, sql: str, *params: SqlValue) -> dict[str, Any]:
        """Return the only row."""
        (row,) = self.rows(sql, *params)
        return row

    async def insert(self, table: str, row: Mapping[str, SqlValue]) -> int:
        """Write a row of this utility with a new id and return the id."""

        def decide(_rows: Rows, new_id: NewId) -> Changes[int]:
            row_id = new_id()
            whole = {"id": row_id, "utility_id": self.utility.utility_id, **row}
            return Changes(row_id, [Insert(table, whole)])

        return await self.side.uow.run([], decide)

    async def notice(self, meter: SmallMeter, kind: str = "low_credit") -> None:
        """Record a notice now."""
        row: dict[str, SqlValue] = {
            "meter_id": meter.id,
            "kind": kind,
            "route": "page",
            "at_us": self.now_us,
        }
        await self.insert("notice", row)

    async def sale(self, meter: SmallMeter, minor: int, delivery: str) -> int:
        """Write an issued sale."""
        self._sales += 1
        account = self.row("SELECT id FROM account WHERE number = ?", meter.account_number)
        version = self.row("SELECT max(id) AS id FROM tariff_version")
        row: dict[str, SqlValue] = {
            "principal_id": self.seller.principal.id,
            "branch_id": self.utility.branch_id,
            "sale_id": f"s{self._sales}",
            "request_hash": "",
            "state": "issued",
            "receipt_number": f"R{self._sales}",
            "meter_id": meter.id,
            "account_id": account["id"],
            "supply_point_id": meter.supply_point_id,
            "tariff_version_id": version["id"],
            "tender_minor": minor,
            "currency": "KES",
            "channel": "till",
            "credit_mode": meter.credit_mode,
            "priced": "[]",
            "particulars": "{}",
            "units": minor,
            "receipt": "{}",
            "delivery": delivery,
            "sold_us": self.now_us,
            "issued_us": self.now_us,
            "act": "{}",
        }
        return await self.insert("sale", row)

    async def sell_token(
        self, meter: SmallMeter, amount: int, tid: int, digits: str = ""
    ) -> tuple[int, int]:
        """Sell a token of so many Wh or mL and queue its delivery; return sale and command."""
        sale_row_id = await self.sale(meter, amount, "pending")
        token: dict[str, SqlValue] = {
            "meter_id": meter.id,
            "sale_row_id": sale_row_id,
            "key_id": "k",
            "parameters": "{}",
            "request": "{}",
            "tid_minute": tid,
            "tid": tid,
            "amount": amount,
            "digits": digits or f"{tid:020d}",
            "state": "issued",
            "created_us": self.now_us,
            "issued_us": self.now_us,
        }
        token_id = await self.insert("token", token)
        order = Order(
            CommandKind.LOAD_TOKEN,
            CommandCause.SALE,
            "sale",
            token_id=token_id,
            sale_row_id=sale_row_id,
        )
        target = Target(
            self.utility.utility_id, meter.id, meter.device_id or 0, Commodity(meter.commodity)
        )

        def decide(_rows: Rows, new_id: NewId) -> Changes[int]:
            queued = queue_steps(order, target, pending=(), now_us=self.now_us, new_id=new_id)
            return Changes(queued.command["id"], queued.steps)

        return sale_row_id, await self.side.uow.run([], decide)

    async def pay(self, meter: SmallMeter, minor: int) -> None:
        """Pay into the account of a meter whose credit the platform holds."""
        sale_row_id = await self.sale(meter, minor, "none")
        till, customer = till_account("head"), customer_account(meter.account_number)
        entry = Entry(
            utility_id=self.utility.utility_id,
            kind="sale",
            at_us=self.now_us,
            currency="KES",
            postings=(Posting(till, minor), Posting(customer, -minor)),
            reason="sale",
            sale_row_id=sale_row_id,
        )

        def decide(rows: Rows, new_id: NewId) -> Changes[None]:
            return Changes(None, posting_steps(entry, rows["accounts"], new_id))

        read = accounts_read(self.utility.utility_id, [till, customer], "accounts")
        await self.side.uow.run([read], decide)

    async def set_policy(self, policy: Mapping[str, object] | str) -> None:
        """Replace the utility's policy."""
        text = policy if isinstance(policy, str) else json.dumps(policy)
        step = Update(
            "registry_set_policy", {"of_utility": self.utility.utility_id, "policy": text}
        )
        await self.side.uow.run([], lambda _rows, _new_id: Changes(None, [step]))

    def balance(self, meter: SmallMeter) -> int:
        """Return what the ledger holds for a customer, in minor units."""
        code = customer_account(meter.account_number)
        found = self.rows("SELECT balance_minor FROM ledger_account WHERE code = ?", code)
        owed: int = sum(row["balance_minor"] for row in found)
        return -owed

    def events(self, meter: SmallMeter) -> list[str]:
        """Return the kinds of a meter's events, oldest first."""
        sql = "SELECT kind FROM event WHERE meter_id = ? ORDER BY id"
        return [row["kind"] for row in self.rows(sql, meter.id)]

    def states(self, meter: SmallMeter) -> list[tuple[str, str]]:
        """Return kind and state of a meter's commands, oldest first."""
        sql = "SELECT kind, state FROM command WHERE meter_id = ? ORDER BY id"
        return [(row["kind"], row["state"]) for row in self.rows(sql, meter.id)]


@asynccontextmanager
async def device_town(
    folder: Path,
    rule: CreditRule,
    script: Script | None = None,
    drivers: Mapping[str, Driver] | None = None,
) -> AsyncIterator[DeviceTown]:
    """Open a database with a small utility and everything on its device side."""
    clock = FakeClock()
    path, behind = folder / "slotmeter.db", Behind(folder)
    async with opened_in(folder) as database:
        utility = await SmallUtility(database, epoch_us(clock.now())).make()
        for commodity in ("electricity", "water", "gas"):
            await utility.add_tariff(tariff_document(commodity))
        side = DeviceSide(database, clock, rule, script=script, drivers=drivers)
        yield DeviceTown(side, utility, await utility.add_principal("till", "vendor"), path, behind)
