"""What the people of a town do: use, run out, buy, type tokens, lose the network, open covers.

Households live on real seconds; what they use follows their meters' faster clock.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_CEILING, Decimal
from typing import Final

from slotmeter.devices.entities import SupplyState
from slotmeter.testing.meter_clock import MeterClock
from slotmeter.testing.simulators import MeterLink
from slotmeter.testing.till import SaleRecord, Till
from slotmeter.testing.town import Habit, Home, Town
from slotmeter.testing.town_prices import money_for
from slotmeter.testing.virtual_meter import VirtualMeter
from slotmeter.units import Commodity, commodity_quantity, epoch_us
from slotmeter.vending.sts import VendingKey, derive_decoder_key

__all__ = ["Happened", "TownClock", "TownLife", "amount_for", "make_meters"]

LOOK_S: Final = 0.2
CYCLE_S: Final = 45.0
TYPING_S: Final = 1.0
COVER_OPEN_S: Final = 30.0
"""Long enough for whoever watches to find the alarm on the pages."""
SERVICE_S: Final = 32.0
DELIVERY_S_MAX: Final = 30.0
LOW_SHARE: Final = 4
AMOUNT_STEP: Final = Decimal(10)
AMOUNT_MIN: Final = Decimal(30)
AMOUNT_MAX: Final = Decimal(20_000)


@dataclass(slots=True)
class Happened:
    """What the town did, counted as it happens.

    Args:
        sold: sales answered.
        money: tendered in all.
        free: tokens of free units that came with sales.
        typed: tokens typed on keypads.
        dark: times that a household found its supply gone.
        back: times that it came back.
        offline: times that a meter lost the network.
        covers: covers opened.
    """

    sold: int = 0
    money: Decimal = Decimal(0)
    free: int = 0
    typed: int = 0
    dark: int = 0
    back: int = 0
    offline: int = 0
    covers: int = 0


def sold_amount(commodity: Commodity, units: str) -> int:
    """Return units as they are sold, such as ``5.2``, in Wh or mL."""
    return int(Decimal(units) * commodity_quantity(commodity).per_sold_unit)


class TownClock:
    """A meter clock that can be stopped, so that a town comes to rest and can be checked."""

    def __init__(self, clock: MeterClock) -> None:
        self._clock = clock
        self._stopped_at: datetime | None = None

    def now(self) -> datetime:
        """Return the meters' present, aware UTC."""
        return self._clock.now() if self._stopped_at is None else self._stopped_at

    def stop(self) -> None:
        """Let no more time pass for meters; what they have to tell they still tell."""
        self._stopped_at = self.now()

    async def sleep_until(self, at: datetime) -> None:
        """Return when ``now()`` has reached ``at``, which after :meth:`stop` is never."""
        await self._clock.sleep_until(at)
        if self.now() < at:
            await asyncio.Event().wait()


def make_meters(
    town: Town, key: VendingKey, *, speed: int, made_at: datetime
) -> list[VirtualMeter]:
    """Return the town's meters, coded under a vending key, with a little credit each."""
    return [_make_meter(home, key, speed, made_at) for home in town.homes]


def _make_meter(home: Home, key: VendingKey, speed: int, made_at: datetime) -> VirtualMeter:
    parameters = home.parameters
    meter = VirtualMeter.create(
        number=home.number,
        commodity=home.commodity,
        credit_mode=home.credit_mode,
        decoder_key=None if parameters is None else derive_decoder_key(key.key, parameters),
        parameters=parameters,
        household=home.household,
        made_at=made_at,
        opening_credit=0
        if parameters is None
        else home.use_of(home.opening_s, speed, epoch_us(made_at)),
    )
    meter.low_credit = home.use_of(home.purchase_s, speed, epoch_us(made_at)) // LOW_SHARE
    return meter


def amount_for(home: Home, speed: int, at: datetime, *, before: int = 0) -> str:
    """Return the money that lasts a household about as long as it wants, in major units.

    Args:
        home: who buys.
        speed: meter seconds per real second.
        at: the meter's time.
        before: what it bought in this month already, Wh or mL.
    """
    at_us = epoch_us(at)
    used = home.use_of(home.purchase_s, speed, at_us)
    money = money_for(home.commodity, used, at_us=at_us, before=before, owes=home.debt > 0)
    steps = (money / AMOUNT_STEP).to_integral_value(ROUND_CEILING)
    return f"{min(max(steps * AMOUNT_STEP, AMOUNT_MIN), AMOUNT_MAX):.2f}"


