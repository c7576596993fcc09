"""The past of a generated utility: every sale with all that it leaves, in the order of time.

A sale that differs from an earlier one only in who, where and when is made by its form; the first
of each form, and now and then another as a check, is decided by the code that sells. Tokens are
made many at a time.
"""

from __future__ import annotations

import json
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import starmap
from typing import Any, Final, NamedTuple

import numpy as np

from slotmeter.ports import Row, TokenSafe
from slotmeter.runtime.generate_debts import DEBT_KINDS, Owed, debts_of
from slotmeter.runtime.generate_forms import Form, Forms
from slotmeter.runtime.generate_households import parameters_text
from slotmeter.runtime.generate_people import household
from slotmeter.runtime.generate_plan import (
    DEBTS_EACH,
    IDS_PER_SALE,
    INDEBTED_EVERY,
    ROUND_DAYS,
    Plan,
    Schedule,
    schedule,
    vending_key,
)
from slotmeter.runtime.generate_till import (
    ISSUED_AFTER_US,
    NOTHING_BOUGHT,
    Bought,
    Customer,
    Question,
    Sold,
    Till,
)
from slotmeter.services.buyer import month_start_us
from slotmeter.services.sale_begin import ONE_LANE, SellRequest, request_hash
from slotmeter.services.sale_issue import Made
from slotmeter.services.tid_allocator import stored_parameters
from slotmeter.storage.bulk import BulkRows, TableRows
from slotmeter.storage.bulk_moulds import Rows
from slotmeter.storage.seal.unit_seal import Layout
from slotmeter.units import DAY_US, Money
from slotmeter.vending.pricing.chosen import local_day
from slotmeter.vending.sts import derive_decoder_key, minute_1993_of_us
from slotmeter.vending.sts.batch import issue_credit_batch

__all__ = ["CHECK_EVERY", "SLICE_SALES", "Past"]

SLICE_SALES: Final = 4_096
"""Sales of all households that are decided before their tokens are made, together."""

CHECK_EVERY: Final = 1_009
"""One in so many sales that a form made is decided as well, and compared."""


class _Drawn(NamedTuple):
    """One sale of the schedule."""

    number: int
    at_us: int
    household: int
    seller: int
    tender_minor: int
    rnd: int


OF_A_DEBT: Final = 4
"""So much a sale has of its own for each debt."""


@dataclass(frozen=True, slots=True)
class _Wanted:
    """One token, as the batch makes it."""

    key: int
    tid: int
    rnd: int
    value: int


@dataclass(frozen=True, slots=True)
class _Formed:
    """A sale that its form makes: what it has of its own but for the token."""

    form: Form
    own: tuple[Any, ...]
    wanted: _Wanted
    question: Question | None


