"""Commission of sellers: plans by branch and date, and settling what a time has earned.

A plan either books its commission with every sale, or all of it when it is settled for the days
since the settlement before. Both credit the seller's till: commission is what need not be paid in.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from slotmeter.errors import Refused
from slotmeter.ports import (
    Changes,
    Clock,
    From,
    Insert,
    NewId,
    Read,
    Row,
    Rows,
    SqlValue,
    Step,
    UnitOfWork,
)
from slotmeter.services.access import Origin, act_row
from slotmeter.services.booking import Entry, accounts_read, posting_steps
from slotmeter.services.debt_terms import Books, first_of, percent_text
from slotmeter.services.events import compact_json
from slotmeter.services.float_accounts import till_found, till_read
from slotmeter.services.operations import (
    Asked,
    Operation,
    Operations,
    done_before,
    operation_reads,
    operation_steps,
)
from slotmeter.services.queries import Page
from slotmeter.units import Commodity, Money, epoch_us, parse_money
from slotmeter.vending.commission import Band, CommissionPlan, Sold, When, earned
from slotmeter.vending.debt_plans import day_start_us
from slotmeter.vending.ledger import Posting, commission_account, till_account

__all__ = ["Commissions", "PlanWish", "commission_of_sale"]

KIND: Final = "commission"
BANDS_MAX: Final = 20
PER_UNIT_DECIMALS_MAX: Final = 6


@dataclass(frozen=True, slots=True)
class PlanWish:
    """How a seller shall be paid, as people write it.

    Args:
        when: sale or settlement.
        bands: from which tender (major units) on which percentage; the first from 0.
        per_unit: major units for each kWh or m³, by commodity.
        per_sale: major units for each sale.
    """

    when: str
    bands: Sequence[tuple[str, str]] = ()
    per_unit: Mapping[str, str] = field(default_factory=dict)
    per_sale: str = "0"

    def plan(self, currency: str) -> CommissionPlan:
        """Return the plan.

        Raises:
            Refused: ``bad_commission`` or what an amount or a percentage is refused for.
        """
        if self.when not in set(When):
            raise _bad("when", f"expected one of {', '.join(When)}")
        if len(self.bands) > BANDS_MAX:
            raise _bad("bands", f"expected at most {BANDS_MAX} bands")
        bands = tuple(
            Band(
                parse_money(start, currency, "bands").minor,
                percent_text(percent, "bands", zero=True),
            )
            for start, percent in self.bands
        )
        starts = [band.from_minor for band in bands]
        if bands and (starts[0] != 0 or starts != sorted(set(starts))):
            raise _bad("bands", "expected the first band from 0, and each later one from more")
        per_sale_minor = parse_money(self.per_sale, currency, "per_sale").minor
        if per_sale_minor < 0:
            raise _bad("per_sale", "expected 0 or more")
        per_unit = {name: _per_unit(name, text) for name, text in self.per_unit.items()}
        return CommissionPlan(When(self.when), bands, per_unit, per_sale_minor)


def _per_unit(commodity: str, text: str) -> str:
    if commodity not in set(Commodity):
        raise _bad("per_unit", f"expected one of {', '.join(Commodity)}, got {commodity[:32]!r}")
    try:
        value = Decimal(text)
    except InvalidOperation:
        value = Decimal(-1)
    plain = text.isascii() and text.replace(".", "", 1).isdigit()
    if not plain or not 0 <= value < 1_000_000 or value != round(value, PER_UNIT_DECIMALS_MAX):
        raise _bad("per_unit", f"expected an amount with at most {PER_UNIT_DECIMALS_MAX} decimals")
    return f"{value.normalize():f}"


def _bad(name: str, message: str) -> Refused:
    return Refused("bad_commission", message, field=name)


def minor_per_major(currency: str) -> int:
    """Return how many of the smallest coin make one of a currency."""
    number: int = 10 ** Money(0, currency).exponent
    return number


def commission_of_sale(sale: Row, plans: Sequence[Row]) -> tuple[Posting, ...]:
    """Return what books the commission of one sale, if the seller is paid with each.

    Args:
        sale: a row of the reads ``sale_by_...``.
        plans: the read ``commission_in_force`` for its branch and instant.
    """
    if not plans or plans[0]["body"] is None:
        return ()
    plan = CommissionPlan.from_dict(json.loads(plans[0]["body"]))
    if plan.when is not When.SALE:
        return ()
    sold = Sold(Commodity(sale["commodity"]), 1, sale["tender_minor"], sale["units"])
    minor = earned(plan, [sold], minor_per_major(sale["currency"]))
    return commission_postings(sale["branch_code"], minor)


def commission_postings(branch: str, minor: int) -> tuple[Posting, ...]:
    """Return the entry of a commission: less is owed by the till."""
    if not minor:
        return ()
    return (
        Posting(commission_account(branch), minor),
        Posting(till_account(branch), -minor),
    )


@dataclass(frozen=True, slots=True)
class _Segment:
    """A time with one plan."""

    from_us: int
    to_us: int
    plan: CommissionPlan


class Commissions:
    """Keeps plans, and settles."""

    def __init__(self, uow: UnitOfWork, clock: Clock) -> None:
        """Hold the database and the clock."""
        self._uow = uow
        self._clock = clock

    async def set_plan(
        self, asked: Asked, branch: str, wish: PlanWish | None, *, starts: date | None = None
    ) -> None:
        """Say how a seller is paid from a local day on, at once if no day is given.

        Args:
            asked: who asks and why; the request id is not kept.
            branch: code of the seller's branch.
            wish: the plan; None for no commission.
            starts: the first day.

        Raises:
            NotFound: ``branch_unknown``.
            Refused: ``bad_date`` and what :meth:`PlanWish.plan` refuses.
        """
        asked.check()
        books = Books.of(asked.caller.principal)
        now_us = epoch_us(self._clock.now())
        from_us = first_of(starts, books, now_us, "starts")
        body = None if wish is None else compact_json(wish.plan(books.currency).to_dict())

        def decide(rows: Rows, new_id: NewId) -> Changes[None]:
            till, before = till_found(rows, branch), rows["commission_in_force"]
            row: dict[str, SqlValue] = {
                "id": new_id(),
                "utility_id": books.utility_id,
                "branch_id": till["branch_id"],
                "from_us": from_us,
                "body": body,
                "principal_id": asked.caller.principal.id,
                "reason": asked.reason,
                "created_us": now_us,
            }
            act = act_row(
                new_id,
                Origin.of(asked.caller),
                books.utility_id,
                now_us,
                what="ledger.commission_plan",
                subject=branch,
                reason=asked.reason,
                data={"before": before[0]["body"] if before else None, "after": body}
                | {"from_us": from_us},
            )
            return Changes(None, [Insert("commission_plan", row), act])

        in_force: dict[str, SqlValue | From] = {
            "branch_id": From("till", "branch_id"),
            "now_us": from_us,
        }
        reads = [till_read(books.utility_id, branch), Read("commission_in_force", in_force)]
        await self._uow.run(reads, decide)

    async def plans(self, books: Books, *, before: int | None = None, limit: int = 50) -> Page:
        """Return plans, the newest first."""
        params: dict[str, SqlValue] = {
            "utility_id": books.utility_id,
            "before": before or 2**63 - 1,
            "limit": limit + 1,
        }
        rows = (await self._uow.read([Read("look_commission_plans", params, "plans")]))["plans"]
        following = str(rows[limit - 1]["id"]) if len(rows) > limit else None
        return Page(rows[:limit], following)

    async def settle(self, asked: Asked, branch: str, through: date) -> tuple[Row, bool]:
        """Book what a seller earned since the settlement before, through a local day.

        Raises:
            NotFound: ``branch_unknown``.
            Conflict: ``request_id_reused``.
            Refused: ``period_not_over``, ``settled_already``.
        """
        asked.check()
        books = Books.of(asked.caller.principal)
        now_us = epoch_us(self._clock.now())
        to_us = day_start_us(through + timedelta(days=1), books.zone)
        if to_us > now_us:
            raise Refused(
                "period_not_over", f"{through} is not over yet; settle it later", field="through"
            )
        request = {"branch": branch, "through": f"{through}"}
        known = await self._uow.read([till_read(books.utility_id, branch)])
        till = till_found(known, branch)
        reads = _settle_reads(asked, books, till, to_us)
        # What an earlier unit saw only chooses the reads of this one, which sees all again.
        seen = await self._uow.read(reads)
        segments = _segments(seen, to_us)
        bases = [
            Read("commission_base", _span(books, till, _begun_us(seen), each), f"base.{at}")
            for at, each in enumerate(segments)
        ]

        def decide(rows: Rows, new_id: NewId) -> Changes[bool]:
            if done_before(rows, KIND, request) is not None:
                return Changes(False)
            if _segments(rows, to_us) != segments:
                raise Refused(
                    "settled_already", "another settlement came first; look again", field="through"
                )
            since_us = _settled_until(rows)
            if since_us >= to_us:
                raise Refused(
                    "settled_already", f"{branch} is settled through {through}", field="through"
                )
            minor, parts = _earned(segments, rows, books.currency)
            operation = Operation(
                kind=KIND,
                request=request,
                subject=f"{branch}:{through}",
                amount_minor=minor,
                currency=books.currency,
                detail={"from_us": since_us, "to_us": to_us, "parts": parts},
                branch_id=till["branch_id"],
            )
            _, recorded = operation_steps(asked, operation, rows, new_id, at_us=now_us)
            booked: list[Step] = []
            if minor:
                entry = Entry(
                    utility_id=books.utility_id,
                    kind=KIND,
                    at_us=now_us,
                    currency=books.currency,
                    postings=commission_postings(branch, minor),
                    reason=f"commission through {through}: {asked.reason}",
                    principal_id=asked.caller.principal.id,
                )
                booked = posting_steps(entry, rows["ledger_accounts"], new_id)
            return Changes(True, [*booked, *recorded])

        is_new = await self._uow.run([*reads, *bases], decide)
        return await Operations(self._uow).of_request(asked), is_new


def _settle_reads(asked: Asked, books: Books, till: Row, to_us: int) -> list[Read]:
    newest: dict[str, SqlValue] = {
        "utility_id": books.utility_id,
        "kind": KIND,
        "branch_id": till["branch_id"],
    }
    plans: dict[str, SqlValue] = {"branch_id": till["branch_id"], "to_us": to_us}
    codes = [till_account(till["branch"]), commission_account(till["branch"])]
    return [
        *operation_reads(asked),
        Read("operation_newest", newest),
        Read("commission_plans", plans),
        accounts_read(books.utility_id, codes),
    ]


def _settled_until(rows: Rows) -> int:
    if not rows["operation_newest"]:
        return 0
    until_us: int = json.loads(rows["operation_newest"][0]["detail"])["to_us"]
    return until_us


def _segments(rows: Rows, to_us: int) -> list[_Segment]:
    """Return the times since the settlement before in which a plan of settlement was in force."""
    since_us = _settled_until(rows)
    plans = rows["commission_plans"]
    segments = []
    for at, row in enumerate(plans):
        end_us = plans[at + 1]["from_us"] if at + 1 < len(plans) else to_us
        if row["body"] is None:
            continue
        plan = CommissionPlan.from_dict(json.loads(row["body"]))
        from_us = max(since_us, row["from_us"])
        if plan.when is When.SETTLEMENT and from_us < end_us:
            segments.append(_Segment(from_us, end_us, plan))
    return segments or [_Segment(since_us, since_us, CommissionPlan(When.SETTLEMENT))]


def _begun_us(rows: Rows) -> int:
    """Return when the branch was first paid by settlement: what was sold before earned nothing."""
    settled = (
        row["from_us"]
        for row in rows["commission_plans"]
        if row["body"] is not None and json.loads(row["body"])["when"] == When.SETTLEMENT
    )
    return min(settled, default=0)


def _span(books: Books, till: Row, since_us: int, segment: _Segment) -> dict[str, SqlValue]:
    return {
        "utility_id": books.utility_id,
        "branch_id": till["branch_id"],
        "from_us": segment.from_us,
        "to_us": segment.to_us,
        "since_us": since_us,
    }


def _earned(
    segments: Sequence[_Segment], rows: Rows, currency: str
) -> tuple[int, list[dict[str, Any]]]:
    total, parts = 0, list[dict[str, Any]]()
    for at, segment in enumerate(segments):
        base = [
            Sold(Commodity(row["commodity"]), row["sales"], row["tender_minor"], row["units"])
            for row in rows[f"base.{at}"]
        ]
        minor = earned(segment.plan, base, minor_per_major(currency))
        total += minor
        parts.append(
            {
                "from_us": segment.from_us,
                "to_us": segment.to_us,
                "plan": segment.plan.to_dict(),
                "sales": sum(each.sales for each in base),
                "tender_minor": sum(each.tender_minor for each in base),
                "earned_minor": minor,
            }
        )
    return total, parts
