"""What somebody wants of a debt, in their own words, and what of it cannot be; pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Any, Final
from zoneinfo import ZoneInfo

from slotmeter.errors import Refused
from slotmeter.ports import Principal
from slotmeter.services.registry import UtilityInfo
from slotmeter.units import parse_money
from slotmeter.vending.debt_plans import Every, Missed, Phase, Shape, day_start_us, local_day
from slotmeter.vending.debts import EMERGENCY_CREDIT, InterestPer, InterestTerms

__all__ = [
    "SOURCES",
    "Books",
    "DebtTerms",
    "InterestWish",
    "NewDebt",
    "PlanWish",
    "check_new_debt",
    "check_phase",
    "first_of",
]

KIND: Final = re.compile(r"[a-z][a-z0-9_]{0,31}")
NUMBER: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,31}")
OUR_NUMBER: Final = re.compile(r"D\d{8,}", re.ASCII)
LABEL_CHARACTERS_MAX: Final = 100
PRIORITY_MAX: Final = 99
USUAL_TAX: Final = "vat"
PERCENT_MAX: Final = 100
PERCENT_DECIMALS_MAX: Final = 4
EARLIEST_INSTALMENT: Final = date(2000, 1, 1)
LATEST_DAY: Final = date(2200, 1, 1)

SOURCES: Final[Mapping[str, str]] = {
    "billed": "earned now",
    "taken_over": "owed from before, and earned before",
    "credit": "lent into the balance that the platform holds",
}
"""Where the money of a new debt comes from."""

PRIORITIES: Final[Mapping[str, int]] = {EMERGENCY_CREDIT: 0, "arrears": 1, "loan": 2, "fine": 3}
PRIORITY_OF_OTHERS: Final = 5


@dataclass(frozen=True, slots=True)
class Books:
    """Whose debts: a utility with its money and its days."""

    utility_id: int
    currency: str
    time_zone: str

    @property
    def zone(self) -> ZoneInfo:
        """Its time zone."""
        return ZoneInfo(self.time_zone)

    @classmethod
    def of(cls, owner: Principal | UtilityInfo) -> Books:
        """Return the books of a principal's utility, or of a utility."""
        utility_id = owner.utility_id if isinstance(owner, Principal) else owner.id
        return cls(utility_id, owner.currency, owner.time_zone)


@dataclass(frozen=True, slots=True)
class PlanWish:
    """How a debt shall be repaid, as people write it.

    Args:
        shape: once, percent or instalments.
        percent: of each purchase.
        amount: of one instalment, major units.
        every: purchase, day, week or month.
        missed: accumulate, one_at_a_time or skip; instalments by date only.
        first: local date of the first instalment by date; the plan's first day if not given.
    """

    shape: str = Shape.ONCE.value
    percent: str | None = None
    amount: str | None = None
    every: str | None = None
    missed: str | None = None
    first: date | None = None


@dataclass(frozen=True, slots=True)
class InterestWish:
    """What interest a debt bears, as people write it; from its first day if no date is given."""

    percent: str
    per: str
    from_day: date | None = None


@dataclass(frozen=True, slots=True)
class NewDebt:
    """A debt to be made, as people write it.

    Args:
        account: number of the account that owes.
        kind: arrears, loan, fine, emergency_credit, or the utility's own word.
        amount: major units.
        plan: how it shall be repaid.
        label: for receipts; made from the kind if empty.
        priority: smaller is taken first; by kind if not given.
        tax_percent: tax within the amount, and within what is repaid of it.
        tax: code of that tax; ``vat`` if not given.
        interest: None for none.
        source: billed, taken_over or credit; by kind if not given.
        number: the caller's own; the same number again is the same debt. Ours if not given.
        starts: nothing is taken before this local day; at once if not given.
        currency: only to be compared with the utility's.
    """

    account: str
    kind: str
    amount: str
    plan: PlanWish = field(default_factory=PlanWish)
    label: str = ""
    priority: int | None = None
    tax_percent: str | None = None
    tax: str | None = None
    interest: InterestWish | None = None
    source: str | None = None
    number: str | None = None
    starts: date | None = None
    currency: str | None = None


@dataclass(frozen=True, slots=True)
class DebtTerms:
    """A debt to be made, checked; ``request`` tells two requests under one number apart.

    ``tax`` is the code of the tax that is booked with it; None for none, also where the amount is
    no income of now.
    """

    account: str
    kind: str
    label: str
    priority: int
    amount_minor: int
    tax_percent: str | None
    tax: str | None
    source: str
    number: str | None
    phase: Phase
    interest: InterestTerms | None
    request: Mapping[str, Any]


