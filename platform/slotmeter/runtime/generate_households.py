"""The rows of generated households: customers, accounts, supply points, meters, search words."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from slotmeter.ports import SqlValue
from slotmeter.runtime.generate_people import Household, household
from slotmeter.runtime.generate_plan import HOUSEHOLD, ONLINE_EVERY, Plan
from slotmeter.services.events import compact_json
from slotmeter.vending.accounts import words_of
from slotmeter.vending.sts import KeyParameters, pan_of_drn

__all__ = ["HouseholdTable", "household_tables", "parameters_text"]

MEDIUM: Final = "nbiot"
DRIVER: Final = "slotmeter_virtual"

REPORT_EVERY: Final = 5_000

_TEMPLATE_PAN: Final = pan_of_drn("01234567897")
_TEMPLATE: Final = compact_json(
    KeyParameters(pan=_TEMPLATE_PAN, sgc="600727", krn=1, kt=2, ti=1, base_date=2014).to_dict()
)

Values = tuple[SqlValue, ...]
Progress = Callable[[str, int, int], None]


def parameters_text(meter: str) -> str:
    """Return the key parameters of a meter as they are stored."""
    return _TEMPLATE.replace(_TEMPLATE_PAN, pan_of_drn(meter))


@dataclass(frozen=True, slots=True)
class HouseholdTable:
    """A table with the rows of every household, as they come."""

    table: str
    columns: tuple[str, ...]
    values: Iterator[Values]


def household_tables(plan: Plan, progress: Progress) -> Iterator[HouseholdTable]:
    """Yield the tables in the order in which they refer to each other."""
    made = {
        "customer": ("number", "name", "phone", "address"),
        "account": ("customer_id", "number", "currency"),
        "supply_point": (
            *("account_id", "tariff_id", "number", "commodity"),
            *("area", "address"),
        ),
        "meter": ("number", "commodity", "credit_mode", "parameters", "key_id", "state"),
        "installation": ("supply_point_id", "meter_id", "from_us"),
    }
    for part, table in enumerate(HOUSEHOLD):
        stamp = () if table == "installation" else ("created_us",)
        columns = ("id", "utility_id", *stamp, *made[table])
        yield HouseholdTable(table, columns, _rows(plan, part, progress))
    columns = (
        *("id", "utility_id", "created_us", "meter_id", "medium", "address", "driver"),
        *("supply", "tamper"),
    )
    yield HouseholdTable("device", columns, _devices(plan))
    columns = ("utility_id", "word", "supply_point_id")
    yield HouseholdTable("search_word", columns, _words(plan, progress))


def _rows(plan: Plan, part: int, progress: Progress) -> Iterator[Values]:
    table = HOUSEHOLD[part]
    since_us = plan.tariff_since_us
    for index in range(plan.meters):
        _report(plan, part, index, progress)
        ids = [plan.household_id(index, each) for each in range(len(HOUSEHOLD))]
        head: Values = (ids[part], plan.utility_id)
        if table != "installation":
            head = (*head, since_us)
        yield (*head, *_cells(plan, table, ids, household(index)))


def _cells(plan: Plan, table: str, ids: list[int], who: Household) -> Values:
    customer_id, account_id, point_id, meter_id, _ = ids
    if table == "customer":
        return (who.number, who.name, who.phone, who.address)
    if table == "account":
        return (customer_id, who.number, plan.currency)
    if table == "supply_point":
        return (account_id, plan.tariff_id, who.meter, "electricity", who.area, who.address)
    if table == "meter":
        parameters = parameters_text(who.meter)
        return (who.meter, "electricity", "meter", parameters, plan.key_id, "active")
    return (point_id, meter_id, plan.tariff_since_us)


def _devices(plan: Plan) -> Iterator[Values]:
    meter = HOUSEHOLD.index("meter")
    for device, index in enumerate(range(0, plan.meters, ONLINE_EVERY)):
        address = f"ep-{household(index).meter}"
        head = (plan.first_device_id + device, plan.utility_id, plan.end_us)
        yield (*head, plan.household_id(index, meter), MEDIUM, address, DRIVER, "unknown", 0)


def _words(plan: Plan, progress: Progress) -> Iterator[Values]:
    point = HOUSEHOLD.index("supply_point")
    for index in range(plan.meters):
        _report(plan, len(HOUSEHOLD), index, progress)
        who = household(index)
        point_id = plan.household_id(index, point)
        for word in words_of(who.name, who.phone, who.area, who.address):
            yield (plan.utility_id, word, point_id)


def _report(plan: Plan, part: int, index: int, progress: Progress) -> None:
    if index % REPORT_EVERY == 0:
        parts = len(HOUSEHOLD) + 1
        progress("households", part * plan.meters + index, parts * plan.meters)
