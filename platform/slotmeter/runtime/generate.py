"""A utility with a past, written in bulk: households, and every sale with all that it leaves.

Sales are decided on processes of their own, each for its share of the households; this one writes.
"""

from __future__ import annotations

import gc
import multiprocessing
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from multiprocessing.process import BaseProcess
from operator import itemgetter
from queue import Empty
from typing import Any, Final, Self

import msgspec

from slotmeter.errors import Unavailable
from slotmeter.ports import Insert, SqlValue, TokenSafe
from slotmeter.runtime.generate_debts import debt_slices
from slotmeter.runtime.generate_households import HouseholdTable, Progress, household_tables
from slotmeter.runtime.generate_plan import DEBTS_PER_GROUP, ENTRY_ROWS, GROUP_ENTRIES, Plan
from slotmeter.runtime.generate_sales import SLICE_SALES, Past
from slotmeter.storage.bulk import BulkRows, BulkTarget, TableRows
from slotmeter.storage.seal.unit_seal import SealedEntry, Seals, UnitSeal

__all__ = ["generate"]

ALONE_SALES_MAX: Final = 5_000
"""So few are sold sooner than a process starts."""

SLICES_AHEAD: Final = 3
LOOK_EVERY_S: Final = 1.0
END_WAIT_S: Final = 5.0
GARBAGE_THRESHOLDS: Final = (50_000, 20, 100)

ENTRIES: Final = "audit_entry"

Values = tuple[SqlValue, ...]


def generate(
    target: BulkTarget,
    plan: Plan,
    safe: TokenSafe,
    *,
    processes: int = 2,
    progress: Progress = lambda _doing, _done, _total: None,
) -> None:
    """Fill a database that has its tables, a utility, its tariff and sellers, and nothing else.

    Args:
        target: takes the rows; worth nothing if this does not return.
        plan: what to make.
        safe: seals the tokens.
        processes: how many decide sales beside the one that writes. They are forked, so that the
            keys of the safe stay in memory: call this while no other thread runs.
        progress: called with what is being made, how much of it is done, and of how much.

    Raises:
        Unavailable: ``generator_stopped``: a process died.
    """
    shares = 1 if plan.sales <= ALONE_SALES_MAX else max(1, processes)
    with target as file, ExitStack() as running:
        seal = (file.layout, file.next_group + plan.household_groups)
        pasts = [Past(plan, share, shares, safe, seal) for share in range(shares)]
        sellers: list[_Alone] | list[_Beside] = (
            [_Alone(pasts[0])]
            if shares == 1
            else [running.enter_context(_Beside(past)) for past in pasts]
        )
        _write_households(file, plan, progress)
        moved = _write_debts(file, plan, progress)
        for start in range(0, plan.sales, SLICE_SALES):
            _write_slice(file, [seller.next_slice() for seller in sellers])
            progress("sales", min(start + SLICE_SALES, plan.sales), plan.sales)
        for seller in sellers:
            done = seller.done()
            moved.update(done.moved)
            file.close_debts(done.closed)
        file.add_to_balances(moved)
        sequences = {"receipt": plan.sales + 1, "debt": plan.debts + 1}
        file.count_on(plan.utility_id, plan.next_id, sequences)
        for made, indexes in file.make_indexes():
            progress("indexes", made, indexes)
        progress("writing to the disk", 0, 0)
        file.finish()


def _write_households(file: BulkTarget, plan: Plan, progress: Progress) -> None:
    """Write the tables of households, each with the groups of the audit that seal it."""
    ids = iter(range(plan.first_entry_id, plan.first_sale_id))
    seals, at_us = Seals(file.layout), plan.tariff_since_us
    for made in household_tables(plan, progress):
        entries: list[SealedEntry] = []
        first_group = file.next_group

        def seal(
            rows: Sequence[Values],
            made: HouseholdTable = made,
            entries: list[SealedEntry] = entries,
            first_group: int = first_group,
        ) -> None:
            unit = UnitSeal(seals)
            for row in rows:
                unit.inserted(made.table, dict(zip(made.columns, row, strict=True)))
            group_seq = first_group + len(entries) // GROUP_ENTRIES
            entry = unit.entry(ids.__next__, at_us, group_seq)
            if entry is not None:
                entries.append(entry)

        file.write(made.table, made.columns, _seen(made.values, seal))
        for start in range(0, len(entries), GROUP_ENTRIES):
            group = entries[start : start + GROUP_ENTRIES]
            for entry in group:
                file.write(
                    entry.step.table, tuple(entry.step.row), [tuple(entry.step.row.values())]
                )
            file.seal_group(group, at_us)


