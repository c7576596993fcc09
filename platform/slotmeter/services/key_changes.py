"""Changing the key that one meter is coded with (IEC 62055-41): made, delivered, proven or undone.

From the moment a set is made, tokens for the meter are made under the new key, and every receipt
lists the set first. The meter's stored key moves when the change is proven: by the meter's report,
or by a person's word.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Final

from slotmeter.errors import Conflict, Refused
from slotmeter.ports import (
    Caller,
    Changes,
    Clock,
    From,
    Insert,
    NewId,
    Read,
    Right,
    Row,
    Rows,
    SecurityModule,
    SqlValue,
    Step,
    TokenSafe,
    UnitOfWork,
)
from slotmeter.services.access import Origin, act_row, caller_act
from slotmeter.services.act_changes import changed
from slotmeter.services.guarded_acts import check_reason, need_right
from slotmeter.services.key_change_plan import (
    ChangeView,
    KeyPlan,
    KeyWish,
    SetToken,
    check_new_key,
    check_same,
    codable,
    found_change,
    meter_reads,
    open_change,
)
from slotmeter.services.key_change_steps import (
    NewChange,
    deliver_steps,
    end_steps,
    want_step,
)
from slotmeter.services.key_wanted import Coding, Wanted, parameters_under, wanted_of
from slotmeter.services.queries import Page
from slotmeter.services.tid_allocator import stored_parameters
from slotmeter.services.training import check_training_key
from slotmeter.units import epoch_us
from slotmeter.vending.sts import (
    KeyParameters,
    minute_1993_of_us,
)

__all__ = ["KeyChanges"]

LIST_MAX: Final = 500
WITH_SALE: Final = "with_sale"


class KeyChanges:
    """The transaction boundary of key changes."""

    def __init__(
        self,
        uow: UnitOfWork,
        security: SecurityModule,
        safe: TokenSafe,
        clock: Clock,
        *,
        on_queued: Callable[[int], None] = lambda _device_id: None,
    ) -> None:
        """Join the parts.

        Args:
            uow: the database.
            security: holds the vending keys.
            safe: seals the digits.
            clock: stamps everything.
            on_queued: called with a device's id when commands for it were queued.
        """
        self._uow = uow
        self._security = security
        self._safe = safe
        self._clock = clock
        self._on_queued = on_queued

    async def plan(self, caller: Caller, meter: str, wish: KeyWish) -> KeyPlan:
        """Say what a change would do, and write nothing.

        Raises:
            NotFound: ``meter_unknown``, ``vending_key_unknown``.
            Refused: what :meth:`make` would refuse.
        """
        now_us = self._now_us()
        utility_id = caller.principal.utility_id
        rows = await self._uow.read(meter_reads(utility_id, meter, now_us))
        row = codable(rows, meter)
        current = stored_parameters(row["parameters"])
        training = caller.principal.training
        key_id = wish.key_id or await self._key_of_group(utility_id, current) or row["key_id"]
        check_training_key(key_id, training=training)
        info = await self._security.describe(key_id)
        new = parameters_under(current, info, tariff_index=wish.tariff_index)
        check_new_key(current, new, row["key_id"] == key_id, wish, minute_1993_of_us(now_us))
        return KeyPlan(row, current, Coding(key_id, new), rows["unused"])

    async def check_key(self, key_id: str) -> None:
        """Refuse a vending key that the security module does not hold.

        Raises:
            NotFound: ``vending_key_unknown``.
        """
        await self._security.describe(key_id)

    async def make(
        self, caller: Caller, meter: str, wish: KeyWish, reason: str, *, campaign_id: int = 0
    ) -> tuple[ChangeView | None, bool]:
        """Make the set for one meter, or let its next sale make it.

        The same wish again is the same change. Tokens go to a meter within reach at once.

        Returns:
            The change, None when the next sale makes it; and whether this call began it.

        Raises:
            NotAllowed: ``right_missing``.
            NotFound: ``meter_unknown``, ``vending_key_unknown``.
            Conflict: ``key_change_open``: another change of this meter is not ended.
            Refused: ``meter_without_key``, ``meter_removed``, ``key_change_not_due``,
                ``key_expired`` and others of the new key, ``key_type_not_allowed``,
                ``three_tokens_are_for_ea07``.
        """
        await self._need(caller, "key.change", f"meter:{meter}", reason)
        text = check_reason(reason)
        plan = await self._plan_or_open(caller, meter, wish)
        if isinstance(plan, ChangeView):
            return plan, False
        sealed = []
        if not wish.with_sale:
            made = await self._security.change_key(
                (plan.meter["key_id"], plan.current),
                (plan.coding.key_id, plan.coding.parameters),
                three_tokens=wish.three_tokens,
            )
            sealed = [self._safe.seal(token.digits) for token in made]
        now_us = self._now_us()
        wanted = Wanted(plan.coding, wish.three_tokens, 0, text, caller.principal.id, campaign_id)

        def decide(rows: Rows, new_id: NewId) -> Changes[int]:
            row = codable(rows, meter)
            check_same(row, plan.meter)
            act = _act(caller, new_id, now_us, meter, text, plan, wish)
            if wish.with_sale:
                return Changes(0, [want_step(row, wanted), act])
            unused = [token["id"] for token in rows["unused"]]
            change = NewChange(new_id(), row, wanted, now_us, unused)
            tokens = change.token_rows(new_id, digits=sealed)
            steps: list[Step] = [
                *change.steps(),
                *(Insert("token", token) for token in tokens),
                *change.link_steps(tokens, new_id),
                *deliver_steps(
                    row,
                    [token["id"] for token in tokens],
                    f"key change {change.id}",
                    pending=rows["pending"],
                    principal_id=caller.principal.id,
                    now_us=now_us,
                    new_id=new_id,
                ),
                act,
            ]
            return Changes(change.id, steps)

        reads = meter_reads(caller.principal.utility_id, meter, now_us)
        change_id = await self._uow.run(reads, decide)
        if not change_id:
            return None, True
        self._wake(plan.meter)
        return await self.show(caller, change_id), True

    async def _plan_or_open(
        self, caller: Caller, meter: str, wish: KeyWish
    ) -> KeyPlan | ChangeView:
        """Return the plan of a change, or the open change that wishes the same."""
        plan = await self.plan(caller, meter, wish)
        wanted = wanted_of(plan.meter["wanted"])
        if wanted is None or not wanted.is_made:
            return plan
        same = wanted.coding == plan.coding and wanted.three_tokens == wish.three_tokens
        if not same:
            raise Conflict(
                "key_change_open",
                f"meter {meter} waits for the proof of another key change; end that one first",
                field="meter",
                details={"key_change": wanted.change_id},
            )
        return await self.show(caller, wanted.change_id)

    async def show(self, caller: Caller, change_id: int) -> ChangeView:
        """Return a change with its tokens in clear.

        Raises:
            NotFound: ``key_change_unknown``.
        """
        utility_id = caller.principal.utility_id
        of_change: dict[str, SqlValue] = {"change_id": change_id}
        rows = await self._uow.read(
            [
                Read("key_change_by_id", {"utility_id": utility_id, "id": change_id}, "change"),
                Read("key_change_tokens", of_change, "tokens"),
                Read("key_change_commands", of_change, "commands"),
                Read("key_replacements", of_change, "replaced"),
            ]
        )
        row = found_change(rows["change"])
        unused = [await self._old_token(utility_id, each) for each in json.loads(row["unused"])]
        commands = {each["token_id"]: each["state"] for each in rows["commands"]}
        tokens = [
            SetToken(
                token["place"],
                json.loads(token["request"])["subclass"],
                self._safe.open(token["digits"]),
                token["state"],
                commands.get(token["id"]),
            )
            for token in rows["tokens"]
            if token["digits"] is not None
        ]
        return ChangeView(row, tokens, [token for token in unused if token is not None])

    async def changes(
        self,
        caller: Caller,
        *,
        state: str | None = None,
        meter: str | None = None,
        before: int | None = None,
        limit: int = LIST_MAX,
    ) -> Page:
        """Return changes, the newest first, without their tokens."""
        params: dict[str, SqlValue] = {
            "utility_id": caller.principal.utility_id,
            "state": state,
            "number": meter,
            "before": 2**62 if before is None else before,
            "limit": limit + 1,
        }
        rows = (await self._uow.read([Read("key_changes", params)]))["key_changes"]
        if len(rows) <= limit:
            return Page(rows, None)
        return Page(rows[:limit], rows[limit - 1]["id"])

    async def declare(self, caller: Caller, change_id: int, reason: str) -> ChangeView:
        """Take a person's word that the meter has its new key: the stored key moves.

        Raises:
            NotAllowed: ``right_missing``.
            NotFound: ``key_change_unknown``.
            Refused: ``key_change_ended``, ``reason_missing``, ``reason_too_long``.
        """
        return await self._end(caller, change_id, "proven", "declared", reason)

    async def cancel(self, caller: Caller, change_id: int, reason: str) -> ChangeView:
        """Undo a change that no meter took: the stored key stays.

        Raises:
            NotAllowed: ``right_missing``.
            NotFound: ``key_change_unknown``.
            Refused: ``key_change_ended``; ``sold_under_new_key``: tokens were sold that need it.
        """
        return await self._end(caller, change_id, "cancelled", None, reason)

    async def wish(self, caller: Caller, meter: str) -> Row:
        """Return a meter whose next sale will make its set.

        Raises:
            NotFound: ``meter_unknown``.
            Refused: ``nothing_wanted``.
        """
        reads = meter_reads(caller.principal.utility_id, meter, self._now_us())
        row = codable(await self._uow.read(reads), meter)
        if row["wanted"] is None:
            raise Refused("nothing_wanted", f"no change is asked for at meter {meter}")
        return row

    async def forget_wish(self, caller: Caller, meter: str, reason: str) -> None:
        """Let the next sale of a meter make no set, where none was made yet.

        Raises:
            NotAllowed: ``right_missing``.
            NotFound: ``meter_unknown``.
            Refused: ``nothing_wanted``; ``key_change_open``: the set was made.
        """
        await self._need(caller, "key.change", f"meter:{meter}", reason)
        text, now_us = check_reason(reason), self._now_us()
        utility_id = caller.principal.utility_id

        def decide(rows: Rows, new_id: NewId) -> Changes[None]:
            row = codable(rows, meter)
            wanted = wanted_of(row["wanted"])
            if wanted is None:
                raise Refused("nothing_wanted", f"no change is asked for at meter {meter}")
            if wanted.is_made:
                raise Refused("key_change_open", "the set was made; cancel that change")
            act = act_row(
                new_id,
                Origin.of(caller),
                utility_id,
                now_us,
                what="key.change.forget",
                subject=f"meter:{meter}",
                reason=text,
                data={"before": json.loads(row["wanted"]), "after": None},
            )
            return Changes(None, [want_step(row, None), act])

        await self._uow.run(meter_reads(utility_id, meter, now_us), decide)

    async def send(self, caller: Caller, change_id: int, reason: str) -> ChangeView:
        """Queue the set of an open change to its meter once more.

        Raises:
            NotAllowed: ``right_missing``.
            NotFound: ``key_change_unknown``.
            Refused: ``key_change_ended``, ``meter_not_connected``, ``key_change_not_made``.
        """
        await self._need(caller, "key.change.send", f"key_change:{change_id}", reason)
        text, now_us = check_reason(reason), self._now_us()

        def decide(rows: Rows, new_id: NewId) -> Changes[Row]:
            row = open_change(rows["change"])
            token_ids = [each["id"] for each in rows["tokens"] if each["digits"] is not None]
            if row["device_id"] is None:
                raise Refused("meter_not_connected", "the meter is not reached by any medium")
            if not token_ids:
                raise Refused("key_change_not_made", "the sale that makes the set is not complete")
            meter = {**row, "id": row["meter_id"]}
            steps = deliver_steps(
                meter,
                token_ids,
                f"key change {change_id}",
                pending=rows["pending"],
                principal_id=caller.principal.id,
                now_us=now_us,
                new_id=new_id,
            )
            act = self._act_on(caller, new_id, now_us, row, "key.change.send", text, {})
            return Changes(row, [*steps, act])

        row = await self._uow.run(self._change_reads(caller, change_id), decide)
        self._wake(row)
        return await self.show(caller, change_id)

    # --- inside ---------------------------------------------------------------------------------

    async def _end(
        self, caller: Caller, change_id: int, state: str, proof: str | None, reason: str
    ) -> ChangeView:
        what = "key.change.declare" if proof else "key.change.cancel"
        await self._need(caller, what, f"key_change:{change_id}", reason)
        text, now_us = check_reason(reason), self._now_us()

        def decide(rows: Rows, new_id: NewId) -> Changes[None]:
            row = open_change(rows["change"])
            if proof is None and rows["sold"][0]["tokens"]:
                raise Refused(
                    "sold_under_new_key",
                    f"{rows['sold'][0]['tokens']} tokens were made under the new key, which the "
                    "meter needs for them; let the meter take the set",
                )
            steps = end_steps(
                row,
                state,
                proof=proof,
                reason=text,
                principal_id=caller.principal.id,
                now_us=now_us,
                new_id=new_id,
            )
            data = changed({"state": "open", "proof": None}, {"state": state, "proof": proof})
            return Changes(
                None, [*steps, self._act_on(caller, new_id, now_us, row, what, text, data)]
            )

        await self._uow.run(self._change_reads(caller, change_id), decide)
        return await self.show(caller, change_id)

    def _change_reads(self, caller: Caller, change_id: int) -> list[Read]:
        utility_id = caller.principal.utility_id
        of_meter: dict[str, SqlValue | From] = {
            "utility_id": utility_id,
            "meter_id": From("change", "meter_id"),
        }
        sold: dict[str, SqlValue | From] = {
            **of_meter,
            "parameters": From("change", "to_parameters"),
            "since_us": From("change", "created_us"),
        }
        return [
            Read("key_change_by_id", {"utility_id": utility_id, "id": change_id}, "change"),
            Read("key_change_tokens", {"change_id": change_id}, "tokens"),
            Read("control_pending", of_meter, "pending"),
            Read("key_sold_under", sold, "sold"),
        ]

    def _act_on(
        self,
        caller: Caller,
        new_id: NewId,
        now_us: int,
        row: Row,
        what: str,
        reason: str,
        data: Mapping[str, object],
    ) -> Step:
        return caller_act(
            caller,
            new_id,
            now_us,
            what=what,
            subject=f"meter:{row['meter']}",
            reason=reason,
            data={"key_change": row["id"], **data},
        )

    async def _old_token(self, utility_id: int, token_id: int) -> Row | None:
        params = {"utility_id": utility_id, "id": token_id}
        found = (await self._uow.read([Read("key_old_token", params)]))["key_old_token"]
        return found[0] if found else None

    async def _key_of_group(self, utility_id: int, current: KeyParameters) -> str | None:
        params: dict[str, SqlValue] = {"utility_id": utility_id, "sgc": current.sgc}
        found = (await self._uow.read([Read("key_of_group", params)]))["key_of_group"]
        name: str | None = found[0]["key_name"] if found else None
        return name

    async def _need(self, caller: Caller, what: str, subject: str, reason: str) -> None:
        await need_right(
            self._uow,
            self._clock,
            caller,
            Right.KEYS_CHANGE,
            what=what,
            subject=subject,
            reason=reason,
        )

    def _wake(self, meter: Row) -> None:
        if meter["device_id"] is not None:
            self._on_queued(meter["device_id"])

    def _now_us(self) -> int:
        return epoch_us(self._clock.now())


def _act(
    caller: Caller,
    new_id: NewId,
    now_us: int,
    meter: str,
    reason: str,
    plan: KeyPlan,
    wish: KeyWish,
) -> Step:
    return caller_act(
        caller,
        new_id,
        now_us,
        what="key.change",
        subject=f"meter:{meter}",
        reason=reason,
        data={
            "when": WITH_SALE if wish.with_sale else "now",
            "before": {"key": plan.meter["key_id"], **plan.current.to_dict()},
            "after": {"key": plan.coding.key_id, **plan.coding.parameters.to_dict()},
            "unused_tokens": len(plan.unused),
        },
    )
