"""Whether the ledger and the sales agree, sentence by sentence.

Everything is read from one committed state, so the answer is right also while the server sells.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from slotmeter.ports import Clock, Read, Reads, Rows, SqlValue, Then
from slotmeter.ports.looking import Looks
from slotmeter.services.period_close import VERIFIED_MAX, period_differences, period_reads
from slotmeter.services.registry import UtilityInfo
from slotmeter.services.trial_balance import END_OF_TIME_US
from slotmeter.units import epoch_us

__all__ = [
    "DIFFERENCES_MAX",
    "PENDING_S_MAX",
    "CheckedSentence",
    "Difference",
    "LedgerVerdict",
    "Progress",
    "verify_ledger",
]

DIFFERENCES_MAX = 20
"""At most this many differences of one sentence are listed."""

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
"""Is told how many reads of how many are done; in whichever thread reads."""


def _no_progress(_done: int, _in_all: int) -> None:
    """Say nothing."""


async def verify_ledger(
    looks: Looks, clock: Clock, utility: UtilityInfo, progress: Progress = _no_progress
) -> LedgerVerdict:
    """Check the ledger of one utility.

    Args:
        looks: the database, or a standby of it.
        clock: to tell a pending sale from a stuck one.
        utility: whose ledger.
        progress: is told how far it is.
    """
    now_us = epoch_us(clock.now())
    scope: dict[str, SqlValue] = {"utility_id": utility.id}
    look: dict[str, SqlValue] = {**scope, "limit": DIFFERENCES_MAX}
    before: dict[str, SqlValue] = {**look, "pending_before_us": now_us - PENDING_S_MAX * 1_000_000}

    def read_of(statement: str) -> Read:
        return Read(statement, before if statement == "check_nothing_stuck" else look)

    counts = sorted({count for _, count, _ in SENTENCES} | {count for _, count in FIGURES})
    closed: dict[str, SqlValue] = {
        "utility_id": utility.id,
        "before_us": END_OF_TIME_US,
        "limit": VERIFIED_MAX,
    }
    reads = [
        *(read_of(statement) for statement, _, _ in SENTENCES),
        *(Read(count, scope) for count in counts),
        Read("look_ledger_periods", closed, "closed_periods"),
    ]
    rows = await looks.read([*_one_by_one(reads, progress), Then(period_reads)])

    sentences = tuple(
        CheckedSentence(
            name=statement.removeprefix("check_"),
            sentence=sentence,
            checked=rows[count][0]["count"],
            differences=tuple(
                Difference(str(row["subject"]), str(row["expected"]), str(row["found"]))
                for row in rows[statement]
            ),
        )
        for statement, count, sentence in SENTENCES
    )
    sentences = (*sentences, _periods_checked(rows))
    figures = {name: rows[count][0]["count"] for name, count in FIGURES}
    return LedgerVerdict(utility.code, utility.currency, sentences, figures)


def _one_by_one(reads: Sequence[Read], progress: Progress) -> Reads:
    """Return reads that are made one after another, from one state, each a statement of its own.

    Over years of sales each of them takes its time.
    """

    def only(at: int) -> Callable[[Rows], Sequence[Read]]:
        def of(_rows: Rows) -> Sequence[Read]:
            progress(at, len(reads))
            return (reads[at],)

        return of

    return [Then(only(at)) for at in range(len(reads))]


def _periods_checked(rows: Rows) -> CheckedSentence:
    found = period_differences(rows)[:DIFFERENCES_MAX]
    return CheckedSentence(
        name="periods",
        sentence="every closed period still adds up to what it was closed with",
        checked=len(rows["closed_periods"]),
        differences=tuple(Difference(*each) for each in found),
    )
