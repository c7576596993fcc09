"""Counters that units of one round share: moved once, when it ends.

Every sale takes the next receipt number and moves the same few ledger accounts. Units that go
together are read before any of them writes, so that what those before them moved is added to the
rows they read; and a row that all of them move is written once for all. A unit with an update that
looks at a balance moves the accounts by itself, before it looks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from slotmeter.ports import From, Read, Reads, Rows, SqlValue, Step, Update

__all__ = ["FOLLOWED", "Counters"]

FOLLOWED: Final = frozenset({"ledger_accounts", "sequence", "till_of_branch"})
"""Reads that show a counter which units read together may share."""

LOOKING: Final = frozenset({"debt_cancel", "debt_reopen", "debt_take"})
"""Updates that look at balances of ledger accounts."""

_MOVES: Final = {"ledger_add": "balance_minor", "ledger_reserve": "reserved_minor"}


class Counters:
    """What units that go together moved, and the database does not know yet."""

    def __init__(self) -> None:
        """Start with nothing moved."""
        self._moved: dict[str, dict[int, int]] = {statement: {} for statement in _MOVES}
        self._written: dict[str, dict[int, int]] = {statement: {} for statement in _MOVES}
        self._taken: dict[tuple[SqlValue, SqlValue], tuple[int, int]] = {}

    def correct(self, reads: Reads, rows: Rows) -> None:
        """Bring rows up to date that were read from the database."""
        for read in reads:
            if not isinstance(read, Read) or read.statement not in FOLLOWED:
                continue
            for row in rows[read.key or read.statement]:
                if read.statement == "sequence":
                    self._correct_sequence(read, row)  # type: ignore[arg-type]  # made for us
                else:
                    self._correct_account(row)  # type: ignore[arg-type]  # made for us

    def _correct_sequence(self, read: Read, row: dict[str, Any]) -> None:
        utility_id, name = read.params["utility_id"], read.params["name"]
        if isinstance(utility_id, From) or isinstance(name, From):
            raise TypeError("a sequence is named by values where units go together")
        taken = self._taken.get((utility_id, name))
        if taken is not None:
            row["next_value"] = taken[1]

    def _correct_account(self, row: dict[str, Any]) -> None:
        for statement, column in _MOVES.items():
            moved = (self._moved[statement], self._written[statement])
            row[column] += sum(each.get(row["id"], 0) for each in moved)

    def take(self, steps: Sequence[Step]) -> list[Step]:
        """Note what steps move; return those that are still to be written."""
        updates = [step for step in steps if isinstance(step, Update)]
        looks = any(step.statement in LOOKING for step in updates)
        return [
            step
            for step in steps
            if not isinstance(step, Update) or not self._follows(step, looks=looks)
        ]

    def _follows(self, step: Update, *, looks: bool) -> bool:
        """Note what an update moves, and tell whether that is all it needs."""
        params: Mapping[str, Any] = step.params
        if step.statement in _MOVES:
            of_account = (self._written if looks else self._moved)[step.statement]
            account_id = params["ledger_account_id"]
            of_account[account_id] = of_account.get(account_id, 0) + params["amount"]
            return not looks
        if step.statement != "sequence_next":
            return False
        of, value = (params["of_utility_id"], params["of_name"]), params["expected"]
        first, following = self._taken.get(of, (value, value))
        if value != following:
            raise RuntimeError(f"the sequence {of[1]} is at {following}, not at {value}")
        self._taken[of] = first, following + 1
        return True

    def __bool__(self) -> bool:
        """Whether anything is to be written yet."""
        return bool(self._taken) or any(self._moved.values())

    def clear(self) -> None:
        """Start anew: everything is written."""
        self._taken.clear()
        for of_account in (*self._moved.values(), *self._written.values()):
            of_account.clear()

    def round_written(self) -> None:
        """Forget what units wrote by themselves: from now on it is read."""
        for of_account in self._written.values():
            of_account.clear()

    def steps(self) -> list[Step]:
        """Return what moves the counters in the database."""
        steps: list[Step] = []
        for (utility_id, name), (first, following) in self._taken.items():
            params: dict[str, SqlValue] = {
                "of_utility_id": utility_id,
                "of_name": name,
                "expected": first,
                "to": following,
            }
            steps.append(Update("sequence_advance", params))
        for statement, of_account in self._moved.items():
            for account_id, amount in of_account.items():
                steps.append(Update(statement, {"ledger_account_id": account_id, "amount": amount}))
        return steps