class Past:
    """Sells to some of the households, from the first day to the last.

    Args:
        plan: of the whole utility.
        share: which households: those whose number leaves this remainder.
        shares: into how many shares they are split.
        safe: seals the tokens.
        seal: what of the rows is sealed, and the number of the first group for it.
        check_every: one in so many sales is decided although there is a form of it; 1 for all.
    """

    def __init__(
        self,
        plan: Plan,
        share: int,
        shares: int,
        safe: TokenSafe,
        seal: tuple[Layout, int],
        *,
        check_every: int = CHECK_EVERY,
    ) -> None:
        """Hold the plan."""
        self._plan = plan
        self._safe = safe
        self._layout, self._group_seq = seal
        self._rows = BulkRows(self._layout)
        self._till = Till(plan, self._rows)
        self._share = share
        self._shares = shares
        self._check_every = check_every
        self._vending_key = vending_key(plan.seed).key
        self._forms = Forms(plan, self._layout)
        self._form_of: dict[tuple[int, int, int, int], Form | None] = {}
        # The debts of the households that have any, once they have bought.
        self._debts: dict[int, tuple[Owed, ...]] = {}
        self.closed: list[int] = []
        """Debts that were repaid."""
        self._own_moved: Counter[int] = Counter()
        self._sellers = tuple(self._seller(at) for at in range(len(plan.sellers)))
        # What every household has bought in its last month with a purchase, as a number.
        self._histories: list[Bought] = [NOTHING_BOUGHT]
        self._history_of: dict[Bought, int] = {NOTHING_BOUGHT: 0}
        self._month_starts = _month_starts(plan)
        self._month = 0

    @cached_property
    def _schedule(self) -> Schedule:
        return schedule(self._plan)

    def slices(self) -> Iterator[list[TableRows]]:
        """Yield the rows of each slice of time; every share has the same slices."""
        households, drawn = self._plan.meters, self._schedule
        self._bought = array("i", bytes(4 * households))
        self._tid_minutes = array("i", bytes(4 * households))
        self._keys = array("Q", bytes(8 * households))
        mine = drawn.household % self._shares == self._share
        for start in range(0, self._plan.sales, SLICE_SALES):
            end = min(start + SLICE_SALES, self._plan.sales)
            numbers = start + np.flatnonzero(mine[start:end])
            columns = (
                *(drawn.at_us, drawn.household, drawn.seller, drawn.tender_minor, drawn.rnd),
            )
            sales = zip(
                numbers.tolist(), *(each[numbers].tolist() for each in columns), strict=True
            )
            yield self._sell(starmap(_Drawn, sales))
            self._group_seq += 1

    @property
    def moved(self) -> Mapping[int, int]:
        """What each ledger account was debited with in all, by id; minor units."""
        moved = Counter(self._own_moved)
        moved.update(self._rows.moved)
        for form in self._form_of.values():
            if form is not None:
                moved.update({at: each * form.mould.used for at, each in form.mould.moved.items()})
        return moved

    def _sell(self, sales: Iterable[_Drawn]) -> list[TableRows]:
        begun: list[_Formed | Sold] = []
        wanted: list[_Wanted] = []
        for drawn in sales:
            sale = self._begin(drawn)
            begun.append(sale)
            wanted += self._wanted(sale)
        digits = iter(_digits(wanted))
        made: Rows = {}
        for sale in begun:
            if isinstance(sale, Sold):
                self._issue(sale, digits)
            else:
                self._fill(sale, next(digits), made)
        formed = [TableRows(table, columns, rows) for (table, columns), rows in made.items()]
        return formed + self._rows.hand_over()

    def _begin(self, drawn: _Drawn) -> _Formed | Sold:
        while drawn.at_us >= self._month_starts[self._month + 1]:
            self._month += 1
        index = drawn.household
        history = self._bought[index]
        if self._histories[history].month != self._month:
            history = 0
        debts = () if index % INDEBTED_EVERY else self._open_debts(index)
        # A debt that this sale may repay, and so close, makes it like no other.
        if all(owed.balance_minor > drawn.tender_minor for owed in debts):
            key = (drawn.tender_minor, history, self._month, _which(debts))
            if key not in self._form_of:
                self._form_of[key] = self._forms.of(self._question(drawn))
            form = self._form_of[key]
            if form is not None:
                return self._formed(drawn, form, debts)
        sold = self._till.begin(self._question(drawn), self._group_seq)
        self._bought[index] = self._history(sold.bought)
        if debts:
            self._debts[index] = sold.debts
            self.closed += [owed.row["id"] for owed in sold.debts if not owed.balance_minor]
        for token in sold.begun.tokens:
            self._tid_minutes[index] = token["tid_minute"]
        return sold

    def _open_debts(self, index: int) -> tuple[Owed, ...]:
        debts = self._debts.get(index)
        if debts is None:
            debts = self._debts[index] = debts_of(self._plan, index)
        if all(owed.balance_minor for owed in debts):
            return debts
        return tuple(owed for owed in debts if owed.balance_minor)

    def _history(self, bought: Bought) -> int:
        """Return the number of what a household has bought."""
        if bought not in self._history_of:
            self._history_of[bought] = len(self._histories)
            self._histories.append(bought)
        return self._history_of[bought]

    def _issue(self, sold: Sold, digits: Iterator[str]) -> None:
        made = [
            Made(
                {**token, "digits": (clear := next(digits))},
                token_class=0,
                subclass=0,
                sealed=self._safe.seal(clear),
            )
            for token in sold.begun.tokens
        ]
        self._till.issue(sold, made, self._group_seq)

    # --- by a form ------------------------------------------------------------------------------

    def _formed(self, drawn: _Drawn, form: Form, debts: tuple[Owed, ...]) -> _Formed:
        number, at_us, index, seller, tender_minor, rnd = drawn
        plan = self._plan
        question = self._question(drawn) if number % self._check_every == 0 else None
        who = household(index)
        parameters = parameters_text(who.meter)
        minute, before = minute_1993_of_us(at_us), self._tid_minutes[index]
        if before >= minute:
            minute = ONE_LANE.next(at_us, [before], stored_parameters(parameters)).minute
        self._tid_minutes[index] = minute
        self._bought[index] = self._history(form.bought)
        first_id = plan.first_sale_id + number * IDS_PER_SALE
        customer_id = plan.household_id(index, 0)
        sale_id = _sale_id(number)
        request = SellRequest(sale_id, who.meter, "")
        tid = minute + form.tid_less_minute
        own = (
            *range(first_id, first_id + IDS_PER_SALE),
            *(at_us, at_us + ISSUED_AFTER_US),
            *(who.meter, parameters, who.name, who.address, who.number),
            *(customer_id + 1, customer_id + 2, customer_id + 3),
            *self._sellers[seller],
            *(sale_id, f"R{number + 1:08d}"),
            request_hash(request, Money(tender_minor, plan.currency)),
            *(minute, tid, rnd),
            *_own_of(debts),
        )
        if debts:
            self._debts[index] = tuple(map(Owed.less, debts, form.taken))
        return _Formed(
            form, own, _Wanted(self._key(index, parameters), tid, rnd, form.value), question
        )

    def _fill(self, sale: _Formed, digits: str, into: Rows) -> None:
        sealed = self._safe.seal(digits)
        own = (*sale.own, sealed.text, sealed.index)
        mould = sale.form.mould
        mould.fill(own, self._group_seq, into)
        for place, minor in mould.moved_own:
            self._own_moved[own[place]] += minor
        if sale.question is not None:
            self._check(sale.question, sale.form, own, digits)

    def _check(self, question: Question, form: Form, own: tuple[Any, ...], digits: str) -> None:
        """Decide a sale that a form made as well.

        Raises:
            AssertionError: it left something else.
        """
        formed: Rows = {}
        form.mould.fill(own, self._group_seq, formed)
        form.mould.used -= 1
        rows = BulkRows(self._layout)
        till = Till(self._plan, rows)
        sold = till.begin(question, self._group_seq)
        [token] = sold.begun.tokens
        row = {**token, "digits": digits}
        made = Made(row, token_class=0, subclass=0, sealed=self._safe.seal(digits))
        till.issue(sold, [made], self._group_seq)
        decided = {(part.table, part.columns): part.values for part in rows.hand_over()}
        if formed != decided or form.bought != sold.bought:
            parts = sorted(
                table
                for table, columns in formed.keys() | decided.keys()
                if formed.get((table, columns)) != decided.get((table, columns))
            )
            raise AssertionError(f"a form makes another sale than is decided; see {parts}")

    # --- what a sale consists of ----------------------------------------------------------------

    def _question(self, drawn: _Drawn) -> Question:
        plan, index = self._plan, drawn.household
        who = household(index)
        seller = plan.sellers[drawn.seller]
        return Question(
            Customer(
                who,
                plan.household_id(index, 1),
                plan.household_id(index, 2),
                plan.household_id(index, 3),
                parameters_text(who.meter),
            ),
            seller,
            till_id=plan.accounts[f"till:{seller.branch_code}"],
            address=_address(drawn.seller),
            sale_id=_sale_id(drawn.number),
            receipt=drawn.number + 1,
            first_id=plan.first_sale_id + drawn.number * IDS_PER_SALE,
            at_us=drawn.at_us,
            month=(self._month, self._month_starts[self._month]),
            tender_minor=drawn.tender_minor,
            rnd=drawn.rnd,
            tid_minute=self._tid_minutes[index],
            bought=self._histories[self._bought[index]],
            debts=() if index % INDEBTED_EVERY else self._open_debts(index),
        )

    def _seller(self, at: int) -> tuple[Any, ...]:
        """Return what a sale has of its seller; see ``OWN``."""
        seller = self._plan.sellers[at]
        till_id = self._plan.accounts[f"till:{seller.branch_code}"]
        return (
            *(seller.principal_id, seller.branch_id, till_id),
            *(seller.name, seller.branch_code, seller.branch_name, _address(at)),
        )

    def _key(self, index: int, parameters: str) -> int:
        """Return the decoder key of a household's meter."""
        key = self._keys[index]
        if not key:
            derived = derive_decoder_key(self._vending_key, stored_parameters(parameters))
            key = self._keys[index] = int.from_bytes(derived.key)
        return key

    def _wanted(self, sale: _Formed | Sold) -> list[_Wanted]:
        """Return the tokens of a sale as the batch makes them."""
        if isinstance(sale, _Formed):
            return [sale.wanted]
        wanted = []
        for token in sale.begun.tokens:
            request: Row = json.loads(token["request"])
            derived = derive_decoder_key(self._vending_key, stored_parameters(token["parameters"]))
            key = int.from_bytes(derived.key)
            wanted.append(_Wanted(key, token["tid"], request["rnd"], request["value"]))
        return wanted


