"""The durable queue as a medium sees it: what is due for a device, leased and encoded.

A poll that finds nothing due costs two reads and no commit: who was heard when is noted in memory
and written for many devices at once.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from slotmeter.devices.commands import CUTTING, RESTORING, CommandKind, CommandOut, CommandState
from slotmeter.devices.drivers import Driver
from slotmeter.errors import FrameError, Refused
from slotmeter.ports import (
    Changes,
    Clock,
    From,
    HandOut,
    NewId,
    Read,
    Row,
    Rows,
    Step,
    TokenSafe,
    UnitOfWork,
    Update,
)
from slotmeter.services.bus import Bus, EventsRecorded
from slotmeter.services.cell_limits import CellLimit, CellLimits
from slotmeter.services.command_rows import (
    LEASE_US,
    Cause,
    CommandCause,
    causes_of,
    change,
    confirmed_by,
    hold_text,
    states_safety,
)
from slotmeter.services.control import Verdict, may_cut
from slotmeter.services.cut_facts import NO_COMMAND, cut_facts, fact_reads
from slotmeter.services.delivery import Happening, delivery_steps
from slotmeter.services.events import Event, event_step
from slotmeter.services.metrics import DeviceMetrics
from slotmeter.services.node_commands import next_behind
from slotmeter.services.orders import would_cut
from slotmeter.services.parked_addresses import is_parked
from slotmeter.services.regate import apply_verdict
from slotmeter.units import MINUTE_US, SECOND_US, epoch_us

__all__ = ["CONTACT_EVERY_US", "TAKE_MAX", "CommandQueue", "Contacts"]

TAKE_MAX: Final = 16
"""At most this many commands go to a device at once."""

CONTACT_EVERY_US: Final = MINUTE_US
"""A device's last contact is written at most this often."""

CONTACTS_PER_UNIT_MAX: Final = 1_000

_log = logging.getLogger(__name__)


class Contacts:
    """When devices were last heard, written for many at once."""

    def __init__(self, uow: UnitOfWork) -> None:
        """Start with nobody heard."""
        self._uow = uow
        self._written_us: dict[int, int] = {}
        self._waiting: dict[int, int] = {}

    def heard(self, device_id: int, at_us: int) -> None:
        """Note that a device was heard; costs nothing until :meth:`flush`."""
        if at_us - self._written_us.get(device_id, 0) >= CONTACT_EVERY_US:
            self._waiting[device_id] = at_us

    async def flush(self) -> int:
        """Write what was noted in one unit; return for how many devices."""
        batch = dict(list(self._waiting.items())[:CONTACTS_PER_UNIT_MAX])
        if not batch:
            return 0
        steps = [
            Update("control_contact", {"of_device": device_id, "at_us": at_us}, rows=None)
            for device_id, at_us in batch.items()
        ]
        await self._uow.run([], lambda _rows, _new_id: Changes(None, steps))
        for device_id, at_us in batch.items():
            self._written_us[device_id] = at_us
            if self._waiting.get(device_id) == at_us:
                del self._waiting[device_id]
        return len(batch)


@dataclass(slots=True)
class _Taken:
    """What one visit to the queue did."""

    payload: bytes | None = None
    states: list[tuple[str, list[str]]] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    sent: list[CommandOut] = field(default_factory=list)


