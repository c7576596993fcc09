"""The past of a generated utility: sold by the same code that sells, with its rows kept in bulk.

Each sale is decided by ``SaleBegin`` and ``issue_sale`` as at a till; only what they read comes
from memory, where the past of the household is, and tokens are made many at a time.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any, Final

import numpy as np

from slotmeter.ports import (
    Caller,
    From,
    Insert,
    Principal,
    Read,
    Reads,
    Row,
    Rows,
    Step,
    Then,
    TokenSafe,
)
from slotmeter.runtime.generate_households import parameters_text
from slotmeter.runtime.generate_people import Household, household
from slotmeter.runtime.generate_plan import (
    HOUSEHOLD,
    IDS_PER_SALE,
    Plan,
    Schedule,
    schedule,
    vending_key,
)
from slotmeter.services.access import rights_of
from slotmeter.services.sale_begin import SaleBegin, SellRequest
from slotmeter.services.sale_issue import Begun, Made, issue_sale
from slotmeter.services.tid_allocator import stored_parameters
from slotmeter.storage.bulk import BulkRows, TableRows
from slotmeter.storage.seal.unit_seal import Layout
from slotmeter.storage.statements import catalogue
from slotmeter.units import Money
from slotmeter.vending.sts import derive_decoder_key
from slotmeter.vending.sts.batch import issue_credit_batch

__all__ = ["SLICE_SALES", "Past"]

SLICE_SALES: Final = 4_096
"""Sales of all households that are decided before their tokens are made, together."""

FILLED: Final = frozenset(
    {
        *HOUSEHOLD,
        *("utility", "branch", "principal", "tariff", "tariff_version", "supply_group"),
        *("sale", "token", "charge", "journal", "posting", "ledger_account", "sequence", "act"),
    }
)
"""Tables that have rows: a read of them must be answered."""

FROM_TABLE: Final = re.compile(r"\b(?:FROM|JOIN)\s+(\w+)")

LEDGER: Final = "ledger_account"
ISSUED_AFTER_US: Final = 40_000
KEPT_US: Final = 40 * 86_400 * 1_000_000
"""A household remembers its purchases of so long: more than a month, less than two rounds."""


@cache
def _reads_rows(statement: str) -> bool:
    """Tell whether a read may find something in a generated utility."""
    text = str(catalogue().reads[statement].compile())
    return not FILLED.isdisjoint(FROM_TABLE.findall(text))


@dataclass(slots=True)
class _Memory:
    """What the database would know of a household's purchases."""

    sales: list[Row] = field(default_factory=list)
    charges: list[Row] = field(default_factory=list)
    tid_minute: int = 0


@dataclass(frozen=True, slots=True)
class _Begun:
    """A sale after its first commit."""

    begun: Begun
    now_us: int
    new_id: Callable[[], int]


