"""Whether the ledger and the sales agree, sentence by sentence.

Everything is read from one committed state, so the answer is right also while the server sells. It
is read by spans of ids, and all checks of one span are made before the next: ids grow with time
together in all tables, so that a database larger than the memory is read about once, in order.
"""

from __future__ import annotations

from bisect import insort
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from slotmeter.ports import Clock, Read, Rows, SqlValue, Then
from slotmeter.ports.looking import Looks
from slotmeter.services.ledger_sums import ACCOUNTS, SUMS, Found, LedgerSums
from slotmeter.services.period_close import VERIFIED_MAX, period_differences, period_reads
from slotmeter.services.registry import UtilityInfo
from slotmeter.services.trial_balance import END_OF_TIME_US
from slotmeter.units import epoch_us

__all__ = [
    "DIFFERENCES_MAX",
    "PENDING_S_MAX",
    "SPANNED",
    "SPAN_IDS",
    "CheckedSentence",
    "Difference",
    "LedgerVerdict",
    "Progress",
    "verify_ledger",
]

DIFFERENCES_MAX = 20
"""At most this many differences of one sentence are listed, those of the lowest subjects."""

SPAN_IDS: Final = 250_000
"""So many ids are one span. A sale takes about twelve, with its token, journal and postings: these
are 20,000 sales and 160 MB, which stay in the memory until every check has seen them."""

ID_MIN: Final = -(2**63)
ID_END: Final = 2**63 - 1
"""The first span begins here, and the last one ends here, whatever was sold meanwhile."""

PENDING_S_MAX = 60
"""A sale that is still between its two commits after this time is stuck."""

SENTENCES = (
    ("check_journals_balance", "count_journals", "every journal entry sums to zero"),
    ("check_journals_complete", "count_journals", "every journal entry has two sides"),
    ("check_balances", "count_ledger_accounts", "every balance is the sum of its postings"),
    ("check_posting_scope", "count_postings", "every posting has its account's currency and owner"),
    ("check_sales_booked", "count_sales", "every issued sale is booked once, no other sale is"),
    ("check_sales_tender", "count_sales_issued", "what was tendered is what was booked"),
    ("check_sales_tokens", "count_sales_issued", "every sale has each of its tokens"),
    ("check_pending_tokens", "count_sales_pending", "no token is out before its sale is booked"),
    ("check_token_amounts", "count_tokens", "every token carries the units on its receipt"),
    ("check_free_units", "count_sales_issued", "the free units claimed are the free units given"),
    ("check_tokens_once", "count_tokens", "no two tokens have the same digits"),
    ("check_tids_once", "count_tokens", "no meter was given a token identifier twice"),
    ("check_nothing_stuck", "count_sales", "no sale is stuck between its two commits"),
    ("check_reserved", "count_ledger_accounts", "what is reserved is what pending sales need"),
    ("check_consumption", "count_accounts", "what meters used is what accounts were charged"),
    ("check_charges", "count_charges", "no charge was taken beyond what was due"),
    ("check_charges_earned", "count_charges", "what was taken of charges is what they earned"),
    ("check_kept", "count_accounts", "what is kept for customers is what sales kept"),
    ("check_debts_owed", "count_debts", "no debt is below zero, and what is repaid is closed"),
    ("check_debts_repaid", "count_debts", "what sales took of debts is what was posted to them"),
    ("check_reversals", "count_sales", "every sale that was taken back was so by one operation"),
    ("check_reversed", "count_sales_reversed", "nothing is left in the books of what was reversed"),
    ("check_swaps", "count_swaps", "no meter swap moved more credit than was left"),
)
"""The statement that looks, what it looks through, and the sentence it can refute."""

FIGURES = (
    ("sales", "count_sales"),
    ("sales_issued", "count_sales_issued"),
    ("sales_pending", "count_sales_pending"),
    ("sales_reversed", "count_sales_reversed"),
    ("tokens", "count_tokens"),
    ("tendered_minor", "sum_tendered"),
    ("journals", "count_journals"),
    ("postings", "count_postings"),
    ("ledger_accounts", "count_ledger_accounts"),
    ("charges", "count_charges"),
)


