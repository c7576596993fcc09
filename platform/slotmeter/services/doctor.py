"""Finds what a crash can leave in the database, and what nothing may leave, and puts it right.

What each finding means, and why the others cannot occur, is in ``docs/reference/recovery.md``. A
repair is an act of the audit. History is never repaired: only what can be computed again from it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from slotmeter.errors import Unavailable
from slotmeter.ports import Changes, Clock, NewId, Read, Row, Step, UnitOfWork, Update
from slotmeter.services.access import Origin, act_row
from slotmeter.services.selling import Recovered
from slotmeter.services.token_secrecy import must_scrub
from slotmeter.units import epoch_us

__all__ = ["Doctor", "Finding"]

ROWS_MAX: Final = 500
"""At most so many rows are repaired in one unit of work."""

NAMES_MAX: Final = 5

_SET: Final = {"balance": "doctor_set_balance", "reserved": "doctor_set_reserved"}

Recover = Callable[[], Awaitable[Recovered]]


@dataclass(frozen=True, slots=True)
class Finding:
    """What was looked for.

    Args:
        name: stable, for programs.
        sentence: for people: what should hold.
        found: how many places where it does not.
        repaired: how many of these were put right.
        detail: names some, or says who puts it right.
    """

    name: str
    sentence: str
    found: int
    repaired: int = 0
    detail: str = ""

    @property
    def holds(self) -> bool:
        """True when nothing is left to do by hand."""
        return self.found == self.repaired


class Doctor:
    """Examines one database.

    Args:
        uow: the database.
        clock: our time.
        origin: who asked; recorded with each repair.
        recover: completes the sales between their commits.
        recover_tokens: completes the tokens that no sale makes.
    """

    def __init__(
        self,
        uow: UnitOfWork,
        clock: Clock,
        origin: Origin,
        recover: Recover,
        recover_tokens: Recover,
    ) -> None:
        """Join the parts."""
        self._uow = uow
        self._clock = clock
        self._origin = origin
        self._recover = recover
        self._recover_tokens = recover_tokens

    async def examine(self, *, repair: bool, serving: bool = False) -> list[Finding]:
        """Look for everything; return one finding for each, also where nothing is wrong.

        Args:
            repair: put right what can be.
            serving: a server runs on this database: what is between two steps of its work is not
                wrong.
        """
        now_us = epoch_us(self._clock.now())
        return [
            *await self._between(repair=repair and not serving, now_us=now_us),
            await self._sums("doctor_reserved", "reserved", repair=repair and not serving),
            await self._sums("doctor_balances", "balance", repair=repair),
            await self._clear_text(),
            *await self._waiting(now_us),
        ]

    async def _clear_text(self) -> Finding:
        """Look for tokens of an earlier release in clear, and for what is left of their text."""
        sentence = "no token of an earlier release is left in clear, in a row or in what rows freed"
        name = "tokens_in_clear"
        unsealed = Read("tokens_unsealed", {"after_id": 0, "limit": 1}, "tokens")
        if (await self._uow.read([unsealed]))["tokens"]:
            return Finding(name, sentence, 1, 0, "a server that runs seals them; then scrub")
        if await must_scrub(self._uow):
            told = "stop the server and run `slotmeter vault scrub` once"
            return Finding(name, sentence, 1, 0, told)
        return Finding(name, sentence, 0)

    async def _between(self, *, repair: bool, now_us: int) -> list[Finding]:
        """Look for what is between two commits."""
        return [
            await self._unmade(
                Finding("sales_between_commits", "every sale is whole: both commits, or voided", 0),
                Read("doctor_pending", {"before_us": now_us}),
                self._recover if repair else None,
            ),
            await self._unmade(
                Finding(
                    "tokens_between_commits",
                    "every token that manages a meter or replaces another is made, or given up",
                    0,
                ),
                Read("sole_waiting_count", {"before_us": now_us}),
                self._recover_tokens if repair else None,
            ),
        ]

    async def _unmade(self, sought: Finding, read: Read, recover: Recover | None) -> Finding:
        found = await self._count(read)
        if not found or recover is None:
            told = "a server that starts completes them" if found else ""
            return replace(sought, found=found, detail=told)
        try:
            done = await recover()
        except Unavailable as error:
            left = await self._count(read)
            return replace(sought, found=found, repaired=found - left, detail=error.message)
        told = f"{done.completed} completed, {done.voided} voided"
        return replace(sought, found=found, repaired=found, detail=told)

    async def _count(self, read: Read) -> int:
        rows = await self._uow.read([read])
        return int(rows[read.statement][0]["count"])

    async def _sums(self, statement: str, what: str, *, repair: bool) -> Finding:
        sentence = {
            "reserved": "what tills have reserved is what pending sales need",
            "balance": "every balance is the sum of its postings",
        }[what]
        reads = [Read(statement, {"limit": ROWS_MAX})]
        rows = (await self._uow.read(reads))[statement]
        if not rows:
            return Finding(f"{what}_differs", sentence, 0)
        names = ", ".join(
            f"{row['code']}: expected {row['expected']}, found {row['found']}"
            for row in rows[:NAMES_MAX]
        )
        if not repair:
            return Finding(f"{what}_differs", sentence, len(rows), 0, names)
        repaired = await self._uow.run(
            reads, lambda now, new_id: self._set_sums(now[statement], what, new_id)
        )
        return Finding(f"{what}_differs", sentence, len(rows), repaired, names)

    def _set_sums(self, found: Sequence[Row], what: str, new_id: NewId) -> Changes[int]:
        now_us = epoch_us(self._clock.now())
        steps: list[Step] = []
        for row in found:
            steps.append(
                Update(
                    _SET[what],
                    {
                        "ledger_account_id": row["id"],
                        "found": row["found"],
                        "expected": row["expected"],
                    },
                )
            )
            steps.append(
                act_row(
                    new_id,
                    self._origin,
                    row["utility_id"],
                    now_us,
                    what=f"doctor.{what}",
                    subject=row["code"],
                    reason=f"the {what} was not what the books say",
                    data={"before": row["found"], "after": row["expected"]},
                )
            )
        return Changes(len(found), steps)

    async def _waiting(self, now_us: int) -> list[Finding]:
        reads = [
            Read("doctor_leases", {"now_us": now_us}),
            Read("doctor_expired", {"now_us": now_us}),
            Read("doctor_frames"),
        ]
        rows = await self._uow.read(reads)
        leases = int(rows["doctor_leases"][0]["count"])
        expired = int(rows["doctor_expired"][0]["count"])
        frames = sum(int(row["count"]) for row in rows["doctor_frames"])
        told = "{} {}; a server that runs {}"
        return [
            Finding(
                "commands_unanswered",
                "no command waits for an answer whose time is over",
                leases,
                leases,
                told.format(leases, "were sent", "sends them again") if leases else "",
            ),
            Finding(
                "commands_expired",
                "no command waits that nobody wants any more",
                expired,
                expired,
                told.format(expired, "are past their time", "ends them") if expired else "",
            ),
            Finding(
                "frames_unread",
                "every frame that was taken in was read",
                frames,
                frames,
                told.format(frames, "wait in the log", "reads them first") if frames else "",
            ),
        ]
