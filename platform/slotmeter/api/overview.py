"""The first page: sales of the day, meters by state, alarms, the queue of commands."""

from __future__ import annotations

from collections import Counter

from slotmeter.api.call import Answer, Call, Nothing, json_answer
from slotmeter.api.commands import command_of
from slotmeter.api.device_models import (
    Alarm,
    AlarmsPage,
    ByCommodity,
    BySupply,
    HourOfSales,
    MeterCounts,
    Overview,
    OverviewAlarms,
    OverviewCommands,
    SalesToday,
    SoldUnits,
)
from slotmeter.api.query_models import AlarmsQuery
from slotmeter.api.sales import instant_text, sold_units
from slotmeter.ports import Right, Row
from slotmeter.services.queries import OverviewRows
from slotmeter.units import HOUR_US, Commodity, Money, iso_utc

__all__ = ["alarms", "overview"]


async def alarms(call: Call[Nothing, AlarmsQuery]) -> Answer:
    """List alarms."""
    query = call.query
    page = await call.services.queries.alarms(
        call.caller.principal, only_open=query.open, before=query.before, limit=query.limit
    )
    following = None if page.next is None else int(page.next)
    return json_answer(AlarmsPage(items=[_alarm(row) for row in page.rows], next=following))


async def overview(call: Call[Nothing, Nothing]) -> Answer:
    """Return the sums and the newest items of the utility."""
    principal = call.caller.principal
    rights = principal.rights
    found = await call.services.queries.overview(principal)
    rows = found.rows
    return json_answer(
        Overview(
            as_of=iso_utc(found.now_us),
            utility=rows["look_utility"][0]["name"],
            day_start=iso_utc(found.day_us),
            time_zone=principal.time_zone,
            currency=principal.currency,
            sales=_sales(found, principal.currency),
            sales_by_hour=_by_hour(found, principal.currency),
            meters=_meters(found) if Right.METERS in rights else None,
            alarms=_alarms(found) if Right.EVENTS in rights else None,
            commands=_commands(found) if Right.COMMANDS in rights else None,
            quarantined=rows["look_quarantined"][0]["count"],
            ledger_balanced=rows["look_ledger_sum"][0]["sum"] == 0,
        )
    )


def _alarms(found: OverviewRows) -> OverviewAlarms:
    rows = found.rows
    return OverviewAlarms(
        open=rows["look_alarms_count"][0]["count"],
        items=[_alarm(row) for row in rows["look_alarms_open"]],
    )


def _commands(found: OverviewRows) -> OverviewCommands:
    rows = found.rows
    return OverviewCommands(
        by_state={row["state"]: row["count"] for row in rows["look_command_counts"]},
        items=[command_of(row) for row in rows["look_commands"]],
    )


def _alarm(row: Row) -> Alarm:
    return Alarm(
        id=row["id"],
        meter=row["meter"],
        subject=row["subject"],
        kind=row["kind"],
        severity=row["severity"],
        text=row["text"],
        raised_at=iso_utc(row["raised_us"]),
        cleared_at=instant_text(row["cleared_us"]),
    )


def _sales(found: OverviewRows, currency: str) -> SalesToday:
    rows = found.rows["look_day_sales"]
    amounts: Counter[str] = Counter()
    for row in rows:
        amounts[row["commodity"]] += row["units"]
    units = {each.value: sold_units(each, amounts[each.value])[0] for each in Commodity}
    return SalesToday(
        count=sum(row["count"] for row in rows),
        tendered=str(Money(sum(row["tender_minor"] for row in rows), currency)),
        units=SoldUnits(**units),
    )


def _by_hour(found: OverviewRows, currency: str) -> list[HourOfSales]:
    counts: Counter[int] = Counter()
    tenders: Counter[int] = Counter()
    for row in found.rows["look_day_sales"]:
        counts[row["hour"]] += row["count"]
        tenders[row["hour"]] += row["tender_minor"]
    hours = range((found.now_us - found.day_us) // HOUR_US + 1)
    return [
        HourOfSales(
            hour=iso_utc(found.day_us + hour * HOUR_US),
            count=counts[hour],
            tendered=str(Money(tenders[hour], currency)),
        )
        for hour in hours
    ]


def _meters(found: OverviewRows) -> MeterCounts:
    by_supply: Counter[str] = Counter()
    by_commodity: Counter[str] = Counter()
    rows = found.rows["look_meter_counts"]
    for row in rows:
        by_supply[row["supply"]] += row["count"]
        by_commodity[row["commodity"]] += row["count"]
    return MeterCounts(
        total=sum(row["count"] for row in rows),
        heard=sum(row["heard"] for row in rows),
        by_supply=BySupply(**by_supply),
        by_commodity=ByCommodity(**by_commodity),
    )