NOT_SPANNED = (
    "check_pending_tokens",
    "check_nothing_stuck",
    "check_tokens_once",
    "check_bare_tokens_once",
    "check_tids_once",
    "count_sales_pending",
    "pending_by_till",
)
"""Go through an index of their own, once: of the few pending sales, of digits, of identifiers."""

SUMMED = ("balances", "reserved", "consumption", "charges_earned", "kept", "debts_repaid")
"""Sentences that are held against sums by account."""

LISTED = {
    "count_ledger_accounts": "span_ledger_accounts",
    "count_accounts": "span_accounts",
    "count_debts": "span_debts",
}
"""Counts of accounts that are listed anyway."""

_ASKED = {name for check, count, _ in SENTENCES for name in (check, count)}
_ASKED |= {count for _, count in FIGURES}

SPANNED = tuple(sorted(_ASKED - {*NOT_SPANNED, *LISTED} - {f"check_{name}" for name in SUMMED}))
"""Checks and counts that look at one span of ids."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One place where a sentence does not hold; amounts are minor units, Wh or mL."""

    subject: str
    expected: str
    found: str


@dataclass(frozen=True, slots=True)
class CheckedSentence:
    """A sentence, how many rows it was held against, and where it does not hold."""

    name: str
    sentence: str
    checked: int
    differences: tuple[Difference, ...]

    @property
    def holds(self) -> bool:
        """True when nothing speaks against it."""
        return not self.differences


@dataclass(frozen=True, slots=True)
class LedgerVerdict:
    """Every sentence, and the figures a reader may want to compare."""

    utility: str
    currency: str
    sentences: tuple[CheckedSentence, ...]
    figures: dict[str, int]

    @property
    def holds(self) -> bool:
        """True when every sentence holds."""
        return all(sentence.holds for sentence in self.sentences)


Progress = Callable[[int, int], None]
"""Is told how many parts of how many are done; in whichever thread reads.

A part is one span of ids; the last one holds the accounts to their sums.
"""


def _no_progress(_done: int, _in_all: int) -> None:
    """Say nothing."""


async def verify_ledger(
    looks: Looks,
    clock: Clock,
    utility: UtilityInfo,
    progress: Progress = _no_progress,
    *,
    span_ids: int = SPAN_IDS,
) -> LedgerVerdict:
    """Check the ledger of one utility.

    Args:
        looks: the database, or a standby of it.
        clock: to tell a pending sale from a stuck one.
        utility: whose ledger.
        progress: is told how far it is.
        span_ids: so many ids are looked at before the next.
    """
    now_us = epoch_us(clock.now())
    ids = await looks.read([Read("ledger_ids")])
    looking = _Looking(utility.id, now_us, progress)
    # Rows that come after this look have ids of the last span, which has no end.
    ends = [*range(span_ids, ids["ledger_ids"][0]["next_id"], span_ids), ID_END]
    rows = await looks.read(looking.reads(list(zip([ID_MIN, *ends], ends, strict=False))))

    sentences = tuple(
        CheckedSentence(
            name=statement.removeprefix("check_"),
            sentence=sentence,
            checked=looking.counts[count],
            differences=looking.differences(statement.removeprefix("check_")),
        )
        for statement, count, sentence in SENTENCES
    )
    sentences = (*sentences, _periods_checked(rows))
    figures = {name: looking.counts[count] for name, count in FIGURES}
    return LedgerVerdict(utility.code, utility.currency, sentences, figures)


