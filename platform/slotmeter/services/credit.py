"""Credit at zero where the platform holds the credit: facts in, the rule's wish, commands out.

Looked at after every payment and every reading, and for all meters with little credit at start-up
and each minute; so nothing is lost when the process dies between a reading and its consequence.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Final

from slotmeter.devices.commands import CUTTING, MOVABLE, RESTORING, CommandKind, CommandState
from slotmeter.devices.drivers import Driver
from slotmeter.devices.entities import SupplyState
from slotmeter.errors import SlotmeterError, Unavailable
from slotmeter.ports import (
    Changes,
    Clock,
    CreditRule,
    CreditView,
    NewId,
    Read,
    Row,
    Rows,
    Step,
    SupplyWish,
    UnitOfWork,
    Wish,
)
from slotmeter.services.bus import Bus, CommandsChanged, CreditChanged, EventsRecorded
from slotmeter.services.command_order import is_awaited
from slotmeter.services.command_rows import CommandCause, causes_of
from slotmeter.services.control import (
    Cut,
    Order,
    Queued,
    Target,
    Verdict,
    cutting_kind,
    may_cut,
    may_restore,
    queue_steps,
    restoring_kind,
)
from slotmeter.services.cut_facts import balance_of, cut_facts, fact_reads, paid_us_of
from slotmeter.services.events import Event, event_step
from slotmeter.services.metrics import DeviceMetrics
from slotmeter.services.protection import Policy, readable_policy
from slotmeter.services.report_unit import notice_steps
from slotmeter.units import DAY_US, Commodity, epoch_us
from slotmeter.vending.accounts import Terms

__all__ = ["SWEEP_EVERY_S", "CreditControl"]

SWEEP_EVERY_S: Final = 60.0
SWEEP_METERS: Final = 500
"""Meters read at once in a sweep."""

REFUSED_AGAIN_US: Final = DAY_US
"""The same refusal of the same wish is shown again after this time."""

_ROUTES: Final = ("display", "page")
_UNSENT: Final = MOVABLE | {CommandState.HELD}

_log = logging.getLogger(__name__)


def credit_view(rows: Rows, now_us: int) -> CreditView | None:
    """Return what a credit rule may know; None when there is nothing for it to control."""
    row = rows["facts"][0] if rows["facts"] else None
    if row is None or row["credit_mode"] != "platform" or row["device_id"] is None:
        return None
    if row["terms"] == Terms.POSTPAID:
        return None  # what is owed is billed; a person may cut, the rule does not
    balance = balance_of(row)
    if balance is None:
        return None
    pending = rows["pending"]
    cuts = [command for command in pending if command["kind"] in CUTTING]
    newest_cut = cuts[-1] if cuts else next(iter(rows["last_cut"]), None)
    paid_us, noticed_us = paid_us_of(row) or 0, row["noticed_us"]
    return CreditView(
        commodity=Commodity(row["commodity"]),
        balance_minor=balance,
        low_credit_minor=(readable_policy(row["policy"]) or Policy()).low_credit_minor,
        supply=SupplyState(row["supply"]),
        warned=noticed_us is not None and noticed_us >= paid_us,
        cut_pending=bool(cuts),
        restore_pending=any(
            command["kind"] in RESTORING and is_awaited(command, now_us) for command in pending
        ),
        cut_by_credit=newest_cut is not None and newest_cut["cause"] == CommandCause.RULE,
    )


@dataclass(slots=True)
class _Evaluation:
    """One meter while its credit is looked at."""

    rows: Rows
    view: CreditView
    wish: SupplyWish
    now_us: int
    new_id: NewId

    @property
    def row(self) -> Row:
        return self.rows["facts"][0]

    @property
    def target(self) -> Target:
        return Target(
            utility_id=self.row["utility_id"],
            meter_id=self.row["meter_id"],
            device_id=self.row["device_id"],
            commodity=self.view.commodity,
            expected_us=self.row["expected_us"],
        )

    def warn(self) -> list[Step]:
        kind = "low_credit" if self.view.balance_minor > 0 else "credit_used_up"
        event = Event(
            utility_id=self.row["utility_id"],
            at_us=self.now_us,
            kind=kind,
            severity="warning",
            text=f"The customer was warned: {self.wish.cause}",
            meter_id=self.row["meter_id"],
            data={"balance_minor": self.view.balance_minor},
        )
        notices = notice_steps(
            self.row["utility_id"],
            self.row["meter_id"],
            kind,
            _ROUTES,
            now_us=self.now_us,
            new_id=self.new_id,
        )
        return [*notices, event_step(event, self.new_id)]

    def cut(self) -> Queued | None:
        verdict = may_cut(cut_facts(self.rows, CommandCause.RULE, now_us=self.now_us))
        kind = cutting_kind(self.view.commodity)
        codes = [cause.code for cause in verdict.causes]
        if verdict.verdict is Verdict.REFUSED and self._was_shown(kind, codes):
            return None
        return self._queue(Cut(verdict, CommandCause.RULE, self.wish.cause))

    def restore(self) -> Queued | None:
        kind = restoring_kind(self.view.commodity)
        restore = may_restore(self.view.commodity)
        codes = [cause.code for cause in restore.causes]
        if restore.verdict is Verdict.REFUSED and self._was_shown(kind, codes):
            return None
        return self._queue(Order(kind, CommandCause.RULE, self.wish.cause))

    def _queue(self, order: Cut | Order) -> Queued:
        return queue_steps(
            order,
            self.target,
            pending=self.rows["pending"],
            now_us=self.now_us,
            new_id=self.new_id,
        )

    def _was_shown(self, kind: CommandKind, codes: list[str]) -> bool:
        """Say whether the same refusal stands in the list already, and nothing happened since."""
        refused = next(iter(self.rows["last_refused"]), None)
        waits = any(
            command["kind"] in CUTTING and command["state"] in _UNSENT
            for command in self.rows["pending"]
        )
        if refused is None or waits:
            return False
        last_cut_us = max((cut["created_us"] for cut in self.rows["last_cut"]), default=0)
        paid_us = paid_us_of(self.row) or 0
        same = [cause["code"] for cause in causes_of(refused["hold"])] == codes
        since_us = max(self.now_us - REFUSED_AGAIN_US, paid_us, last_cut_us)
        is_recent: bool = refused["created_us"] >= since_us
        return same and refused["kind"] == kind and is_recent


class CreditControl:
    """Asks the rule and has its wishes done; run :meth:`run` as a task."""

    def __init__(
        self,
        uow: UnitOfWork,
        clock: Clock,
        rule: CreditRule,
        *,
        drivers: Mapping[str, Driver],
        metrics: DeviceMetrics,
        bus: Bus,
    ) -> None:
        """Join the parts.

        Args:
            uow: the database.
            clock: our time.
            rule: from a rule pack.
            drivers: by key; what a meter cannot do is not asked of it.
            metrics: what is counted.
            bus: wakes this and whoever follows events.
        """
        self._uow = uow
        self._clock = clock
        self._rule = rule
        self._drivers = drivers
        self._metrics = metrics
        self._bus = bus

    async def run(self) -> None:
        """Look at meters whose credit may have changed, and at all at start-up and each minute."""
        loop = asyncio.get_running_loop()
        with self._bus.subscribe(CreditChanged) as wakes:
            while True:
                await self.sweep()
                next_sweep_s = loop.time() + SWEEP_EVERY_S
                while (left_s := next_sweep_s - loop.time()) > 0:
                    woken = await wakes.next(left_s)
                    meters = {wake.meter_id for wake in woken if isinstance(wake, CreditChanged)}
                    for meter_id in sorted(meters):
                        await self._apart(meter_id, self.evaluate_credit(meter_id))

    async def after_payment(self, meter_id: int) -> None:
        """Look at the meters of an account that was paid into.

        The payment stands whatever happens here; what fails is made good by the next sweep.
        """
        try:
            await self.evaluate_credit(meter_id)
        except SlotmeterError as error:
            _log.warning("credit of meter %s is looked at later: %s", meter_id, error.code)
            self._bus.publish(CreditChanged(meter_id))

    async def evaluate_credit(self, meter_id: int) -> None:
        """Look at a meter and at all others that draw on the same credit."""
        rows = await self._uow.read([Read("charging_meter", {"meter_id": meter_id}, "meter")])
        if not rows["meter"] or rows["meter"][0]["credit_mode"] != "platform":
            return
        utility_id = rows["meter"][0]["utility_id"]
        params = {"utility_id": utility_id, "meter_id": meter_id, "now_us": self._now_us()}
        found = await self._uow.read([Read("charging_siblings", params, "siblings")])
        for sibling in found["siblings"]:
            await self._evaluate(utility_id, sibling["id"])

    async def sweep(self) -> int:
        """Look at every meter that may need something; return at how many.

        What is wrong with one meter does not keep the others from being looked at.
        """
        found = await self._uow.read([Read("charging_utilities", {}, "utilities")])
        looked = 0
        for utility in found["utilities"]:
            policy = readable_policy(utility["policy"]) or Policy()
            after = 0
            while True:
                params = {
                    "utility_id": utility["id"],
                    "now_us": self._now_us(),
                    "low_credit_minor": policy.low_credit_minor,
                    "after": after,
                    "limit": SWEEP_METERS,
                }
                read = Read("charging_to_control", params, "meters")
                meters = (await self._uow.read([read]))["meters"]
                for meter in meters:
                    await self._apart(meter["id"], self._evaluate(utility["id"], meter["id"]))
                looked += len(meters)
                if len(meters) < SWEEP_METERS:
                    break
                after = meters[-1]["id"]
        return looked

    async def _apart(self, meter_id: int, look: Coroutine[Any, Any, object]) -> None:
        """Look at a meter for the task; its failure is logged and counted, and ends here.

        A database that does not answer is nobody's own failure: the task stops and tries later.
        """
        try:
            await look
        except Unavailable:
            raise
        except Exception:  # noqa: BLE001  the supervised loop: one meter must not stop the others
            self._metrics.credit_failures.inc()
            _log.exception("credit of meter %s cannot be looked at", meter_id)

    async def _evaluate(self, utility_id: int, meter_id: int) -> Wish:
        """Look at one meter; write only when the rule wants something."""
        now_us = self._now_us()
        of_meter = {"utility_id": utility_id, "meter_id": meter_id}
        reads = [
            *fact_reads(utility_id, meter_id, now_us),
            Read("control_pending", of_meter, "pending"),
            Read("control_last_cut", of_meter, "last_cut"),
            Read("control_last_refused", of_meter, "last_refused"),
        ]
        seen = credit_view(await self._uow.read(reads), now_us)
        if seen is None or self._rule(seen).wish is Wish.NOTHING:
            return Wish.NOTHING

        def decide(rows: Rows, new_id: NewId) -> Changes[tuple[Wish, Queued | None]]:
            return self._decide(rows, new_id, now_us)

        wish, queued = await self._uow.run(reads, decide)
        if queued is not None and queued.is_new:
            codes = [str(cause["code"]) for cause in causes_of(queued.command["hold"])]
            self._metrics.count_command(queued.command["state"], codes)
            self._bus.publish(CommandsChanged(queued.command["device_id"]))
        self._bus.publish(EventsRecorded())
        return wish

    def _decide(
        self, rows: Rows, new_id: NewId, now_us: int
    ) -> Changes[tuple[Wish, Queued | None]]:
        view = credit_view(rows, now_us)
        if view is None:
            return Changes((Wish.NOTHING, None))
        wish = self._rule(view)
        evaluation = _Evaluation(rows, view, wish, now_us, new_id)
        queued = None
        match wish.wish:
            case Wish.WARN:
                return Changes((wish.wish, None), evaluation.warn())
            case Wish.CUT if self._can(rows, cutting_kind(view.commodity)):
                queued = evaluation.cut()
            case Wish.RESTORE if self._can(rows, restoring_kind(view.commodity)):
                queued = evaluation.restore()
        return Changes((wish.wish, queued), queued.steps if queued is not None else ())

    def _can(self, rows: Rows, kind: CommandKind) -> bool:
        """Say whether the meter's driver knows a command; what it cannot do is not asked of it."""
        driver = self._drivers.get(rows["facts"][0]["driver"])
        return driver is not None and kind in driver.commands

    def _now_us(self) -> int:
        return epoch_us(self._clock.now())
