"""Reads what strace saw of a server, and says of each answer whether its sale was on the disk.

An answer with a token is *held back rightly* when, before the first byte of it was handed to the
socket, the log's sync had ended that belongs to the transaction in which the token was written
first. The log has no digits: a token stands there by its *mark*, which ``mark_of`` tells (the keyed
index that tokens are searched by). Everything is judged by the order of events in the trace:

1. ``pwrite64`` to the write-ahead log whose bytes hold the token's mark for the first time,
2. the end of the log's transaction: a frame header whose commit field is not zero (SQLite file
   format, section 4.1: bytes 4 to 7),
3. ``fsync`` or ``fdatasync`` of the log that begins after both, and its end with result 0,
4. ``sendto``, ``sendmsg``, ``write`` or ``writev`` to a socket with the status line of the answer.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median

__all__ = ["Answer", "SyncTrace"]

LINE = re.compile(r"(?P<task>\d+) +(?P<at>\d+\.\d+) (?P<rest>.*)", re.DOTALL)
CALL = re.compile(r"(?P<name>\w+)\((?P<fd>\d+)<(?P<path>[^>]*)>(?P<arguments>.*)", re.DOTALL)
RESUMED = re.compile(r"<\.\.\. (?P<name>\w+) resumed>(?P<rest>.*)", re.DOTALL)
RESULT = re.compile(r"\) += (?P<result>-?\d+)")
STRING = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
ESCAPE = re.compile(r"\\([0-7]{1,3}|x[0-9a-fA-F]{2}|.)", re.DOTALL)
TOKEN_IN_ANSWER = re.compile(r'\\"token\\": *\\"(\d{20})\\"')
HEX_RUN = re.compile(r"[0-9a-f]{32,}")
MARK_CHARACTERS = 32
ANSWER = re.compile(r'"HTTP/1\.1 \d{3}')
SIMPLE = {"n": 10, "t": 9, "r": 13, "v": 11, "f": 12, "a": 7, "b": 8}
FRAME_HEADER_BYTES = 24
NO_COMMIT = bytes(4)
WRITES = frozenset({"pwrite64", "write", "writev", "pwritev"})
SYNCS = frozenset({"fsync", "fdatasync"})
SENDS = frozenset({"sendto", "sendmsg", "write", "writev"})


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer that handed out a token.

    Args:
        at_s: when it was handed to the socket.
        synced_at_s: when the sync of its sale had ended; None when it had not.
        why: what is wrong with it; "" when it was held back rightly.
    """

    at_s: float
    synced_at_s: float | None
    why: str = ""


@dataclass(slots=True)
class _Call:
    """A system call from its begin to its end, each with its place in the trace."""

    name: str
    fd: str
    path: str
    arguments: str
    began: int
    at_s: float
    ended: int | None = None
    ended_s: float = 0.0
    result: int | None = None


def unescape(text: str) -> bytes:
    """Return the bytes that strace wrote as a C string."""
    out = bytearray()
    end = 0
    for found in ESCAPE.finditer(text):
        out += text[end : found.start()].encode("latin-1", "replace")
        out.append(_byte(found[1]))
        end = found.end()
    return bytes(out + text[end:].encode("latin-1", "replace"))


def _byte(escape: str) -> int:
    if escape[0] == "x" and len(escape) == 3:
        return int(escape[1:], 16)
    if escape[0] in "01234567":
        return int(escape, 8) & 0xFF
    return SIMPLE.get(escape, ord(escape) & 0xFF)


