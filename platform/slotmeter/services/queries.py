"""What people and pages look at: lists and sums, scoped by utility and by the caller's rights.

A vendor sees its own sales, their tokens and their events; who holds ``sales.all`` or ``events``
sees those of the whole utility. What a caller may not see is left out of lists and is *not found*
when it is named, so that nobody learns that it exists.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from zoneinfo import ZoneInfo

from slotmeter.errors import NotFound
from slotmeter.ports import (
    Clock,
    From,
    Principal,
    Read,
    Right,
    Row,
    Rows,
    SqlValue,
    TokenSafe,
    UnitOfWork,
)
from slotmeter.ports.looking import Looks
from slotmeter.services.protection import Policy, readable_policy
from slotmeter.services.search import Search, word_ranges
from slotmeter.services.token_secrecy import masked, opened
from slotmeter.units import DAY_US, HOUR_US, Commodity, epoch_us
from slotmeter.vending.accounts import words_of

__all__ = [
    "CONTACT_AGE_US_MAX",
    "PAGE_ROWS_MAX",
    "MeterFilter",
    "OverviewRows",
    "Page",
    "Queries",
    "SalesFilter",
]

PAGE_ROWS_MAX = 500
LOG_ROWS_MAX = 500
OVERVIEW_ITEMS = 10
OVERVIEW_AGE_S_MAX = 1.0
OVERVIEW_REST = 9
"""An overview is kept for so many times what making it took: a tenth of one reader at most."""

SUMS_AGE_S_MAX = 30.0
"""Age of those sums of the overview that walk whole tables and hardly ever change."""

ID_MAX = 2**63 - 1

CONTACT_AGE_US_MAX = 26 * HOUR_US
"""A meter counts as online when it was heard within this time: a daily report and its jitter."""

CREDIT_EXCEPTION_AGE_US = 60 * DAY_US
"""Older sales are looked at no more: no token waits half as long for its meter."""

COMMAND_COUNT_AGE_US = 24 * HOUR_US
"""The overview counts the commands of this time."""


@dataclass(frozen=True, slots=True)
class Page:
    """Some rows and where the next ones start; ``next`` is None at the end."""

    rows: Sequence[Row]
    next: int | str | None


@dataclass(frozen=True, slots=True)
class MeterFilter:
    """Which meters; None matches all.

    ``text`` is part of a number; for those with the right ``readings`` also the beginnings of words
    of a customer's name or an address, which others must not learn by asking.
    """

    commodity: str | None = None
    supply: str | None = None
    text: str | None = None


@dataclass(frozen=True, slots=True)
class SalesFilter:
    """Which sales; None matches all. Times are UTC epoch microseconds, the end excluded."""

    meter: str | None = None
    commodity: str | None = None
    from_us: int = 0
    to_us: int = ID_MAX


@dataclass(frozen=True, slots=True)
class OverviewRows:
    """What the overview is made of.

    Args:
        now_us: our clock.
        day_us: start of the utility's local day.
        rows: by read: ``look_day_sales``, ``look_meter_counts``, ``look_command_counts`` and so on,
            as of one committed state; ``look_quarantined`` and ``look_ledger_sum`` as of a state up
            to ``SUMS_AGE_S_MAX`` older.
    """

    now_us: int
    day_us: int
    rows: Rows = field(repr=False)


class Queries:
    """Reads for lists and pages; writes nothing."""

    def __init__(
        self, uow: UnitOfWork, clock: Clock, safe: TokenSafe, *, looks: Looks | None = None
    ) -> None:
        """Join the parts.

        Args:
            uow: the database; answers for one meter or command, which may just have been made, and
                for events, which are followed one after another.
            clock: our time.
            safe: opens tokens so that their ends can be shown.
            looks: what lists, sums and searches are read by; the database if not given.
        """
        self._uow = uow
        self._looks = looks or uow
        self._clock = clock
        self._safe = safe
        self.search = Search(self._looks, safe)
        self._overviews: dict[int, tuple[float, OverviewRows]] = {}
        self._sums: dict[int, tuple[float, Rows]] = {}
        self._making: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)

    # --- meters -------------------------------------------------------------------------------

    async def meters(
        self, principal: Principal, wanted: MeterFilter, *, after: str, limit: int
    ) -> Page:
        """Return meters by number, those after a number."""
        params: dict[str, SqlValue | From] = {
            "utility_id": principal.utility_id,
            "after": after,
            "commodity": wanted.commodity,
            "supply": wanted.supply,
            "limit": limit + 1,
        }
        if wanted.text is None:
            return _page(await self._rows("look_meters", params), limit, "number")
        words = words_of(wanted.text) if Right.READINGS in principal.rights else []
        params |= {"like": _like(wanted.text), **word_ranges(words)}
        return _page(await self._rows("look_meters_found", params), limit, "number")

    async def meter(self, principal: Principal, number: str) -> Row:
        """Return one meter.

        Raises:
            NotFound: ``meter_unknown``.
        """
        params: dict[str, SqlValue | From] = {
            "utility_id": principal.utility_id,
            "number": number,
        }
        rows = await self._now_rows("look_meter", params)
        if not rows:
            raise _unknown_meter(number)
        return rows[0]

    async def meter_key(self, principal: Principal, number: str) -> tuple[int, Commodity]:
        """Return the id of a meter and what it measures.

        Raises:
            NotFound: ``meter_unknown``.
        """
        rows = await self._uow.read([_meter_id_read(principal, number)])
        row = _meter_of(rows, number)
        return row["id"], Commodity(row["commodity"])

    async def meter_tokens(
        self, principal: Principal, number: str, *, before: int | None, limit: int
    ) -> Page:
        """Return the tokens sold for a meter, newest first, masked; a vendor's own only.

        Raises:
            NotFound: ``meter_unknown``.
        """
        page = await self._of_meter(
            "look_meter_tokens",
            principal,
            number,
            {"principal_id": _own_sales(principal), "before": _below(before), "limit": limit + 1},
            limit,
        )
        rows = [
            row if row["digits"] is None else {**row, "digits": masked(row["digits"])}
            for row in opened(page.rows, self._safe)
        ]
        return Page(rows, page.next)

    async def meter_commands(
        self, principal: Principal, number: str, *, before: int | None, limit: int
    ) -> Page:
        """Return the commands to a meter, newest first.

        Raises:
            NotFound: ``meter_unknown``.
        """
        params: dict[str, SqlValue | From] = {"before": _below(before), "limit": limit + 1}
        return await self._of_meter("look_meter_commands", principal, number, params, limit)

    def online(self, row: Row) -> bool:
        """Say whether a meter was heard within ``CONTACT_AGE_US_MAX``."""
        heard_us: int | None = row["last_contact_us"]
        return heard_us is not None and heard_us >= self._now_us() - CONTACT_AGE_US_MAX

    # --- sales, commands, events, alarms --------------------------------------------------------

    async def sales(
        self, principal: Principal, wanted: SalesFilter, *, before: int | None, limit: int
    ) -> Page:
        """Return sales, newest first; a vendor's own only.

        Raises:
            NotFound: ``meter_unknown``.
        """
        params: dict[str, SqlValue | From] = {
            "principal_id": _own_sales(principal),
            "commodity": wanted.commodity,
            "from_us": wanted.from_us,
            "to_us": wanted.to_us,
            "before": _below(before),
            "limit": limit + 1,
        }
        if wanted.meter is not None:
            return await self._of_meter(
                "look_sales_of_meter", principal, wanted.meter, params, limit
            )
        if params["principal_id"] is not None:
            return _page(await self._rows("look_sales_of_principal", params), limit, "id")
        rows = await self._rows("look_sales", {"utility_id": principal.utility_id, **params})
        return _page(rows, limit, "id")

    async def commands(
        self, principal: Principal, *, state: str | None, before: int | None, limit: int
    ) -> Page:
        """Return commands, newest first."""
        params: dict[str, SqlValue | From] = {
            "utility_id": principal.utility_id,
            "state": state,
            "before": _below(before),
            "limit": limit + 1,
        }
        if state is None:
            del params["state"]
            return _page(await self._rows("look_commands", params), limit, "id")
        return _page(await self._rows("look_commands_in", params), limit, "id")

    async def command(self, principal: Principal, command_id: int) -> tuple[Row, Sequence[Row]]:
        """Return one command and what happened to it, in order.

        Raises:
            NotFound: ``command_unknown``.
        """
        of = {"utility_id": principal.utility_id, "command_id": command_id}
        rows = await self._uow.read(
            [Read("look_command", of), Read("look_command_log", {**of, "limit": LOG_ROWS_MAX})]
        )
        if not rows["look_command"]:
            raise NotFound("command_unknown", f"there is no command {command_id}")
        return rows["look_command"][0], rows["look_command_log"]

    async def credit_exceptions(
        self, principal: Principal, *, before: int | None, limit: int
    ) -> tuple[int, Page]:
        """Return sales whose credit should be proven by now and is not, newest first.

        Also says after how many hours a sale is one of them, by the policy of the utility.
        """
        utility_id = principal.utility_id
        found = await self._uow.read([Read("look_policy", {"utility_id": utility_id})])
        policy = readable_policy(found["look_policy"][0]["policy"]) or Policy()
        now_us = epoch_us(self._clock.now())
        params: dict[str, SqlValue | From] = {
            "utility_id": utility_id,
            "from_us": now_us - CREDIT_EXCEPTION_AGE_US,
            "until_us": now_us - policy.credit_proof_hours * HOUR_US,
            "before": _below(before),
            "limit": limit + 1,
        }
        page = _page(await self._rows("look_credit_exceptions", params), limit, "id")
        return policy.credit_proof_hours, page

    async def events(
        self, principal: Principal, *, after: int | None, limit: int, meter: str | None = None
    ) -> Sequence[Row]:
        """Return events in the order they came: those after an id, or the newest.

        Raises:
            NotFound: ``meter_unknown``.
        """
        params: dict[str, SqlValue | From] = {
            "utility_id": principal.utility_id,
            "principal_id": _own_events(principal),
            "meter_id": None if meter is None else (await self.meter_key(principal, meter))[0],
            "limit": limit,
        }
        of_meter = meter is not None
        if after is None:
            newest = "look_meter_events_newest" if of_meter else "look_events_newest"
            return list(reversed(await self._now_rows(newest, params)))
        later = "look_meter_events_after" if of_meter else "look_events_after"
        return await self._now_rows(later, {**params, "after": after})

    async def last_event_id(self, utility_id: int) -> int:
        """Return the id of a utility's newest event; 0 when there is none."""
        rows = await self._now_rows("look_event_last", {"utility_id": utility_id})
        return int(rows[0]["id"]) if rows else 0

    async def alarms(
        self, principal: Principal, *, only_open: bool, before: int | None, limit: int
    ) -> Page:
        """Return alarms, newest first."""
        params: dict[str, SqlValue | From] = {
            "utility_id": principal.utility_id,
            "before": _below(before),
            "limit": limit + 1,
        }
        statement = "look_alarms_open" if only_open else "look_alarms_all"
        return _page(await self._rows(statement, params), limit, "id")

    # --- the overview ---------------------------------------------------------------------------

    async def overview(self, principal: Principal) -> OverviewRows:
        """Return sums and newest items of a utility; who may see what of them is not asked here.

        They are at most ``OVERVIEW_AGE_S_MAX`` old, or ``OVERVIEW_REST`` times what it took to
        make them. However many ask, one at a time is made for a utility.
        """
        of = principal.utility_id
        if (known := self._known_overview(of)) is not None:
            return known
        async with self._making[of]:
            if (known := self._known_overview(of)) is not None:
                return known
            began_s = self._clock.monotonic_s()
            made = await self._make_overview(principal)
            ended_s = self._clock.monotonic_s()
            rested_s = ended_s + OVERVIEW_REST * (ended_s - began_s)
            self._overviews[of] = (max(began_s + OVERVIEW_AGE_S_MAX, rested_s), made)
            return made

    def _known_overview(self, utility_id: int) -> OverviewRows | None:
        known = self._overviews.get(utility_id)
        return None if known is None or self._clock.monotonic_s() >= known[0] else known[1]

    async def _make_overview(self, principal: Principal) -> OverviewRows:
        now = self._clock.now()
        now_us = epoch_us(now)
        day_us = epoch_us(_midnight(now, principal.time_zone))
        of: Mapping[str, SqlValue | From] = {"utility_id": principal.utility_id}
        newest: Mapping[str, SqlValue | From] = {
            **of,
            "before": ID_MAX,
            "limit": OVERVIEW_ITEMS,
        }
        rows = await self._looks.read(
            [
                Read("look_utility", of),
                Read("look_day_sales", {**of, "day_us": day_us, "to_us": now_us + 1}),
                Read("look_meter_counts", {**of, "heard_since_us": now_us - CONTACT_AGE_US_MAX}),
                Read("look_command_counts", {**of, "since_us": now_us - COMMAND_COUNT_AGE_US}),
                Read("look_commands", newest),
                Read("look_alarms_count", of),
                Read("look_alarms_open", newest),
            ]
        )
        sums = await self._slow_sums(principal.utility_id)
        return OverviewRows(now_us, day_us, {**rows, **sums})

    async def _slow_sums(self, utility_id: int) -> Rows:
        now_s = self._clock.monotonic_s()
        known = self._sums.get(utility_id)
        if known is not None and now_s < known[0] + SUMS_AGE_S_MAX:
            return known[1]
        of: Mapping[str, SqlValue | From] = {"utility_id": utility_id}
        sums = await self._looks.read([Read("look_quarantined", of), Read("look_ledger_sum", of)])
        self._sums[utility_id] = (now_s, sums)
        return sums

    # --- shared -------------------------------------------------------------------------------

    async def _of_meter(
        self,
        statement: str,
        principal: Principal,
        number: str,
        params: Mapping[str, SqlValue | From],
        limit: int,
    ) -> Page:
        rows = await self._looks.read(
            [
                _meter_id_read(principal, number),
                Read(
                    statement,
                    {
                        "utility_id": principal.utility_id,
                        "meter_id": From("look_meter_id", "id"),
                        **params,
                    },
                ),
            ]
        )
        _meter_of(rows, number)
        return _page(rows[statement], limit, "id")

    async def _rows(self, statement: str, params: Mapping[str, SqlValue | From]) -> Sequence[Row]:
        return (await self._looks.read([Read(statement, params)]))[statement]

    async def _now_rows(
        self, statement: str, params: Mapping[str, SqlValue | From]
    ) -> Sequence[Row]:
        return (await self._uow.read([Read(statement, params)]))[statement]

    def _now_us(self) -> int:
        return epoch_us(self._clock.now())


