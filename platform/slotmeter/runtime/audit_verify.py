"""Checks the whole audit: the chain, and every row that it speaks of, on several processes.

The processes share the work by time: each checks the groups of its part. The one with the older
part first goes past the newer entries, to learn which rows these have changed since.
"""

from __future__ import annotations

import gc
import multiprocessing
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Final, Protocol

from slotmeter.security.signing import verify_signature
from slotmeter.services.audit_checkpoints import Checkpoint as SignedCheckpoint
from slotmeter.storage.seal.chain import ChainCheck, check_checkpoint, read_layouts
from slotmeter.storage.seal.items import inserted_ids
from slotmeter.storage.seal.reader import AuditReader, Break, Checkpoint, Group
from slotmeter.storage.seal.walk import RowWalk, unknown_rows

__all__ = ["AuditVerdict", "NamedBreak", "OpenReader", "verify_audit"]

BREAKS_MAX: Final = 20
"""At most so many breaks are named, the first ones; all are counted."""

ALONE_ENTRIES_MAX: Final = 20_000
"""So few are checked sooner than another process has started."""

NEWER_SHARE: Final = 0.54
"""What the process with the newer part checks: the other one also goes past that part."""

SAME_STATE_TRIES: Final = 50

END: Final = "end"
"""What a process is told that is not needed any more."""

RANKS: Final = {"audit_layout": 0, "audit_group": 1, "audit_entry": 1}

LAST_ID: Final = 2**63 - 1


class OpenReader(Protocol):
    """Opens the database for reading; can be called in other processes too."""

    def __call__(self, *, own_process: bool = False) -> AuditReader:
        """Return a reader; ``own_process`` says that this process has it open by nothing else."""
        ...


@dataclass(frozen=True, slots=True)
class NamedBreak:
    """A break, with what people call the row; "" if nothing is known."""

    entry_id: int | None
    table: str
    row_id: int
    name: str
    problem: str


@dataclass(frozen=True, slots=True)
class AuditVerdict:
    """What checking found.

    Args:
        groups: checked.
        entries: checked.
        rows: faces of rows that were compared, those changed again since included.
        checkpoints: that vouch for this chain.
        newest: the newest group; None in an empty database.
        breaks: the first ones, in the order of the chain; rows that no entry knows come last.
        breaks_in_all: how many there are.
    """

    groups: int
    entries: int
    rows: int
    checkpoints: int
    newest: Group | None
    breaks: Sequence[NamedBreak]
    breaks_in_all: int

    @property
    def holds(self) -> bool:
        """Whether nothing is wrong."""
        return not self.breaks


@dataclass(slots=True)
class _Found:
    """Breaks: all are counted, the first of the chain are kept."""

    breaks: list[Break] = field(default_factory=list)
    in_all: int = 0
    groups: int = 0
    entries: int = 0
    rows: int = 0
    made: Counter[str] = field(default_factory=Counter)

    def add(self, each: Break) -> None:
        self.in_all += 1
        self.breaks.append(each)
        if len(self.breaks) > 10 * BREAKS_MAX:
            self.keep_first()

    def keep_first(self) -> None:
        self.breaks = sorted(self.breaks, key=_place)[:BREAKS_MAX]

    def join(self, other: _Found) -> None:
        self.breaks += other.breaks
        self.in_all += other.in_all
        self.groups += other.groups
        self.entries += other.entries
        self.rows += other.rows
        self.made += other.made


def _place(each: Break) -> tuple[int, bool, int, bool, str, int]:
    """Put a damaged chain first: what it does not say any more makes rows differ."""
    return (
        RANKS.get(each.table, len(RANKS)),
        each.entry_id is None,
        each.entry_id or 0,
        each.table != "audit_group",
        each.table,
        each.row_id,
    )


@dataclass(frozen=True, slots=True)
class _Part:
    """Groups of these numbers, both included; ``rows`` says whether rows are compared."""

    from_seq: int
    to_seq: int
    newest_seq: int
    rows: bool


