"""Campaigns: the keys of many meters changed, in steps that can be stopped and gone on with.

A campaign holds what its meters shall be coded with, and each meter's state. Every meter is a
change of its own (:mod:`slotmeter.services.key_changes`), made once: going on after a crash finds
the change that was made and only notes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from slotmeter.errors import NotFound, Refused, SlotmeterError, Unavailable
from slotmeter.ports import (
    Caller,
    Changes,
    Clock,
    Insert,
    NewId,
    Read,
    Right,
    Row,
    Rows,
    SqlValue,
    Step,
    UnitOfWork,
    Update,
)
from slotmeter.services.access import caller_act
from slotmeter.services.act_changes import changed
from slotmeter.services.campaign_terms import (
    HOWS,
    CampaignWish,
    Progress,
    Selection,
    check_wish,
    place_of,
)
from slotmeter.services.guarded_acts import check_reason, need_right
from slotmeter.services.key_change_plan import UNUSED_DAYS, KeyWish
from slotmeter.services.key_changes import KeyChanges
from slotmeter.services.queries import Page
from slotmeter.units import DAY_US, epoch_us
from slotmeter.vending.sts import check_drn

__all__ = ["BATCH_METERS", "Campaigns"]

BATCH_METERS: Final = 500
NOTHING_TO_DO: Final = "key_change_not_due"
FAR: Final = 2**62


class Campaigns:
    """The transaction boundary of campaigns."""

    def __init__(self, uow: UnitOfWork, clock: Clock, changes: KeyChanges) -> None:
        """Join the parts."""
        self._uow = uow
        self._clock = clock
        self._changes = changes

    async def begin(self, caller: Caller, wish: CampaignWish, reason: str) -> tuple[Row, bool]:
        """Begin a campaign; the same again is the same one.

        Returns:
            Its row, and whether this call made it.

        Raises:
            NotAllowed: ``right_missing``.
            NotFound: ``vending_key_unknown``.
            Conflict: ``campaign_exists``: with other facts.
            Refused: ``bad_code``, ``bad_how``, ``reason_missing``, ``reason_too_long``.
        """
        await self._need(caller, wish.code, reason)
        text, now_us = check_reason(reason), self._now_us()
        check_wish(wish, None)
        await self._changes.check_key(wish.key_id)

        def decide(rows: Rows, new_id: NewId) -> Changes[bool]:
            if rows["campaign"]:
                check_wish(wish, rows["campaign"][0])
                return Changes(result=False)
            row: dict[str, SqlValue] = {
                "id": new_id(),
                "utility_id": caller.principal.utility_id,
                "code": wish.code,
                "key_id": wish.key_id,
                "tariff_index": wish.tariff_index,
                "three_tokens": int(wish.three_tokens),
                "how": wish.how,
                "state": "open",
                "reason": text,
                "principal_id": caller.principal.id,
                "created_us": now_us,
                "closed_us": None,
            }
            facts = {"key": wish.key_id, "how": wish.how, "tariff_index": wish.tariff_index}
            data = changed(None, {"state": "open", **facts})
            act = self._act(caller, new_id, wish.code, "begin", text, data)
            return Changes(True, [Insert("key_campaign", row), act])

        made = await self._uow.run([self._read(caller, wish.code)], decide)
        return await self.campaign(caller, wish.code), made

    async def campaign(self, caller: Caller, code: str) -> Row:
        """Return a campaign.

        Raises:
            NotFound: ``campaign_unknown``.
        """
        found = (await self._uow.read([self._read(caller, code)]))["campaign"]
        if not found:
            raise NotFound("campaign_unknown", f"there is no campaign {code}")
        return found[0]

    async def campaigns(self, caller: Caller, *, before: int | None, limit: int) -> Page:
        """Return campaigns, the newest first."""
        params: dict[str, SqlValue] = {
            "utility_id": caller.principal.utility_id,
            "before": FAR if before is None else before,
            "limit": limit + 1,
        }
        rows = (await self._uow.read([Read("campaigns", params)]))["campaigns"]
        return Page(rows[:limit], rows[limit - 1]["id"] if len(rows) > limit else None)

    async def select(
        self, caller: Caller, code: str, selection: Selection, reason: str
    ) -> tuple[int, Sequence[str]]:
        """Add meters; those that are in it already stay as they are.

        Returns:
            How many were added, and which numbers are of no meter with a key.

        Raises:
            NotAllowed: ``right_missing``.
            NotFound: ``campaign_unknown``.
            Refused: ``campaign_closed``, a number that no meter can have.
        """
        await self._need(caller, code, reason)
        text = check_reason(reason)
        campaign = _open(await self.campaign(caller, code))
        if selection.numbers is not None:
            return await self._select_numbers(caller, campaign, selection.numbers, text)
        added, after = 0, 0
        while True:
            params: dict[str, SqlValue] = {
                "utility_id": campaign["utility_id"],
                "campaign_id": campaign["id"],
                "commodity": selection.commodity,
                "key_id": selection.key_id,
                "area": selection.like,
                "now_us": self._now_us(),
                "after": after,
                "limit": BATCH_METERS,
            }
            found = await self._uow.read([Read("campaign_candidates", params)])
            rows = found["campaign_candidates"]
            if not rows:
                return added, ()
            after = rows[-1]["id"]
            taken = [row["id"] for row in rows if selection.takes(row)]
            await self._add(caller, campaign, taken, text)
            added += len(taken)

    async def run(
        self, caller: Caller, code: str, *, limit: int = BATCH_METERS, again: bool = False
    ) -> Progress:
        """Do the next meters, and say how far the campaign is; call it until none is selected.

        A meter that refuses its change is noted with why and does not stop the others.

        Args:
            caller: who runs it.
            code: of the campaign.
            limit: at most so many meters.
            again: try those that failed once more.

        Raises:
            NotAllowed: ``right_missing``.
            NotFound: ``campaign_unknown``.
            Refused: ``campaign_closed``.
            Unavailable: the security module or the database; go on later.
        """
        await self._need(caller, code, "")
        campaign = _open(await self.campaign(caller, code))
        if again:
            params: dict[str, SqlValue] = {"of_campaign": campaign["id"], "to_problem": None}
            step = Update("campaign_again", params, rows=None)
            await self._uow.run([], lambda _rows, _new_id: Changes(None, [step]))
        for member in await self._members("campaign_waiting", campaign, after=0, limit=limit):
            await self._one(caller, campaign, member)
        return await self.progress(caller, code)

    async def progress(self, caller: Caller, code: str) -> Progress:
        """Say how many meters are where.

        Raises:
            NotFound: ``campaign_unknown``.
        """
        campaign = await self.campaign(caller, code)
        read = Read("campaign_progress", {"campaign_id": campaign["id"]}, "counts")
        counts: dict[str, int] = {}
        for row in (await self._uow.read([read]))["counts"]:
            name = place_of(row["state"], row["change_state"])
            counts[name] = counts.get(name, 0) + row["meters"]
        return Progress(**counts)

    async def members(
        self, caller: Caller, code: str, *, after: int = 0, limit: int = BATCH_METERS
    ) -> Page:
        """Return the meters of a campaign in the order in which they were added.

        Raises:
            NotFound: ``campaign_unknown``.
        """
        campaign = await self.campaign(caller, code)
        rows = await self._members("campaign_members", campaign, after=after, limit=limit + 1)
        return Page(rows[:limit], rows[limit - 1]["id"] if len(rows) > limit else None)

    async def unused(
        self, caller: Caller, code: str, *, after: int = 0, limit: int = BATCH_METERS
    ) -> Page:
        """Return recent tokens that no meter reported as used, oldest first: warn who bought them.

        Raises:
            NotFound: ``campaign_unknown``.
        """
        campaign = await self.campaign(caller, code)
        params: dict[str, SqlValue] = {
            "utility_id": campaign["utility_id"],
            "campaign_id": campaign["id"],
            "since_us": campaign["created_us"] - UNUSED_DAYS * DAY_US,
            "after": after,
            "limit": limit + 1,
        }
        rows = (await self._uow.read([Read("campaign_unused", params, "unused")]))["unused"]
        return Page(rows[:limit], rows[limit - 1]["id"] if len(rows) > limit else None)

    async def close(self, caller: Caller, code: str, reason: str) -> Row:
        """End a campaign: nothing more is made; what was made still waits for its proof.

        Raises:
            NotAllowed: ``right_missing``.
            NotFound: ``campaign_unknown``.
            Refused: ``campaign_closed``.
        """
        await self._need(caller, code, reason)
        text = check_reason(reason)
        campaign = _open(await self.campaign(caller, code))
        now_us = self._now_us()

        def decide(_rows: Rows, new_id: NewId) -> Changes[None]:
            data = changed({"state": "open"}, {"state": "closed"})
            act = self._act(caller, new_id, code, "close", text, data)
            params = {"of_campaign": campaign["id"], "at_us": now_us}
            return Changes(None, [Update("campaign_close", params), act])

        await self._uow.run([], decide)
        return await self.campaign(caller, code)

    # --- inside ---------------------------------------------------------------------------------

    async def _one(self, caller: Caller, campaign: Row, member: Row) -> None:
        wish = KeyWish(
            campaign["key_id"],
            campaign["tariff_index"],
            bool(campaign["three_tokens"]),
            with_sale=campaign["how"] == HOWS[1],
        )
        reason = f"campaign {campaign['code']}"
        state, problem, change_id = "made", None, None
        try:
            view, _ = await self._changes.make(
                caller, member["meter"], wish, reason, campaign_id=campaign["id"]
            )
            change_id = None if view is None else view.row["id"]
        except Unavailable:
            raise
        except SlotmeterError as error:
            state = "nothing_to_do" if error.code == NOTHING_TO_DO else "failed"
            problem = f"{error.code}: {error.message}"
        mark: dict[str, SqlValue] = {
            "of_member": member["id"],
            "to_state": state,
            "to_problem": problem,
            "to_change": change_id,
        }
        step = Update("campaign_mark", mark, rows=None)
        await self._uow.run([], lambda _rows, _new_id: Changes(None, [step]))

    async def _members(
        self, statement: str, campaign: Row, *, after: int, limit: int
    ) -> Sequence[Row]:
        params: dict[str, SqlValue] = {
            "utility_id": campaign["utility_id"],
            "campaign_id": campaign["id"],
            "now_us": self._now_us(),
            "after": after,
            "limit": limit,
        }
        return (await self._uow.read([Read(statement, params, "members")]))["members"]

    async def _select_numbers(
        self, caller: Caller, campaign: Row, numbers: Sequence[str], reason: str
    ) -> tuple[int, Sequence[str]]:
        unknown: list[str] = []
        added = 0
        for at in range(0, len(numbers), BATCH_METERS):
            taken: list[int] = []
            for number in dict.fromkeys(numbers[at : at + BATCH_METERS]):
                check_drn(number)
                params: dict[str, SqlValue] = {
                    "utility_id": campaign["utility_id"],
                    "campaign_id": campaign["id"],
                    "number": number,
                }
                found = (await self._uow.read([Read("campaign_meter", params)]))["campaign_meter"]
                if not found:
                    unknown.append(number)
                elif found[0]["member_id"] is None:
                    taken.append(found[0]["id"])
            await self._add(caller, campaign, taken, reason)
            added += len(taken)
        return added, unknown

    async def _add(
        self, caller: Caller, campaign: Row, meter_ids: Sequence[int], reason: str
    ) -> None:
        if not meter_ids:
            return

        def decide(_rows: Rows, new_id: NewId) -> Changes[None]:
            steps: list[Step] = [
                Insert("key_campaign_meter", _member(new_id(), campaign, meter_id))
                for meter_id in meter_ids
            ]
            data = {"meters": len(meter_ids)}
            act = self._act(caller, new_id, campaign["code"], "select", reason, data)
            return Changes(None, [*steps, act])

        await self._uow.run([], decide)

    def _read(self, caller: Caller, code: str) -> Read:
        params: dict[str, SqlValue] = {"utility_id": caller.principal.utility_id, "code": code}
        return Read("campaign_by_code", params, "campaign")

    def _act(
        self,
        caller: Caller,
        new_id: NewId,
        code: str,
        what: str,
        reason: str,
        data: dict[str, Any],
    ) -> Step:
        return caller_act(
            caller,
            new_id,
            self._now_us(),
            what=f"key.campaign.{what}",
            subject=f"campaign:{code}",
            reason=reason,
            data=data,
        )

    async def _need(self, caller: Caller, code: str, reason: str) -> None:
        await need_right(
            self._uow,
            self._clock,
            caller,
            Right.KEYS_CHANGE,
            what="key.campaign",
            subject=f"campaign:{code[:40]}",
            reason=reason,
        )

    def _now_us(self) -> int:
        return epoch_us(self._clock.now())


def _member(member_id: int, campaign: Row, meter_id: int) -> dict[str, SqlValue]:
    return {
        "id": member_id,
        "utility_id": campaign["utility_id"],
        "campaign_id": campaign["id"],
        "meter_id": meter_id,
        "state": "selected",
        "problem": None,
        "key_change_id": None,
        "printed_us": None,
    }


def _open(campaign: Row) -> Row:
    if campaign["state"] != "open":
        raise Refused("campaign_closed", f"campaign {campaign['code']} is closed")
    return campaign
