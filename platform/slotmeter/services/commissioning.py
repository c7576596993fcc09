"""Commissioning: a worker scans or types a serial number, and the meter is there.

A device that nobody registered is heard all the same: a sample of its frames waits in quarantine.
A claim says which meter it is. When its device was heard already, it is registered at once with the
driver that reads its frames, and what waited takes effect; otherwise the claim waits, and the first
contact does it (:class:`CommissioningWatch`). Nobody types a key.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from slotmeter.devices.drivers import Driver
from slotmeter.errors import Conflict, NotFound, Refused
from slotmeter.ports import (
    Caller,
    Changes,
    Clock,
    NewId,
    Principal,
    Read,
    Row,
    Rows,
    SqlValue,
    UnitOfWork,
)
from slotmeter.services.access import Origin, act_row
from slotmeter.services.bus import Bus, EventsRecorded, FrameLogged
from slotmeter.services.commissioning_match import (
    CLAIM_STATES,
    Claim,
    Problem,
    Stranger,
    StrangerIndex,
    heard_of,
    match,
    strangers_of,
)
from slotmeter.services.commissioning_rows import (
    KIND,
    Wish,
    check_wish,
    claim_read,
    claim_step,
    claims_of,
    meter_numbers,
    meter_read,
    register_steps,
    registered_claim,
)
from slotmeter.services.driver_recognition import Heard
from slotmeter.services.guarded_acts import check_reason
from slotmeter.services.list_pages import ID_MAX, cut
from slotmeter.units import Commodity, epoch_us

__all__ = [
    "STRANGER_FRAMES_MAX",
    "WATCH_EVERY_S",
    "ClaimsPage",
    "Commissioning",
    "CommissioningWatch",
    "Wish",
]

STRANGER_FRAMES_MAX: Final = 2_000
"""So many of the newest frames of strangers are looked through; admission keeps 300 an hour."""

CLAIMS_AT_ONCE: Final = 1_000
"""Open claims are gone through in pages of so many, the newest first."""

FRAMES_TAKEN_MAX: Final = 50
"""So many waiting frames of a device take effect: the newest of them."""

WATCH_EVERY_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class ClaimsPage:
    """Claims, the newest first, and where the next page begins."""

    rows: Sequence[Claim]
    next: int | None


class Commissioning:
    """The transaction boundary of commissioning."""

    def __init__(
        self, uow: UnitOfWork, clock: Clock, *, drivers: Mapping[str, Driver], bus: Bus
    ) -> None:
        """Join the parts."""
        self._uow = uow
        self._clock = clock
        self._drivers = drivers
        self._bus = bus

    # --- looking --------------------------------------------------------------------------------

    async def strangers(self) -> Sequence[Stranger]:
        """Return devices that were heard and nobody registered, the newest first."""
        return strangers_of(await self._frames(), self._drivers)

    async def claims(
        self, utility_id: int, *, state: str | None = None, before: int | None, limit: int
    ) -> ClaimsPage:
        """Return claims, the newest first.

        Raises:
            Refused: ``state_unknown``.
        """
        if state is not None and state not in CLAIM_STATES:
            raise Refused(
                "state_unknown", f"expected one of {', '.join(CLAIM_STATES)}, got {state[:32]!r}"
            )
        start = ID_MAX if before is None else before
        params: dict[str, SqlValue] = {**KIND, "before": start, "limit": limit + 1}
        of = str(utility_id)
        read = Read("commissioning_claims", {**params, "utility": of}, "claims")
        if state is not None:
            read = Read(
                "commissioning_claims_in", {**params, "utility_state": f"{of}:{state}"}, "claims"
            )
        page, following = cut(
            (await self._uow.read([read]))["claims"], limit, lambda row: int(row["id"])
        )
        return ClaimsPage([claim for _, claim in claims_of(page)], following)

    async def counts(self, principal: Principal) -> Mapping[str, int]:
        """Return how many claims are in each state."""
        params: dict[str, SqlValue] = {**KIND, "utility": str(principal.utility_id)}
        rows = await self._uow.read([Read("commissioning_counts", params, "counts")])
        found = {row["i1"].partition(":")[2]: int(row["count"]) for row in rows["counts"]}
        return {state: found.get(state, 0) for state in CLAIM_STATES}

    async def claim_of(self, principal: Principal, number: str) -> Claim:
        """Return the claim of a meter.

        Raises:
            NotFound: ``claim_unknown``.
        """
        claim = await self._known(principal.utility_id, number)
        if claim is None:
            raise NotFound("claim_unknown", f"nobody has scanned meter {number[:64]}")
        return claim

    # --- scanning -------------------------------------------------------------------------------

    async def index(self) -> StrangerIndex:
        """Return who was heard, for claims that are made one after another."""
        return StrangerIndex(await self._frames(), self._drivers)

    async def check(self, principal: Principal, wish: Wish) -> Row:
        """Refuse what cannot be claimed; return the meter that is meant.

        Raises:
            NotFound: ``meter_unknown``, ``driver_unknown``.
            Conflict: ``meter_removed``, ``several_meters``.
            Refused: ``scan_malformed``, ``field_malformed``, ``wrong_driver``, ``wrong_medium``.
        """
        check_wish(wish)
        meter = await self._meter(principal.utility_id, wish)
        self._check_driver(wish, meter)
        return meter

    async def claim(
        self, caller: Caller, wish: Wish, *, reason: str, heard: StrangerIndex | None = None
    ) -> tuple[Claim, bool]:
        """Say which meter hangs here; return its claim, and whether it is a new one.

        The same label again is the same claim: what was chosen in addition is noted, and it is
        tried once more.

        Args:
            caller: who scanned it.
            wish: what the label says.
            reason: why.
            heard: who was heard, if many are claimed one after another.

        Raises:
            Conflict: ``meter_has_device``.
            Refused: ``reason_missing``, ``reason_too_long``.
            SlotmeterError: what :meth:`check` says.
        """
        why, utility_id = check_reason(reason), caller.principal.utility_id
        meter = await self.check(caller.principal, wish)
        known = await self._known(utility_id, meter["number"])
        claim = self._new_claim(caller, wish, meter, why, known)
        if meter["device_id"] is not None:
            return registered_claim(wish, meter, known, claim), False
        await self._keep(caller, claim, what="meter.claim", reason=why)
        found = await self._try(utility_id, claim, heard or await self.index())
        return found or claim, known is None

    async def withdraw(self, caller: Caller, number: str, *, reason: str) -> Claim:
        """Look for a meter no longer.

        Raises:
            NotFound: ``claim_unknown``.
            Conflict: ``claim_done``.
            Refused: ``reason_missing``, ``reason_too_long``.
        """
        why = check_reason(reason)
        claim = await self.claim_of(caller.principal, number)
        if claim.state == "done":
            raise Conflict("claim_done", f"meter {number} is commissioned: nothing waits for it")
        given_up = replace(claim, state="withdrawn", problem=None)
        await self._keep(caller, given_up, what="meter.claim_withdraw", reason=why)
        return given_up

    # --- looking for what was claimed -----------------------------------------------------------

    async def look(self, after: int) -> tuple[int, int]:
        """Try all open claims against what strangers have sent since.

        Args:
            after: the newest frame that was looked at; 0 for none.

        Returns:
            The newest frame now, and how many meters were commissioned.
        """
        params: dict[str, SqlValue] = {"after": after, "limit": STRANGER_FRAMES_MAX}
        read = Read("commissioning_strangers_after", params, "frames")
        new = heard_of((await self._uow.read([read]))["frames"])
        if not new:
            return after, 0
        newest = max(frame.frame_id for frame in new)
        speakers = {(frame.medium, frame.address) for frame in new}
        index: StrangerIndex | None = None
        done, before = 0, ID_MAX
        while claims := await self._open_claims(before):
            if index is None:
                known = await self._frames()
                frames = [frame for frame in known if (frame.medium, frame.address) in speakers]
                index = StrangerIndex(frames, self._drivers)
            for utility_id, claim in claims_of(claims):
                tried = await self._try(utility_id, claim, index)
                done += tried is not None and tried.state == "done"
            before = claims[-1]["id"]
        return newest, done

    async def _open_claims(self, before: int) -> Sequence[Row]:
        params: dict[str, SqlValue] = {**KIND, "before": before, "limit": CLAIMS_AT_ONCE}
        return (await self._uow.read([Read("commissioning_waiting", params, "claims")]))["claims"]

    async def _frames(self) -> list[Heard]:
        read = Read("commissioning_strangers", {"limit": STRANGER_FRAMES_MAX}, "frames")
        return heard_of((await self._uow.read([read]))["frames"])

    async def _try(self, utility_id: int, claim: Claim, heard: StrangerIndex) -> Claim | None:
        """Register the device of a claim if it is clear; return what the claim is now.

        None when its device was not heard, or somebody else was faster.
        """
        found = match(claim, heard.frames_for(claim), self._drivers)
        if isinstance(found, Problem):
            unclear = replace(claim, state="unclear", problem=found)
            await self._note(utility_id, claim, unclear)
            return unclear
        now_us = epoch_us(self._clock.now())
        if found is not None:
            return await self._register(utility_id, claim, found.done(claim, now_us), found.frames)
        if claim.is_whole:
            known = replace(claim, state="done", problem=None, done_us=now_us)
            return await self._register(utility_id, claim, known, ())
        return None

    # --- writing --------------------------------------------------------------------------------

    async def _register(
        self, utility_id: int, before: Claim, done: Claim, frames: Sequence[Heard]
    ) -> Claim | None:
        """Register a device with what it sent so far; None when somebody was faster."""
        taken = sorted(frames[:FRAMES_TAKEN_MAX], key=lambda frame: frame.frame_id)

        def decide(rows: Rows, new_id: NewId) -> Changes[list[int] | None]:
            meter = rows["meter"]
            if not _is_still(before, rows) or not meter or rows["device"]:
                return Changes(None)
            if meter[0]["device_id"] is not None:
                return Changes(None)
            copies = [(frame, new_id()) for frame in taken]
            steps = register_steps(utility_id, meter[0], done, copies, rows, new_id)
            return Changes([frame_id for _, frame_id in copies], steps)

        at = {"medium": done.medium, "address": done.address}
        reads = [
            meter_read(utility_id, done.meter),
            claim_read(utility_id, done.meter),
            Read("registry_device", at, "device"),
        ]
        try:
            logged = await self._uow.run(reads, decide)
        except Conflict:
            return None
        if logged is None:
            return None
        for frame_id in logged:
            self._bus.publish(FrameLogged(frame_id))
        self._bus.publish(EventsRecorded())
        return done

    async def _keep(self, caller: Caller, claim: Claim, *, what: str, reason: str) -> None:
        utility_id, now_us = caller.principal.utility_id, epoch_us(self._clock.now())
        data = {"scan": claim.scan, "address": claim.address, "driver": claim.driver}

        def decide(rows: Rows, new_id: NewId) -> Changes[None]:
            act = act_row(
                new_id,
                Origin.of(caller),
                utility_id,
                now_us,
                what=what,
                subject=claim.meter,
                reason=reason,
                data=data,
            )
            return Changes(None, [claim_step(utility_id, claim, now_us, rows, new_id), act])

        await self._uow.run([claim_read(utility_id, claim.meter)], decide)

    async def _note(self, utility_id: int, before: Claim, after: Claim) -> None:
        """Write what a claim is now, unless somebody changed it meanwhile."""
        now_us = epoch_us(self._clock.now())

        def decide(rows: Rows, new_id: NewId) -> Changes[None]:
            if not _is_still(before, rows):
                return Changes(None)
            return Changes(None, [claim_step(utility_id, after, now_us, rows, new_id)])

        if after != before:
            await self._uow.run([claim_read(utility_id, before.meter)], decide)

    # --- what is scanned ------------------------------------------------------------------------

    async def _known(self, utility_id: int, number: str) -> Claim | None:
        rows = (await self._uow.read([claim_read(utility_id, number)]))["record"]
        return Claim.of_body(rows[0]["body"]) if rows else None

    async def _meter(self, utility_id: int, wish: Wish) -> Row:
        """Return the meter that a label names."""
        numbers = [wish.meter] if wish.meter else meter_numbers(wish.scan)
        rows = await self._uow.read([meter_read(utility_id, each, each) for each in numbers])
        found = [row for number in numbers for row in rows[number]]
        if not found:
            raise NotFound(
                "meter_unknown",
                f"no meter of this utility has a number that is on the label {wish.scan[:64]!r}; "
                "bring it in with a meter file, or say which meter it is",
                field="scan" if wish.meter is None else "meter",
            )
        if len(found) > 1:
            shown = ", ".join(row["number"] for row in found)
            raise Conflict(
                "several_meters", f"the label names several meters, {shown}: say which it is"
            )
        if found[0]["state"] == "removed":
            raise Conflict("meter_removed", f"meter {found[0]['number']} was taken out of use")
        return found[0]

    def _check_driver(self, wish: Wish, meter: Row) -> None:
        if wish.driver is None:
            return
        driver = self._drivers.get(wish.driver)
        if driver is None:
            known = ", ".join(sorted(self._drivers)) or "none"
            raise NotFound(
                "driver_unknown",
                f"no driver {wish.driver[:64]} is installed; there are {known}",
                field="driver",
            )
        if Commodity(meter["commodity"]) not in driver.commodities:
            raise Refused(
                "wrong_driver",
                f"driver {driver.key} does not meter {meter['commodity']}",
                field="driver",
            )
        if wish.medium is not None and not driver.carried_by(wish.medium):
            raise Refused(
                "wrong_medium",
                f"driver {driver.key} does not speak over {wish.medium[:64]}",
                field="medium",
            )

    def _new_claim(
        self, caller: Caller, wish: Wish, meter: Row, why: str, known: Claim | None
    ) -> Claim:
        before = known if known is not None and known.is_open else None
        driver = wish.driver or (before.driver if before else None)
        address = wish.address or (before.address if before else None)
        medium = wish.medium or (before.medium if before else None)
        if medium is None and address is not None and driver is not None:
            medium = self._drivers[driver].medium if driver in self._drivers else None
        return Claim(
            meter=meter["number"],
            commodity=meter["commodity"],
            scan=wish.scan.strip(),
            state="waiting",
            principal_id=caller.principal.id,
            by=caller.principal.name,
            by_address=caller.address,
            by_request=caller.request_id,
            by_key_id=caller.api_key_id,
            reason=why,
            at_us=epoch_us(self._clock.now()) if before is None else before.at_us,
            medium=medium,
            address=address,
            driver=driver,
        )


def _is_still(claim: Claim, rows: Rows) -> bool:
    """Say whether nobody has changed a claim since it was looked at."""
    record = rows["record"]
    return bool(record) and Claim.of_body(record[0]["body"]) == claim


class CommissioningWatch:
    """Gives devices that are heard to the claims that wait for them; run :meth:`run` as a task."""

    def __init__(self, commissioning: Commissioning) -> None:
        """Start with nothing looked at."""
        self._commissioning = commissioning
        self._after = 0

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await self.step()
            await asyncio.sleep(WATCH_EVERY_S)

    async def step(self) -> int:
        """Look at what strangers sent since the last time; return how many meters were found."""
        self._after, done = await self._commissioning.look(self._after)
        return done