def check_new_debt(new: NewDebt, books: Books, now_us: int) -> DebtTerms:
    """Check what can be checked without the database.

    Raises:
        Refused: ``currency_mismatch``, ``bad_kind``, ``bad_number``, ``bad_label``,
            ``bad_priority``, ``bad_source``, ``bad_percent``, ``bad_tax``, what
            an amount is refused for, and what :func:`check_phase` and interest are refused for.
    """
    if new.currency not in (None, "", books.currency):
        raise Refused(
            "currency_mismatch",
            f"debts here are in {books.currency}, this one is in {new.currency}",
            field="currency",
        )
    _match(KIND, new.kind, "bad_kind", "kind", "1 to 32 of a-z, 0-9 and _, a letter first")
    if new.number is not None:
        _check_number(new.number)
    label = new.label.strip() or new.kind.replace("_", " ").capitalize()
    if len(label) > LABEL_CHARACTERS_MAX or not label.isprintable():
        raise Refused(
            "bad_label",
            f"a label is one line of at most {LABEL_CHARACTERS_MAX} characters",
            field="label",
        )
    priority = new.priority
    if priority is None:
        priority = PRIORITIES.get(new.kind, PRIORITY_OF_OTHERS)
    if not 0 <= priority <= PRIORITY_MAX:
        raise Refused(
            "bad_priority", f"expected 0 to {PRIORITY_MAX}, got {priority}", field="priority"
        )
    source = new.source or ("taken_over" if new.kind == "arrears" else "billed")
    if source not in SOURCES:
        raise Refused("bad_source", f"expected one of {', '.join(SOURCES)}", field="source")
    tax_percent, tax = _check_tax(new)
    starts_us = first_of(new.starts, books, now_us, "starts")
    return DebtTerms(
        account=new.account,
        kind=new.kind,
        label=label,
        priority=priority,
        amount_minor=positive_minor(new.amount, books.currency, "amount"),
        tax_percent=tax_percent,
        tax=tax if source == "billed" else None,
        source=source,
        number=new.number,
        phase=check_phase(new.plan, books, starts_us, may_have_begun=True),
        interest=_check_interest(new.interest, local_day(starts_us, books.zone)),
        request=_request(replace(new, tax=tax), label, priority, source),
    )


def _check_tax(new: NewDebt) -> tuple[str | None, str | None]:
    """Return the percentage and the code of the tax within a debt; None and None for none."""
    if not new.tax_percent:
        if new.tax:
            raise Refused("bad_tax", "a tax needs tax_percent", field="tax")
        return None, None
    tax = new.tax or USUAL_TAX
    _match(KIND, tax, "bad_tax", "tax", "1 to 32 of a-z, 0-9 and _, a letter first")
    return percent_text(new.tax_percent, "tax_percent", zero=True), tax


def check_phase(
    wish: PlanWish, books: Books, from_us: int, *, may_have_begun: bool = False
) -> Phase:
    """Check how a debt shall be repaid from an instant on.

    Args:
        wish: what is wanted.
        books: for currency and time zone.
        from_us: when it shall begin.
        may_have_begun: the first instalment may lie before, so that missed ones are due at once.

    Raises:
        Refused: ``bad_plan``, ``bad_percent``, ``bad_date`` or what an amount is refused for.
    """
    if wish.shape not in set(Shape):
        raise _bad_plan("shape", f"expected one of {', '.join(Shape)}, got {wish.shape[:32]!r}")
    shape = Shape(wish.shape)
    _refuse_strangers(wish, shape)
    if shape is Shape.ONCE:
        return Phase(from_us, shape)
    if shape is Shape.PERCENT:
        percent = percent_text(wish.percent or "", "plan.percent")
        return Phase(from_us, shape, percent=percent)
    amount_minor = positive_minor(wish.amount or "", books.currency, "plan.amount")
    every = _one_of(Every, wish.every or Every.PURCHASE.value, "every")
    if every is Every.PURCHASE:
        if wish.missed or wish.first:
            raise _bad_plan(
                "every", "an instalment of every purchase has no first date and misses nothing"
            )
        return Phase(from_us, shape, amount_minor=amount_minor)
    missed = _one_of(Missed, wish.missed or Missed.ACCUMULATE.value, "missed")
    begins = local_day(from_us, books.zone)
    first = wish.first or begins
    earliest = EARLIEST_INSTALMENT if may_have_begun else begins
    if not earliest <= first <= LATEST_DAY:
        raise Refused(
            "bad_date",
            f"expected a first instalment on {earliest} or later, got {first}",
            field="plan.first",
        )
    return Phase(from_us, shape, None, amount_minor, every, missed, first)


