"""Meters: the list, one meter, its readings, its tokens and its commands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from slotmeter.api.call import Answer, Call, Nothing, json_answer
from slotmeter.api.commands import command_of
from slotmeter.api.device_models import (
    Bucket,
    CommandsPage,
    Meter,
    MetersPage,
    MeterToken,
    MeterTokensPage,
    Reading,
    ReadingGap,
    Readings,
)
from slotmeter.api.query_models import MetersQuery, PageQuery, ReadingsQuery
from slotmeter.api.sales import instant_text, sold_units
from slotmeter.devices.entities import REGISTERS
from slotmeter.errors import Refused
from slotmeter.ports import Aggregate, Principal, Right, Row
from slotmeter.services.queries import MeterFilter
from slotmeter.services.sold_tokens import CREDIT
from slotmeter.units import (
    DAY_US,
    SECOND_US,
    Commodity,
    Money,
    commodity_quantity,
    epoch_us,
    iso_utc,
)
from slotmeter.vending.accounts import masked_name

__all__ = ["gaps_between", "meter", "meter_commands", "meter_tokens", "meters", "readings"]

BUCKETS_MAX: Final = 1_000
ACCEPTED: Final = "accepted"
PROVEN: Final = "verified"
"""How the store notes that a token whose sale tells of another one is in the meter's credit."""
SPAN_DAYS_MAX: Final = 731
"""Buckets are made of every value in the span; two years bound the work of one question."""


async def meters(call: Call[Nothing, MetersQuery]) -> Answer:
    """List meters by number."""
    query = call.query
    wanted = MeterFilter(commodity=query.commodity, supply=query.supply, text=query.q)
    page = await call.services.queries.meters(
        call.caller.principal, wanted, after=query.after, limit=query.limit
    )
    items = [_meter(call, row) for row in page.rows]
    following = None if page.next is None else str(page.next)
    return json_answer(MetersPage(items=items, next=following))


async def meter(call: Call[Nothing, Nothing]) -> Answer:
    """Return one meter."""
    row = await call.services.queries.meter(call.caller.principal, call.path("number"))
    return json_answer(_meter(call, row))


async def meter_tokens(call: Call[Nothing, PageQuery]) -> Answer:
    """List the tokens sold for a meter, without their digits."""
    page = await call.services.queries.meter_tokens(
        call.caller.principal,
        call.path("number"),
        before=call.query.before,
        limit=call.query.limit,
    )
    row = await call.services.queries.meter(call.caller.principal, call.path("number"))
    items = [_token(token, row["commodity"]) for token in page.rows]
    following = None if page.next is None else int(page.next)
    return json_answer(MeterTokensPage(items=items, next=following))


async def meter_commands(call: Call[Nothing, PageQuery]) -> Answer:
    """List the commands to a meter."""
    page = await call.services.queries.meter_commands(
        call.caller.principal,
        call.path("number"),
        before=call.query.before,
        limit=call.query.limit,
    )
    following = None if page.next is None else int(page.next)
    return json_answer(CommandsPage(items=[command_of(row) for row in page.rows], next=following))


async def readings(call: Call[Nothing, ReadingsQuery]) -> Answer:
    """Return values of a register, or what they were in spans of time."""
    query = call.query
    meter_id, commodity = await call.services.queries.meter_key(
        call.caller.principal, call.path("number")
    )
    name = query.register_name or (
        "energy_import" if commodity is Commodity.ELECTRICITY else "volume"
    )
    start_us, end_us = await _span(call, meter_id, name)
    store = call.services.readings
    items: list[Reading] = []
    buckets: list[Bucket] = []
    gaps: list[ReadingGap] = []
    truncated = False
    if query.bucket is None:
        rows = await store.range(meter_id, name, start_us, end_us, limit=query.limit + 1)
        truncated = len(rows) > query.limit
        items = [
            Reading(at=iso_utc(row.measured_us), value=row.value) for row in rows[: query.limit]
        ]
    else:
        bucket_us = query.bucket * SECOND_US
        _check_buckets(start_us, end_us, bucket_us)
        found = await store.aggregate(meter_id, name, start_us, end_us, bucket_us=bucket_us)
        buckets = [_bucket(each) for each in found]
        until_us = min(end_us, epoch_us(call.services.clock.now()))
        gaps = [
            ReadingGap(start=iso_utc(first_us), end=iso_utc(last_us))
            for first_us, last_us in gaps_between(found, start_us, until_us, bucket_us)
        ]
    return json_answer(
        Readings(
            register_name=name,
            unit=_unit_of(name, commodity),
            from_at=iso_utc(start_us),
            to_at=iso_utc(end_us),
            items=items,
            buckets=buckets,
            gaps=gaps,
            truncated=truncated,
        )
    )


