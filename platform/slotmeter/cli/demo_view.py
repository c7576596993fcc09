"""What the demo shows while it runs: a live screen on a terminal, plain lines elsewhere."""

from __future__ import annotations

import argparse
import threading
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from slotmeter.testing.simulators import Fleet
from slotmeter.testing.site import Site
from slotmeter.testing.town_check import BACK_EVENT, CUT_EVENT
from slotmeter.testing.town_life import Happened

__all__ = ["View"]

LINES_SHOWN = 10
REFRESHES_PER_S = 4
PLAIN_EVERY_S = 5.0


class View:
    """Follows a town.

    Args:
        options: of the command.
        site: whose addresses are shown.
        fleet: the meters.
        console: where to show it; standard output if not given.
    """

    def __init__(
        self,
        options: argparse.Namespace,
        site: Site,
        fleet: Fleet,
        console: Console | None = None,
    ) -> None:
        self._options = options
        self._site = site
        self._fleet = fleet
        self._lines: deque[str] = deque(maxlen=LINES_SHOWN)
        self._happened = Happened()
        self._events: Counter[str] = Counter()
        self._began_s = time.monotonic()
        self._doing = "running"
        self._console = Console() if console is None else console
        self._is_live = self._console.is_terminal and not options.plain

    def tell(self, sentence: str) -> None:
        """Take a sentence of what happened."""
        self._lines.append(f"{self._elapsed():6.1f} s  {sentence}")

    def say(self, doing: str) -> None:
        """Say what the demo does now."""
        self._doing = doing
        if not self._is_live:
            self._print(f"{self._elapsed():6.1f} s  {doing}")

    def count(self, events: Iterable[Mapping[str, Any]]) -> None:
        """Take all events of the platform so far; what is shown of cuts is counted from them."""
        self._events = Counter(event["kind"] for event in events)

    @contextmanager
    def shown(self, happened: Happened) -> Iterator[None]:
        """Show what happens until the block ends."""
        self._happened = happened
        self._began_s = time.monotonic()
        if self._is_live:
            with Live(
                get_renderable=self._screen,
                console=self._console,
                refresh_per_second=REFRESHES_PER_S,
            ):
                yield
            return
        for line in self._addresses():
            self._print(line)
        ended = threading.Event()
        printing = threading.Thread(target=self._print_lines, args=(ended,), daemon=True)
        printing.start()
        try:
            yield
        finally:
            ended.set()
            printing.join()
            self._print(self._summary())

    def _print(self, line: str) -> None:
        print(line, file=self._console.file, flush=True)

    def _elapsed(self) -> float:
        return time.monotonic() - self._began_s

    def _addresses(self) -> list[str]:
        options, site = self._options, self._site
        pages = [] if options.no_dashboards else [f"  pages      {site.pages}"]
        length = "until Ctrl-C" if options.for_s is None else f"for {options.for_s:g} s"
        return [
            *pages,
            f"  API        {site.api}/api/v1  (keys: {site.folder}/*.key)",
            f"  documents  {site.api}/api/v1/openapi.json, {site.api}/metrics",
            f"  {_number(options.meters, 'meter')}, {length}, "
            f"{options.speed} times as fast as life, seed {options.seed}",
        ]

    def _summary(self) -> str:
        happened = self._happened
        links = self._fleet.links.values()
        supply = Counter(link.meter.supply.value for link in links)
        away = sum(not link.online for link in links)
        states = ", ".join(f"{count} {state}" for state, count in sorted(supply.items()))
        return (
            f"{self._elapsed():6.1f} s  {_number(happened.sold, 'sale')}, "
            f"{happened.money:.2f} taken, {happened.typed} typed; {self._switched()}; "
            f"meters {states}, {away} offline; "
            f"{_number(self._fleet.stats.reports, 'report')}"
        )

    def _switched(self) -> str:
        cuts, back = self._events[CUT_EVENT], self._events[BACK_EVENT]
        return f"{_number(cuts, 'cut')}, {_number(back, 'reconnection')}"

    def _print_lines(self, ended: threading.Event) -> None:
        while not ended.wait(PLAIN_EVERY_S):
            self._print(self._summary())

    def _screen(self) -> Group:
        happened, stats = self._happened, self._fleet.stats
        links = self._fleet.links.values()
        supply = Counter(link.meter.supply.value for link in links)
        table = Table.grid(padding=(0, 3))
        table.add_row(
            f"[bold]{_number(happened.sold, 'sale')}[/], {happened.money:.2f} taken",
            f"{_number(happened.typed, 'token')} typed",
            self._switched(),
        )
        table.add_row(
            f"[green]{supply['on']} on[/], [red]{supply['off']} off[/], {supply['armed']} armed",
            f"{sum(not link.online for link in links)} offline",
            f"{_number(stats.reports, 'report')}, {_number(stats.commands, 'command')}",
        )
        title = Text(f"slotmeter demo, {self._doing}, {self._elapsed():.0f} s", style="bold")
        addresses = Text("\n".join(self._addresses()))
        lines = Text("\n".join(self._lines), style="dim", no_wrap=True, overflow="ellipsis")
        return Group(title, addresses, Text(), table, Text(), lines)


def _number(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