class _Looking:
    """What the spans showed so far.

    Each choice of reads takes in the rows of the one before, whose place the next rows take: so no
    more than the rows of one span are in memory.
    """

    def __init__(self, utility_id: int, now_us: int, progress: Progress) -> None:
        self._scope: dict[str, SqlValue] = {"utility_id": utility_id, "limit": DIFFERENCES_MAX}
        self._before_us = now_us - PENDING_S_MAX * 1_000_000
        self._progress = progress
        self._begin()

    def _begin(self) -> None:
        """Forget everything: reads whose session was lost are made again from the first."""
        self.counts: Counter[str] = Counter()
        self._found: dict[str, list[tuple[str | int, str, str]]] = {}
        self._sums = LedgerSums()

    def differences(self, name: str) -> tuple[Difference, ...]:
        """Return where a sentence does not hold."""
        found = self._found.get(name, ())
        return tuple(Difference(str(subject), *rest) for subject, *rest in found)

    def reads(self, spans: Sequence[tuple[int, int]]) -> list[Then]:
        """Return all reads, a choice of them for each span and each pass."""
        parts = len(spans) + 1

        def whole(_rows: Rows) -> Sequence[Read]:
            self._begin()
            before = {**self._scope, "pending_before_us": self._before_us}
            return [Read(name, before) for name in NOT_SPANNED]

        def look(at: int) -> Callable[[Rows], Sequence[Read]]:
            def of(rows: Rows) -> Sequence[Read]:
                self._progress(at, parts)
                self._take(rows, SPANNED if at else NOT_SPANNED)
                if at:
                    self._sums.add(rows)
                return self._of_span((*SPANNED, *SUMS), spans[at])

            return of

        def hold(at: int) -> Callable[[Rows], Sequence[Read]]:
            def of(rows: Rows) -> Sequence[Read]:
                if at:
                    self._hold(rows)
                else:
                    self._progress(parts - 1, parts)
                    self._take(rows, SPANNED)
                    self._sums.add(rows)
                return self._of_span(ACCOUNTS, spans[at])

            return of

        return [
            Then(whole),
            *(Then(look(at)) for at in range(len(spans))),
            *(Then(hold(at)) for at in range(len(spans))),
            Then(self._periods),
            Then(period_reads),
        ]

    def _of_span(self, names: Sequence[str], span: tuple[int, int]) -> list[Read]:
        within = {**self._scope, "from_id": span[0], "to_id": span[1]}
        return [Read(name, within) for name in names]

    def _take(self, rows: Rows, names: Sequence[str]) -> None:
        for name in names:
            if name.startswith("check_"):
                sentence = name.removeprefix("check_").replace("bare_", "")
                for row in rows[name]:
                    self._note(sentence, row["subject"], row["expected"], row["found"])
            elif name in _ASKED:
                self.counts[name] += rows[name][0]["count"]

    def _note(self, name: str, subject: str | int, expected: object, found: object) -> None:
        noted = self._found.setdefault(name, [])
        insort(noted, (subject, str(expected), str(found)))
        del noted[DIFFERENCES_MAX:]

    def _hold(self, rows: Rows) -> None:
        for count, listed in LISTED.items():
            self.counts[count] += len(rows[listed])
        self._note_unequal(self._sums.hold(rows))

    def _note_unequal(self, found: Iterable[Found]) -> None:
        for name, subject, expected, there in found:
            if expected != there:
                self._note(name, subject, expected, there)

    def _periods(self, rows: Rows) -> Sequence[Read]:
        self._hold(rows)
        # A sale between its commits has taken its charges and not booked them yet.
        if not self.counts["count_sales_pending"]:
            self._note_unequal(self._sums.hold_charges())
        closed: dict[str, SqlValue] = {
            "utility_id": self._scope["utility_id"],
            "before_us": END_OF_TIME_US,
            "limit": VERIFIED_MAX,
        }
        return [Read("look_ledger_periods", closed, "closed_periods")]


def _periods_checked(rows: Rows) -> CheckedSentence:
    found = period_differences(rows)[:DIFFERENCES_MAX]
    return CheckedSentence(
        name="periods",
        sentence="every closed period still adds up to what it was closed with",
        checked=len(rows["closed_periods"]),
        differences=tuple(Difference(*each) for each in found),
    )