def _own_sales(principal: Principal) -> int | None:
    """Return whose sales a principal may see: its own, or None for all of the utility."""
    return None if Right.SALES_ALL in principal.rights else principal.id


def _own_events(principal: Principal) -> int | None:
    return None if Right.EVENTS in principal.rights else principal.id


def _below(before: int | None) -> int:
    return ID_MAX if before is None else before


def _like(text: str) -> str:
    for special in ("\\", "%", "_"):
        text = text.replace(special, "\\" + special)
    return f"%{text}%"


def _page(rows: Sequence[Row], limit: int, key: str) -> Page:
    """Cut a page that was read with one row more than wanted."""
    if len(rows) <= limit:
        return Page(rows, None)
    return Page(rows[:limit], rows[limit - 1][key])


def _meter_id_read(principal: Principal, number: str) -> Read:
    return Read("look_meter_id", {"utility_id": principal.utility_id, "number": number})


def _meter_of(rows: Rows, number: str) -> Row:
    if not rows["look_meter_id"]:
        raise _unknown_meter(number)
    return rows["look_meter_id"][0]


def _unknown_meter(number: str) -> NotFound:
    return NotFound("meter_unknown", f"there is no meter {number[:32]!r} here", field="meter")


def _midnight(now: datetime, time_zone: str) -> datetime:
    """Return the start of the local day that ``now`` is in."""
    local = now.astimezone(ZoneInfo(time_zone))
    return local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