def gaps_between(
    found: Sequence[Aggregate], start_us: int, end_us: int, bucket_us: int
) -> list[tuple[int, int]]:
    """Return the spans from start to end that no bucket covers, those that touch as one.

    Args:
        found: buckets that hold values, aligned to the start, in time order.
        start_us: UTC epoch microseconds.
        end_us: a bucket that is not over by then may still be filled, and is no gap.
        bucket_us: length of a bucket.
    """
    over_us = start_us + (end_us - start_us) // bucket_us * bucket_us
    gaps, at_us = [], start_us
    for each in found:
        if at_us < min(each.start_us, over_us):
            gaps.append((at_us, min(each.start_us, over_us)))
        at_us = each.end_us
    return [*gaps, (at_us, over_us)] if at_us < over_us else gaps


def _bucket(each: Aggregate) -> Bucket:
    return Bucket(
        start=iso_utc(each.start_us),
        end=iso_utc(each.end_us),
        min=each.minimum,
        max=each.maximum,
        first=each.first,
        last=each.last,
        count=each.count,
    )


async def _span(call: Call[Nothing, ReadingsQuery], meter_id: int, name: str) -> tuple[int, int]:
    """Return the time asked for; by default the newest day of the meter's own clock."""
    query = call.query
    if query.to_at is not None:
        end_us = epoch_us(query.to_at)
    else:
        newest = await call.services.readings.last(meter_id, name)
        now_us = epoch_us(call.services.clock.now())
        end_us = now_us if newest is None else newest.measured_us + 1
    start_us = end_us - DAY_US if query.from_at is None else epoch_us(query.from_at)
    if start_us >= end_us:
        raise Refused(
            "span_empty", f"from must be before to, which is {iso_utc(end_us)}", field="from"
        )
    return max(0, start_us), end_us


def _check_buckets(start_us: int, end_us: int, bucket_us: int) -> None:
    if end_us - start_us > SPAN_DAYS_MAX * DAY_US:
        raise Refused(
            "span_too_long",
            f"at most {SPAN_DAYS_MAX} days are summed up at once, this asks for "
            f"{(end_us - start_us) // DAY_US}; ask part by part",
            field="from",
        )
    count = -(-(end_us - start_us) // bucket_us)
    if count > BUCKETS_MAX:
        raise Refused(
            "too_many_buckets",
            f"at most {BUCKETS_MAX} buckets are given, this asks for {count}",
            field="bucket",
        )


def _unit_of(name: str, commodity: Commodity) -> str:
    return REGISTERS[name].unit_for(commodity)


def _amount(commodity: str, amount: int | None) -> str | None:
    return None if amount is None else sold_units(commodity, amount)[0]


def _meter(call: Call[Nothing, MetersQuery] | Call[Nothing, Nothing], row: Row) -> Meter:
    principal = call.caller.principal
    sees_all = Right.READINGS in principal.rights
    commodity = row["commodity"]
    now_us = epoch_us(call.services.clock.now())
    critical_us = row["critical_until_us"]
    sees_credit = sees_all or Right.METERS_ASK in principal.rights
    return Meter(
        number=row["number"],
        commodity=commodity,
        credit_mode=row["credit_mode"],
        state=row["state"],
        area=row["area"],
        address=row["address"] if sees_all else None,
        customer=_customer(row["customer"], sees_all=sees_all),
        account=row["account"] if sees_all else None,
        critical=critical_us is not None and critical_us > now_us,
        supply=row["supply"] or "unknown",
        unit=commodity_quantity(Commodity(commodity)).sold_symbol,
        register_value=_amount(commodity, row["register"]) if sees_all else None,
        credit_balance=_amount(commodity, row["credit_balance"]) if sees_credit else None,
        credit_total=_amount(commodity, row["credit_total"]) if sees_all else None,
        account_balance=_account_balance(row, principal) if sees_credit else None,
        currency=principal.currency,
        tamper=bool(row["tamper"]),
        online=call.services.queries.online(row),
        last_contact_at=instant_text(row["last_contact_us"]),
        measured_at=instant_text(row["measured_us"]) if sees_all else None,
        driver=row["driver"],
        medium=row["medium"],
    )


def _customer(name: str | None, *, sees_all: bool) -> str | None:
    return name if sees_all or name is None else masked_name(name)


def _account_balance(row: Row, principal: Principal) -> str | None:
    """Return what the customer has: the ledger shows a liability as a credit, which is negative."""
    if row["credit_mode"] != "platform" or row["account"] is None:
        return None
    return str(Money(-(row["balance_minor"] or 0), principal.currency))


def _token(row: Row, commodity: str) -> MeterToken:
    units, unit = sold_units(commodity, row["amount"])
    digits = row["digits"]
    paid_minor = row["tender_minor"] if row["purpose"] == CREDIT else 0
    return MeterToken(
        purpose=row["purpose"],
        receipt_number=row["receipt_number"],
        sold_at=iso_utc(row["sold_us"]),
        tendered=str(Money(paid_minor, row["currency"])),
        currency=row["currency"],
        units=units,
        unit=unit,
        state=ACCEPTED if row["state"] == PROVEN else row["state"],
        delivery=row["delivery"],
        accepted_by=row["accepted_by"],
        accepted_at=instant_text(row["accepted_us"]),
        token_masked=None if digits is None else f"****...{digits[-4:]}",
    )