def verify_audit(
    open_reader: OpenReader,
    *,
    checkpoints: Sequence[Checkpoint] = (),
    rows: bool = True,
    processes: int = 2,
    progress: Callable[[int], None] = lambda _entries: None,
) -> AuditVerdict:
    """Check the chain, what checkpoints vouch for, and every row that is sealed.

    Args:
        open_reader: opens the database; is also called in other processes.
        checkpoints: brought from elsewhere, beside those that the database holds.
        rows: compare rows as well, not only the chain.
        processes: how many work side by side, 1 or 2.
        progress: called with how many entries are done, now and then.
    """
    reader = open_reader()
    with_garbage = gc.isenabled()
    gc.disable()  # millions of rows and no cycles among them
    try:
        newest = reader.newest_group()
        found = _Found()
        layouts, damaged = read_layouts(reader)
        for each in damaged:
            found.add(each)
        many = newest is not None and newest.last_entry_id > ALONE_ENTRIES_MAX
        if newest is not None and (processes < 2 or not many):
            part = _Part(1, newest.seq, newest.seq, rows)
            found.join(_check(reader, part, progress))
        elif newest is not None:
            reader.close()
            side_by_side = _on_processes(open_reader, rows, progress)
            if side_by_side is None:
                reader = open_reader()
                newest = reader.newest_group() or newest
                parts = [_check(reader, _Part(1, newest.seq, newest.seq, rows), progress)]
            else:
                reader, newest, parts = side_by_side
            for done in parts:
                found.join(done)
        for each in ChainCheck(reader, layouts).loose_ends():
            found.add(each)
        if rows:
            _count_rows(reader, found)
        vouched = _checkpoints(reader, checkpoints, found)
        return _verdict(reader, found, newest, vouched)
    finally:
        reader.close()
        if with_garbage:
            gc.enable()


def _verdict(
    reader: AuditReader, found: _Found, newest: Group | None, vouched: int
) -> AuditVerdict:
    found.keep_first()
    named = [
        NamedBreak(
            each.entry_id,
            each.table,
            each.row_id,
            reader.name_of(each.table, each.row_id),
            each.problem,
        )
        for each in found.breaks
    ]
    return AuditVerdict(
        found.groups, found.entries, found.rows, vouched, newest, named, found.in_all
    )


def _check(reader: AuditReader, part: _Part, progress: Callable[[int], None]) -> _Found:
    """Check one part; whoever has the oldest also finds rows that no entry inserted."""
    found = _Found()
    layouts, _damaged = read_layouts(reader)
    chain = ChainCheck(reader, layouts)
    for each in chain.breaks(part.from_seq, part.to_seq):
        found.add(each)
    found.groups, found.entries = chain.groups, chain.entries
    if not part.rows:
        return found
    walk = RowWalk(reader, layouts)
    first_id = _last_id(reader, part.from_seq - 1) + 1
    # Entries that no group has are named, and what they did to rows counts all the same.
    last_id = LAST_ID if part.to_seq == part.newest_seq else _last_id(reader, part.to_seq)
    for chunk in reader.entries_down(last_id + 1, LAST_ID) if last_id < LAST_ID else ():
        walk.skim(chunk)
    done = 0
    for chunk in reader.entries_down(first_id, last_id):
        for each in walk.check(chunk):
            found.add(each)
        done += len(chunk)
        progress(done)
    if part.from_seq == 1:
        for each in walk.never_made():
            found.add(each)
    found.rows, found.made = walk.rows, Counter(walk.made)
    return found


def _last_id(reader: AuditReader, seq: int) -> int:
    group = reader.group(seq)
    return -1 if group is None else group.last_entry_id


def _count_rows(reader: AuditReader, found: _Found) -> None:
    """Find rows that no entry inserted: they are looked for only where the numbers differ."""
    layouts, _damaged = read_layouts(reader)
    tables = {table for layout in layouts.values() for table in layout.tables}
    for table in sorted(tables):
        count, made = reader.count(table), found.made[table]
        if count == made:
            continue
        entries = reader.entries_down(0, LAST_ID)
        before = found.in_all
        for each in unknown_rows(reader, table, inserted_ids(entries, layouts, table)):
            found.add(each)
        if found.in_all == before and not any(each.table == table for each in found.breaks):
            problem = f"entries made {made} rows of this table, and it has {count}"
            found.add(Break(None, table, 0, problem))


def _checkpoints(reader: AuditReader, brought: Sequence[Checkpoint], found: _Found) -> int:
    vouched = 0
    for checkpoint in (*reader.checkpoints(), *brought):
        signed = SignedCheckpoint(*checkpoint[2:4], checkpoint.at_us, *checkpoint[4:])
        if not verify_signature(signed.public_key, signed.message, signed.signature):
            problem = "its signature is not of what it says"
            broken: Break | None = Break(None, "audit_checkpoint", checkpoint.id, problem)
        else:
            broken = check_checkpoint(reader, checkpoint)
        if broken is None:
            vouched += 1
        else:
            found.add(broken)
    return vouched


