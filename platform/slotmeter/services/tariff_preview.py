"""What the sales of a past month would have been under another tariff. Nothing is booked.

Sales are priced again in order per supply point; the block counter follows the new units, fixed
charges are taken as the new tariff says, and everything else (debts, class, channel) is as it was.
What was bought before the month counts with the units that were really sold.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from slotmeter.errors import Refused
from slotmeter.ports import Clock, Read, Row, SqlValue
from slotmeter.ports.looking import Looks
from slotmeter.services.buyer import Needs, tariff_and_needs
from slotmeter.services.class_rules import months_before
from slotmeter.services.preview_tally import Buyer, PreviewTally
from slotmeter.services.repricing import StoredSale, situation_of
from slotmeter.units import epoch_us
from slotmeter.vending.pricing.charges_due import TakenCharge, open_charges
from slotmeter.vending.pricing.earlier import EarlierSale, priced_before
from slotmeter.vending.pricing.engine import price_tender, window_start_us
from slotmeter.vending.pricing.situation import FreeState, Situation
from slotmeter.vending.pricing.windows import windows_missed
from slotmeter.vending.tariff.model import Missed, Tariff
from slotmeter.vending.tariff.reader import stored_tariff

__all__ = ["PreviewSpan", "TariffPreview", "last_month", "span_of_month"]

PAGE_SALES: Final = 400
MONTHS_PER_YEAR: Final = 12

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class PreviewSpan:
    """A local month: its name, and its ends in UTC epoch microseconds."""

    month: str
    from_us: int
    to_us: int


def last_month(now: datetime, time_zone: str) -> str:
    """Return the local month before that of an instant, as ``2026-10``."""
    local = now.astimezone(ZoneInfo(time_zone))
    year, month = months_before(local.year, local.month, 1)
    return f"{year:04d}-{month:02d}"


def span_of_month(month: str, time_zone: str) -> PreviewSpan:
    """Return the span of a local month.

    Raises:
        Refused: ``bad_month``.
    """
    try:
        first = datetime.strptime(month, "%Y-%m").replace(tzinfo=ZoneInfo(time_zone))
    except ValueError as error:
        raise Refused(
            "bad_month", f"expected a month such as 2026-10, got {month[:20]!r}", field="month"
        ) from error
    year, number = months_before(first.year, first.month, -1)
    end = first.replace(year=year, month=number)
    return PreviewSpan(month, epoch_us(first), epoch_us(end))


class TariffPreview:
    """Prices past sales under a tariff that is not in force."""

    def __init__(self, looks: Looks, clock: Clock) -> None:
        """Hold the database and the clock."""
        self._looks = looks
        self._clock = clock

    async def preview(
        self,
        utility_id: int,
        time_zone: str,
        body: str,
        *,
        month: str | None = None,
        sales_of: str | None = None,
        progress: Progress = lambda _done, _total: None,
    ) -> dict[str, Any]:
        """Return what the sales of a month would have been.

        Args:
            utility_id: whose sales.
            time_zone: of the utility.
            body: JSON document of the tariff.
            month: the local month; the last whole one without it.
            sales_of: code of the tariff whose sales are taken; the tariff's own without it.
            progress: called with how many sales are done, and of how many.

        Raises:
            Refused: ``bad_month``, or ``no_sales_to_preview``.
        """
        tariff, needs = tariff_and_needs(body)
        zone = tariff.time_zone or time_zone
        span = span_of_month(month or last_month(self._clock.now(), zone), zone)
        code = sales_of or tariff.code
        seen_from_us = span.from_us
        if needs.window:
            seen_from_us = window_start_us(tariff.energy.counter, span.from_us, zone)
        scope: dict[str, SqlValue] = {
            "utility_id": utility_id,
            "code": code,
            "from_us": seen_from_us,
            "to_us": span.to_us,
        }
        counted = await self._looks.read([Read("preview_count", scope)])
        total: int = counted["preview_count"][0]["count"]
        if not total:
            raise Refused(
                "no_sales_to_preview",
                f"tariff {code} sold nothing in {span.month}; name another month, or another "
                "tariff's sales",
                field="month",
            )
        run = _Run(tariff, needs, zone, span)
        await self._pages(scope, run, total, progress)
        return {
            "tariff": tariff.code,
            "sales_of": code,
            "month": span.month,
            **run.finished().document(),
        }

    async def _pages(
        self, scope: dict[str, SqlValue], run: _Run, total: int, progress: Progress
    ) -> None:
        after: dict[str, SqlValue] = {"after_point": 0, "after_us": 0, "after_id": 0}
        done = 0
        while True:
            params = {**scope, **after, "limit": PAGE_SALES}
            page = (await self._looks.read([Read("preview_sales", params)]))["preview_sales"]
            if not page:
                return
            averages = await self._averages(scope, run, page)
            bought = await self._bought_before(scope, run, page)
            # Pricing a page takes a tenth of a second; the loop serves others meanwhile.
            await asyncio.to_thread(run.add_page, page, averages, bought)
            last = page[-1]
            after = {
                "after_point": last["supply_point_id"],
                "after_us": last["sold_us"],
                "after_id": last["id"],
            }
            done += len(page)
            progress(done, total)

    async def _averages(
        self, scope: dict[str, SqlValue], run: _Run, page: Sequence[Row]
    ) -> dict[int, int]:
        """Return average use by supply point, for tariffs that ask for it."""
        if not run.needs.average:
            return {}
        points = dict.fromkeys(row["supply_point_id"] for row in page)
        from_us, to_us = run.average_span()
        reads = [
            Read(
                "sold_between",
                {"supply_point_id": point, "from_us": from_us, "to_us": to_us},
                f"point{point}",
            )
            for point in points
        ]
        rows = await self._looks.read(reads)
        months = run.tariff.average_months
        return {point: rows[f"point{point}"][0]["counted_units"] // months for point in points}

    async def _bought_before(
        self, scope: dict[str, SqlValue], run: _Run, page: Sequence[Row]
    ) -> dict[int, int]:
        """Return the last purchase before all sales that are read, by supply point.

        It is when the supply began where nothing was bought before. Only tariffs whose cheap units
        of missed windows are kept ask for it.
        """
        if not run.needs.before_window:
            return {}
        since: dict[int, int] = {
            row["supply_point_id"]: row["supply_point_since_us"] for row in page
        }
        before_us = scope["from_us"]
        reads = [
            Read("sold_last", {"supply_point_id": point, "before_us": before_us}, f"point{point}")
            for point in since
        ]
        rows = await self._looks.read(reads)
        found = {point: rows[f"point{point}"] for point in since}
        return {
            point: found[point][0]["sold_us"] if found[point] else since[point] for point in since
        }


class _Run:
    """Prices pages of sales and adds up what comes out; holds one supply point at a time."""

    def __init__(self, tariff: Tariff, needs: Needs, zone: str, span: PreviewSpan) -> None:
        self.tariff = tariff
        self.needs = needs
        self._zone = zone
        self._span = span
        self._tally = PreviewTally(tariff.commodity, tariff.currency)
        self._point: _Point | None = None

    def average_span(self) -> tuple[int, int]:
        """Return the whole months before the previewed one that an average is taken over."""
        first = datetime.strptime(self._span.month, "%Y-%m").replace(tzinfo=ZoneInfo(self._zone))
        year, month = months_before(first.year, first.month, self.tariff.average_months)
        return epoch_us(first.replace(year=year, month=month)), self._span.from_us

    def add_page(
        self, page: Sequence[Row], averages: dict[int, int], bought: dict[int, int]
    ) -> None:
        for row in page:
            point_id = row["supply_point_id"]
            if self._point is None or self._point.id != point_id:
                self._leave_point()
                self._point = _Point(point_id, self, averages.get(point_id), bought.get(point_id))
            fields = {name: row[name] for name in _STORED}
            self._point.add(StoredSale(**fields), row["account_number"], row["body"])

    def finished(self) -> PreviewTally:
        self._leave_point()
        return self._tally

    def _leave_point(self) -> None:
        if self._point is not None and self._point.buyer is not None:
            self._tally.add_buyer(self._point.buyer)

    @property
    def zone(self) -> str:
        return self._zone

    @property
    def span(self) -> PreviewSpan:
        return self._span

    @property
    def tally(self) -> PreviewTally:
        return self._tally


class _Point:
    """One supply point: what its counter and charges have come to under the new tariff."""

    def __init__(
        self, point_id: int, run: _Run, average: int | None, bought_us: int | None
    ) -> None:
        self.id = point_id
        self.buyer: Buyer | None = None
        self._run = run
        self._average = average
        self._bought_us = bought_us
        self._counted: list[tuple[int, int, int, int]] = []  # when, units, lifeline, tender
        self._correctable: list[EarlierSale] = []
        self._taken: dict[tuple[str, str], TakenCharge] = {}
        self._last_us: int | None = None
        self._given: set[tuple[str, str]] = set()

    def add(self, sale: StoredSale, account: str, body: str) -> None:
        if sale.sold_us < self._run.span.from_us:
            self._counted.append(
                (sale.sold_us, sale.counted_units, sale.lifeline_units, sale.tender_minor)
            )
            self._last_us = sale.sold_us
            return
        old = situation_of(sale, stored_tariff(body))
        if self.buyer is None:
            self.buyer = Buyer(account, old.customer_class)
        self._price(sale, self._situation(old))

    def _situation(self, old: Situation) -> Situation:
        """Return what pricing would have known had the new tariff been in force."""
        run = self._run
        counter = run.tariff.energy.counter
        start_us = window_start_us(counter, old.at_us, run.zone)
        inside = [each for each in self._counted if each[0] >= start_us]
        missed = 0
        if counter.missed is Missed.ACCUMULATE:
            before = [each[0] for each in self._counted if each[0] < start_us]
            last_us = max(before, default=self._bought_us)
            missed = windows_missed(counter, last_us, old.at_us, run.zone)
        situation = replace(
            old,
            time_zone=run.zone,
            prior_units=sum(each[1] for each in inside),
            prior_lifeline_units=max(0, sum(each[2] for each in inside)),
            average_units=self._average if run.needs.average else old.average_units,
            missed_windows=missed,
            priced_before=(),
            charges=(),
            free=self._free(old),
        )
        if run.needs.corrects:
            sold = [each for each in self._correctable if each.situation.at_us >= start_us]
            situation = replace(situation, priced_before=priced_before(run.tariff, situation, sold))
        charges = open_charges(
            run.tariff,
            situation,
            self._taken.values(),
            started_us=run.span.from_us,
            last_purchase_us=self._last_us,
            tendered_minor=sum(each[3] for each in inside),
        )
        return replace(situation, charges=charges)

    def _free(self, old: Situation) -> tuple[FreeState, ...]:
        """Return the free units that were open then and that the new tariff has too."""
        codes = {item.code for item in self._run.tariff.free_units}
        states = []
        for state in old.free:
            periods = tuple(each for each in state.periods if (state.code, each) not in self._given)
            if state.code in codes and periods:
                states.append(FreeState(state.code, periods))
        return tuple(states)

    def _price(self, sale: StoredSale, situation: Situation) -> None:
        tally, buyer = self._run.tally, self.buyer
        if buyer is None:
            raise AssertionError("a point has a buyer before it has a sale")
        try:
            priced = price_tender(
                self._run.tariff, situation, sale.tender_minor, with_outlook=False
            )
        except Refused as error:
            tally.add_refused(error.code, sale.tender_minor)
            return
        self._last_us = sale.sold_us
        self._counted.append(
            (sale.sold_us, priced.counted_units, priced.lifeline_units, sale.tender_minor)
        )
        if priced.lifeline_units:
            self._correctable.append(
                EarlierSale(situation, priced.counted_units, priced.lifeline_units)
            )
        for charge in priced.charges:
            key = (charge.code, charge.period)
            before = self._taken.get(key)
            minor = charge.net_minor + (0 if before is None else before.taken_minor)
            self._taken[key] = TakenCharge(charge.code, charge.period, minor, charge.due_minor)
        self._given |= {(each.code, each.period) for each in priced.free}
        buyer.sales += 1
        buyer.tender_minor += sale.tender_minor
        buyer.units_old += sale.units
        buyer.units_new += priced.units
        tally.add(situation.customer_class, sale.tender_minor, (sale.units, priced.units))
        for line in json.loads(sale.priced):
            tally.add_money(line["account"], line["amount_minor"], is_new=False)
        for new_line in priced.lines:
            tally.add_money(new_line.account, new_line.amount_minor, is_new=True)


_STORED: Final = tuple(StoredSale.__slots__)