def _seen(values: Iterator[Values], see: Callable[[Sequence[Values]], None]) -> Iterator[Values]:
    """Pass rows on, and show them, some at a time, to somebody else."""
    while batch := list(islice(values, ENTRY_ROWS)):
        see(batch)
        yield from batch


def _write_debts(file: BulkTarget, plan: Plan, progress: Progress) -> Counter[int]:
    """Write the debts; return what they debited ledger accounts with, by id."""
    rows = BulkRows(file.layout)
    for done, part in enumerate(debt_slices(plan, rows, file.next_group)):
        progress("debts", done * DEBTS_PER_GROUP, plan.debts)
        _write_slice(file, [part])
    return Counter(rows.moved)


def _write_slice(file: BulkTarget, parts: Sequence[Sequence[TableRows]]) -> None:
    """Write the sales of a slice, and close the group of the audit that seals them."""
    for rows in _merged(parts):
        file.write(rows.table, rows.columns, rows.values)
        if rows.table == ENTRIES:
            at = {name: rows.columns.index(name) for name in ("id", "hash", "at_us")}
            entries = [
                SealedEntry(row[at["id"]], row[at["hash"]], Insert(ENTRIES, {}))  # type: ignore[arg-type]  # of these columns
                for row in rows.values
            ]
            last_us: Any = rows.values[-1][at["at_us"]]
            file.seal_group(entries, last_us)


def _merged(parts: Sequence[Sequence[TableRows]]) -> Iterator[TableRows]:
    """Join what the shares made of one slice; rows go in by their ids, as they would come."""
    joined: dict[tuple[str, tuple[str, ...]], TableRows] = {}
    for part in parts:
        for rows in part:
            key = (rows.table, rows.columns)
            if key in joined:
                joined[key].values += rows.values
            else:
                joined[key] = rows
    for rows in joined.values():
        rows.values.sort(key=itemgetter(rows.columns.index("id")))
        yield rows


@dataclass(frozen=True, slots=True)
class _Done:
    """What is known at the end: see ``Past.moved`` and ``Past.closed``."""

    moved: Mapping[int, int]
    closed: Sequence[int]


class _Alone:
    """Sells to all households in this process."""

    def __init__(self, past: Past) -> None:
        self._past = past
        self._slices = past.slices()

    def next_slice(self) -> list[TableRows]:
        return next(self._slices)

    def done(self) -> _Done:
        return _Done(self._past.moved, self._past.closed)


class _Beside:
    """Sells to a share of the households in a process of its own, which is forked."""

    def __init__(self, past: Past) -> None:
        context = multiprocessing.get_context("fork")
        self._answers: Any = context.Queue(maxsize=SLICES_AHEAD)
        self._process: BaseProcess = context.Process(
            target=_sell, args=(past, self._answers), daemon=True
        )
        self._process.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._process.terminate()
        self._process.join(END_WAIT_S)
        self._answers.close()
        self._answers.cancel_join_thread()

    def next_slice(self) -> list[TableRows]:
        parts: list[Any] = msgspec.msgpack.decode(self._next())
        return [TableRows(table, tuple(columns), values) for table, columns, values in parts]

    def done(self) -> _Done:
        done: _Done = self._next()
        return done

    def _next(self) -> Any:
        while True:
            try:
                kind, value = self._answers.get(timeout=LOOK_EVERY_S)
            except Empty:
                if self._process.is_alive():
                    continue
                raise Unavailable(
                    "generator_stopped", f"a process ended with {self._process.exitcode}"
                ) from None
            if kind == "failed":
                raise Unavailable("generator_stopped", value)
            return value


def _sell(past: Past, answers: Any) -> None:
    # Sales make many small values and no cycles: looking for these takes a tenth of the time.
    gc.freeze()
    gc.set_threshold(*GARBAGE_THRESHOLDS)
    try:
        for rows in past.slices():
            answers.put(("slice", _packed(rows)))
        answers.put(("done", _Done(dict(past.moved), past.closed)))
    except Exception:  # noqa: BLE001  the process that waits for this one must hear of it
        answers.put(("failed", traceback.format_exc()))


def _packed(parts: Sequence[TableRows]) -> bytes:
    return msgspec.msgpack.encode([(part.table, part.columns, part.values) for part in parts])