@dataclass(slots=True)
class SyncTrace:
    """Feed it the lines of ``strace -f -y -ttt`` in order, then read ``answers``.

    Args:
        mark_of: tells by which 32 hex characters a token with these digits stands in the log.
        log: file name of the write-ahead log.
    """

    mark_of: Callable[[str], str]
    log: str = "slotmeter.db-wal"
    answers: list[Answer] = field(default_factory=list)
    log_writes: int = 0
    log_syncs: int = 0
    unreadable: int = 0
    _place: int = 0
    _open: dict[str, _Call] = field(default_factory=dict)
    _first: dict[str, _Call] = field(default_factory=dict)
    _unsynced: set[str] = field(default_factory=set)
    _covers: dict[int, set[str]] = field(default_factory=dict)
    _synced: dict[str, _Call] = field(default_factory=dict)
    _committed: bool = False
    _head: dict[str, _Call] = field(default_factory=dict)

    def feed(self, line: str) -> None:
        """Take one line."""
        self._place += 1
        found = LINE.match(line)
        if found is None:
            self.unreadable += bool(line.strip())
            return
        task, at_s, rest = found["task"], float(found["at"]), found["rest"]
        resumed = RESUMED.match(rest)
        if resumed is not None:
            call = self._open.pop(task, None)
            if call is not None and call.name == resumed["name"]:
                self._end(call, resumed["rest"], at_s)
            return
        begun = CALL.match(rest)
        if begun is None:
            return  # a signal, an exit, or a call without a file
        arguments = begun["arguments"]
        call = _Call(begun["name"], begun["fd"], begun["path"], arguments, self._place, at_s)
        self._begin(call)
        if rest.rstrip().endswith("<unfinished ...>"):
            self._open[task] = call
        else:
            self._end(call, arguments, at_s)

    def _is_log(self, call: _Call) -> bool:
        return call.path.rpartition("/")[2] == self.log

    def _begin(self, call: _Call) -> None:
        if self._is_log(call) and call.name in WRITES:
            self._write(call)
        elif self._is_log(call) and call.name in SYNCS:
            # Only what was wholly written before the sync began, and committed, is covered by it.
            whole = {mark for mark in self._unsynced if self._first[mark].ended is not None}
            self._covers[call.began] = whole if self._committed else set()
        elif call.name in SENDS and call.path.startswith(("socket:", "TCP", "TCPv6", "UNIX")):
            self._send(call)

    def _write(self, call: _Call) -> None:
        self.log_writes += 1
        string = STRING.search(call.arguments)
        if string is None:
            self.unreadable += 1
            return
        text, after = string[1], call.arguments[string.end() :]
        if after.startswith(f", {FRAME_HEADER_BYTES}, "):
            self._committed = unescape(text)[4:8] != NO_COMMIT
            return
        for run in HEX_RUN.findall(text):
            for start in range(len(run) - MARK_CHARACTERS + 1):
                mark = run[start : start + MARK_CHARACTERS]
                if mark not in self._first:
                    self._first[mark] = call
                    self._unsynced.add(mark)

    def _end(self, call: _Call, rest: str, at_s: float) -> None:
        result = RESULT.search(rest)
        call.ended, call.ended_s = self._place, at_s
        call.result = int(result["result"]) if result is not None else None
        if not self._is_log(call) or call.name not in SYNCS:
            return
        self.log_syncs += 1
        covered = self._covers.pop(call.began, set())
        if call.result == 0:
            for mark in covered & self._unsynced:
                self._unsynced.discard(mark)
                self._synced[mark] = call

    def _send(self, call: _Call) -> None:
        if ANSWER.search(call.arguments) is not None:
            # What counts is the moment at which the first byte of the answer leaves.
            self._head[call.fd] = call
        for digits in TOKEN_IN_ANSWER.findall(call.arguments):
            self.answers.append(self._judge(self.mark_of(digits), self._head.get(call.fd, call)))

    def _judge(self, mark: str, head: _Call) -> Answer:
        sync = self._synced.get(mark)
        if sync is not None and sync.ended is not None and sync.ended < head.began:
            return Answer(head.at_s, sync.ended_s)
        if mark not in self._first:
            return Answer(head.at_s, None, "its token was never written to the log before")
        return Answer(head.at_s, None, "no sync of the log ended after its write and before it")

    @property
    def early(self) -> list[Answer]:
        """Answers that left before their sale was on the disk."""
        return [answer for answer in self.answers if answer.why]

    @property
    def margin_s(self) -> tuple[float, float]:
        """The least and the median time between the end of the sync and the answer."""
        margins = [
            answer.at_s - answer.synced_at_s
            for answer in self.answers
            if answer.synced_at_s is not None
        ]
        return (min(margins), median(margins)) if margins else (0.0, 0.0)
