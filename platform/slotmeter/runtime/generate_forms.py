"""Forms of generated sales: moulds, made from sales that were decided with marks."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from slotmeter.ports import SealedDigits
from slotmeter.runtime.generate_debts import Owed
from slotmeter.runtime.generate_households import parameters_text
from slotmeter.runtime.generate_people import METERS_MAX, Household, household
from slotmeter.runtime.generate_plan import IDS_PER_SALE, Plan, Seller
from slotmeter.runtime.generate_till import Bought, Customer, Question, Till
from slotmeter.services.events import compact_json
from slotmeter.services.sale_issue import Made
from slotmeter.storage.bulk import BulkRows
from slotmeter.storage.bulk_moulds import Marks, Mould
from slotmeter.storage.seal.unit_seal import Layout, Seals

__all__ = ["OWN", "Form", "Forms"]

OWN: Final = (
    *("at_us", "issued_us", "meter", "parameters", "name", "address", "number"),
    *("account_id", "supply_point_id", "meter_id"),
    *("principal_id", "branch_id", "till_id", "till", "branch_code", "branch_name", "from"),
    *("sale_id", "receipt", "request_hash", "tid_minute", "tid", "rnd"),
    *("debt_0", "debt_number_0", "debt_ledger_0", "debt_balance_0"),
    *("debt_1", "debt_number_1", "debt_ledger_1", "debt_balance_1"),
    *("sealed", "index"),
)
"""What a sale has of its own, behind the ids of its rows."""

_PLACE: Final = {name: IDS_PER_SALE + at for at, name in enumerate(OWN)}

_NUMBER: Final = 7_100_000_000_000_000
"""Marks are numbers that no time, amount or id comes near, and characters that nobody's name has.
"""

_BALANCE: Final = 7_300_000_000_000_000
BALANCE_SPAN: Final = 1_000_000_000
"""More than any sale repays, minor units."""

_IDS: Final = 7_200_000_000_000_000
_METER: Final = household(METERS_MAX).meter
_CHARACTER: Final = 0xE000


def _text_mark(name: str) -> str:
    return chr(_CHARACTER + OWN.index(name))


def _number_mark(name: str) -> int:
    return _NUMBER + OWN.index(name)


@dataclass(frozen=True, slots=True)
class Form:
    """Sales that differ only in who, where and when.

    Args:
        mould: of their rows.
        bought: what the household has bought then.
        value: of the token, in its units.
        taken: of each open debt, minor units.
        tid_less_minute: what the identifier of a token is less the minute that it stands for.
    """

    mould: Mould
    bought: Bought
    value: int
    taken: tuple[int, ...]
    tid_less_minute: int


class Forms:
    """Makes forms.

    Args:
        plan: of the utility.
        layout: what is sealed.
    """

    def __init__(self, plan: Plan, layout: Layout) -> None:
        """Hold the plan."""
        self._plan = plan
        self._layout = layout
        self._seals = Seals(layout)

    def of(self, question: Question) -> Form | None:
        """Return the form of a sale; None when there is none, because it gives no single token."""
        rows = BulkRows(self._layout, keep_seals=True)
        till = Till(self._plan, rows)
        marked = _marked(question)
        sold = till.begin(marked, 0)
        if len(sold.begun.tokens) != 1:
            return None
        [token] = sold.begun.tokens
        sealed = SealedDigits(_text_mark("sealed"), _text_mark("index"))
        made = [Made({**token, "digits": ""}, token_class=0, subclass=0, sealed=sealed)]
        till.issue(sold, made, 0)
        units = rows.recorded()
        mould = Mould(
            {
                (part.table, part.columns): part.values
                for part in rows.hand_over()
                if part.table != "audit_entry"
            },
            units,
            rows.moved,
            _marks(marked, sold.begun.sale, token),
            own=IDS_PER_SALE + len(OWN),
            ids=IDS_PER_SALE,
            seals=self._seals,
        )
        request = json.loads(token["request"])
        bought = question.bought.after(question.month[0], sold.begun, sold.steps)
        taken = tuple(
            before.balance_minor - after.balance_minor
            for before, after in zip(marked.debts, sold.debts, strict=True)
        )
        less = token["tid"] - token["tid_minute"]
        return Form(mould, bought, request["value"], taken, less)


def _marked(question: Question) -> Question:
    """Return the same sale to nobody, with marks for what is a sale's own."""
    who = Household(
        meter=_text_mark("meter"),
        number=_text_mark("number"),
        name=_text_mark("name"),
        phone="",
        area=question.customer.who.area,
        address=_text_mark("address"),
    )
    customer = Customer(
        who,
        _number_mark("account_id"),
        _number_mark("supply_point_id"),
        _number_mark("meter_id"),
        parameters_text(_METER),
    )
    seller = Seller(
        _number_mark("principal_id"),
        _number_mark("branch_id"),
        _text_mark("till"),
        _text_mark("branch_code"),
        _text_mark("branch_name"),
    )
    return replace(
        question,
        customer=customer,
        seller=seller,
        till_id=_number_mark("till_id"),
        address=_text_mark("from"),
        sale_id=_text_mark("sale_id"),
        receipt=_number_mark("receipt"),
        first_id=_IDS,
        tid_minute=0,
        debts=tuple(_marked_debt(owed, at) for at, owed in enumerate(question.debts)),
    )


def _marked_debt(owed: Owed, at: int) -> Owed:
    row = {
        **owed.row,
        "id": _number_mark(f"debt_{at}"),
        "number": _text_mark(f"debt_number_{at}"),
        "ledger_account_id": _number_mark(f"debt_ledger_{at}"),
    }
    return Owed(row, _balance_mark(at))


def _balance_mark(at: int) -> int:
    """Return a balance that no sale repays: what is left of it is less than this and near it."""
    return _BALANCE + at * 2 * BALANCE_SPAN


def _marks(marked: Question, sale: Mapping[str, Any], token: Mapping[str, Any]) -> Marks:
    debts = range(len(marked.debts))
    names: Sequence[str] = (
        *("account_id", "supply_point_id", "meter_id", "principal_id", "branch_id", "till_id"),
        *(f"debt_{at}" for at in debts),
        *(f"debt_ledger_{at}" for at in debts),
    )
    numbers = {_IDS + at: at for at in range(IDS_PER_SALE)}
    numbers |= {_number_mark(name): _PLACE[name] for name in names}
    numbers |= {
        marked.at_us: _PLACE["at_us"],
        marked.issued_us: _PLACE["issued_us"],
        token["tid_minute"]: _PLACE["tid_minute"],
        token["tid"]: _PLACE["tid"],
    }
    texts: tuple[str, ...]
    texts = ("meter", "number", "name", "address", "till", "branch_code", "branch_name", "from")
    texts = (*texts, "sale_id", "sealed", "index", *(f"debt_number_{at}" for at in debts))
    parts = {_text_mark(name): _PLACE[name] for name in texts}
    parts |= {
        marked.customer.parameters: _PLACE["parameters"],
        sale["receipt_number"]: _PLACE["receipt"],
        sale["request_hash"]: _PLACE["request_hash"],
    }
    rnd, tid = _NUMBER - 1, _NUMBER - 2
    request = compact_json({**json.loads(token["request"]), "rnd": rnd, "tid": tid})
    form = request.replace("%", "%%").replace(str(rnd), "%s").replace(str(tid), "%s")
    wholes = {token["request"]: (form, (_PLACE["rnd"], _PLACE["tid"]))}
    sums = {_balance_mark(at): _PLACE[f"debt_balance_{at}"] for at in debts}
    return Marks(numbers, parts, wholes, sums, BALANCE_SPAN)
