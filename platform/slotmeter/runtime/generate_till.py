"""A till of a generated utility: sales decided by the code that sells, on what is remembered.

Each sale is decided by ``SaleBegin`` and ``issue_sale`` as at any till; only what they read comes
from memory, where the past of the household is, instead of a database.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from slotmeter.ports import (
    Caller,
    Changes,
    From,
    Insert,
    Principal,
    Read,
    Reads,
    Row,
    Rows,
    Step,
    Then,
)
from slotmeter.runtime.generate_debts import Owed
from slotmeter.runtime.generate_people import Household
from slotmeter.runtime.generate_plan import HOUSEHOLD, IDS_PER_SALE, Plan, Seller
from slotmeter.services.access import rights_of
from slotmeter.services.sale_begin import SaleBegin, SellRequest
from slotmeter.services.sale_issue import Begun, Made, issue_sale
from slotmeter.storage.bulk import BulkRows
from slotmeter.storage.statements import catalogue
from slotmeter.units import Money
from slotmeter.vending.ledger import debt_account

__all__ = ["ISSUED_AFTER_US", "NOTHING_BOUGHT", "Bought", "Customer", "Question", "Sold", "Till"]

FILLED: Final = frozenset(
    {
        *HOUSEHOLD,
        *("utility", "branch", "principal", "tariff", "tariff_version", "supply_group"),
        *("debt", "debt_taken", "debt_log", "device"),
        *("sale", "token", "charge", "journal", "posting", "ledger_account", "sequence", "act"),
    }
)
"""Tables that have rows: a read of them must be answered."""

FROM_TABLE: Final = re.compile(r"\b(?:FROM|JOIN)\s+(\w+)")

LEDGER: Final = "ledger_account"
ISSUED_AFTER_US: Final = 40_000

Params = Mapping[str, Any]
Answer = Callable[[Params], Sequence[Row]]


@cache
def _reads_rows(statement: str) -> bool:
    """Tell whether a read may find something in a generated utility."""
    text = str(catalogue().reads[statement].compile())
    return not FILLED.isdisjoint(FROM_TABLE.findall(text))


@dataclass(frozen=True, slots=True)
class Bought:
    """What a household has bought in one month.

    Args:
        month: the number of the month in the plan; -1 before the first purchase.
        charges: taken in it: code, period, due and taken, minor units.
    """

    month: int = -1
    counted_units: int = 0
    lifeline_units: int = 0
    tender_minor: int = 0
    charges: tuple[tuple[str, str, int, int], ...] = ()

    def after(self, month: int, begun: Begun, steps: Sequence[Step]) -> Bought:
        """Return it with one more sale."""
        sale = begun.sale
        before = self if self.month == month else NOTHING_BOUGHT
        taken = [step.row for step in steps if isinstance(step, Insert) and step.table == "charge"]
        charges = [
            (row["code"], row["period"], row["due_minor"], row["taken_minor"]) for row in taken
        ]
        return Bought(
            month,
            before.counted_units + sale["counted_units"],
            before.lifeline_units + sale["lifeline_units"],
            before.tender_minor + sale["tender_minor"],
            (*before.charges, *charges),  # type: ignore[arg-type]  # of these columns
        )


NOTHING_BOUGHT: Final = Bought()


@dataclass(frozen=True, slots=True)
class Customer:
    """Who buys: a household with the ids of its rows, and what its meter is coded with."""

    who: Household
    account_id: int
    supply_point_id: int
    meter_id: int
    parameters: str


@dataclass(frozen=True, slots=True)
class Question:
    """One sale before it is decided.

    Args:
        customer: who buys.
        seller: who sells.
        till_id: the ledger account of the seller's branch.
        address: where the seller is.
        sale_id: the seller's name of it.
        receipt: number of the receipt.
        first_id: of its rows.
        at_us: when.
        month: the number of that month in the plan, and when it began.
        tender_minor: what is paid.
        rnd: 4 random bits.
        tid_minute: of the meter's last token; 0 for none.
        bought: in this month before.
        debts: that are open, as they are before.
    """

    customer: Customer
    seller: Seller
    till_id: int
    address: str
    sale_id: str
    receipt: int
    first_id: int
    at_us: int
    month: tuple[int, int]
    tender_minor: int
    rnd: int
    tid_minute: int
    bought: Bought
    debts: tuple[Owed, ...] = ()

    @property
    def issued_us(self) -> int:
        """Return when the token is made."""
        return self.at_us + ISSUED_AFTER_US


@dataclass(frozen=True, slots=True)
class Sold:
    """A sale after its first commit."""

    question: Question
    begun: Begun
    steps: Sequence[Step]
    new_id: Callable[[], int]

    @property
    def bought(self) -> Bought:
        """Return what the household has bought with it."""
        return self.question.bought.after(self.question.month[0], self.begun, self.steps)

    @property
    def debts(self) -> tuple[Owed, ...]:
        """Return what is left of the debts."""
        taken: dict[Any, Any] = {
            step.row["debt_id"]: step.row["minor"]
            for step in self.steps
            if isinstance(step, Insert) and step.table == "debt_taken"
        }
        return tuple(owed.less(taken.get(owed.row["id"], 0)) for owed in self.question.debts)


class Till:
    """Decides sales and keeps their rows.

    Args:
        plan: of the utility.
        rows: takes what is written.
    """

    def __init__(self, plan: Plan, rows: BulkRows) -> None:
        """Hold the plan."""
        self._plan = plan
        self._rows = rows
        self._unknown = dict.fromkeys(catalogue().reads["meter_for_sale"].selected_columns.keys())
        self._tariff: Row = {
            "tariff_version_id": plan.tariff_version_id,
            "version": 1,
            "body": plan.tariff_body,
            "valid_from_us": plan.tariff_since_us,
            "first_valid_from_us": plan.tariff_since_us,
        }

    def begin(self, question: Question, group_seq: int) -> Sold:
        """Make the first commit of a sale."""
        seller = question.seller
        tender = Money(question.tender_minor, self._plan.currency)
        begin = SaleBegin(
            self._caller(question),
            SellRequest(question.sale_id, question.customer.who.meter, str(tender)),
            now_us=question.at_us,
            rnd=question.rnd,
        )
        ids = iter(range(question.first_id, question.first_id + IDS_PER_SALE))
        rows = _answered(begin.reads(), self._answers(question, seller))
        changes: Changes[Begun] = begin.decide(rows, ids.__next__)
        self._take(changes.steps, ids.__next__, question.at_us, group_seq, {})
        return Sold(question, changes.result, changes.steps, ids.__next__)

    def issue(self, sold: Sold, made: Sequence[Made], group_seq: int) -> None:
        """Make the second commit of a sale."""
        answers: dict[str, Answer] = {
            "ledger_accounts": lambda params: self._ledger_accounts(sold.question, params)
        }
        rows = _answered(sold.begun.reads(), answers)
        issued_us = sold.question.issued_us
        issued = issue_sale(sold.begun, made, rows, sold.new_id, now_us=issued_us)
        states = {owed.row["id"]: "open" if owed.balance_minor else "closed" for owed in sold.debts}
        self._take(issued.steps, sold.new_id, issued_us, group_seq, states)

    def _take(
        self,
        steps: Sequence[Step],
        new_id: Callable[[], int],
        at_us: int,
        group_seq: int,
        debt_states: Mapping[int, str],
    ) -> None:
        others = self._rows.take(steps, new_id, at_us, group_seq, debt_states=debt_states)
        unknown = [step.statement for step in others if step.statement != "sequence_next"]
        # Each process would open an account of its own.
        unknown += [
            step.table for step in steps if isinstance(step, Insert) and step.table == LEDGER
        ]
        if unknown:
            raise AssertionError(f"a generated sale changes what is not kept here: {unknown}")

    def _caller(self, question: Question) -> Caller:
        plan, seller = self._plan, question.seller
        principal = Principal(
            id=seller.principal_id,
            utility_id=plan.utility_id,
            branch_id=seller.branch_id,
            name=seller.name,
            kind="person",
            rights=_RIGHTS,
            currency=plan.currency,
            time_zone=plan.time_zone,
        )
        return Caller(principal, None, question.address, "generated", seller.name)

    # --- what a sale reads ----------------------------------------------------------------------

    def _answers(self, question: Question, seller: Seller) -> dict[str, Answer]:
        bought, (month, month_us) = question.bought, question.month
        if bought.month != month:
            bought = NOTHING_BOUGHT

        def nothing(_params: Params) -> Sequence[Row]:
            return ()

        def window(params: Params) -> Sequence[Row]:
            if params["from_us"] != month_us:
                raise AssertionError("a sale asks what was bought since another day than the 1st")
            names = ("counted_units", "lifeline_units", "tender_minor")
            return [{name: getattr(bought, name) for name in names}]

        def charges(params: Params) -> Sequence[Row]:
            return [
                {"id": 0, "code": code, "period": period, "due_minor": due, "taken_minor": taken}
                for code, period, due, taken in bought.charges
                if period >= params["from_period"]
            ]

        def tids(params: Params) -> Sequence[Row]:
            is_later = question.tid_minute >= params["from_minute"]
            return [{"tid_minute": question.tid_minute}] if is_later else ()

        till = self._account(question.till_id, f"till:{seller.branch_code}")
        return {
            "sale_by_principal": nothing,
            "tokens_of_sale": nothing,
            "debts_of_sale": nothing,
            "debts_for_sale": lambda _params: [owed.as_read() for owed in question.debts],
            "debt_repayments_for_sale": nothing,  # only instalments ask
            "meter_for_sale": lambda _params: [self._meter(question)],
            "tariff_in_force": lambda _params: [self._tariff],
            "branch": lambda _params: [{"code": seller.branch_code, "name": seller.branch_name}],
            "sold_in_window": window,
            "charges_of_point": charges,
            "kept_tids": tids,
            "till_of_branch": lambda _params: [till],
            "sequence": lambda _params: [{"next_value": question.receipt}],
        }

    def _meter(self, question: Question) -> Row:
        plan, customer = self._plan, question.customer
        who = customer.who
        return {
            **self._unknown,
            "meter_id": customer.meter_id,
            "number": who.meter,
            "commodity": "electricity",
            "credit_mode": "meter",
            "transfer": "units",
            "parameters": customer.parameters,
            "key_id": plan.key_id,
            "state": "active",
            "supply_point_id": customer.supply_point_id,
            "supply_point_since_us": plan.tariff_since_us,
            "tariff_id": plan.tariff_id,
            "area": who.area,
            "account_id": customer.account_id,
            "account_number": who.number,
            "indebted_account_id": customer.account_id if question.debts else None,
            "currency": plan.currency,
            "customer_number": who.number,
            "customer_name": who.name,
            "customer_address": who.address,
            "utility_name": plan.utility_name,
            "utility_address": plan.utility_address,
            "tax_number": plan.tax_number,
            "advance_minor": 0,
        }

    def _ledger_accounts(self, question: Question, params: Params) -> Sequence[Row]:
        known = {**self._plan.accounts, f"till:{question.seller.branch_code}": question.till_id}
        for owed in question.debts:
            known[debt_account(owed.row["number"])] = owed.row["ledger_account_id"]
        codes = [code for name, code in params.items() if name != "utility_id" and code in known]
        return [self._account(known[code], code) for code in codes]

    @staticmethod
    def _account(account_id: int, code: str) -> Row:
        return {
            "id": account_id,
            "code": code,
            "balance_minor": 0,
            "reserved_minor": 0,
            "limit_minor": None,
        }


_RIGHTS: Final = rights_of(["vendor"])


def _answered(reads: Reads, answers: Mapping[str, Answer]) -> Rows:
    """Make reads from memory; what a new utility does not have gives no rows."""
    rows: dict[str, Sequence[Row]] = {}
    waiting = list(reads)
    while waiting:
        read = waiting.pop(0)
        if isinstance(read, Then):
            waiting[:0] = read.of(rows)
            continue
        key = read.key or read.statement
        if read.statement in answers:
            rows[key] = answers[read.statement](_params(read, rows))
        elif _reads_rows(read.statement):
            raise AssertionError(f"a sale reads what is not kept here: {read.statement}")
        else:
            rows[key] = ()
    return rows


def _params(read: Read, rows: Rows) -> dict[str, Any]:
    params: dict[str, Any] = {}
    for name, value in read.params.items():
        if isinstance(value, From):
            found = rows[value.read]
            params[name] = found[0][value.column] if found else None
        else:
            params[name] = value
    return params