class Past:
    """Sells to some of the households, from the first day to the last.

    Args:
        plan: of the whole utility.
        share: which households: those whose number leaves this remainder.
        shares: into how many shares they are split.
        safe: seals the tokens.
        seal: what of the rows is sealed, and the number of the first group for it.
    """

    def __init__(
        self, plan: Plan, share: int, shares: int, safe: TokenSafe, seal: tuple[Layout, int]
    ) -> None:
        """Hold the plan."""
        self._plan = plan
        self._safe = safe
        self._rows = BulkRows(seal[0])
        self._group_seq = seal[1]
        self._share = share
        self._shares = shares
        self._memories: dict[int, _Memory] = {}
        self._key = vending_key(plan.seed).key
        self._callers = tuple(self._caller(at) for at in range(len(plan.sellers)))
        self._unknown = dict.fromkeys(catalogue().reads["meter_for_sale"].selected_columns.keys())

    @cached_property
    def _schedule(self) -> Schedule:
        return schedule(self._plan)

    def slices(self) -> Iterator[list[TableRows]]:
        """Yield the rows of each slice of time; every share has the same slices."""
        mine = self._schedule.household % self._shares == self._share
        for start in range(0, self._plan.sales, SLICE_SALES):
            end = min(start + SLICE_SALES, self._plan.sales)
            numbers = start + np.flatnonzero(mine[start:end])
            self._sell([int(number) for number in numbers])
            self._group_seq += 1
            yield self._rows.hand_over()

    @property
    def moved(self) -> Mapping[int, int]:
        """What each ledger account was debited with in all, by id; minor units."""
        return self._rows.moved

    def _sell(self, numbers: Sequence[int]) -> None:
        begun = [self._begin(number) for number in numbers]
        tokens = [token for sale in begun for token in sale.begun.tokens]
        digits = iter(self._digits(tokens))
        for sale in begun:
            made = [self._made(token, next(digits)) for token in sale.begun.tokens]
            rows = self._answer(sale.begun.reads(), {"ledger_accounts": self._ledger_accounts})
            issued = issue_sale(sale.begun, made, rows, sale.new_id, now_us=sale.now_us)
            self._take(issued.steps, sale.new_id, sale.now_us)

    def _begin(self, number: int) -> _Begun:
        plan, drawn = self._plan, self._schedule
        index, at_us = int(drawn.household[number]), int(drawn.at_us[number])
        caller = self._callers[int(drawn.seller[number])]
        who = household(index)
        tender = Money(int(drawn.tender_minor[number]), plan.currency)
        begin = SaleBegin(
            caller,
            SellRequest(f"generated-{number + 1:09d}", who.meter, str(tender)),
            now_us=at_us,
            rnd=int(drawn.rnd[number]),
        )
        ids = iter(range(self._first_id(number), self._first_id(number + 1)))
        memory = self._memories.setdefault(index, _Memory())
        rows = self._answer(begin.reads(), self._answers(index, who, number, memory))
        changes = begin.decide(rows, ids.__next__)
        self._take(changes.steps, ids.__next__, at_us)
        _remember(memory, changes.result.sale, changes.result.tokens)
        memory.charges += [
            step.row
            for step in changes.steps
            if isinstance(step, Insert) and step.table == "charge"
        ]
        return _Begun(changes.result, at_us + ISSUED_AFTER_US, ids.__next__)

    def _made(self, token: Row, digits: str) -> Made:
        sealed = self._safe.seal(digits)
        return Made({**token, "digits": digits}, token_class=0, subclass=0, sealed=sealed)

    def _first_id(self, number: int) -> int:
        return self._plan.first_sale_id + number * IDS_PER_SALE

    def _digits(self, tokens: Sequence[Row]) -> list[str]:
        """Make the tokens of a slice together."""
        keys = [
            int.from_bytes(
                derive_decoder_key(self._key, stored_parameters(token["parameters"])).key
            )
            for token in tokens
        ]
        requests = [_request(token) for token in tokens]
        batch = issue_credit_batch(
            np.array(keys, dtype=np.uint64),
            subclass=0,
            tids=np.array([token["tid"] for token in tokens], dtype=np.int64),
            rnds=np.array([request["rnd"] for request in requests], dtype=np.int64),
            units=np.array([request["value"] for request in requests], dtype=np.int64),
        )
        return [text.decode("ascii") for text in batch.digits.tolist()]

    # --- what a sale reads ----------------------------------------------------------------------

    @staticmethod
    def _answer(
        reads: Reads, answers: Mapping[str, Callable[[Mapping[str, Any]], Sequence[Row]]]
    ) -> Rows:
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

    def _answers(
        self, index: int, who: Household, number: int, memory: _Memory
    ) -> dict[str, Callable[[Mapping[str, Any]], Sequence[Row]]]:
        seller = self._plan.sellers[int(self._schedule.seller[number])]

        def nothing(_params: Mapping[str, Any]) -> Sequence[Row]:
            return ()

        def window(params: Mapping[str, Any]) -> Sequence[Row]:
            kept = [sale for sale in memory.sales if sale["sold_us"] >= params["from_us"]]
            names = ("counted_units", "lifeline_units", "tender_minor")
            return [{name: sum(sale[name] for sale in kept) for name in names}]

        def charges(params: Mapping[str, Any]) -> Sequence[Row]:
            from_period = params["from_period"]
            return [charge for charge in memory.charges if charge["period"] >= from_period]

        def tids(params: Mapping[str, Any]) -> Sequence[Row]:
            is_later = memory.tid_minute >= params["from_minute"]
            return [{"tid_minute": memory.tid_minute}] if is_later else ()

        return {
            "sale_by_principal": nothing,
            "tokens_of_sale": nothing,
            "debts_of_sale": nothing,
            "meter_for_sale": lambda _params: [self._meter(index, who)],
            "tariff_in_force": lambda _params: [self._tariff],
            "branch": lambda _params: [{"code": seller.branch_code, "name": seller.branch_name}],
            "sold_in_window": window,
            "charges_of_point": charges,
            "kept_tids": tids,
            "till_of_branch": lambda _params: [self._account(f"till:{seller.branch_code}")],
            "sequence": lambda _params: [{"next_value": number + 1}],
        }

    @cached_property
    def _tariff(self) -> Row:
        plan = self._plan
        return {
            "tariff_version_id": plan.tariff_version_id,
            "version": 1,
            "body": plan.tariff_body,
            "valid_from_us": plan.tariff_since_us,
            "first_valid_from_us": plan.tariff_since_us,
        }

    def _meter(self, index: int, who: Household) -> Row:
        plan = self._plan
        return {
            **self._unknown,
            "meter_id": plan.household_id(index, 3),
            "number": who.meter,
            "commodity": "electricity",
            "credit_mode": "meter",
            "transfer": "units",
            "parameters": parameters_text(who.meter),
            "key_id": plan.key_id,
            "state": "active",
            "supply_point_id": plan.household_id(index, 2),
            "supply_point_since_us": plan.tariff_since_us,
            "tariff_id": plan.tariff_id,
            "area": who.area,
            "account_id": plan.household_id(index, 1),
            "account_number": who.number,
            "currency": plan.currency,
            "customer_number": who.number,
            "customer_name": who.name,
            "customer_address": who.address,
            "utility_name": plan.utility_name,
            "utility_address": plan.utility_address,
            "tax_number": plan.tax_number,
            "advance_minor": 0,
        }

    def _ledger_accounts(self, params: Mapping[str, Any]) -> Sequence[Row]:
        known = self._plan.accounts
        codes = [code for name, code in params.items() if name != "utility_id" and code in known]
        return [self._account(code) for code in codes]

    def _account(self, code: str) -> Row:
        return {
            "id": self._plan.accounts[code],
            "code": code,
            "balance_minor": 0,
            "reserved_minor": 0,
            "limit_minor": None,
        }

    def _caller(self, at: int) -> Caller:
        plan, seller = self._plan, self._plan.sellers[at]
        principal = Principal(
            id=seller.principal_id,
            utility_id=plan.utility_id,
            branch_id=seller.branch_id,
            name=seller.name,
            kind="person",
            rights=rights_of(["vendor"]),
            currency=plan.currency,
            time_zone=plan.time_zone,
        )
        return Caller(principal, None, f"192.0.2.{at + 1}", "generated", seller.name)

    def _take(self, steps: Sequence[Step], new_id: Callable[[], int], at_us: int) -> None:
        others = self._rows.take(steps, new_id, at_us, self._group_seq)
        unknown = [step.statement for step in others if step.statement != "sequence_next"]
        # Each share would open an account of its own.
        unknown += [
            step.table for step in steps if isinstance(step, Insert) and step.table == LEDGER
        ]
        if unknown:
            raise AssertionError(f"a generated sale changes what is not kept here: {unknown}")


def _request(token: Row) -> Row:
    request: Row = json.loads(token["request"])
    return request


def _remember(memory: _Memory, sale: Row, tokens: Sequence[Row]) -> None:
    since_us = sale["sold_us"] - KEPT_US
    memory.sales = [each for each in memory.sales if each["sold_us"] >= since_us]
    names = ("sold_us", "counted_units", "lifeline_units", "tender_minor")
    memory.sales.append({name: sale[name] for name in names})
    memory.charges = memory.charges[-2:]
    for token in tokens:
        memory.tid_minute = token["tid_minute"]


def _params(read: Read, rows: Rows) -> dict[str, Any]:
    params: dict[str, Any] = {}
    for name, value in read.params.items():
        if isinstance(value, From):
            found = rows[value.read]
            params[name] = found[0][value.column] if found else None
        else:
            params[name] = value
    return params