# --- on two processes -----------------------------------------------------------------------------


class _Worker:
    """A process that checks one part, and what we talk to it by."""

    def __init__(self, open_reader: OpenReader) -> None:
        # A fork would take the locks of other threads along; without any it starts a second sooner.
        alone = threading.active_count() == 1
        context = multiprocessing.get_context("fork" if alone else "spawn")
        self.pipe, theirs = context.Pipe()
        self.done = 0
        arguments = (open_reader, theirs)
        self._process: BaseProcess = context.Process(  # type: ignore[attr-defined]  # both have it
            target=_in_process, args=arguments, daemon=True
        )
        self._process.start()
        theirs.close()

    def answer(self) -> Any:
        """Return what it says next.

        Raises:
            RuntimeError: it is not there any more.
        """
        try:
            said = self.pipe.recv()
        except EOFError as error:
            raise RuntimeError("a process that checked the audit was ended") from error
        if isinstance(said, BaseException):
            raise said
        return said

    def end(self) -> None:
        # It is told: that the pipe is closed it may not see, as a later fork holds our end as well.
        with suppress(OSError):
            self.pipe.send(END)
        self.pipe.close()
        self._process.join()


def _on_processes(
    open_reader: OpenReader, rows: bool, progress: Callable[[int], None]
) -> tuple[AuditReader, Group, list[_Found]] | None:
    """Check the older and the newer part in two processes of their own.

    Returns:
        A reader, the newest group that it sees, and what each process found; None where so much is
        written that they never saw one state of the database.
    """
    workers: list[_Worker] = []
    try:
        workers += [_Worker(open_reader) for _ in range(2)]
        seen = _one_state(open_reader, workers)
        if seen is None:
            return None
        reader, newest = seen
        split = _split(reader, newest)
        older, newer = workers
        older.pipe.send(_Part(1, split, newest.seq, rows))
        newer.pipe.send(_Part(split + 1, newest.seq, newest.seq, rows))
        return reader, newest, _answers(workers, progress)
    finally:
        for worker in workers:
            worker.end()


def _one_state(
    open_reader: OpenReader, workers: Sequence[_Worker]
) -> tuple[AuditReader, Group] | None:
    """Let everybody see one state of the database.

    Since a database has no way to hand a state to another process, all open it anew until they see
    the same newest group; None if they never do.
    """
    for _ in range(SAME_STATE_TRIES):
        for worker in workers:
            worker.pipe.send(None)
        reader = open_reader()
        newest = reader.newest_group()
        seen = [worker.answer() for worker in workers]
        if newest is not None and all(each == newest for each in seen):
            return reader, newest
        reader.close()
    return None


def _answers(workers: Sequence[_Worker], progress: Callable[[int], None]) -> list[_Found]:
    """Wait for what each found; those who tell how far they are do so in between."""
    found = []
    busy = {worker.pipe: worker for worker in workers}
    while busy:
        for pipe in wait(list(busy)):
            worker = busy[pipe]  # type: ignore[index]  # one of ours
            said = worker.answer()
            if isinstance(said, _Found):
                found.append(said)
                del busy[worker.pipe]
            else:
                worker.done = said
                progress(sum(each.done for each in workers))
    return found


def _split(reader: AuditReader, newest: Group) -> int:
    """Return the last group of the older part; groups have as many entries as it happened."""
    first = reader.group(1)
    start = 0 if first is None else first.first_entry_id
    wanted = start + (newest.last_entry_id - start) * (1 - NEWER_SHARE)
    low, high = 1, newest.seq - 1
    while low < high:
        middle = (low + high) // 2
        if _last_id(reader, middle) < wanted:
            low = middle + 1
        else:
            high = middle
    return low


def _in_process(open_reader: OpenReader, pipe: Connection[Any, Any]) -> None:
    reader: AuditReader | None = None
    gc.disable()
    try:
        while (part := pipe.recv()) is None or reader is None:
            if part == END:
                return
            if reader is not None:
                reader.close()
            reader = open_reader(own_process=True)
            pipe.send(reader.newest_group())
        if part != END:
            pipe.send(_check(reader, part, pipe.send))
    except (EOFError, BrokenPipeError):
        return
    except BaseException as error:  # noqa: BLE001  handed to the process that waits for it
        pipe.send(error)
    finally:
        if reader is not None:
            reader.close()
