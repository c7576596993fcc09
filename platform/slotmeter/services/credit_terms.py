"""From paying in advance to paying afterwards and back, with a settlement at a register value.

Where the platform holds the credit it goes on charging use to ``customer:<account>``. What an
account that pays afterwards owes there is billed or settled later; the rule cuts nobody for it. A
settlement first charges up to the register value that it is given, then moves what is left.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Final

from slotmeter.errors import Conflict, Refused
from slotmeter.ports import (
    Caller,
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
from slotmeter.services.access import caller_act
from slotmeter.services.account_lookup import account_read, found_account
from slotmeter.services.act_changes import changed
from slotmeter.services.booking import Entry, accounts_found, accounts_reads, posting_steps
from slotmeter.services.events import compact_json
from slotmeter.services.list_pages import ID_MAX, LIST_ROWS
from slotmeter.services.settlement import (
    Balances,
    Settled,
    settle_to_postpaid,
    settle_to_prepaid,
)
from slotmeter.services.settlement_document import MeterSettled, settlement_document
from slotmeter.services.settlement_meters import (
    MeterReading,
    WrittenReading,
    charge_up_to,
    checked_readings,
    read_readings,
    settle_meter,
)
from slotmeter.units import epoch_us, iso_utc
from slotmeter.vending.accounts import CreditMode, Terms
from slotmeter.vending.ledger import advance_account, customer_account, receivable_account

__all__ = ["CreditTerms", "TermsNow"]

SETTLEMENT: Final = "settlement"


@dataclass(frozen=True, slots=True)
class TermsNow:
    """The terms of an account and how they came to be, the newest first."""

    account: str
    terms: Terms
    history: Sequence[Row]


@dataclass(frozen=True, slots=True)
class _Asked:
    """A change of terms while it is worked on."""

    caller: Caller
    account: Row
    to: Terms
    at_us: int
    now_us: int
    reason: str
    seen: Rows

    @property
    def since(self) -> Row | None:
        """The change before; None for an account that always paid in advance."""
        return self.seen["newest"][0] if self.seen["newest"] else None

    @property
    def current(self) -> Terms:
        """The terms before the change."""
        return Terms.PREPAID if self.since is None else Terms(self.since["terms"])


class CreditTerms:
    """The transaction boundary of credit terms."""

    def __init__(self, uow: UnitOfWork, clock: Clock) -> None:
        """Hold the database and the clock."""
        self._uow = uow
        self._clock = clock

    async def terms(
        self, utility_id: int, account: str, *, before: int | None = None, limit: int = LIST_ROWS
    ) -> TermsNow:
        """Return when an account pays, and what changed that, the newest first.

        Args:
            utility_id: whose.
            account: its number.
            before: id of the last change of the page before.
            limit: changes at most.

        Raises:
            NotFound: ``account_unknown``.
        """
        of: dict[str, SqlValue | From] = {
            "utility_id": utility_id,
            "account_id": From("account", "id"),
        }
        page = {"before": ID_MAX if before is None else before, "limit": limit}
        rows = await self._uow.read(
            [
                account_read(utility_id, account),
                Read("terms_history", {**of, **page}, "history"),
                Read("terms_current", {**of, "now_us": epoch_us(self._clock.now())}, "current"),
            ]
        )
        found_account(rows["account"], account)
        begun = rows["current"]
        current = Terms(begun[0]["terms"]) if begun else Terms.PREPAID
        return TermsNow(account, current, rows["history"])

    async def readings(
        self, utility_id: int, account: str, written: Sequence[WrittenReading]
    ) -> list[MeterReading]:
        """Return readings that people wrote for the meters of an account.

        Raises:
            NotFound: ``account_unknown``.
            Refused: what :func:`read_readings` refuses.
        """
        seen = await self._uow.read(_facts(utility_id, account, epoch_us(self._clock.now())))
        found = found_account(seen["account"], account)
        return read_readings(seen["meters"], written, found["currency"])

    async def switch(
        self,
        caller: Caller,
        account: str,
        to: Terms,
        readings: Sequence[MeterReading],
        *,
        at: datetime | None,
        reason: str,
    ) -> Mapping[str, Any]:
        """Change the terms of an account with a settlement, and return the settlement.

        Args:
            caller: who does it.
            account: its number.
            to: the new terms.
            readings: one for each meter of the account.
            at: when the registers were read, aware; now without it, never in the future.
            reason: for the act.

        Raises:
            NotFound: ``account_unknown``.
            Conflict: ``terms_already``, ``sale_in_work``, ``changed_meanwhile``.
            Refused: ``at_in_the_future``, ``at_before_last_change``, ``sold_since``, what
                :mod:`settlement_meters` refuses of the readings, ``credit_exceeds_purchases``.
        """
        now_us = epoch_us(self._clock.now())
        at_us = now_us if at is None else epoch_us(at)
        if at_us > now_us:
            raise Refused(
                "at_in_the_future",
                "a settlement needs registers that were read: expected now or earlier, got "
                f"{iso_utc(at_us)}",
                field="at",
            )
        seen = await self._uow.read(_facts(caller.principal.utility_id, account, at_us))
        asked = _Asked(
            caller, found_account(seen["account"], account), to, at_us, now_us, reason, seen
        )
        _check(asked)
        pairs = checked_readings(seen["meters"], readings, to)
        for meter, reading in pairs:
            if meter["credit_mode"] == CreditMode.PLATFORM:
                await charge_up_to(self._uow, caller, meter, reading, now_us)
        settled = [
            await settle_meter(self._uow, caller, meter, reading, to=to, at_us=at_us, since=since)
            for (meter, reading), since in zip(pairs, _since_of(asked, pairs), strict=True)
        ]
        decide = partial(_decide, asked, settled)
        return await self._uow.run(_last_reads(asked, settled), decide)


def _facts(utility_id: int, account: str, at_us: int) -> list[Read]:
    of_account: dict[str, SqlValue | From] = {
        "utility_id": utility_id,
        "account_id": From("account", "id"),
    }
    return [
        account_read(utility_id, account),
        Read("terms_newest", of_account, "newest"),
        Read("terms_meters", {**of_account, "now_us": at_us}, "meters"),
        Read("terms_newest_sale", of_account, "sale"),
        Read("terms_pending_sale", {"account_id": From("account", "id")}, "pending"),
    ]


def _check(asked: _Asked) -> None:
    """Refuse what the history of the account speaks against."""
    since = asked.since
    current = Terms.PREPAID if since is None else Terms(since["terms"])
    if current is asked.to:
        raise Conflict(
            "terms_already",
            f"account {asked.account['number']} is {current.value} already",
            field="terms",
        )
    if since is not None and asked.at_us <= since["from_us"]:
        raise Refused(
            "at_before_last_change",
            f"the terms changed at {iso_utc(since['from_us'])}; expected a later time",
            field="at",
        )
    if asked.seen["pending"]:
        raise Conflict("sale_in_work", "a sale of this account is being completed; try again")
    sale = asked.seen["sale"]
    if sale and sale[0]["sold_us"] > asked.at_us:
        raise Refused(
            "sold_since",
            f"something was sold to this account at {iso_utc(sale[0]['sold_us'])}; expected a "
            "time after it",
            field="at",
        )


def _since_of(
    asked: _Asked, pairs: Sequence[tuple[Row, MeterReading]]
) -> list[tuple[int, int | None]]:
    """Return for each meter when the terms changed last, and its register then."""
    since = asked.since
    if since is None:
        return [(0, None)] * len(pairs)
    registers = MeterSettled.registers_of(since["settlement"])
    return [(since["from_us"], registers.get(meter["number"])) for meter, _ in pairs]


def _last_reads(asked: _Asked, settled: Sequence[MeterSettled]) -> list[Read]:
    """Return what must still be as it was, and the ledger accounts that move."""
    utility_id, number = asked.caller.principal.utility_id, asked.account["number"]
    of_account: dict[str, SqlValue] = {
        "utility_id": utility_id,
        "account_id": asked.account["id"],
    }
    codes = dict.fromkeys(
        (
            customer_account(number),
            advance_account(number),
            receivable_account(number),
            *(code for each in settled for code in each.cost),
        )
    )
    return [
        Read("terms_newest", of_account, "newest"),
        Read("terms_newest_sale", of_account, "sale"),
        Read("terms_pending_sale", {"account_id": asked.account["id"]}, "pending"),
        Read("terms_open_segments", of_account, "segments"),
        Read("terms_balances", {"utility_id": utility_id, "number": number}, "balances"),
        *accounts_reads(utility_id, list(codes)),
    ]


def _decide(
    asked: _Asked, settled: Sequence[MeterSettled], rows: Rows, new_id: NewId
) -> Changes[Mapping[str, Any]]:
    _check_same(asked, settled, rows)
    number = asked.account["number"]
    found = {row["code"]: row["balance_minor"] for row in rows["balances"]}
    balances = Balances(
        customer=found.get(customer_account(number), 0),
        advance=found.get(advance_account(number), 0),
        receivable=found.get(receivable_account(number), 0),
    )
    moved = _moved(asked, settled, balances)
    document = settlement_document(
        account=asked.account,
        to=asked.to,
        at_us=asked.at_us,
        by=asked.caller.principal,
        reason=asked.reason,
        meters=settled,
        balances=balances,
        moved=moved,
    )
    steps: list[Step] = []
    if moved.postings:
        entry = Entry(
            utility_id=asked.caller.principal.utility_id,
            kind=SETTLEMENT,
            at_us=asked.now_us,
            currency=asked.account["currency"],
            postings=moved.postings,
            reason=f"account {number} becomes {asked.to.value}: {asked.reason}",
            principal_id=asked.caller.principal.id,
        )
        steps += posting_steps(entry, accounts_found(rows), new_id)
    steps += _rows(asked, settled, document, new_id)
    return Changes(document, steps)


def _check_same(asked: _Asked, settled: Sequence[MeterSettled], rows: Rows) -> None:
    """Refuse when something happened between looking and settling."""
    registers = {row["meter_id"]: row["register"] for row in rows["segments"]}
    passed = [
        each
        for each in settled
        if each.is_charged and registers.get(each.meter_id, each.register) != each.register
    ]
    changed = any(
        [row["id"] for row in asked.seen[name]] != [row["id"] for row in rows[name]]
        for name in ("newest", "sale", "pending")
    )
    if changed or passed:
        raise Conflict(
            "changed_meanwhile",
            "the account was sold to, or its meter reported, just now; look again and repeat",
        )


def _moved(asked: _Asked, settled: Sequence[MeterSettled], balances: Balances) -> Settled:
    number = asked.account["number"]
    costs = [each.cost for each in settled if each.cost]
    if asked.to is Terms.POSTPAID:
        return settle_to_postpaid(number, balances, costs)
    to_customer = any(each.is_charged for each in settled)
    return settle_to_prepaid(number, balances, costs, to_customer=to_customer)


def _rows(
    asked: _Asked,
    settled: Sequence[MeterSettled],
    document: Mapping[str, Any],
    new_id: NewId,
) -> list[Step]:
    first = settled[0] if settled else None
    row: dict[str, SqlValue] = {
        "id": new_id(),
        "utility_id": asked.caller.principal.utility_id,
        "account_id": asked.account["id"],
        "terms": asked.to.value,
        "from_us": asked.at_us,
        "meter_id": None if first is None else first.meter_id,
        "register": None if first is None else first.register,
        "settlement": compact_json(document),
        "reason": asked.reason,
        "principal_id": asked.caller.principal.id,
        "created_us": asked.now_us,
    }
    act = caller_act(
        asked.caller,
        new_id,
        asked.now_us,
        what=f"terms.{asked.to.value}",
        subject=asked.account["number"],
        reason=asked.reason,
        data={
            "at_us": asked.at_us,
            "meters": [each.number for each in settled],
            **changed({"terms": asked.current.value}, {"terms": asked.to.value}),
        },
    )
    return [Insert("account_terms", row), act]
