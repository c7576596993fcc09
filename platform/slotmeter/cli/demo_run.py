"""One run of the demo: server, meters, till and people from start to verdict."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from importlib.metadata import entry_points
from typing import Any, cast

import aiohttp

from slotmeter.cli.demo_view import View
from slotmeter.cli.ledger import verify
from slotmeter.errors import ConfigError
from slotmeter.testing.meter_clock import SpeedClock
from slotmeter.testing.server import Server, ServerFailed
from slotmeter.testing.simulators import Fleet, Simulator
from slotmeter.testing.site import Site
from slotmeter.testing.till import Till, TillFailed
from slotmeter.testing.town import DEVICE_MEDIUM, TILL, Town
from slotmeter.testing.town_check import (
    Finding,
    Platform,
    check_town,
    delivery_finding,
    delivery_times_s,
)
from slotmeter.testing.town_life import TownClock, TownLife, make_meters
from slotmeter.testing.virtual_meter import VirtualMeter

__all__ = ["DemoRun"]

SETTLE_S_MAX = 45.0
SETTLE_POLL_S = 0.25
PAGE_ROWS = 500
PAGES_TIMEOUT_S = 60.0
REPORT_EVERY_S = 1.5
COUNT_EVERY_S = 1.0
METERS_PER_POLL_SECOND = 60
IN_WORK = ("queued", "waiting", "sent", "acknowledged")
DELIVERY_S_WANTED_FAST = 2.0
DELIVERY_S_WANTED_SLOW = 10.0
FAST = 60
"""From this speed on a delivery should take 2 s, below it 10 s."""


class DemoRun:
    """Runs a town on a site.

    Args:
        options: of the command.
        town: who lives there.
        site: the data folder.
    """

    def __init__(self, options: argparse.Namespace, town: Town, site: Site) -> None:
        self._options = options
        self._town = town
        self._site = site
        self._server = Server(site.config, port=site.http_port, log=site.folder / "serve.log")
        self._stop = asyncio.Event()
        self._findings: list[Finding] = []

    async def run(self) -> bool:
        """Run, check, print; True when everything held."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stop.set)
        try:
            await self._server.start()
            await self._live()
        finally:
            code = await asyncio.to_thread(self._server.stop)
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)
        self._find("the server stopped cleanly", code == 0, f"exit code {code}")
        await self._verify_ledger()
        return self._verdict()

    def _find(self, sentence: str, held: bool, seen: str) -> None:
        self._findings.append(Finding(sentence, held, seen))

    async def _live(self) -> None:
        site, options = self._site, self._options
        now = datetime.now(UTC).replace(microsecond=0)
        clock = TownClock(SpeedClock(now, options.speed))
        meters = make_meters(self._town, site.vending_key, speed=options.speed, made_at=clock.now())
        name = f"demo-{options.seed}"
        async with (
            self._attached(meters, clock) as fleet,
            Till(site.api, site.key_of(TILL), name=name, fate=self._town.fate) as till,
        ):
            view = View(options, site, fleet)
            life = TownLife(self._town, fleet.links, till, speed=options.speed, tell=view.tell)
            with view.shown(life.happened):
                async with self._counted(view):
                    await self._until_stopped(life)
                    view.say("coming to rest")
                    clock.stop()
                    await self._settle(fleet)
                platform = await self._ask()
                view.count(platform.events)
            self._findings += check_town(
                self._town,
                till.records,
                meters,
                platform,
                asked_by_till=TILL,
                dark=life.happened.dark,
                back=life.happened.back,
            )
            self._find_delivery_times(till, platform)

    @contextlib.asynccontextmanager
    async def _counted(self, view: View) -> AsyncIterator[None]:
        """Let the view count the platform's events, as the checks do, until the block ends."""
        following = asyncio.create_task(self._follow_events(view), name="events of the demo")
        try:
            yield
        finally:
            following.cancel()
            with contextlib.suppress(asyncio.CancelledError, aiohttp.ClientError, ServerFailed):
                await following  # a server that fails ends the demo elsewhere, with its log

    async def _follow_events(self, view: View) -> None:
        events: list[Mapping[str, Any]] = []
        async with self._session() as session:
            while True:
                after = events[-1]["id"] if events else 0
                events += await self._events(session, after)
                view.count(events)
                await asyncio.sleep(COUNT_EVERY_S)

    @contextlib.asynccontextmanager
    async def _attached(
        self, meters: Sequence[VirtualMeter], clock: TownClock
    ) -> AsyncIterator[Fleet]:
        """Attach the meters to the server by their own protocol."""
        homes = self._town.homes
        crowd = max(1.0, len(homes) / METERS_PER_POLL_SECOND)
        fleet = await _simulator(DEVICE_MEDIUM).attach(
            meters,
            f"coap://127.0.0.1:{self._site.nbiot_port}",
            clock,
            report_every=timedelta(seconds=REPORT_EVERY_S * self._options.speed * crowd),
            poll_every_s=crowd,
            addresses={home.number: home.address_on_medium for home in homes},
        )
        try:
            yield fleet
        finally:
            await fleet.stop()

    async def _until_stopped(self, life: TownLife) -> None:
        """Let the town live until the time is up, Ctrl-C, or something that must not happen."""
        living = asyncio.create_task(life.run(), name="town")
        ending = asyncio.create_task(self._end(), name="end of the demo")
        await asyncio.wait({living, ending}, return_when=asyncio.FIRST_COMPLETED)
        life.stop()
        ending.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await ending
        try:
            await living
        except* TillFailed as failed:
            sentences = "; ".join(str(error) for error in failed.exceptions)
            self._find("every sale was answered", held=False, seen=sentences)

    async def _end(self) -> None:
        """Return when the time is up or somebody stops the demo.

        Raises:
            ServerFailed: the server has ended by itself.
        """
        end_s = None if self._options.for_s is None else time.monotonic() + self._options.for_s
        while not self._stop.is_set():
            if self._server.ended is not None:
                raise ServerFailed(f"the server ended:\n{self._server.log_tail()}")
            if end_s is not None and time.monotonic() >= end_s:
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SETTLE_POLL_S):
                    await self._stop.wait()

    async def _settle(self, fleet: Fleet) -> None:
        """Wait until no command is on its way and every meter has told all that it has to tell."""
        end_s = time.monotonic() + SETTLE_S_MAX
        for link in fleet.links.values():
            link.report_soon()
        quiet = 0
        async with self._session() as session:
            while quiet < 2 and time.monotonic() < end_s:
                waiting = sum(
                    link.wants_report or link.meter.has_news for link in fleet.links.values()
                )
                for state in IN_WORK:
                    waiting += len((await self._get(session, f"commands?state={state}"))["items"])
                quiet = 0 if waiting else quiet + 1
                await asyncio.sleep(SETTLE_POLL_S)

    def _session(self) -> aiohttp.ClientSession:
        headers = {"Authorization": f"Bearer {self._site.key_of('auditor')}"}
        return aiohttp.ClientSession(headers=headers)

    async def _get(self, session: aiohttp.ClientSession, path: str) -> Mapping[str, Any]:
        async with session.get(f"{self._site.api}/api/v1/{path}") as answer:
            document = await answer.json()
            if answer.status != 200:
                raise ServerFailed(
                    f"GET {path}: HTTP {answer.status}, {document.get('code')}: "
                    f"{document.get('detail')}"
                )
            return cast("Mapping[str, Any]", document)

    async def _all(
        self, session: aiohttp.ClientSession, path: str, by: str
    ) -> list[Mapping[str, Any]]:
        """Return the items of all pages."""
        items: list[Mapping[str, Any]] = []
        following: object = None
        while True:
            more = "" if following is None else f"&{by}={following}"
            page = await self._get(session, f"{path}?limit={PAGE_ROWS}{more}")
            items += page["items"]
            if page["next"] is None or page["next"] == following or not page["items"]:
                return items
            following = page["next"]

    async def _ask(self) -> Platform:
        """Ask the platform for everything it knows, as an auditor may."""
        async with self._session() as session:
            meters = await self._all(session, "meters", "after")
            tokens = {
                meter["number"]: await self._all(
                    session, f"meters/{meter['number']}/tokens", "before"
                )
                for meter in meters
            }
            overview = await self._get(session, "overview")
            if not self._options.no_dashboards:
                await self._look_at_pages(session)
            return Platform(
                sales=await self._all(session, "sales", "before"),
                meters=meters,
                tokens=tokens,
                commands=await self._all(session, "commands", "before"),
                events=await self._events(session),
                debts=await self._all(session, "debts", "before"),
                quarantined=overview["quarantined"],
            )

    async def _events(
        self, session: aiohttp.ClientSession, after: int = 0
    ) -> list[Mapping[str, Any]]:
        items: list[Mapping[str, Any]] = []
        while True:
            page = await self._get(session, f"events?after={after}&limit={PAGE_ROWS}")
            items += page["items"]
            if not page["items"]:
                return items
            after = page["next"]

    async def _look_at_pages(self, session: aiohttp.ClientSession) -> None:
        seen = ""
        end_s = time.monotonic() + PAGES_TIMEOUT_S
        while time.monotonic() < end_s:
            try:
                async with session.get(self._site.pages, headers={}) as answer:
                    seen = f"{self._site.pages} answered {answer.status}"
                    if answer.status == 200:
                        break
            except aiohttp.ClientError as error:
                seen = f"{self._site.pages}: {type(error).__name__}"
            await asyncio.sleep(SETTLE_POLL_S)
        self._find("the pages answer", seen.endswith(" 200"), seen)

    def _find_delivery_times(self, till: Till, platform: Platform) -> None:
        times_s = delivery_times_s(till.records, platform)
        if not times_s:
            return
        wanted_s = DELIVERY_S_WANTED_FAST if self._options.speed >= FAST else DELIVERY_S_WANTED_SLOW
        homes = len(self._town.homes)
        self._findings.append(delivery_finding(times_s, homes=homes, wanted_s=wanted_s))

    async def _verify_ledger(self) -> None:
        verdict = await verify(argparse.Namespace(data=self._site.folder, utility=None))
        broken = [each.sentence for each in verdict.sentences if not each.holds]
        figures = verdict.figures
        seen = f"{figures['journals']} entries, {figures['postings']} postings"
        self._find("the ledger balances", verdict.holds, "; ".join(broken) or seen)

    def _verdict(self) -> bool:
        print()
        for finding in self._findings:
            print(f"  {finding.word:8}  {finding.sentence}: {finding.seen}")
        held = all(finding.held for finding in self._findings)
        print("\nall of this is true" if held else "\nNOT all of this is true")
        folder = self._site.folder
        print(f"the data is in {folder}: slotmeter ledger verify --data {folder}")
        return held


def _simulator(medium: str) -> Simulator:
    """Return the installed simulator of a medium.

    Raises:
        ConfigError: ``simulator_missing``.
    """
    for point in entry_points(group="slotmeter.simulators", name=medium):
        return cast("Simulator", point.load())
    raise ConfigError(
        "simulator_missing", f"no simulator for {medium} is installed: pip install slotmeter[all]"
    )