class TownLife:
    """Runs the households until it is told to stop.

    Args:
        town: who lives there.
        links: their meters by number.
        till: where they buy.
        speed: meter seconds per real second.
        tell: called with a sentence when something worth watching happens.
    """

    def __init__(
        self,
        town: Town,
        links: Mapping[str, MeterLink],
        till: Till,
        *,
        speed: int,
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._town = town
        self._links = links
        self._till = till
        self._speed = speed
        self._tell = tell
        self._bought: Counter[str] = Counter()
        self._stopping = asyncio.Event()
        self.happened = Happened()

    async def run(self) -> None:
        """Let every household live until :meth:`stop`; ends with all purchases finished."""
        async with asyncio.TaskGroup() as households:
            for home in self._town.homes:
                households.create_task(self._live(home), name=f"household {home.number}")

    def stop(self) -> None:
        """Let no household begin anything new."""
        self._stopping.set()

    async def _live(self, home: Home) -> None:
        loop = asyncio.get_running_loop()
        link = self._links[home.number]
        began_s = loop.time()
        household = _Household(home, link, self)
        while not self._stopping.is_set():
            await household.look(loop.time() - began_s)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await self._stopping.wait()
        await household.finish()

    async def buy(self, home: Home) -> SaleRecord:
        """Buy for a household."""
        link = self._links[home.number]
        before = self._bought[home.number]
        amount = amount_for(home, self._speed, link.clock.now(), before=before)
        online = link.online
        record = await self._till.sell(home.number, amount)
        record.online = online
        self._bought[home.number] += sold_amount(home.commodity, record.sale["units"])
        self.happened.sold += 1
        self.happened.money += Decimal(amount)
        got = f"bought {record.sale['units']} {record.sale['unit']} for" if record.token else "paid"
        free = sum(each["purpose"] == "free" for each in record.sale["tokens"])
        if free:
            self.happened.free += free
            self._tell(f"{home.customer} got the free units of the month")
        self._tell(f"{home.customer} {got} {amount}")
        return record

    def tell(self, sentence: str) -> None:
        """Tell who watches."""
        self._tell(sentence)


class _Household:
    """One household in front of its meter."""

    def __init__(self, home: Home, link: MeterLink, life: TownLife) -> None:
        self._home = home
        self._link = link
        self._life = life
        self._buying: asyncio.Task[None] | None = None
        self._lit = link.meter.supply is SupplyState.ON
        self._bought_s = 0.0
        self._noticed_s: float | None = None
        self._cover_s: float | None = home.tamper_at_s

    async def look(self, elapsed_s: float) -> None:
        """Look around and do what there is to do."""
        self._network(elapsed_s)
        self._cover(elapsed_s)
        self._supply()
        if self._buying is not None and self._buying.done():
            buying, self._buying = self._buying, None
            await buying  # a refused sale ends the town: it is an error
            self._bought_s, self._noticed_s = elapsed_s, None
        if self._buying is None and self._wants_to_buy(elapsed_s):
            self._buying = asyncio.create_task(self._buy(), name=f"purchase {self._home.number}")

    async def finish(self) -> None:
        """End what was begun, and find the network again."""
        if self._buying is not None:
            await self._buying
        if not self._link.online:
            self._link.come_online()
        self._link.close_cover()

    def _network(self, elapsed_s: float) -> None:
        from_s = self._home.offline_from_s
        if from_s is None:
            return
        away = from_s <= elapsed_s % CYCLE_S < from_s + self._home.offline_for_s
        if away and self._link.online:
            self._link.go_offline()
            self._life.happened.offline += 1
            self._life.tell(f"meter {self._home.number} lost the network")
        elif not away and not self._link.online:
            self._link.come_online()
            self._life.tell(f"meter {self._home.number} found the network again")

    def _cover(self, elapsed_s: float) -> None:
        if self._cover_s is None or elapsed_s < self._cover_s:
            return
        since_s = elapsed_s - self._cover_s
        meter = self._link.meter
        if since_s < COVER_OPEN_S:
            if not meter.tamper:
                self._link.open_cover()
                self._life.happened.covers += 1
                self._life.tell(f"somebody opened the cover of meter {self._home.number}")
            return
        self._link.close_cover()
        if since_s >= SERVICE_S:
            self._link.clear_tamper()
            self._life.tell(f"meter {self._home.number} was closed and looked after")
            self._cover_s = None

    def _supply(self) -> None:
        supply = self._link.meter.supply
        if supply is SupplyState.ARMED:
            self._link.confirm_at_site()
        lit = self._link.meter.supply is SupplyState.ON
        if lit == self._lit:
            return
        self._lit = lit
        if lit:
            self._life.happened.back += 1
            self._life.tell(f"{self._home.commodity.value} is back at {self._home.customer}'s")
        else:
            self._life.happened.dark += 1
            self._life.tell(f"{self._home.customer} has no {self._home.commodity.value}")

    def _wants_to_buy(self, elapsed_s: float) -> bool:
        if not self._needs_credit(elapsed_s):
            self._noticed_s = None
            return False
        if self._noticed_s is None:
            self._noticed_s = elapsed_s
        return elapsed_s - self._noticed_s >= self._home.patience_s

    def _needs_credit(self, elapsed_s: float) -> bool:
        meter = self._link.meter
        if meter.supply is not SupplyState.ON:
            return True
        if self._home.habit is Habit.LATE:
            return False
        if meter.credit is not None:
            return meter.credit <= meter.low_credit
        since_s = elapsed_s - self._bought_s  # no display: by habit
        return self._bought_s == 0 or since_s >= self._home.purchase_s

    async def _buy(self) -> None:
        meter, link = self._link.meter, self._link
        before = meter.credit_total or 0
        record = await self._life.buy(self._home)
        if record.token is None:
            await self._until(lambda: meter.supply is SupplyState.ON)
            return
        wanted = before + sum(
            sold_amount(self._home.commodity, each["units"]) for each in record.sale["tokens"]
        )

        def is_there() -> bool:
            return (meter.credit_total or 0) >= wanted

        if record.online:
            await self._until(lambda: is_there() or not link.online)
        if is_there() or link.online:
            return
        record.online = False
        for each in record.sale["tokens"]:
            await asyncio.sleep(TYPING_S)
            entry = link.type_token(each["digits"])
            if each["purpose"] == "credit":
                record.typed = entry.amount > 0
        if record.typed:
            self._life.happened.typed += 1
            self._life.tell(f"{self._home.customer} typed the token")

    async def _until(self, is_done: Callable[[], bool]) -> None:
        """Look at the meter until the credit is there; the end's checks find out if it never is."""
        end_s = asyncio.get_running_loop().time() + DELIVERY_S_MAX
        while not is_done() and asyncio.get_running_loop().time() < end_s:  # noqa: ASYNC110  a meter has no event for its owner
            await asyncio.sleep(LOOK_S)