def first_of(day: date | None, books: Books, now_us: int, name: str) -> int:
    """Return when a day begins that is today or later; now for today and for None.

    Raises:
        Refused: ``bad_date``.
    """
    today = local_day(now_us, books.zone)
    if day is None or day == today:
        return now_us
    if not today < day <= LATEST_DAY:
        raise Refused("bad_date", f"expected {today} or later, got {day}", field=name)
    return day_start_us(day, books.zone)


def positive_minor(text: str, currency: str, name: str) -> int:
    """Read an amount above zero.

    Raises:
        Refused: ``amount_not_positive`` and what :func:`parse_money` refuses.
    """
    minor = parse_money(text, currency, name).minor
    if minor <= 0:
        raise Refused("amount_not_positive", "expected an amount above zero", field=name)
    return minor


def percent_text(text: str, name: str, *, zero: bool = False) -> str:
    """Read a percentage and write it the one way that it is stored.

    Raises:
        Refused: ``bad_percent``.
    """
    try:
        value = Decimal(text)
    except InvalidOperation:
        value = Decimal("NaN")
    plain = text.isascii() and re.fullmatch(r"\d{1,3}(\.\d+)?", text) is not None
    if (
        not plain
        or not (0 if zero else Decimal("1e-9")) <= value <= PERCENT_MAX
        or value != round(value, PERCENT_DECIMALS_MAX)
    ):
        least = "0" if zero else "above 0"
        raise Refused(
            "bad_percent",
            f"expected {least} to {PERCENT_MAX} with at most {PERCENT_DECIMALS_MAX} decimals, "
            f"got {text[:32]!r}",
            field=name,
        )
    return f"{value.normalize():f}"


def _check_interest(wish: InterestWish | None, begins: date) -> InterestTerms | None:
    if wish is None:
        return None
    percent = percent_text(wish.percent, "interest.percent", zero=True)
    if wish.per not in set(InterestPer):
        raise Refused(
            "bad_interest",
            f"expected percent per {' or '.join(InterestPer)}, got {wish.per[:32]!r}",
            field="interest.per",
        )
    first = wish.from_day or begins
    if not begins <= first <= LATEST_DAY:
        raise Refused(
            "bad_date",
            f"interest runs from the debt's first day, {begins}, or later; got {first}",
            field="interest.from",
        )
    return InterestTerms(percent, InterestPer(wish.per), first)


def _refuse_strangers(wish: PlanWish, shape: Shape) -> None:
    """Refuse what belongs to another shape: whoever wrote it meant something else."""
    allowed = {
        Shape.ONCE: set[str](),
        Shape.PERCENT: {"percent"},
        Shape.INSTALMENTS: {"amount", "every", "missed", "first"},
    }[shape]
    for name in ("percent", "amount", "every", "missed", "first"):
        if getattr(wish, name) not in (None, "") and name not in allowed:
            raise _bad_plan(name, f"a plan of shape {shape.value} has no {name}")


def _one_of(kind: Any, text: str, name: str) -> Any:
    if text not in set(kind):
        raise _bad_plan(name, f"expected one of {', '.join(kind)}, got {text[:32]!r}")
    return kind(text)


def _bad_plan(name: str, message: str) -> Refused:
    return Refused("bad_plan", message, field=f"plan.{name}")


def _check_number(number: str) -> None:
    expected = "1 to 32 letters, digits or . _ / -, a letter or digit first"
    _match(NUMBER, number, "bad_number", "number", expected)
    if OUR_NUMBER.fullmatch(number):
        raise Refused(
            "bad_number", "D and eight digits are numbers that are given here", field="number"
        )


def _match(pattern: re.Pattern[str], text: str, code: str, name: str, expected: str) -> None:
    if pattern.fullmatch(text) is None:
        raise Refused(code, f"expected {expected}, got {text[:40]!r}", field=name)


def _request(new: NewDebt, label: str, priority: int, source: str) -> Mapping[str, Any]:
    """Return what was asked for, with defaults that do not depend on when it was asked."""
    asked = asdict(new) | {"label": label, "priority": priority, "source": source}
    for name in ("number", "currency"):
        del asked[name]
    request: dict[str, Any] = _json_able(asked)
    return request


def _json_able(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _json_able(each) for name, each in value.items() if each is not None}
    return value.isoformat() if isinstance(value, date) else value