class CommandQueue:
    """Hands commands to one medium; see ``plugin_commands`` for all of ``ports.Commands``."""

    def __init__(
        self,
        medium: str,
        uow: UnitOfWork,
        clock: Clock,
        *,
        safe: TokenSafe,
        drivers: Mapping[str, Driver],
        contacts: Contacts,
        metrics: DeviceMetrics,
        bus: Bus,
    ) -> None:
        """Join the parts.

        Args:
            medium: key of the medium that this queue serves.
            uow: the database.
            clock: our time, also for leases.
            safe: opens tokens on their way to the meter.
            drivers: by key.
            contacts: where it is noted that a device was heard.
            metrics: what is counted.
            bus: wakes whoever follows events.
        """
        self._medium = medium
        self._uow = uow
        self._clock = clock
        self._safe = safe
        self._drivers = drivers
        self._contacts = contacts
        self._metrics = metrics
        self._bus = bus
        self._cells = CellLimits(None)

    def limit_cells(self, limit: CellLimit | None) -> None:
        """Bound what goes through each cell, gateway or concentrator; None: without limit.

        From then on each begins with nothing: what went before, perhaps before a restart, counts.
        """
        self._cells = CellLimits(limit, self._cells_us())

    async def take(self, address: str, *, limit: int = 1, cell: str = "") -> bytes | None:
        """Lease what is due for a device and return it encoded by its driver; see ``ports``."""
        handed = await self.hand_out(address, limit=limit, cell=cell)
        return None if handed is None else handed.payload

    async def hand_out(self, address: str, *, limit: int = 1, cell: str = "") -> HandOut | None:
        """Lease what is due for a device, with what went; see ``ports.Commands``.

        One message is in flight to a device at a time: while a command of an earlier one is
        neither answered nor given up, nothing is handed out. What is behind one node shares it, and
        only the node is given it.

        Args:
            address: of the device.
            limit: so many commands its meters take in one message.
            cell: what the device shares the air or the line with: a cell, gateway, concentrator.
        """
        return None if is_parked(address) else await self._hand_out(address, limit, cell)

    async def _hand_out(self, address: str, limit: int, cell: str) -> HandOut | None:
        now_us = epoch_us(self._clock.now())
        reads = self._reads(address, min(limit, TAKE_MAX), now_us)
        seen = await self._uow.read(reads)
        if not seen["device"]:
            return None
        device = seen["device"][0]
        self._contacts.heard(device["id"], now_us)
        if device["meter_id"] is None:
            behind = await next_behind(self._uow, device, now_us)
            return None if behind is None else await self._hand_out(behind, limit, cell)
        return await self._lease(seen, reads, cell, now_us) if seen["due"] else None

    async def _lease(
        self, seen: Rows, reads: Sequence[Read], cell: str, now_us: int
    ) -> HandOut | None:
        device = seen["device"][0]
        driver = self._drivers.get(device["driver"])
        if driver is None:
            self._metrics.commands_deferred.labels("driver_missing").inc()
            return None
        due = seen["due"]
        freely = sum(row["kind"] in RESTORING for row in due)
        # Taken before they go: whoever asks for another device meanwhile finds the room taken.
        room = self._cells.take(cell, freely, len(due) - freely, self._cells_us())
        if room == 0 and not freely:
            self._metrics.commands_deferred.labels("cell_limit").inc()
            return None
        cut_id = next((row["id"] for row in due if row["kind"] in CUTTING), NO_COMMAND)
        if cut_id != NO_COMMAND:
            of = (device["utility_id"], device["meter_id"])
            reads = [*reads, *fact_reads(*of, now_us, but_id=cut_id)]

        def decide(rows: Rows, new_id: NewId) -> Changes[_Taken]:
            told = {**rows, "due": _opened(_allowed(rows["due"], room), self._safe)}
            taken = _take(told, driver, cut_id, cell=cell, now_us=now_us, new_id=new_id)
            return Changes(taken, taken.steps)

        # When this raises, nobody knows whether anything went: what was taken stays taken.
        taken = await self._uow.run(reads, decide)
        if room is not None:
            self._cells.settle(cell, freely + room, len(taken.sent), self._cells_us())
        return self._handed(taken)

    def _handed(self, taken: _Taken) -> HandOut | None:
        """Tell of what was written, and return what goes."""
        for state, codes in taken.states:
            self._metrics.count_command(state, codes)
        if taken.states:
            self._bus.publish(EventsRecorded())
        if taken.payload is None:
            return None
        ids = tuple(command.id for command in taken.sent)
        return HandOut(taken.payload, ids, LEASE_US // SECOND_US)

    def _cells_us(self) -> int:
        """The clock of cells, which nobody sets."""
        return int(self._clock.monotonic_s() * SECOND_US)

    def _reads(self, address: str, limit: int, now_us: int) -> list[Read]:
        return [
            Read("control_device_at", {"medium": self._medium, "address": address}, "device"),
            Read(
                "control_due",
                {
                    "utility_id": From("device", "utility_id"),
                    "device_id": From("device", "id"),
                    "node_id": From("device", "node_id"),
                    "now_us": now_us,
                    "limit": limit,
                },
                "due",
            ),
        ]


def _allowed(due: Sequence[Row], room: int | None) -> Sequence[Row]:
    """Return what may go through a cell with room for so many more; giving back always may."""
    if room is None:
        return due
    giving = [row for row in due if row["kind"] in RESTORING]
    others = [row for row in due if row["kind"] not in RESTORING]
    return (*giving, *others[:room])


def _opened(due: Sequence[Row], safe: TokenSafe) -> list[Row]:
    """Return commands with the digits of their tokens in clear."""
    return [
        row
        if row["token_digits"] is None
        else row | {"token_digits": safe.open(row["token_digits"])}
        for row in map(dict, due)
    ]


def _take(
    rows: Rows, driver: Driver, cut_id: int, *, cell: str, now_us: int, new_id: NewId
) -> _Taken:
    taken = _Taken()
    for row in rows["due"]:
        kind = CommandKind(row["kind"])
        is_cut = kind in CUTTING
        tokenless = kind is CommandKind.LOAD_TOKEN and row["token_digits"] is None
        if kind not in driver.commands or tokenless or not _can_say(driver, _out(row, now_us)):
            cause = Cause("kind_unsupported", f"driver {driver.key} cannot carry {row['kind']}")
            _refuse(taken, row, cause, now_us=now_us, new_id=new_id)
        elif would_cut(row["text"], rows["device"][0]["credit_balance"]):
            # It had credit when this was asked; now it would cut, past the gate of cuts.
            cause = Cause("credit_mode_would_cut", "the meter has no credit left and would cut")
            _refuse(taken, row, cause, now_us=now_us, new_id=new_id)
        elif is_cut and row["id"] != cut_id:
            continue  # queued while we looked: its facts were not read, so it waits its turn
        elif not is_cut or _passes(taken, row, rows, now_us=now_us, new_id=new_id):
            _send(taken, row, cell=cell, now_us=now_us, new_id=new_id)
    if taken.sent:
        taken.payload = driver.encode(tuple(taken.sent))
    return taken


def _passes(taken: _Taken, row: Row, rows: Rows, *, now_us: int, new_id: NewId) -> bool:
    """Say whether a cut may still go, and bring it to where it belongs if not."""
    facts = cut_facts(
        rows,
        CommandCause(row["cause"]),
        now_us=now_us,
        confirmed=confirmed_by(row["hold"]) is not None,
        safety=states_safety(row["hold"]),
    )
    verdict = may_cut(facts)
    # What is due is queued: whatever it overtook ended when it was.
    after, steps = apply_verdict(row, verdict, pending=(), now_us=now_us, new_id=new_id)
    if verdict.verdict is Verdict.ALLOWED:
        return True
    taken.steps += steps
    codes = [str(cause["code"]) for cause in causes_of(after["hold"])]
    taken.states.append((after["state"], codes))
    return False


def _refuse(taken: _Taken, row: Row, cause: Cause, *, now_us: int, new_id: NewId) -> None:
    _, steps = change(
        row,
        CommandState.REFUSED,
        cause.text,
        now_us=now_us,
        new_id=new_id,
        hold=hold_text((cause,)),
    )
    taken.steps += steps
    taken.states.append((CommandState.REFUSED.value, []))
    taken.steps += sale_steps(row, Happening.GAVE_UP, cause.text, now_us=now_us, new_id=new_id)


def _send(taken: _Taken, row: Row, *, cell: str, now_us: int, new_id: NewId) -> None:
    attempt = row["attempts"] + 1
    _, steps = change(
        row,
        CommandState.SENT,
        f"handed to the medium, attempt {attempt}",
        now_us=now_us,
        new_id=new_id,
        attempts=attempt,
        lease_us=now_us + LEASE_US,
        sent_us=now_us,
        cell=cell or None,
    )
    taken.steps += steps
    taken.steps += sale_steps(row, Happening.SENT, "", now_us=now_us, new_id=new_id)
    taken.states.append((CommandState.SENT.value, []))
    taken.sent.append(_out(row, now_us))


def _out(row: Row, now_us: int) -> CommandOut:
    kind = CommandKind(row["kind"])
    token = row["token_digits"] if kind is CommandKind.LOAD_TOKEN else None
    # The time that a clock is set to is that of the moment in which it goes out.
    value = now_us // SECOND_US if kind is CommandKind.SET_CLOCK else row["value"]
    return CommandOut(row["id"], kind, token, value, row["text"], row["slot"])


def _can_say(driver: Driver, command: CommandOut) -> bool:
    """Say whether a driver has octets for a command: not every meter takes every value."""
    try:
        payload = driver.encode((command,))
        if command.slot is not None and driver.decode_command is not None:
            # Octets that do not say which meter is meant would switch another one.
            return [each.slot for each in driver.decode_command(payload)] == [command.slot]
    except (Refused, FrameError):
        return False
    except Exception as error:  # noqa: BLE001  a third party's code may fail in any way, each time
        # Not what it says: that may hold a token.
        _log.error(
            "driver %s fails to write %s: %s", driver.key, command.kind.value, type(error).__name__
        )
        return False
    return True


_TOLD: Final[Mapping[Happening, tuple[str, str, str]]] = {
    Happening.SENT: ("token_sent", "info", "is on its way to the meter"),
    Happening.ACCEPTED: ("token_accepted", "info", "was taken by the meter"),
    Happening.TYPED: ("token_accepted", "info", "was typed at the meter"),
    Happening.ALREADY_USED: ("token_already_used", "info", "had been used when it was delivered"),
    Happening.PROVEN: ("token_verified", "info", "is in the meter's credit"),
    Happening.GAVE_UP: ("token_not_delivered", "warning", "was not delivered"),
}


def sale_steps(
    row: Row, happening: Happening, detail: str, *, now_us: int, new_id: NewId
) -> Sequence[Step]:
    """Return what a happening to a token does to its sale, with the event; nothing without one.

    Args:
        row: with ``utility_id``, ``meter_id``, ``sale_row_id``, ``sale_delivery``,
            ``sale_principal_id`` and ``sale_receipt_number``.
        happening: what happened.
        detail: further words for the event.
        now_us: our clock.
        new_id: the unit's source of ids.
    """
    if row["sale_row_id"] is None or row["sale_delivery"] is None:
        return ()  # free units beside a paid token: that one tells how the delivery goes
    state, steps = delivery_steps(
        row["utility_id"], row["sale_row_id"], row["sale_delivery"], happening, now_us=now_us
    )
    if happening is Happening.SENT and state.value == row["sale_delivery"]:
        return ()  # sent again, or typed meanwhile: nothing new for its seller
    kind, severity, words = _TOLD[happening]
    event = Event(
        utility_id=row["utility_id"],
        at_us=now_us,
        kind=kind,
        severity=severity,
        text=f"The token of sale {row['sale_receipt_number']} {words}"
        + (f": {detail}" if detail else ""),
        meter_id=row["meter_id"],
        principal_id=row["sale_principal_id"],
        data={"receipt_number": row["sale_receipt_number"], "delivery": state.value},
    )
    return (*steps, event_step(event, new_id))
