"""Debts of generated households: one in twenty has two, old bills and a fine, from the first day.

Each purchase repays a share of both. Every debt is made by the code that makes debts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from slotmeter.ports import Insert, Row
from slotmeter.runtime.generate_people import household
from slotmeter.runtime.generate_plan import (
    DEBTS_EACH,
    DEBTS_PER_GROUP,
    IDS_PER_DEBT,
    INDEBTED_EVERY,
    Plan,
)
from slotmeter.services.access import Origin
from slotmeter.services.debt_making import add_debt_steps
from slotmeter.services.debt_terms import Books, NewDebt, PlanWish, check_new_debt
from slotmeter.services.events import compact_json
from slotmeter.storage.bulk import BulkRows, TableRows
from slotmeter.units import Money
from slotmeter.vending.debt_plans import DebtPlan
from slotmeter.vending.ledger import OPENING

__all__ = ["DEBT_KINDS", "Owed", "debt_slices", "debts_of"]

DEBT_KINDS: Final = ("arrears", "fine")
_PERCENTS: Final = ("10", "5")
_LEAST_MINOR: Final = (200_000, 5_000)
_STEP_MINOR: Final = (10_000, 5_000)
_STEPS: Final = (60, 37)
"""Most debts outlast the generated past, and some fines do not."""

_REASON: Final = "generated"


@dataclass(frozen=True, slots=True)
class Owed:
    """A debt as a sale finds it.

    Args:
        row: of the read ``debts_for_sale``, less the balance.
        balance_minor: what is left.
    """

    row: Row
    balance_minor: int

    def less(self, taken_minor: int) -> Owed:
        """Return it after a repayment."""
        return replace(self, balance_minor=self.balance_minor - taken_minor)

    def as_read(self) -> Row:
        """Return the row of the read."""
        return {**self.row, "balance_minor": self.balance_minor}


def _amount_minor(index: int, which: int) -> int:
    debtor = index // INDEBTED_EVERY
    return _LEAST_MINOR[which] + debtor % _STEPS[which] * _STEP_MINOR[which]


def debts_of(plan: Plan, index: int) -> tuple[Owed, ...]:
    """Return the debts of a household before its first purchase; most have none."""
    if index % INDEBTED_EVERY:
        return ()
    return tuple(_owed(plan, index, which) for which in range(DEBTS_EACH))


def _owed(plan: Plan, index: int, which: int) -> Owed:
    terms = check_new_debt(_wanted(plan, index, which), _books(plan), plan.tariff_since_us)
    number = index // INDEBTED_EVERY * DEBTS_EACH + which
    first_id = plan.first_debt_id + number * IDS_PER_DEBT
    row: Row = {
        "id": first_id + _DEBT_AT,
        "number": f"D{number + 1:08d}",
        "kind": terms.kind,
        "label": terms.label,
        "priority": terms.priority,
        "plan": compact_json(DebtPlan((terms.phase,)).to_dict()),
        "amount_minor": terms.amount_minor,
        "tax_percent": None,
        "interest": None,
        "starts_us": terms.phase.from_us,
        "state": "open",
        "ledger_account_id": first_id + _LEDGER_AT,
    }
    return Owed(row, terms.amount_minor)


_LEDGER_AT: Final = 1
_DEBT_AT: Final = 4
"""Where in the ids of a debt its ledger account and its row are; checked as they are made."""


def _books(plan: Plan) -> Books:
    return Books(plan.utility_id, plan.currency, plan.time_zone)


def _wanted(plan: Plan, index: int, which: int) -> NewDebt:
    return NewDebt(
        household(index).number,
        DEBT_KINDS[which],
        str(Money(_amount_minor(index, which), plan.currency)),
        PlanWish("percent", percent=_PERCENTS[which]),
        source="taken_over",
    )


def debt_slices(plan: Plan, rows: BulkRows, first_group: int) -> Iterator[Sequence[TableRows]]:
    """Yield the rows of all debts, a group of the audit at a time."""
    for start in range(0, plan.debts, DEBTS_PER_GROUP):
        group_seq = first_group + start // DEBTS_PER_GROUP
        for number in range(start, min(start + DEBTS_PER_GROUP, plan.debts)):
            _make(plan, number, rows, group_seq)
        yield rows.hand_over()


def _make(plan: Plan, number: int, rows: BulkRows, group_seq: int) -> None:
    debtor, which = divmod(number, DEBTS_EACH)
    index, now_us = debtor * INDEBTED_EVERY, plan.tariff_since_us
    first_id = plan.first_debt_id + number * IDS_PER_DEBT
    ids = iter(range(first_id, first_id + IDS_PER_DEBT))
    owner = {
        "id": plan.household_id(index, 1),
        "currency": plan.currency,
        "platform_meters": 0,
        "emergency_credits": 0,
    }
    opening = {"id": plan.accounts[OPENING], "code": OPENING, "closed_until_us": None}
    _, steps = add_debt_steps(
        check_new_debt(_wanted(plan, index, which), _books(plan), now_us),
        {"account": [owner], "contra": [opening], "sequence": [{"next_value": number + 1}]},
        ids.__next__,
        origin=Origin(address="local", request_id="generated"),
        books=_books(plan),
        now_us=now_us,
        reason=_REASON,
    )
    made = [step.row for step in steps if isinstance(step, Insert) and step.table == "debt"]
    if [(row["id"], row["ledger_account_id"]) for row in made] != [
        (first_id + _DEBT_AT, first_id + _LEDGER_AT)
    ]:
        raise AssertionError("the ids of a debt come in another order")
    others = rows.take(steps, ids.__next__, now_us, group_seq)
    if any(step.statement != "sequence_next" for step in others):
        raise AssertionError(f"a debt changes what is not kept here: {others}")
