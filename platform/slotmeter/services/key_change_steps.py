"""The rows of a change of one meter's key, purely: the change, its set of tokens, its commands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from slotmeter.devices.commands import CommandKind
from slotmeter.ports import Insert, NewId, Row, SealedDigits, Step, Update
from slotmeter.services.command_rows import CommandCause
from slotmeter.services.control import Order, Target, queue_steps
from slotmeter.services.events import Event, compact_json, event_step
from slotmeter.services.key_wanted import Wanted
from slotmeter.units import Commodity
from slotmeter.vending.sts import set_subclasses

__all__ = [
    "KEY_CHANGE",
    "NO_TID",
    "NewChange",
    "deliver_steps",
    "end_steps",
    "want_step",
]

KEY_CHANGE: Final = "key_change"
"""The purpose of the tokens of a set."""

NO_TID: Final = -1
"""What ``token.tid`` holds for tokens that carry no identifier."""


@dataclass(frozen=True, slots=True)
class NewChange:
    """A change of one meter's key that begins now.

    Args:
        id: of the change.
        meter: a row with ``id``, ``utility_id``, ``key_id``, ``parameters`` and ``wanted``, as the
            meter is now.
        wanted: what it shall be coded with.
        now_us: our clock.
        unused: ids of recent tokens that the change makes worthless if they are not typed before.
    """

    id: int
    meter: Row
    wanted: Wanted
    now_us: int
    unused: Sequence[int] = ()

    @property
    def subclasses(self) -> tuple[int, ...]:
        """Subclasses of the set, in the order of typing."""
        ea = self.wanted.coding.parameters.ea
        return set_subclasses(ea, three_tokens=self.wanted.three_tokens)

    def steps(self) -> list[Step]:
        """Return what writes the change, and that the meter waits for its proof."""
        wanted, meter = self.wanted, self.meter
        row: dict[str, Any] = {
            "id": self.id,
            "utility_id": meter["utility_id"],
            "meter_id": meter["id"],
            "campaign_id": wanted.campaign_id or None,
            "state": "open",
            "from_key_id": meter["key_id"],
            "from_parameters": meter["parameters"],
            "to_key_id": wanted.coding.key_id,
            "to_parameters": wanted.coding.text,
            "three_tokens": int(wanted.three_tokens),
            "proof": None,
            "unused": compact_json(list(self.unused)),
            "reason": wanted.reason,
            "principal_id": wanted.asked_by_id or None,
            "created_us": self.now_us,
            "ended_us": None,
            "end_reason": None,
            "end_principal_id": None,
        }
        return [Insert("key_change", row), want_step(meter, wanted.made(self.id))]

    def token_rows(
        self, new_id: NewId, *, sale_row_id: int | None = None, digits: Sequence[SealedDigits] = ()
    ) -> list[dict[str, Any]]:
        """Return the rows of a set of tokens: issued with their digits, else reserved for a sale.

        They carry no identifier. What stands in the place of its minute is below 0 and of this
        meter alone, so that it meets no other.
        """
        return [
            self._token(new_id(), place, subclass, sale_row_id, digits[place - 1 : place])
            for place, subclass in enumerate(self.subclasses, start=1)
        ]

    def _token(
        self,
        token_id: int,
        place: int,
        subclass: int,
        sale_row_id: int | None,
        digits: Sequence[SealedDigits],
    ) -> dict[str, Any]:
        request = {"key_change_id": self.id, "place": place, "subclass": subclass}
        return {
            "id": token_id,
            "utility_id": self.meter["utility_id"],
            "meter_id": self.meter["id"],
            "sale_row_id": sale_row_id,
            "purpose": KEY_CHANGE,
            # They are made under the key that the meter has.
            "key_id": self.meter["key_id"],
            "parameters": self.meter["parameters"],
            "request": compact_json(request),
            "tid_minute": -token_id,
            "tid": NO_TID,
            "amount": 0,
            "digits": digits[0].text if digits else None,
            "digits_index": digits[0].index if digits else None,
            "state": "issued" if digits else "reserved",
            "accepted_by": None,
            "created_us": self.now_us,
            "issued_us": self.now_us if digits else None,
            "accepted_us": None,
        }

    def link_steps(self, tokens: Sequence[Row], new_id: NewId) -> list[Step]:
        """Return what says that these rows are the set of this change."""
        return [
            Insert(
                "key_change_token",
                {
                    "id": new_id(),
                    "utility_id": self.meter["utility_id"],
                    "key_change_id": self.id,
                    "place": place,
                    "token_id": token["id"],
                },
            )
            for place, token in enumerate(tokens, start=1)
        ]


def want_step(meter: Row, wanted: Wanted | None) -> Update:
    """Return what sets or clears what a meter shall be coded with; guarded by what it was."""
    return Update(
        "key_meter_want",
        {
            "of_meter": meter["id"],
            "of_utility": meter["utility_id"],
            "of_wanted": meter["wanted"] or "",
            "to_wanted": None if wanted is None else wanted.to_text(),
        },
    )


def deliver_steps(
    meter: Row,
    token_ids: Sequence[int],
    why: str,
    *,
    pending: Sequence[Row],
    principal_id: int | None,
    now_us: int,
    new_id: NewId,
) -> list[Step]:
    """Return what queues tokens to a meter within reach, in their order; nothing for others.

    Args:
        meter: a row with ``id``, ``utility_id``, ``device_id`` and ``commodity``.
        token_ids: rows of ``token``.
        why: for the history of the commands.
        pending: the meter's commands that have not ended; one that waits is not doubled.
        principal_id: who wants it.
        now_us: our clock.
        new_id: the unit's source of ids.
    """
    if meter["device_id"] is None:
        return []
    commodity = Commodity(meter["commodity"])
    target = Target(meter["utility_id"], meter["id"], meter["device_id"], commodity)
    steps: list[Step] = []
    for token_id in token_ids:
        order = Order(
            CommandKind.LOAD_TOKEN,
            CommandCause.PERSON,
            why,
            principal_id=principal_id,
            token_id=token_id,
        )
        steps += queue_steps(order, target, pending=pending, now_us=now_us, new_id=new_id).steps
    return steps


_ENDS: Final = {
    "proven": ("key_changed", "info", "The meter has its new key"),
    "cancelled": ("key_change_cancelled", "warning", "The change of the meter's key was cancelled"),
}


def end_steps(
    change: Row,
    state: str,
    *,
    proof: str | None,
    reason: str | None,
    principal_id: int | None,
    now_us: int,
    new_id: NewId,
) -> list[Step]:
    """Return what ends an open change: proven, the meter's stored key moves; cancelled, it stays.

    Args:
        change: a row of a ``key_change...`` read, with ``meter_id``, ``wanted`` and the new key.
        state: proven or cancelled.
        proof: delivery, keypad, token or declared; None when cancelled.
        reason: of the person who ends it.
        principal_id: that person; None when the meter's report does.
        now_us: our clock.
        new_id: the unit's source of ids.
    """
    of_meter = {"of_meter": change["meter_id"], "of_utility": change["utility_id"]}
    steps: list[Step] = [
        Update(
            "key_change_end",
            {
                "of_change": change["id"],
                "of_utility": change["utility_id"],
                "to_state": state,
                "to_proof": proof,
                "to_reason": reason,
                "to_principal": principal_id,
                "at_us": now_us,
            },
        )
    ]
    if state == "proven":
        moved = {"to_key": change["to_key_id"], "to_parameters": change["to_parameters"]}
        steps.append(Update("key_meter_coded", {**of_meter, **moved}))
    else:
        meter = {**change, "id": change["meter_id"]}
        steps.append(want_step(meter, None))
    kind, severity, text = _ENDS[state]
    event = Event(
        utility_id=change["utility_id"],
        at_us=now_us,
        kind=kind,
        severity=severity,
        text=f"{text} ({proof})" if proof else text,
        meter_id=change["meter_id"],
        data={"key_change_id": change["id"], "proof": proof},
    )
    return [*steps, event_step(event, new_id)]
