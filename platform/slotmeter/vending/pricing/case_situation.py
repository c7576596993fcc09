"""The buyer, the meter and the moment that a published case describes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Final
from zoneinfo import ZoneInfo

from slotmeter.units import Energy, commodity_quantity, epoch_us
from slotmeter.vending.pricing.by_use import level_at
from slotmeter.vending.pricing.case_inputs import CaseInputs, case_date, same_name
from slotmeter.vending.pricing.charges_due import open_charges
from slotmeter.vending.pricing.chosen import holds, table_for
from slotmeter.vending.pricing.compiled import compiled
from slotmeter.vending.pricing.fixed import fixed_amount
from slotmeter.vending.pricing.situation import ChargeState, DebtState, FreeState, Situation
from slotmeter.vending.sts.vector_inputs import VectorError
from slotmeter.vending.tariff.model import Tariff

__all__ = ["situation_of", "sold_unit_of"]

W_PER_KW: Final = 1_000
PERCENT: Final = 100
MONTHS_PER_YEAR: Final = 12
USUAL_ZONE: Final = "UTC"


def sold_unit_of(tariff: Tariff) -> int:
    """Return the base units that make one that prices are for: 1,000 Wh, or 1,000,000 mL."""
    if tariff.energy_content is not None:
        return Energy.per_sold_unit
    return commodity_quantity(tariff.commodity).per_sold_unit


def situation_of(
    tariff: Tariff, entry: Mapping[str, object], inputs: CaseInputs, bought: int
) -> Situation:
    """Build what pricing needs from a case.

    Args:
        tariff: that prices it.
        entry: the published tariff, for its period.
        inputs: of the case.
        bought: units counted by the cases before it in its order.

    Raises:
        VectorError: an input cannot be read.
    """
    day = case_date(tariff, entry, inputs)
    zone = tariff.time_zone or USUAL_ZONE
    unit = sold_unit_of(tariff)
    prior = inputs.whole("prior_units", unit)
    order = inputs.whole("order")
    if prior is None:
        prior = bought if order is not None and order > 1 else 0
    bare = Situation(
        at_us=_noon_us(day, zone),
        time_zone=zone,
        prior_units=prior,
        customer_class=inputs.text("class"),
        average_units=inputs.whole("average_units", unit),
        connection=_connection(tariff, inputs.text("connection")),
        load_w=inputs.whole("load_kw", W_PER_KW),
        demand_w=inputs.whole("demand_kw", W_PER_KW),
        channel=inputs.text("channel") or "till",
        vendor=inputs.text("vendor") or "",
        sts_grid=False,
        calorific_value=inputs.text("cv"),
        debts=_debts(tariff, inputs),
        missed_windows=_missed(inputs),
    )
    table = table_for(tariff, bare, day)
    lifeline = table.lifeline
    is_cheap = lifeline is not None and prior <= lifeline.up_to
    is_whole = table.whole or any(block.whole for block in table.blocks)
    return replace(
        bare,
        prior_lifeline_units=prior if is_cheap or is_whole else 0,
        charges=_charges(tariff, bare, inputs, day),
        free=_free(tariff, bare, inputs, day),
    )


def _connection(tariff: Tariff, text: str | None) -> str | None:
    """Return a size as the tariff writes it: a case may say 15 for 15 mm."""
    if text is None:
        return None
    conditions = (
        *(rule.when for rule in tariff.energy.rules),
        *(item.when for item in tariff.fixed_items),
        *(item.when for item in tariff.unit_items),
        *(item.when for item in tariff.percent_items),
        *(item.when for item in tariff.free_units),
    )
    sizes = {size for item in tariff.fixed_items for size in item.amounts or ()}
    sizes |= {size for when in conditions for size in when.connections or ()}
    fitting = [size for size in sizes if text in (size, size.split(" ")[0])]
    if len(fitting) != 1:
        known = ", ".join(sorted(sizes)) or "none"
        raise VectorError(
            "vector_field_wrong",
            f"expected a connection of the tariff ({known}), got {text!r}",
            field="connection",
        )
    return fitting[0]


def _debts(tariff: Tariff, inputs: CaseInputs) -> tuple[DebtState, ...]:
    balance = inputs.money("debt", tariff.currency)
    if balance is None:
        return ()
    share = inputs.decimal("debt_percent")
    return (
        DebtState(
            debt_id=1,
            kind="arrears",
            label="Debt",
            priority=1,
            balance_minor=balance,
            due_minor=inputs.money("debt_due", tariff.currency),
            percent=None if share is None else f"{share * PERCENT:f}",
        ),
    )


# --- what is open ---------------------------------------------------------------------------------


def _charges(
    tariff: Tariff, situation: Situation, inputs: CaseInputs, day: date
) -> tuple[ChargeState, ...]:
    """Return the open charges of an account that began as many months before as were missed."""
    said = inputs.flag("fixed_due")
    months_due = inputs.whole("months_due")
    is_begun = inputs.has("taken")
    is_due = is_begun or situation.prior_units <= 0 if months_due is None else months_due > 0
    is_due = is_due if said is None else said
    started = _months_before(day, _missed(inputs))
    days_before = inputs.whole("days")
    last = None if days_before is None else day - timedelta(days=days_before)
    tendered = inputs.money("tendered_before", tariff.currency) or 0
    if not is_due:
        return () if said is not None else _paid_before(tariff, situation, day)
    zone = situation.time_zone
    charges = open_charges(
        tariff,
        situation,
        started_us=_noon_us(started if last is None else min(started, last), zone),
        last_purchase_us=None if last is None else _noon_us(last, zone),
        tendered_minor=tendered,
    )
    return _begun(tariff, charges, inputs) if is_begun else charges


def _begun(
    tariff: Tariff, charges: tuple[ChargeState, ...], inputs: CaseInputs
) -> tuple[ChargeState, ...]:
    """Return charges with what was taken of the newest period of each."""
    taken = _taken(tariff, {each.code for each in charges}, inputs)
    newest = {each.code: at for at, each in enumerate(charges)}
    return tuple(
        replace(each, taken_minor=taken.get(each.code, 0)) if newest[each.code] == at else each
        for at, each in enumerate(charges)
    )


def _taken(tariff: Tariff, open_codes: set[str], inputs: CaseInputs) -> dict[str, int]:
    """Return what was taken, by the code of the charge."""
    by_name = inputs.named("taken")
    if by_name is None:
        if len(open_codes) != 1:
            known = ", ".join(sorted(open_codes)) or "none"
            raise VectorError(
                "vector_field_wrong",
                f"expected the amount of each charge by its name; open are {known}",
                field="taken",
            )
        return {open_codes.copy().pop(): inputs.money("taken", tariff.currency) or 0}
    taken = {}
    for name in by_name.data:
        codes = open_codes & {
            item.code
            for item in tariff.fixed_items
            if same_name(item.code, name) or same_name(item.label, name)
        }
        if len(codes) != 1:
            raise VectorError(
                "vector_field_wrong", "no charge of this name is open", field=f"taken.{name}"
            )
        taken[codes.pop()] = by_name.money(name, tariff.currency) or 0
    return taken


def _paid_before(tariff: Tariff, situation: Situation, day: date) -> tuple[ChargeState, ...]:
    """Return the charges that may still rise; what was bought before has paid its own part."""
    plan = compiled(tariff).plan(situation, day)
    level = level_at(plan, situation.prior_units, 0, None)
    items = {item.code: item for item in tariff.fixed_items if item.is_by_use}
    return tuple(
        replace(state, taken_minor=fixed_amount(plan, items[state.code], situation, 1, level).net)
        for state in open_charges(tariff, situation)
        if state.code in items
    )


def _missed(inputs: CaseInputs) -> int:
    """Return the months without a purchase before this one."""
    due = inputs.whole("months_due")
    return max(0, due - 1) if due is not None else inputs.whole("months_missed") or 0


def _noon_us(day: date, time_zone: str) -> int:
    return epoch_us(datetime.combine(day, time(12), ZoneInfo(time_zone)).astimezone(UTC))


def _months_before(day: date, months: int) -> date:
    count = day.year * MONTHS_PER_YEAR + day.month - 1 - months
    return date(count // MONTHS_PER_YEAR, count % MONTHS_PER_YEAR + 1, 1) if months else day


def _free(
    tariff: Tariff, situation: Situation, inputs: CaseInputs, day: date
) -> tuple[FreeState, ...]:
    due = inputs.whole("free_units_due", sold_unit_of(tariff)) or 0
    if not due:
        return ()
    items = [item for item in tariff.free_units if holds(item.when, situation, day)]
    if len(items) > 1:
        items = [item for item in items if item.units == due]
    if len(items) != 1:
        raise VectorError(
            "vector_field_wrong",
            f"the tariff gives no {Decimal(due) / sold_unit_of(tariff)} free units",
            field="free_units_due",
        )
    return (FreeState(items[0].code, (f"{day:%Y-%m}",)),)
