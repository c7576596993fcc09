"""What pricing must know of a buyer: which rows it reads, and the situation made of them.

Which reads are needed depends on the tariff, which is itself read in the same unit: a flat price
needs none of what a lifeline needs.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime
from typing import Final
from zoneinfo import ZoneInfo

from slotmeter.ports import Principal, Read, Row, Rows, SqlValue
from slotmeter.services.buyer_needs import Needs, is_by_class, tariff_and_needs
from slotmeter.services.debt_states import debt_read, debt_states, repayment_reads
from slotmeter.services.repriced_sales import sales_read, versions_read, with_price_changes
from slotmeter.units import epoch_us
from slotmeter.vending.accounts import CreditMode
from slotmeter.vending.pricing.charges_due import TakenCharge, open_charges, open_free
from slotmeter.vending.pricing.chosen import local_day
from slotmeter.vending.pricing.earlier import EarlierSale, priced_before
from slotmeter.vending.pricing.situation import ChargeState, FreeState, Situation, Transfer
from slotmeter.vending.pricing.windows import window_start_day, window_start_us, windows_missed
from slotmeter.vending.tariff.model import (
    BlockWindow,
    Counter,
    FixedItem,
    Missed,
    Tariff,
)
from slotmeter.vending.tariff.reader import stored_tariff

__all__ = ["BuyerReads", "Needs", "free_by_token", "situation_of", "tariff_and_needs"]

MONTHS_PER_YEAR: Final = 12
MONTH_CHARACTERS: Final = 7

_NOTHING_BOUGHT: Final[Row] = {"counted_units": 0, "lifeline_units": 0, "tender_minor": 0}


def month_of(day: date, back: int = 0) -> str:
    """Return the month of a day, or one so many months before, as ``2026-11``."""
    months = day.year * MONTHS_PER_YEAR + day.month - 1 - back
    return f"{months // MONTHS_PER_YEAR:04d}-{months % MONTHS_PER_YEAR + 1:02d}"


def _month_day_us(month: str, day: int, time_zone: str) -> int:
    year, number = month.split("-")
    return epoch_us(datetime(int(year), int(number), day, tzinfo=ZoneInfo(time_zone)))


def month_start_us(day: date, back: int, time_zone: str) -> int:
    """Return when the month of a day, or one so many months before, began."""
    return _month_day_us(month_of(day, back), 1, time_zone)


def _first_day(counter: Counter) -> int:
    """Return the day on which months of charges begin."""
    return counter.start_day if counter.window is BlockWindow.BILLING_PERIOD else 1


def _charge_month(counter: Counter, day: date) -> date:
    """Return a day of the month that the charge of a day is named by."""
    if counter.window is not BlockWindow.BILLING_PERIOD:
        return day
    return window_start_day(Counter(counter.window, counter.start_day), day)


class BuyerReads:
    """The reads about one buyer at one instant, chosen by the tariff."""

    def __init__(self, principal: Principal, now_us: int) -> None:
        """Hold who asks, and when."""
        self._zone = principal.time_zone
        self._utility_id = principal.utility_id
        self._now_us = now_us
        self._known: tuple[str, tuple[Tariff, Needs]] | None = None
        self._day: date | None = None

    def choose(self, rows: Rows) -> list[Read]:
        """Return the reads that the tariff and the account ask for; a flat price needs none."""
        if not rows["tariff"]:
            return []
        meter = rows["meter"][0]
        _, needs = self.tariff(rows)
        reads = [] if needs.is_plain else self._by_tariff(needs, meter["supply_point_id"], rows)
        if needs.price_changes:
            reads += versions_read(meter, self._now_us)
        if meter["registered_account_id"] is not None and needs.free_months is not None:
            reads.append(Read("free_registered", {"account_id": meter["registered_account_id"]}))
        if meter["indebted_account_id"] is not None:
            reads.append(debt_read(meter["indebted_account_id"]))
        return reads

    def _by_tariff(self, needs: Needs, point: int, rows: Rows) -> list[Read]:
        tariff, _ = self.tariff(rows)
        counter, zone, day = tariff.energy.counter, self.zone(rows), self.day(rows)
        of_point: dict[str, SqlValue] = {"supply_point_id": point}
        window_us = window_start_us(counter, self._now_us, zone)
        reads = []
        if needs.window:
            reads.append(self._sold_since(point, window_us, rows, "window"))
        if needs.corrects:
            reads.append(self._sold_since(point, window_us, rows, "earlier", "sold_correctable"))
        if needs.by_use and rows["meter"][0]["credit_mode"] == CreditMode.PLATFORM:
            reads.append(self._used_since(window_us, rows))
        if needs.split:
            month = month_of(_charge_month(counter, day))
            from_us = _month_day_us(month, _first_day(counter), zone)
            reads.append(self._sold_since(point, from_us, rows, "month"))
        if needs.last:
            reads.append(Read("sold_last", {**of_point, "before_us": self._now_us}, "last"))
        if needs.before_window:
            before = {**of_point, "before_us": window_us}
            reads.append(Read("sold_last", before, "before_window"))
        months = self.average_months(rows)
        if months:
            span = {
                "from_us": month_start_us(day, months, zone),
                "to_us": month_start_us(day, 0, zone),
            }
            reads.append(Read("sold_between", {**of_point, **span}, "average"))
        if needs.charges_months is not None:
            oldest = month_of(day, needs.charges_months + 1)
            reads.append(Read("charges_of_point", {**of_point, "from_period": oldest}, "charges"))
        if needs.free_months is not None:
            oldest = month_of(day, needs.free_months)
            reads.append(Read("free_claimed", {**of_point, "from_period": oldest}))
        return reads

    def choose_beginnings(self, rows: Rows) -> list[Read]:
        """Return the reads that tell since when a buyer is under charges that add up.

        Most often none: the version in force was so already when something was bought last. And
        what was repaid of debts by instalments.
        """
        if not rows["tariff"]:
            return []
        _, needs = self.tariff(rows)
        meter = rows["meter"][0]
        reads = sales_read(rows, self.zone(rows))
        reads += repayment_reads(rows, meter["indebted_account_id"])
        if not needs.adds_up:
            return reads
        if rows["tariff"][0]["valid_from_us"] > _unsettled_from_us(self, rows):
            of_tariff: dict[str, SqlValue] = {
                "tariff_id": meter["tariff_id"],
                "now_us": self._now_us,
            }
            reads.append(Read("tariff_versions_until", of_tariff, "versions"))
        if needs.by_class:
            of_account: dict[str, SqlValue] = {
                "utility_id": self._utility_id,
                "account": meter["account_id"],
                "at_us": self._now_us,
            }
            reads.append(Read("account_class_at", of_account, "class"))
        return reads

    def _used_since(self, from_us: int, rows: Rows) -> Read:
        meter = rows["meter"][0]
        params: dict[str, SqlValue] = {
            "utility_id": self._utility_id,
            "meter_id": meter["meter_id"],
            "account_id": meter["account_id"],
            "from_us": from_us,
        }
        return Read("charging_used_before", params, "used")

    @staticmethod
    def _sold_since(
        point: int, from_us: int, rows: Rows, key: str, statement: str = "sold_in_window"
    ) -> Read:
        params: dict[str, SqlValue] = {
            "supply_point_id": point,
            "from_us": from_us,
            "tariff_version_id": rows["tariff"][0]["tariff_version_id"],
        }
        return Read(statement, params, key)

    def tariff(self, rows: Rows) -> tuple[Tariff, Needs]:
        """Return the tariff in force, and what it asks about a buyer."""
        body = rows["tariff"][0]["body"]
        if self._known is None or self._known[0] is not body:
            # A unit that is run again may find another version in force.
            self._known, self._day = (body, tariff_and_needs(body)), None
        return self._known[1]

    def zone(self, rows: Rows) -> str:
        """Return the time zone of months and days."""
        return self.tariff(rows)[0].time_zone or self._zone

    def day(self, rows: Rows) -> date:
        """Return the local day."""
        if self._day is None:
            self._day = local_day(self._now_us, self.zone(rows))
        return self._day

    def average_months(self, rows: Rows) -> int:
        """Return how many whole months, before this one, average use is taken over."""
        tariff, needs = self.tariff(rows)
        if not needs.average:
            return 0
        since_us: int = rows["meter"][0]["supply_point_since_us"]
        began = local_day(since_us, self.zone(rows))
        day = self.day(rows)
        whole = (day.year - began.year) * MONTHS_PER_YEAR + day.month - began.month
        if since_us > month_start_us(began, 0, self.zone(rows)):
            whole -= 1
        return max(0, min(whole, tariff.average_months))


def _row(rows: Rows, key: str) -> Row | None:
    """Return the only row of a read that was perhaps not made."""
    found = rows.get(key)
    return found[0] if found else None


def situation_of(reads: BuyerReads, rows: Rows, now_us: int, channel: str) -> Situation:
    """Return the buyer, the meter and the moment from the rows of a purchase.

    Args:
        reads: that were made.
        rows: their rows, with those of the meter, its tariff and the branch.
        now_us: our clock.
        channel: till, web, phone or bank.
    """
    meter = rows["meter"][0]
    zone = reads.zone(rows)
    tariff, needs = reads.tariff(rows)
    window = _row(rows, "window") or _NOTHING_BOUGHT
    average, used = _row(rows, "average"), _row(rows, "used")
    missed = 0
    if needs.before_window:
        # The longer first block is the window's: every purchase in it counts from there.
        before = _row(rows, "before_window")
        before_us = meter["supply_point_since_us"] if before is None else before["sold_us"]
        missed = windows_missed(tariff.energy.counter, before_us, now_us, zone)
    situation = Situation(
        at_us=now_us,
        time_zone=zone,
        prior_units=window["counted_units"],
        prior_lifeline_units=max(0, window["lifeline_units"]),
        customer_class=meter["class_code"],
        average_units=None
        if average is None
        else average["counted_units"] // reads.average_months(rows),
        connection=meter["connection"],
        load_w=meter["load_w"],
        channel=channel,
        vendor=rows["branch"][0]["code"],
        transfer=Transfer(meter["transfer"]),
        is_meter_credit=meter["credit_mode"] == CreditMode.METER,
        account_number=meter["account_number"],
        meter_max_minor=meter["purchase_max_minor"],
        advance_minor=max(0, meter["advance_minor"]),
        debts=debt_states(rows, now_us, zone) if "debts_for_sale" in rows else (),
        missed_windows=missed,
        used_units=0 if used is None else used["used"],
        charges=() if needs.monthly is None else _monthly(needs.monthly, reads, rows),
    )
    if needs.charges_months is not None and needs.monthly is None:
        situation = replace(situation, charges=_charges(reads, rows, situation))
    if needs.free_months is not None:
        situation = replace(situation, free=_free(reads, rows, situation))
    situation = _with_prices_paid(tariff, situation, rows.get("earlier", ()))
    return with_price_changes(rows, situation)


def _with_prices_paid(tariff: Tariff, situation: Situation, sales: Sequence[Row]) -> Situation:
    """Add what was paid for units that are corrected, where another table was in use then."""
    earlier = [
        EarlierSale(
            Situation.from_dict(json.loads(row["situation"])),
            row["counted_units"],
            row["lifeline_units"],
        )
        for row in sales
    ]
    paid = priced_before(tariff, situation, earlier)
    if not paid:
        return situation
    units = sum(each.units for each in paid)
    return replace(situation, priced_before=paid, prior_lifeline_units=units)


def _monthly(codes: tuple[str, ...], reads: BuyerReads, rows: Rows) -> tuple[ChargeState, ...]:
    """Return what :func:`_charges` would, for charges that it need not look at one by one."""
    month = month_of(_charge_month(reads.tariff(rows)[0].energy.counter, reads.day(rows)))
    taken = {row["code"]: row["taken_minor"] for row in rows["charges"] if row["period"] == month}
    return tuple(ChargeState(code, month, taken.get(code, 0)) for code in codes)


def _charges(reads: BuyerReads, rows: Rows, situation: Situation) -> tuple[ChargeState, ...]:
    tariff = reads.tariff(rows)[0]
    current = month_of(_charge_month(tariff.energy.counter, reads.day(rows)))
    taken = []
    for row in rows["charges"]:
        # What is due of this month may have risen since, with a new version of the tariff.
        due_minor = row["due_minor"] + (row["period"] == current)
        taken.append(TakenCharge(row["code"], row["period"], row["taken_minor"], due_minor))
    last, month = _row(rows, "last"), _row(rows, "month")
    return open_charges(
        tariff,
        situation,
        taken,
        started_us=_charged_from_us(reads, rows),
        last_purchase_us=None if last is None else last["sold_us"],
        tendered_minor=0 if month is None else month["tender_minor"],
        begun_us=_begun_us(tariff, rows) if reads.tariff(rows)[1].adds_up else None,
    )


def _begun_us(tariff: Tariff, rows: Rows) -> dict[str, int]:
    """Return since when the buyer is under each charge that adds up, as far as it matters.

    That is since the version that brought the item as it is now, with no version without it in
    between, and for an item of some classes since the account is in its class.
    """
    begun: dict[str, int] = {}
    now = {item.code: item for item in tariff.fixed_items if item.missed is Missed.ACCUMULATE}
    for version in rows.get("versions", ()):
        items = stored_tariff(version["body"]).fixed_items
        valid_from_us: int = version["valid_from_us"]
        begun = {
            item.code: begun.get(item.code, valid_from_us)
            for item in items
            if item.code in now and _adds_up_alike(item, now[item.code])
        }
    in_class = _row(rows, "class")
    if in_class is not None:
        for code in (item.code for item in now.values() if is_by_class(item)):
            begun[code] = max(begun.get(code, 0), in_class["from_us"])
    return begun


def _adds_up_alike(item: FixedItem, other: FixedItem) -> bool:
    return item.missed is other.missed and item.collect is other.collect


def _unsettled_from_us(reads: BuyerReads, rows: Rows) -> int:
    """Return an instant before which no charge that adds up is open."""
    months_us = _charged_from_us(reads, rows)
    last = _row(rows, "last")
    days_us: int = rows["meter"][0]["supply_point_since_us"] if last is None else last["sold_us"]
    return days_us if months_us is None else min(months_us, days_us)


def _charged_from_us(reads: BuyerReads, rows: Rows) -> int | None:
    """Return the instant before whose month no charge adds up.

    A purchase settles every month until its own, under the tariff of then, but for those that it
    could pay in part only. Charges that a later version brought begin later still.
    """
    tariff, needs = reads.tariff(rows)
    if not needs.last:
        return None
    zone = reads.zone(rows)
    counter = tariff.energy.counter
    first_day = _first_day(counter)
    from_us: int = max(
        rows["meter"][0]["supply_point_since_us"], rows["tariff"][0]["first_valid_from_us"]
    )
    last = _row(rows, "last")
    if last is not None:
        settled = _charge_month(counter, local_day(last["sold_us"], zone))
        from_us = max(from_us, _month_day_us(month_of(settled, -1), first_day, zone))
    for row in rows["charges"]:
        if row["taken_minor"] < row["due_minor"] and len(row["period"]) == MONTH_CHARACTERS:
            return min(from_us, _month_day_us(row["period"], first_day, zone))
    return from_us


def _free(reads: BuyerReads, rows: Rows, situation: Situation) -> tuple[FreeState, ...]:
    by_token = situation.is_meter_credit and situation.transfer is Transfer.UNITS
    return free_by_token(reads, rows, situation) if by_token else ()


def free_by_token(reads: BuyerReads, rows: Rows, situation: Situation) -> tuple[FreeState, ...]:
    """Return the free units that are open, as if the meter could take a token of units."""
    tariff, needs = reads.tariff(rows)
    if needs.free_months is None:
        return ()
    now_us = situation.at_us
    since: dict[str, int] = {}
    for row in rows.get("free_registered", ()):
        is_over = row["until_us"] is not None and row["until_us"] <= now_us
        if row["from_us"] <= now_us and not is_over:
            since[row["code"]] = min(row["from_us"], since.get(row["code"], row["from_us"]))
    for item in tariff.free_units:
        if not item.needs_registration:
            since[item.code] = rows["meter"][0]["supply_point_since_us"]
    claimed: dict[str, list[str]] = {}
    for row in rows["free_claimed"]:
        claimed.setdefault(row["code"], []).append(row["period"])
    return open_free(tariff, situation, registered_us=since, claimed=claimed)
