"""What must be true when a town has come to rest: pure, on what people, meters and platform say."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from statistics import median
from typing import Any, Final
from zoneinfo import ZoneInfo

from slotmeter.testing.till import SaleRecord
from slotmeter.testing.town import FREE_UNITS, TIME_ZONE, Home, SaleFate, Town
from slotmeter.testing.town_prices import debt_share, use_price
from slotmeter.testing.virtual_meter import VirtualMeter
from slotmeter.units import Commodity, commodity_quantity

__all__ = [
    "BACK_EVENT",
    "CUT_EVENT",
    "Finding",
    "Platform",
    "check_town",
    "delivery_finding",
    "delivery_times_s",
]

Json = Mapping[str, Any]

SHOWN_MAX: Final = 3
TOKEN_DIGITS: Final = 20
TIMED_HOMES_MAX: Final = 60
"""Beyond it, how fast tokens arrive says more of the machine than of the product."""
IN_WORK: Final = frozenset({"queued", "waiting", "sent", "acknowledged"})
ARRIVED: Final = frozenset({"verified", "already_used"})
SWITCHING: Final = frozenset({"open_relay", "close_valve", "close_relay", "open_valve"})
CUT_EVENT: Final = "supply_cut"
BACK_EVENT: Final = "supply_restored"
CAUSE: Final = re.compile(r": ([^():]+)\)?$")
BY_METER: Final = "The meter "
BY_METER_SEEN: Final = {
    (CUT_EVENT, "its credit is used up"): "cut by the meter itself at zero credit",
    (BACK_EVENT, "it has credit"): "restored by the meter itself when it had credit",
}
MINOR: Final = Decimal("0.01")


@dataclass(frozen=True, slots=True)
class Finding:
    """One sentence, whether it held, and what was seen; or a measurement, which cannot fail."""

    sentence: str
    held: bool
    seen: str
    is_measurement: bool = False

    @property
    def word(self) -> str:
        """What a report begins its line with."""
        if self.is_measurement:
            return "measured"
        return "holds" if self.held else "BROKEN"


@dataclass(frozen=True, slots=True)
class Platform:
    """What the platform says through its API, as parsed JSON.

    Args:
        sales: every sale of the utility.
        meters: every meter.
        tokens: tokens of each meter, by its number.
        commands: every command.
        events: every event.
        quarantined: frames that could not be used.
        debts: every debt.
    """

    sales: Sequence[Json]
    meters: Sequence[Json]
    tokens: Mapping[str, Sequence[Json]]
    commands: Sequence[Json]
    events: Sequence[Json]
    quarantined: int
    debts: Sequence[Json] = ()
    by_number: dict[str, Json] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Index meters by number."""
        self.by_number.update({meter["number"]: meter for meter in self.meters})


def check_town(
    town: Town,
    records: Sequence[SaleRecord],
    meters: Sequence[VirtualMeter],
    platform: Platform,
    *,
    asked_by_till: str,
    dark: int,
    back: int,
) -> list[Finding]:
    """Check a town at rest: every meter online, nothing on its way.

    Args:
        town: who owes an old bill, and who has free units.
        records: what the till knows.
        meters: the virtual meters themselves.
        platform: what the platform says.
        asked_by_till: name of the principal that the till sells as.
        dark: how often a household found its supply gone.
        back: how often it found it back.
    """
    # Whoever has a key may sell in the town too; those sales are known from the platform only.
    others = [sale for sale in platform.sales if sale["sold_by"] != asked_by_till]
    answered = [record for record in records if record.answers]
    return [
        _sold_once(records, platform, asked_by_till),
        _same_answer(records),
        _one_paid_token(town, answered),
        _arrived(answered, platform),
        _credited_once(town, answered, others, meters, platform),
        _debts_fell(town, platform),
        _charged_for_use(answered, others, platform),
        _cuts_have_causes(platform, dark=dark, back=back),
        _cuts_were_seen(meters, platform),
        _nothing_waits(platform),
        _all_understood(meters, platform),
    ]


def delivery_times_s(records: Sequence[SaleRecord], platform: Platform) -> list[float]:
    """Return, for sales to meters online, the seconds from *sold* to *balance risen*.

    Both times are the platform's own clock.
    """
    online = {record.sale_id for record in records if record.online and not record.typed}
    return sorted(
        (_at(sale["delivery"]["verified_at"]) - _at(sale["sold_at"])).total_seconds()
        for sale in platform.sales
        if sale["sale_id"] in online and sale["delivery"]["verified_at"]
    )


