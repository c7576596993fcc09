"""Virtual meters live weeks on one virtual clock while frames, answers and tokens get lost.

Whatever happened on the way, in the end every token that reached a meter is in its credit once and
proven, the ledger has charged exactly what the registers counted, and supply follows the credit.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest

from slotmeter.devices.commands import CommandKind
from slotmeter.devices.entities import SupplyState
from slotmeter.services.charging import due_for
from slotmeter.testing.consumption import Household
from slotmeter.testing.device_side import DeviceTown, device_town
from slotmeter.testing.meter_body import CreditMode
from slotmeter.testing.small_utility import SmallMeter, tariff_document
from slotmeter.testing.token_maker import TokenMaker
from slotmeter.testing.virtual_meter import VirtualMeter
from slotmeter.units import Commodity
from slotmeter.vending.sts import minute_1993_of, tid_of_minute
from slotmeter.vending.tariff.reader import parse_tariff
from slotmeter_drivers.slotmeter_virtual import DRIVER
from slotmeter_nbiot.push_meter import decode_commands, encode_report
from slotmeter_rules import RULES

STEPS = 150
LOST = 0.2
MAKER = TokenMaker()
KINDS = [
    ("electricity", "meter"),
    ("water", "meter"),
    ("gas", "meter"),
    ("electricity", "platform"),
    ("water", "platform"),
]

PAYMENTS = {"electricity": (500, 5_000), "water": (50, 400)}
"""Minor units from which to which a customer pays at once: enough to run out now and then."""

CUTS = {CommandKind.OPEN_RELAY, CommandKind.CLOSE_VALVE}


@dataclass
class Life:
    """A meter at a customer's: the thing, its row, and what became of its tokens."""

    thing: VirtualMeter
    row: SmallMeter
    start_register: int = 0
    offline_until: int = 0
    typed: list[str] = field(default_factory=list)
    sold: int = 0


@pytest.fixture
async def town(tmp_path: Path) -> AsyncIterator[DeviceTown]:
    async with device_town(tmp_path, RULES.credit_control, drivers={DRIVER.key: DRIVER}) as opened:
        yield opened


async def move_in(town: DeviceTown, commodity: str, mode: str) -> Life:
    row = await town.utility.add_meter(commodity, credit_mode=mode)
    serial = int(row.number[2:10])
    if mode == "meter":
        thing = MAKER.meter(serial, commodity, made_at=town.side.clock.now(), opening_credit=2_000)
    else:
        thing = VirtualMeter.create(
            number=row.number,
            commodity=Commodity(commodity),
            credit_mode=CreditMode.PLATFORM,
            household=Household(seed=serial),
            made_at=town.side.clock.now(),
        )
        await town.pay(row, PAYMENTS[commodity][0])
    return Life(thing, row)


async def push(town: DeviceTown, life: Life, rng: random.Random, lost: float) -> None:
    """The meter reports, and does what comes with the answer; either way may get lost."""
    report = life.thing.report()
    payload = encode_report(report)
    if rng.random() < lost:
        return
    await town.side.hand_in(life.row, payload)
    if rng.random() < lost:
        await town.side.hand_in(life.row, payload)  # repeated by the network
    answer = await town.side.queue.take(str(life.row.address), limit=2)
    if rng.random() < lost:
        return
    life.thing.acknowledge(report)
    for command in decode_commands(answer or b""):
        life.thing.execute(command)


async def live(town: DeviceTown, lives: list[Life], rng: random.Random, lost: float) -> None:
    """Let a while pass for everybody."""
    town.side.clock.advance(seconds=rng.randrange(600, 7_200))
    for life in lives:
        life.thing.run_to(town.side.clock.now())
        if life.offline_until <= town.now_us:
            await push(town, life, rng, lost)
    await town.side.consumer.step()
    await town.side.sweep.sweep()
    await town.side.credit.sweep()


