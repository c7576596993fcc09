"""How far ``slotmeter generate`` is: bars on a terminal, and now and then a line anywhere else."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Final, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TimeRemainingColumn,
)
from rich.text import Text

__all__ = ["GenerateProgress"]

LINE_EVERY_S: Final = 30.0


class _Rate(ProgressColumn):
    """How many are made in a second."""

    def render(self, task: Task) -> Text:
        """Return it; nothing before the first are made."""
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.0f}/s")


class GenerateProgress:
    """Shows what is being made, how much of it is done, how fast, and how long it will take."""

    def __init__(self) -> None:
        """Show nothing before the first call: a bar has a thread, and processes are forked."""
        console = Console(stderr=True)
        columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), _Rate())
        self._bar = Progress(*columns, TimeRemainingColumn(), console=console)
        self._has_bar = console.is_terminal
        self._tasks: dict[str, TaskID] = {}
        self._doing = ""
        self._began_s = self._said_s = 0.0

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        """Leave the terminal as it was."""
        if self._tasks:
            self._bar.stop()

    def show(self, doing: str, done: int, total: int) -> None:
        """Show how far it is; a total of 0 is one that nobody knows."""
        if self._has_bar:
            self._show_bar(doing, done, total)
        else:
            self._show_line(doing, done, total)

    def _show_bar(self, doing: str, done: int, total: int) -> None:
        if doing not in self._tasks:
            self._bar.start()
            for task in self._tasks.values():
                self._bar.update(task, completed=self._bar.tasks[task].total)
            self._tasks[doing] = self._bar.add_task(doing, total=total or None)
        self._bar.update(self._tasks[doing], completed=done)

    def _show_line(self, doing: str, done: int, total: int) -> None:
        now_s = time.monotonic()
        if doing != self._doing:
            self._doing, self._began_s, self._said_s = doing, now_s, now_s
        if now_s - self._said_s < LINE_EVERY_S:
            return
        self._said_s = now_s
        rate = done / (now_s - self._began_s)
        left = f", {(total - done) / rate:,.0f} s left" if rate and total else ""
        print(f"{doing}: {done:,} of {total:,}, {rate:,.0f}/s{left}", file=sys.stderr, flush=True)
