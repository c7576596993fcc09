"""What a report says of a change of the meter's key.

Proof is the last token of the set, delivered or typed, or any token under the new key that the
meter took. A typed set is known by its sections: the meter says that it waits for more, and at the
end that it is done, each time without an identifier, which no credit token does.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from slotmeter.devices.commands import Outcome
from slotmeter.devices.frames import TokenEntry
from slotmeter.ports import From, Read, Row, SqlValue
from slotmeter.services.key_change_steps import KEY_CHANGE, end_steps, want_step
from slotmeter.services.key_wanted import wanted_of
from slotmeter.services.report_unit import ReportUnit

__all__ = ["KeyProof", "key_proof_reads"]

CHANGE: Final = "key_change"
PROOFS: Final = "key_proofs"


def key_proof_reads(utility_id: int, meter_id: int) -> list[Read]:
    """Return what :class:`KeyProof` needs of a meter whose key shall be changed."""
    of_meter: dict[str, SqlValue | From] = {"utility_id": utility_id, "meter_id": meter_id}
    proofs = {
        **of_meter,
        "parameters": From(CHANGE, "to_parameters"),
        "since_us": From(CHANGE, "created_us"),
    }
    return [Read("key_change_of_meter", of_meter, CHANGE), Read("key_proofs", proofs, PROOFS)]


class KeyProof:
    """Collects what one report proves of an open change of its meter's key.

    Args:
        unit: the report being decided, with the rows of :func:`key_proof_reads` if its meter shall
            be coded anew.
    """

    def __init__(self, unit: ReportUnit) -> None:
        """Look whether there is an open change."""
        self._unit = unit
        found = unit.rows.get(CHANGE, ())
        self._change: Row | None = found[0] if found else None
        self._tokens = {row["id"]: row["purpose"] for row in unit.rows.get(PROOFS, ())}
        self._proof: str | None = None
        self._waits = False
        if self._change is not None:
            wanted = wanted_of(self._change["wanted"])
            self._waits = wanted is not None and wanted.begun
        self._waited = self._waits

    @property
    def is_given(self) -> bool:
        """Whether anything here is for :meth:`take`."""
        return self._proof is not None or self._waits != self._waited

    def is_of_set(self, token_id: int | None) -> bool:
        """Say whether a token is of the change's set, when the change is proven."""
        return self._proof is not None and self._tokens.get(token_id or 0) == KEY_CHANGE

    def accepted(self, token_id: int) -> None:
        """Note that the meter took a token, not only a section of a set."""
        purpose = self._tokens.get(token_id)
        if purpose is not None and self._proof is None:
            self._proof = "delivery" if purpose == KEY_CHANGE else "token"

    def typed(self, entry: TokenEntry) -> None:
        """Note what was typed at the meter."""
        if self._change is None or entry.tid is not None:
            return
        if entry.outcome is Outcome.WAITING:
            self._waits = True
        elif entry.outcome is Outcome.DONE and self._waits and self._proof is None:
            self._proof = "keypad"

    def take(self) -> None:
        """Write what was proven, or that a set was begun at the keypad."""
        change, unit = self._change, self._unit
        if change is None:
            return
        if self._proof is not None:
            unit.steps += end_steps(
                change,
                "proven",
                proof=self._proof,
                reason=None,
                principal_id=None,
                now_us=unit.now_us,
                new_id=unit.new_id,
            )
            return
        wanted = wanted_of(change["wanted"])
        if wanted is not None:
            meter = {**change, "id": change["meter_id"]}
            unit.steps.append(want_step(meter, replace(wanted, begun=True)))