def delivery_finding(times_s: Sequence[float], *, homes: int, wanted_s: float) -> Finding:
    """Judge delivery times; in a town larger than ``TIMED_HOMES_MAX`` they are told, not judged.

    Args:
        times_s: from :func:`delivery_times_s`; at least one.
        homes: in the town.
        wanted_s: the median at most.
    """
    middle_s = median(times_s)
    seen = f"{len(times_s)} deliveries: median {middle_s:.2f} s, slowest {max(times_s):.2f} s"
    if homes > TIMED_HOMES_MAX:
        slow = f"; slow on this machine for {homes} meters" if middle_s > wanted_s else ""
        return Finding("from sold to balance risen", True, seen + slow, is_measurement=True)
    sentence = f"from sold to balance risen it takes {wanted_s:g} s at most, in half of all cases"
    return Finding(sentence, middle_s <= wanted_s, seen)


def _at(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _finding(sentence: str, wrong: Iterable[str], seen: str) -> Finding:
    listed = list(wrong)
    if not listed:
        return Finding(sentence, held=True, seen=seen)
    more = f" and {len(listed) - SHOWN_MAX} more" if len(listed) > SHOWN_MAX else ""
    return Finding(sentence, held=False, seen="; ".join(listed[:SHOWN_MAX]) + more)


def _sold_once(records: Sequence[SaleRecord], platform: Platform, till: str) -> Finding:
    booked = Counter(sale["sale_id"] for sale in platform.sales if sale["sold_by"] == till)
    asked = {record.sale_id for record in records}
    wrong = [
        f"{sale_id} booked {booked[sale_id]} times" for sale_id in asked if booked[sale_id] != 1
    ]
    wrong += [f"{sale_id} was never asked for" for sale_id in booked if sale_id not in asked]
    by_id = {sale["sale_id"]: sale for sale in platform.sales}
    wrong += [
        f"{record.sale_id}: {record.tendered} paid, {by_id[record.sale_id]['tendered']} booked"
        for record in records
        if record.sale_id in by_id
        and Decimal(by_id[record.sale_id]["tendered"]) != Decimal(record.tendered)
    ]
    fates = Counter(record.fate for record in records)
    seen = (
        f"{len(records)} sales, {fates[SaleFate.DOUBLED]} asked twice, "
        f"{fates[SaleFate.LOST]} lost answers"
    )
    by_others = len(platform.sales) - booked.total()
    if by_others:
        sales = "sale" if by_others == 1 else "sales"
        seen += f"; {by_others} {sales} by others than the demo's till"
    return _finding(
        "every sale that the demo's till asked for is booked once, and no other in its name",
        wrong,
        seen,
    )


def _same_answer(records: Sequence[SaleRecord]) -> Finding:
    wrong: list[str] = []
    repeated = 0
    for record in records:
        repeated += record.tries > 1
        told = {(sale["receipt_number"], sale["token"]) for _, sale in record.answers}
        made = sum(status == 201 for status, _ in record.answers)
        if len(told) != 1 or made > 1:
            wrong.append(f"{record.sale_id} got {len(told)} receipts, {made} of them as new")
    seen = f"{repeated} sales asked for more than once"
    return _finding("a repeated request gets the same receipt and the same token", wrong, seen)


def _one_paid_token(town: Town, records: Sequence[SaleRecord]) -> Finding:
    """One token of what was paid for, and those of free units only for who is registered."""
    registered = {home.number for home in town.homes if home.has_free_units}
    wrong: list[str] = []
    tokens: Counter[str] = Counter()
    payments = free = 0
    for record in records:
        sale, token = record.sale, record.token
        paid = [each["digits"] for each in sale["tokens"] if each["purpose"] == "credit"]
        given = [each["digits"] for each in sale["tokens"] if each["purpose"] == "free"]
        free += len(given)
        if given and record.meter not in registered:
            wrong.append(f"{record.sale_id} has free units, but nobody is registered for them")
        if sale["credit_mode"] == "platform":
            payments += 1
            if sale["tokens"] or token is not None:
                wrong.append(f"{record.sale_id} has a token but pays into an account")
        elif paid != [token] or not all(map(_is_token, (token, *given))):
            wrong.append(f"{record.sale_id} has no token")
        else:
            tokens.update((*paid, *given))
    wrong += [f"a token was sold {count} times" for count in tokens.values() if count > 1]
    seen = f"{len(tokens)} tokens, {free} of them free, {payments} payments into accounts"
    return _finding("every sale has its own token, or is a payment", wrong, seen)


def _is_token(digits: str | None) -> bool:
    return digits is not None and len(digits) == TOKEN_DIGITS and digits.isdigit()


def _arrived(records: Sequence[SaleRecord], platform: Platform) -> Finding:
    wrong: list[str] = []
    states: Counter[str] = Counter()
    by_id = {sale["sale_id"]: sale for sale in platform.sales}
    for record in records:
        sale = by_id.get(record.sale_id)
        if sale is None or sale["credit_mode"] == "platform":
            continue
        state = sale["delivery"]["state"]
        states[state] += 1
        if state not in ARRIVED or (record.typed and state != "already_used"):
            how = "typed on the keypad" if record.typed else "sent"
            wrong.append(f"{record.sale_id} was {how} and ended as {state}")
    seen = ", ".join(f"{count} {state}" for state, count in sorted(states.items())) or "none"
    return _finding("every token reached its meter, typed or sent", wrong, seen)


def _credited_once(
    town: Town,
    records: Sequence[SaleRecord],
    others: Sequence[Json],
    meters: Sequence[VirtualMeter],
    platform: Platform,
) -> Finding:
    sold: dict[str, Decimal] = defaultdict(Decimal)
    for record in records:
        if record.token is not None:
            sold[record.meter] += Decimal(record.sale["units"])
    for sale in others:
        if sale["credit_mode"] != "platform":
            sold[sale["meter"]] += Decimal(sale["units"])
    for home in town.homes:
        sold[home.number] += _free_units(home, platform)
    wrong: list[str] = []
    for meter in meters:
        if meter.credit_total is None:
            continue
        kind = commodity_quantity(meter.commodity)
        took = kind(meter.credit_total).sold
        accepted = [each for each in platform.tokens[meter.number] if each["state"] == "accepted"]
        known = sum((Decimal(each["units"]) for each in accepted), Decimal())
        says = platform.by_number[meter.number]["credit_total"] or "0"
        if not took == sold[meter.number] == known == Decimal(says):
            wrong.append(
                f"meter {meter.number}: sold {sold[meter.number]}, the meter took {took}, "
                f"the platform says {known} by tokens and {says} by report"
            )
    count = sum(meter.credit_total is not None for meter in meters)
    seen = f"{count} meters, each equal to the sum of its tokens"
    return _finding("every token was credited once", wrong, seen)


def _free_units(home: Home, platform: Platform) -> Decimal:
    """Return the free units of a household: once in each month in which anybody bought for it."""
    if not home.has_free_units:
        return Decimal(0)
    zone = ZoneInfo(TIME_ZONE)
    days = [
        _at(sale["sold_at"]).astimezone(zone)
        for sale in platform.sales
        if sale["meter"] == home.number
    ]
    return Decimal(FREE_UNITS * len({(day.year, day.month) for day in days}))


def _debts_fell(town: Town, platform: Platform) -> Finding:
    """Each old bill fell by its share of every purchase of its household, until it was paid."""
    tendered: dict[str, list[Decimal]] = defaultdict(list)
    for sale in platform.sales:
        tendered[sale["meter"]].append(Decimal(sale["tendered"]))
    left = {debt["account"]: Decimal(debt["left"]) for debt in platform.debts}
    wrong: list[str] = []
    repaid = Decimal(0)
    owing = [home for home in town.homes if home.debt]
    for home in owing:
        due = max(Decimal(0), home.debt - sum(map(debt_share, tendered[home.number])))
        if left.get(home.account) != due:
            wrong.append(f"account {home.account} owes {left.get(home.account)}, expected {due}")
        repaid += home.debt - due
    seen = f"{repaid} of {sum(home.debt for home in owing)} repaid by {len(owing)} households"
    return _finding("debts fell by their share of each purchase, and never below zero", wrong, seen)


def _charged_for_use(
    records: Sequence[SaleRecord], others: Sequence[Json], platform: Platform
) -> Finding:
    """Platform-held credit: what is left is what was paid less the price of what was used."""
    paid: dict[str, Decimal] = defaultdict(Decimal)
    for record in records:
        if record.token is None:
            paid[record.meter] += Decimal(record.tendered)
    for sale in others:
        if sale["credit_mode"] == "platform":
            paid[sale["meter"]] += Decimal(sale["tendered"])
    wrong: list[str] = []
    count = 0
    for meter in platform.meters:
        if meter["credit_mode"] != "platform":
            continue
        count += 1
        charged = paid[meter["number"]] - Decimal(meter["account_balance"] or 0)
        # The use before the first report is nobody's; so charges may be less, never more.
        commodity = Commodity(meter["commodity"])
        kind = commodity_quantity(commodity)
        used = int(Decimal(meter["register"] or 0) * kind.per_sold_unit)
        most = use_price(commodity, used) + MINOR
        if not 0 <= charged <= most:
            wrong.append(f"meter {meter['number']}: charged {charged}, used for at most {most}")
    seen = f"{count} meters whose credit the platform holds"
    return _finding("nobody was charged for more than was used", wrong, seen)


def _cuts_have_causes(platform: Platform, *, dark: int, back: int) -> Finding:
    """Whatever people saw go and come back is an event with its cause; nothing was held in silence.

    A household looks now and then, so it may miss a short cut; the platform may not.
    """
    causes: dict[str, Counter[str]] = {kind: Counter() for kind in (CUT_EVENT, BACK_EVENT)}
    wrong: list[str] = []
    for event in platform.events:
        if event["kind"] not in causes:
            continue
        cause = CAUSE.search(event["text"])
        if cause is None:
            wrong.append(f"event {event['id']} names no cause: {event['text']}")
        else:
            causes[event["kind"]][_told(event["kind"], event["text"], cause[1])] += 1
    for kind, seen in ((CUT_EVENT, dark), (BACK_EVENT, back)):
        if causes[kind].total() < seen:
            wrong.append(f"people saw {seen} times {kind}, the platform {causes[kind].total()}")
    wrong += [
        f"command {each['id']} ({each['kind']}) is {each['state']} without a cause"
        for each in platform.commands
        if (each["kind"] in SWITCHING and not each["reason"])
        or (each["state"] in {"held", "refused"} and not each["causes"])
    ]
    seen_text = "; ".join(
        f"{count} {told}" for counted in causes.values() for told, count in sorted(counted.items())
    )
    return _finding(
        "every cut and reconnection has its cause", wrong, seen_text or "there were none"
    )


def _told(kind: str, text: str, cause: str) -> str:
    """Return who switched and why; a meter and the platform's rule have nearly the same reasons."""
    done = kind.removeprefix("supply_")
    if text.startswith(BY_METER):
        return BY_METER_SEEN.get((kind, cause), f"{done} by the meter itself because {cause}")
    by = "the platform's rule" if "(rule: " in text else "a command"
    return f"{done} by {by} because {cause}"


def _cuts_were_seen(meters: Sequence[VirtualMeter], platform: Platform) -> Finding:
    """Each meter's supply, as the platform shows it, is what the meter really lets through."""
    wrong = [
        f"meter {meter.number} is {meter.supply.value}, the platform shows "
        f"{platform.by_number[meter.number]['supply']}"
        for meter in meters
        if platform.by_number[meter.number]["supply"] != meter.supply.value
    ]
    states = Counter(meter.supply.value for meter in meters)
    seen = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
    return _finding("the platform shows every supply as it is", wrong, seen)


def _nothing_waits(platform: Platform) -> Finding:
    wrong = [
        f"command {each['id']} ({each['kind']}) is {each['state']}"
        for each in platform.commands
        if each["state"] in IN_WORK
    ]
    wrong += [
        f"sale {sale['sale_id']} is {sale['state']}"
        for sale in platform.sales
        if sale["state"] != "issued"
    ]
    states = Counter(each["state"] for each in platform.commands)
    seen = ", ".join(f"{count} {state}" for state, count in sorted(states.items())) or "no commands"
    return _finding("nothing is stuck", wrong, seen)


def _all_understood(meters: Sequence[VirtualMeter], platform: Platform) -> Finding:
    wrong = [
        f"meter {meter.number} lost {meter.news_lost} news" for meter in meters if meter.news_lost
    ]
    if platform.quarantined:
        wrong.append(f"{platform.quarantined} frames in quarantine")
    heard = sum(bool(meter["last_contact_at"]) for meter in platform.meters)
    if heard != len(meters):
        wrong.append(f"{len(meters) - heard} meters were never heard")
    seen = f"{heard} meters heard, {len(platform.events)} events"
    return _finding("every meter was heard and understood", wrong, seen)
