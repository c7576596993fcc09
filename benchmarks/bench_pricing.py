"""One sale priced through the tariff language, next to the same sale by hand with Decimal.

    python benchmarks/bench_pricing.py [--sales 20000] [--runs 5]

The tariff has three blocks, six per-unit levies, a percentage of energy, VAT and a monthly fixed
charge; the buyer owes two debts with a cap on them. Every sale has another tender and another
count of units bought before, so that nothing is remembered. What is measured is CPU time of this
process: pricing with all lines, what comes after (block, next price, the same money on the 1st),
no input or output. The peer is the arithmetic of this one tariff written out by hand, units and
amounts only: no conditions, lines as objects, outlook or any other tariff.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal
from random import Random

from slotmeter.units import Commodity, Rounding
from slotmeter.vending.pricing.engine import price_tender
from slotmeter.vending.pricing.situation import ChargeState, DebtState, Situation
from slotmeter.vending.tariff.model import (
    ALWAYS,
    Block,
    Counter,
    DebtCap,
    Energy,
    FixedItem,
    PercentItem,
    PercentOf,
    RoundingRules,
    Table,
    TableRule,
    Tariff,
    UnitItem,
)

SALE_US_MAX = 150
SEED = 20_240_607
AT_US = 1_780_000_000_000_000
LEVIES = {
    "fuel": Decimal("5.71"),
    "forex": Decimal("0.17"),
    "warma": Decimal("0.05"),
    "inflation": Decimal("0.18"),
    "erc": Decimal("0.03"),
    "security": Decimal("0.12"),
}
BLOCKS = ((50_000, Decimal("2.50")), (1_500_000, Decimal("13.68")), (None, Decimal("20.57")))


def tariff() -> Tariff:
    table = Table("standard", tuple(Block(up_to, price) for up_to, price in BLOCKS))
    taxed = ("fixed", "energy", "fuel", "forex")
    return Tariff(
        code="bench",
        title="Domestic",
        commodity=Commodity.ELECTRICITY,
        currency="KES",
        energy=Energy("Energy", {"standard": table}, (TableRule(ALWAYS, "standard"),), Counter()),
        unit_items=tuple(UnitItem(code, code.title(), price) for code, price in LEVIES.items()),
        fixed_items=(FixedItem("monthly", "Fixed charge", Decimal(150)),),
        percent_items=(
            PercentItem("rep", "Rural levy", Decimal(5), ("energy",)),
            PercentItem("vat", "VAT", Decimal(16), taxed, is_tax=True),
        ),
        debt_caps=(DebtCap(Decimal(50)),),
        rounding=RoundingRules(units=Rounding.DOWN, percent_of=PercentOf.EXACT),
    )


def situations(count: int) -> list[tuple[Situation, int]]:
    random = Random(SEED)
    found = []
    for _ in range(count):
        debts = (
            DebtState(1, "arrears", "Arrears", 1, random.randint(500_00, 900_00), percent="30"),
            DebtState(2, "loan", "Meter loan", 2, random.randint(500_00, 900_00), 100_00),
        )
        situation = Situation(
            AT_US,
            "Africa/Nairobi",
            prior_units=random.randrange(0, 2_000_000, 100),
            charges=(ChargeState("monthly", "2026-05"),),
            debts=debts,
        )
        found.append((situation, random.randint(1_000_00, 5_000_00)))
    return found


# --- the peer -------------------------------------------------------------------------------------

COIN = Decimal("0.01")
TENTH = Decimal("0.1")
ON_ENERGY = Decimal("1.05") + Decimal("0.16")
ON_UNITS = sum(LEVIES.values(), Decimal(0)) + Decimal("0.16") * (LEVIES["fuel"] + LEVIES["forex"])
ALL_IN = tuple(
    (None if up_to is None else Decimal(up_to) / 1000, price * ON_ENERGY + ON_UNITS, price)
    for up_to, price in BLOCKS
)


def by_hand(situation: Situation, tender_minor: int) -> tuple[Decimal, list[Decimal]]:
    """Return units and amounts of the same sale."""
    tender = Decimal(tender_minor) / 100
    arrears, loan = situation.debts
    cap = (tender / 2).quantize(COIN, ROUND_DOWN)
    share = (tender * Decimal("0.30")).quantize(COIN, ROUND_DOWN)
    first = min(Decimal(arrears.balance_minor) / 100, share, cap)
    second = min(Decimal(loan.balance_minor) / 100, Decimal(loan.due_minor or 0) / 100, cap - first)
    left = tender - first - second - 150 * Decimal("1.16")
    position = Decimal(situation.prior_units) / 1000
    parts = []
    units = Decimal(0)
    for limit, all_in, price in ALL_IN:
        if limit is not None and position >= limit:
            continue
        width = None if limit is None else limit - position
        if width is not None and left >= width * all_in:
            parts.append([width, price])
            units += width
            left -= width * all_in
            position = limit or position
            continue
        whole = (units + left / all_in).quantize(TENTH, ROUND_DOWN)
        parts.append([whole - units, price])
        units = whole
        break
    energy = [(quantity * price).quantize(COIN, ROUND_HALF_UP) for quantity, price in parts]
    exact = sum((quantity * price for quantity, price in parts), Decimal(0))
    levies = [(units * price).quantize(COIN, ROUND_HALF_UP) for price in LEVIES.values()]
    rural = (exact * Decimal("0.05")).quantize(COIN, ROUND_HALF_UP)
    taxed = 150 + exact + units * (LEVIES["fuel"] + LEVIES["forex"])
    vat = (taxed * Decimal("0.16")).quantize(COIN, ROUND_HALF_UP)
    lines = [first, second, Decimal(150), *energy, *levies, rural, vat]
    return units, [*lines, tender - sum(lines, Decimal(0))]


# --- measuring ------------------------------------------------------------------------------------


def cpu_us(price: Callable[[Situation, int], object], sales: list[tuple[Situation, int]]) -> float:
    started = time.process_time_ns()
    for situation, tender in sales:
        price(situation, tender)
    return (time.process_time_ns() - started) / 1_000 / len(sales)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sales", type=int, default=20_000)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    sales = situations(options.sales)
    sold_by = tariff()

    def ours(situation: Situation, tender: int) -> object:
        return price_tender(sold_by, situation, tender)

    same = 0
    for situation, tender in sales:
        priced = price_tender(sold_by, situation, tender)
        units, _ = by_hand(situation, tender)
        assert sum(line.amount_minor for line in priced.lines) == tender
        same += priced.units == units * 1000
    print(f"{same} of {len(sales)} sales have the units of the peer; the others are one step less,")
    print("since a purchase never costs more than the tender once its lines are rounded")
    assert same > 0.9 * len(sales)
    pairs = [(cpu_us(ours, sales), cpu_us(by_hand, sales)) for _ in range(options.runs)]
    mine, peer = (statistics.median(each) for each in zip(*pairs, strict=True))
    print(f"one sale priced, with lines and outlook  {mine:7.1f} us CPU (at most {SALE_US_MAX})")
    print(f"the same by hand, amounts only           {peer:7.1f} us CPU")
    return 0 if mine <= SALE_US_MAX else 1


if __name__ == "__main__":
    sys.exit(main())