def _which(debts: Sequence[Owed]) -> int:
    """Return which debts of a household are open, as bits."""
    return sum(1 << DEBT_KINDS.index(owed.row["kind"]) for owed in debts)


def _own_of(debts: Sequence[Owed]) -> list[Any]:
    """Return what a sale has of its debts; see ``OWN``."""
    own: list[Any] = []
    for owed in debts:
        row = owed.row
        own += (row["id"], row["number"], row["ledger_account_id"], owed.balance_minor)
    return own + [0] * (OF_A_DEBT * (DEBTS_EACH - len(debts)))


def _address(seller: int) -> str:
    return f"192.0.2.{seller + 1}"


def _sale_id(number: int) -> str:
    return f"generated-{number + 1:09d}"


def _month_starts(plan: Plan) -> list[int]:
    """Return when each local month with a sale begins, and one more."""
    days = range(plan.start_us, plan.end_us + 2 * ROUND_DAYS * DAY_US, DAY_US)
    zone = plan.time_zone
    return sorted({month_start_us(local_day(at_us, zone), 0, zone) for at_us in days})


def _digits(wanted: Sequence[_Wanted]) -> list[str]:
    """Make the tokens of a slice together."""
    batch = issue_credit_batch(
        np.array([each.key for each in wanted], dtype=np.uint64),
        subclass=0,
        tids=np.array([each.tid for each in wanted], dtype=np.int64),
        rnds=np.array([each.rnd for each in wanted], dtype=np.int64),
        units=np.array([each.value for each in wanted], dtype=np.int64),
    )
    return [text.decode("ascii") for text in batch.digits.tolist()]
