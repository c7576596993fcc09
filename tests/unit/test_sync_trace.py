"""The reader of strace's output must catch every way in which an answer can leave too early."""

from __future__ import annotations

import hashlib
import importlib.util
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

PROOFS = Path(__file__).parents[1] / "proofs"
DIGITS = "12345678901234567890"
OTHER = "98765432109876543210"


def mark_of(digits: str) -> str:
    """What stands in the log for a token: 32 hex characters that do not show the digits."""
    return hashlib.md5(digits.encode(), usedforsecurity=False).hexdigest()


MARK = mark_of(DIGITS)


def load() -> Any:
    spec = importlib.util.spec_from_file_location("sync_trace", PROOFS / "sync_trace.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclasses look themselves up
    spec.loader.exec_module(module)
    return module


sync_trace = load()


class Lines:
    """Writes a trace as strace does."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def add(self, call: str, *, task: int = 7) -> Lines:
        at = 1_700_000_000 + len(self.lines) / 1_000
        self.lines.append(f"{task}  {at:.6f} {call}")
        return self

    def write(self, content: str, *, log: str = "slotmeter.db-wal", task: int = 7) -> Lines:
        return self.add(f'pwrite64(5</data/{log}>, "{content}", 4096, 4152) = 4096', task=task)

    def header(self, *, commit: bool, task: int = 7) -> Lines:
        size = r"\0\0\0\2" if commit else r"\0\0\0\0"
        return self.add(
            rf'pwrite64(5</data/slotmeter.db-wal>, "\0\0\0\1{size}\327|\325", 24, 32) = 24',
            task=task,
        )

    def sync(self, *, log: str = "slotmeter.db-wal", result: str = "0", task: int = 7) -> Lines:
        return self.add(f"fdatasync(5</data/{log}>) = {result}", task=task)

    def transaction(self, *tokens: str) -> Lines:
        self.header(commit=False).write("begin")
        self.header(commit=True)
        return self.write(" ".join(rf"\33\0{mark_of(token)}issued" for token in tokens))

    def answer(self, token: str = DIGITS, *, task: int = 3) -> Lines:
        body = rf"{{\"sale_id\":\"a\",\"token\":\"{token}\",\"x\":1}}"
        text = rf"HTTP/1.1 201 Created\r\nContent-Length: 40\r\n\r\n{body}"
        return self.add(f'sendto(9<socket:[15]>, "{text}", 99, 0, NULL, 0) = 99', task=task)

    def check(self) -> Any:
        trace = sync_trace.SyncTrace(mark_of)
        for line in self.lines:
            trace.feed(line + "\n")
        return trace


def test_an_answer_after_the_sync_of_its_sale_is_right() -> None:
    trace = Lines().transaction(DIGITS).sync().answer().check()

    assert len(trace.answers) == 1
    assert trace.early == []


def test_many_sales_in_one_transaction_share_a_sync() -> None:
    trace = Lines().transaction(DIGITS, OTHER).sync().answer(OTHER).answer(DIGITS).check()

    assert len(trace.answers) == 2
    assert trace.early == []


def test_the_least_time_between_sync_and_answer_is_told() -> None:
    trace = Lines().transaction(DIGITS).sync().answer().check()

    assert trace.margin_s[0] == pytest.approx(0.001, abs=1e-5)


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("no sync at all", Lines().transaction(DIGITS).answer()),
        ("the sync comes later", Lines().transaction(DIGITS).answer().sync()),
        ("the sync came before", Lines().sync().transaction(DIGITS).answer()),
        ("the sync failed", Lines().transaction(DIGITS).sync(result="-1 EIO").answer()),
        ("another file was synced", Lines().transaction(DIGITS).sync(log="slotmeter.db").answer()),
        (
            "another log was synced",
            Lines().transaction(DIGITS).sync(log="readings.db-wal").answer(),
        ),
        ("the token went to no log", Lines().transaction(OTHER).sync().answer()),
        (
            "the token went to another log",
            Lines().write(MARK, log="readings.db-wal").transaction(OTHER).sync().answer(),
        ),
        (
            "the transaction was not whole",
            Lines().header(commit=False).write(MARK).sync().answer(),
        ),
        (
            "the sync had begun before the write",
            Lines()
            .transaction(OTHER)
            .add("fdatasync(5</data/slotmeter.db-wal> <unfinished ...>")
            .write(MARK, task=8)
            .add("<... fdatasync resumed>) = 0")
            .answer(),
        ),
        (
            "the sync had not ended",
            Lines()
            .transaction(DIGITS)
            .add("fdatasync(5</data/slotmeter.db-wal> <unfinished ...>")
            .answer(),
        ),
        (
            "the write had not ended when the sync began",
            Lines()
            .header(commit=True)
            .add(
                f'pwrite64(5</data/slotmeter.db-wal>, "{MARK}", 4096, 4152 <unfinished ...>',
                task=8,
            )
            .sync()
            .add("<... pwrite64 resumed>) = 4096", task=8)
            .answer(),
        ),
    ],
    ids=lambda value: value.replace(" ", "-") if isinstance(value, str) else "",
)
def test_an_answer_that_leaves_too_early_is_caught(name: str, lines: Lines) -> None:
    trace = lines.check()

    assert len(trace.answers) == 1, name
    assert len(trace.early) == 1, name


def test_one_early_answer_among_many_is_caught() -> None:
    lines = Lines()
    tokens = [f"{serial:020d}" for serial in range(1, 21)]
    for token in tokens:
        lines.transaction(token)
        if token != tokens[13]:
            lines.sync()
        lines.answer(token)

    trace = lines.check()

    assert len(trace.answers) == 20
    assert len(trace.early) == 1


def test_an_answer_in_two_pieces_counts_from_its_first_byte() -> None:
    lines = Lines().transaction(DIGITS)
    lines.add(
        r'sendto(9<socket:[15]>, "HTTP/1.1 201 Created\r\n\r\n", 24, 0, NULL, 0) = 24', task=3
    )
    lines.sync()
    lines.add(rf'sendto(9<socket:[15]>, "{{\"token\":\"{DIGITS}\"}}", 33, 0, NULL, 0) = 33', task=3)

    trace = lines.check()

    assert len(trace.early) == 1


def test_calls_of_several_threads_may_interleave() -> None:
    trace = (
        Lines()
        .header(commit=True)
        .add(f'pwrite64(5</data/slotmeter.db-wal>, "{MARK}", 4096, 9 <unfinished ...>', task=8)
        .add(r'sendto(9<socket:[15]>, "HTTP/1.1 200 OK\r\n", 17, 0, NULL, 0) = 17', task=3)
        .add("<... pwrite64 resumed>) = 4096", task=8)
        .add("fdatasync(5</data/slotmeter.db-wal> <unfinished ...>", task=8)
        .add(r'sendto(8<socket:[16]>, "HTTP/1.1 200 OK\r\n", 17, 0, NULL, 0) = 17', task=3)
        .add("<... fdatasync resumed>) = 0", task=8)
        .answer()
        .check()
    )

    assert len(trace.answers) == 1
    assert trace.early == []


WRITER = """
import hashlib, socket, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA journal_mode=WAL")
connection.execute(f"PRAGMA synchronous={sys.argv[2]}")
connection.execute("CREATE TABLE token (id INTEGER PRIMARY KEY, digits TEXT, state TEXT)")
one, other = socket.socketpair()
for serial in range(20):
    digits = f"{serial + 10**19:020d}"
    mark = hashlib.md5(digits.encode(), usedforsecurity=False).hexdigest()
    connection.execute("INSERT INTO token VALUES (?, ?, 'issued')", (serial, mark))
    one.send(b'HTTP/1.1 201 Created\\r\\n\\r\\n{"token": "%s"}' % digits.encode())
"""


@pytest.mark.parametrize(("synchronous", "early"), [("FULL", 0), ("NORMAL", 20), ("OFF", 20)])
def test_a_real_trace_tells_a_durable_writer_from_the_others(
    synchronous: str, early: int, tmp_path: Path, require_program: Callable[[str], str]
) -> None:
    calls = "trace=pwrite64,write,writev,fsync,fdatasync,sendto,sendmsg"
    subprocess.run(
        [
            *(require_program("strace"), "-f", "-y", "-ttt", "-s", "4200", "-e", calls),
            *("-o", str(tmp_path / "trace"), sys.executable, "-c", WRITER),
            *(str(tmp_path / "slotmeter.db"), synchronous),
        ],
        check=True,
        timeout=60,
    )

    trace = sync_trace.SyncTrace(mark_of)
    for line in (tmp_path / "trace").read_text(encoding="latin-1").splitlines():
        trace.feed(line)

    assert len(trace.answers) == 20
    assert len(trace.early) == early
    assert trace.unreadable == 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r"\0\0\0\2", b"\0\0\0\x02"),
        (r"a\n\t\"\\z", b'a\n\t"\\z'),
        (r"\377\1772", b"\xff\x7f2"),
        (r"\x41\x42", b"AB"),
    ],
)
def test_the_strings_of_strace_become_bytes(text: str, expected: bytes) -> None:
    assert sync_trace.unescape(text) == expected