async def buy(town: DeviceTown, life: Life, rng: random.Random) -> None:
    if life.row.credit_mode == "platform":
        low, high = PAYMENTS[life.row.commodity]
        await town.pay(life.row, rng.randrange(low, high))
        await town.side.credit.after_payment(life.row.id)
        return
    tenths = rng.randrange(5, 40)
    at = town.side.clock.now()
    digits = MAKER.credit(life.thing, tenths, at=at)
    per_tenth = 100 if life.row.commodity == "electricity" else 100_000
    tid = tid_of_minute(minute_1993_of(at), 2014)
    await town.sell_token(life.row, tenths * per_tenth, tid, digits)
    life.sold += tenths * per_tenth
    if rng.random() < 0.4:
        life.typed.append(digits)


async def have_a_step(town: DeviceTown, lives: list[Life], rng: random.Random) -> None:
    life = rng.choice(lives)
    match rng.randrange(6):
        case 0 | 1:
            await buy(town, life, rng)
        case 2:
            until = town.side.clock.now() + timedelta(hours=rng.randrange(1, 12))
            life.offline_until = int(until.timestamp()) * 1_000_000
        case 3:
            life.thing.open_cover()
            life.thing.close_cover()
        case 4:
            life.thing.clear_tamper()
        case 5:
            life.thing.confirm_at_site()
    if life.typed:
        life.thing.type_token(life.typed.pop())
    await live(town, lives, rng, LOST)


@pytest.mark.parametrize("seed", [1, 2])
async def test_whatever_gets_lost_credit_charges_and_supply_come_out_right(
    town: DeviceTown, seed: int
) -> None:
    rng = random.Random(seed)
    lives = [await move_in(town, *kind) for kind in KINDS]
    for _ in range(STEPS):
        await have_a_step(town, lives, rng)
    for life in lives:
        life.offline_until = 0
    for _ in range(30):
        await live(town, lives, rng, lost=0)

    assert town.rows("SELECT * FROM quarantine") == []
    assert town.row("SELECT sum(amount_minor) AS sum FROM posting")["sum"] == 0
    assert open_alarms(town) <= {"tamper"}
    for life in lives:
        if life.row.credit_mode == "meter":
            check_credit(town, life)
        else:
            check_ledger(town, life)


def open_alarms(town: DeviceTown) -> set[str]:
    rows = town.rows("SELECT kind FROM alarm WHERE cleared_us IS NULL")
    return {row["kind"] for row in rows}


def check_credit(town: DeviceTown, life: Life) -> None:
    """Every token is in the meter once, and the platform knows it."""
    sales = town.rows("SELECT delivery, verified_us FROM sale WHERE meter_id = ?", life.row.id)
    assert {sale["delivery"] for sale in sales} <= {"verified", "already_used"}
    assert all(sale["verified_us"] is not None for sale in sales)
    assert life.thing.credit_total == life.sold
    commands = {state for _, state in town.states(life.row)}
    assert commands <= {"verified", "superseded"}
    device = town.row("SELECT * FROM device WHERE meter_id = ?", life.row.id)
    assert device["credit_proven"] == device["credit_total"] == life.sold


def check_ledger(town: DeviceTown, life: Life) -> None:
    """The ledger charged what the register counted, and supply follows the balance."""
    device = town.row("SELECT * FROM device WHERE meter_id = ?", life.row.id)
    segment = town.row("SELECT * FROM meter_charge WHERE meter_id = ?", life.row.id)
    paid = town.row("SELECT sum(tender_minor) AS sum FROM sale WHERE meter_id = ?", life.row.id)[
        "sum"
    ]
    tariff = parse_tariff(tariff_document(life.row.commodity))
    due = due_for(tariff, device["register"] - segment["start_register"])
    assert town.balance(life.row) == paid - due.gross_minor
    supplied = life.thing.supply is SupplyState.ON
    assert supplied == (town.balance(life.row) > 0)
    assert device["supply"] == life.thing.supply.value
    cuts = [state for kind, state in town.states(life.row) if CommandKind(kind) in CUTS]
    assert "verified" in cuts, "the seed is too kind: nothing was ever cut"
