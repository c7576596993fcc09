"""What a report says of commands and tokens, and what its credit total proves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from slotmeter.devices.commands import (
    CUTTING,
    ENDED,
    CommandKind,
    CommandResult,
    CommandState,
    Outcome,
)
from slotmeter.devices.entities import SupplyState
from slotmeter.devices.frames import TokenEntry
from slotmeter.ports import Row, Update
from slotmeter.services.command_proof import SHOWS_SUPPLY, Shown, shown_by
from slotmeter.services.command_rows import change, log_step
from slotmeter.services.delivery import Happening
from slotmeter.services.intents import NOT_AS_ASKED, ask_again
from slotmeter.services.key_proof import KeyProof
from slotmeter.services.proof import CREDIT_UNPROVEN, Accepted, prove
from slotmeter.services.report_unit import ReportUnit

__all__ = ["TokenEffects"]

_TO_SENT: Final[Mapping[str, tuple[CommandState, ...]]] = {
    # The lease ran out and the command went back before the answer came after all.
    "held": (CommandState.QUEUED, CommandState.SENT),
    "queued": (CommandState.SENT,),
    "waiting": (CommandState.SENT,),
    "sent": (),
}
_DONE: Final = frozenset({Outcome.DONE, Outcome.WAITING})
_NO_STATES: Final[frozenset[SupplyState]] = frozenset()
WITHDRAWN: Final = "withdrawn"
"""A token whose sale was taken back, or whose units were moved to another meter."""


@dataclass(slots=True)
class TokenEffects:
    """Takes a report's results and entries, in that order of need.

    Args:
        unit: the report being decided.
        acknowledged: commands that wait for proof, by id.
        accepted: tokens that the meter told of with this report, by id.
        changed: commands as this report leaves them, by id.
    """

    unit: ReportUnit
    key_proof: KeyProof = field(init=False)
    acknowledged: dict[int, Row] = field(default_factory=dict)
    accepted: dict[int, Row] = field(default_factory=dict)
    changed: dict[int, Row] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Look at what is known of a change of the meter's key."""
        self.key_proof = KeyProof(self.unit)

    def take(self) -> None:
        """Decide everything."""
        self.acknowledged = {row["id"]: row for row in self.unit.rows["acknowledged"]}
        for entry in self.unit.report.entries:
            self._entry(entry)
        for result in self.unit.report.results:
            self._result(result)
        if self.key_proof.is_given:
            self._key_changed()
        self._verify_clock()
        if self.unit.is_newest:
            self._verify()
            ask_again(self.unit, self.changed)

    # --- the keypad ------------------------------------------------------------------------------

    def _entry(self, entry: TokenEntry) -> None:
        token = self._token_of(entry)
        self.key_proof.typed(entry)
        if entry.outcome is Outcome.DONE and token is not None:
            self._accept(token, "keypad", Happening.TYPED)

    def _token_of(self, entry: TokenEntry) -> Row | None:
        found = self.unit.rows[f"token.{entry.tid}"] if entry.tid is not None else ()
        return found[0] if found else None

    def _accept(self, token: Row, by: str, happening: Happening) -> None:
        """Mark a token as taken by the meter, once."""
        if token["accepted_by"] is not None or token["id"] in self.accepted:
            return
        self.accepted[token["id"]] = token
        self.key_proof.accepted(token["id"])
        self.unit.steps.append(
            Update(
                "ingest_token_accept",
                {
                    "of_utility": self.unit.utility_id,
                    "of_token": token["id"],
                    "to_accepted_by": by,
                    "to_accepted_us": self.unit.now_us,
                },
            )
        )
        self.unit.sale(token, happening)
        if token.get("token_state", token["state"]) == WITHDRAWN:
            self._turned_up(token)

    def _turned_up(self, token: Row) -> None:
        """Tell that a token was used that its seller took back: credit without money."""
        receipt_number = token["sale_receipt_number"]
        self.unit.raise_alarm(
            "withdrawn_token_used",
            f"The meter took a token that was withdrawn (sale {receipt_number})",
            data={"receipt_number": receipt_number, "amount": token["amount"]},
        )

    # --- commands --------------------------------------------------------------------------------

    def _result(self, result: CommandResult) -> None:
        found = self.unit.rows[f"command.{result.command_id}"]
        if not found or found[0]["device_id"] != self.unit.frame["device_id"]:
            # Also another utility's command: an id proves nothing, the device it was sent to does.
            self.unit.ignored.append("foreign_result")
            return
        row = found[0]
        state = CommandState(row["state"])
        if state in ENDED and state is not CommandState.VERIFIED:
            self._late(row, result)
        elif row["id"] in self.acknowledged or state is CommandState.VERIFIED:
            self.unit.ignored.append("repeated_result")
        elif result.outcome in _DONE or self._took_it_before(row, result):
            self._done(row, result)
        else:
            self._not_done(row, result)

    def _took_it_before(self, row: Row, result: CommandResult) -> bool:
        """Say whether a token that the meter calls used was taken from an earlier delivery of it.

        That answer was lost. Nobody told of its being typed, and what the meter took is what it was
        to take: its credit proves it like any other.
        """
        return self._is_news(row, result) and row["attempts"] > 1

    def _is_news(self, row: Row, result: CommandResult) -> bool:
        """Say whether a meter calls a token with credit used of which nobody told that it was."""
        is_known = row["token_accepted_by"] is not None or row["token_id"] in self.accepted
        is_used = result.outcome is Outcome.ALREADY_USED and bool(row["token_amount"])
        return is_used and not is_known

    def _change(self, row: Row, state: CommandState, detail: str, **columns: int | str) -> Row:
        after, steps = change(
            row, state, detail, now_us=self.unit.now_us, new_id=self.unit.new_id, **columns
        )
        self.unit.steps += steps
        self.unit.commands.append(state.value)
        self.changed[row["id"]] = after
        return after

    def _sent(self, row: Row) -> Row:
        """Bring a command that was put back to where it was when the meter took it."""
        for state in _TO_SENT[row["state"]]:
            row = self._change(row, state, "the meter had taken it")
        return row

    def _done(self, row: Row, result: CommandResult) -> None:
        kind = CommandKind(row["kind"])
        row = self._change(
            self._sent(row),
            CommandState.ACKNOWLEDGED,
            f"the meter says {result.outcome}",
            acknowledged_us=self.unit.now_us,
            result=result.outcome.value,
        )
        self.acknowledged[row["id"]] = row
        if kind is CommandKind.READ_NOW and self.unit.report.readings:
            # Also in a late report: it was asked for before that was made.
            self._change(row, CommandState.VERIFIED, "the reading is here")
            del self.acknowledged[row["id"]]
        if kind is CommandKind.LOAD_TOKEN and result.outcome is not Outcome.WAITING:
            self._accept(_token_in(row), "delivery", Happening.ACCEPTED)
            if not row["token_amount"]:
                self._change(row, CommandState.VERIFIED, "the meter took it; it carries no credit")
                del self.acknowledged[row["id"]]

    def _not_done(self, row: Row, result: CommandResult) -> None:
        # A token that somebody typed first has not failed: the keypad was quicker.
        typed = result.outcome is Outcome.ALREADY_USED
        self._change(
            self._sent(row),
            CommandState.SUPERSEDED if typed else CommandState.FAILED,
            f"the meter says {result.outcome}",
            result=result.outcome.value,
        )
        if row["kind"] != CommandKind.LOAD_TOKEN:
            self.unit.event(
                "command_failed",
                f"The meter did not do {row['kind']}: {result.outcome}",
                severity="warning",
                data={"command_id": row["id"], "result": result.outcome.value},
            )
        elif self._is_news(row, result):
            # Typed, or doubled on its way: its credit is in the meter and must be explained.
            self._accept(_token_in(row), "keypad", Happening.ALREADY_USED)
        elif result.outcome is Outcome.ALREADY_USED:
            self.unit.sale(row, Happening.ALREADY_USED)
        else:
            self.unit.sale(row, Happening.GAVE_UP, f"the meter says {result.outcome}")

    def _late(self, row: Row, result: CommandResult) -> None:
        """The command was given up, but the meter has done it: what it did counts all the same."""
        kind, supply = CommandKind(row["kind"]), self.unit.report.supply
        shows = supply is not None and supply in SHOWS_SUPPLY.get(kind, _NO_STATES)
        if supply is not None and shows and result.outcome in _DONE:
            has_moved = self.unit.is_newest and supply.value != self.unit.device["supply"]
            if has_moved and supply.value not in self.unit.explained:
                self._tell_supply(row, supply)
                return
        is_credit = kind is CommandKind.LOAD_TOKEN and result.outcome is Outcome.DONE
        is_used = kind is CommandKind.LOAD_TOKEN and self._is_news(row, result)
        if not (is_credit or is_used) or row["token_accepted_by"] is not None:
            self.unit.ignored.append("repeated_result")
            return
        self.unit.steps.append(
            log_step(
                row,
                row["state"],
                f"late answer of the meter: {result.outcome}",
                now_us=self.unit.now_us,
                new_id=self.unit.new_id,
            )
        )
        if is_used and not self._took_it_before(row, result):
            self._accept(_token_in(row), "keypad", Happening.ALREADY_USED)
        else:
            self._accept(_token_in(row), "delivery", Happening.ACCEPTED)

    # --- proof -----------------------------------------------------------------------------------

    def _key_changed(self) -> None:
        """The meter has its new key: what it took of the set before is proven with the rest."""
        self.key_proof.take()
        for row in list(self.acknowledged.values()):
            if self.key_proof.is_of_set(row["token_id"]):
                self._change(row, CommandState.VERIFIED, "the meter has its new key")
                del self.acknowledged[row["id"]]

    def _shown(self) -> Shown:
        report = self.unit.report
        return Shown(
            supply=report.supply,
            tamper=report.tamper,
            readings={reading.register: reading.value for reading in report.readings},
            measured_us=self.unit.measured_us,
            received_us=self.unit.frame["received_us"],
        )

    def _verify_clock(self) -> None:
        """See whether the meter has the time that it was given.

        A clock that was set back makes this report look older than the one before it.
        """
        shown = self._shown()
        for row in list(self.acknowledged.values()):
            how = shown_by(row, shown) if row["kind"] == CommandKind.SET_CLOCK else None
            if how is not None:
                self._change(row, CommandState.VERIFIED, how)
                del self.acknowledged[row["id"]]
                self.unit.clock_was_set = True

    def _verify(self) -> None:
        shown = self._shown()
        for row in list(self.acknowledged.values()):
            how = shown_by(row, shown)
            if how is None:
                continue
            self._change(row, CommandState.VERIFIED, how)
            del self.acknowledged[row["id"]]
            self.unit.clear_alarm(NOT_AS_ASKED, "The meter is as it was asked to be", data={})
            if shown.supply is not None and CommandKind(row["kind"]) in SHOWS_SUPPLY:
                self._tell_supply(row, shown.supply)

    def _tell_supply(self, row: Row, supply: SupplyState) -> None:
        is_cut = CommandKind(row["kind"]) in CUTTING
        self.unit.explained.add(supply.value)
        self.unit.event(
            "supply_cut" if is_cut else "supply_restored",
            f"Supply {'cut' if is_cut else 'given back'} by command "
            f"({row['cause']}: {row['reason']})",
            severity="warning" if is_cut else "info",
            data={"command_id": row["id"], "cause": row["cause"], "supply": supply.value},
        )

    def prove_credit(self) -> int | None:
        """Compare the credit total with what was accepted; return what is explained of it now."""
        unit = self.unit
        explained: int | None = unit.device["credit_proven"]
        total = unit.reading("credit_total")
        if total is None:
            return explained
        waiting = {row["id"]: row for row in unit.rows["unproven"]} | {
            key: row for key, row in self.accepted.items() if row["amount"]
        }
        baseline_us: int = unit.device["credit_baseline_us"] or 0
        accepted = [
            Accepted(
                key,
                row["amount"],
                is_new=key in self.accepted,
                is_settled=key not in self.accepted and row["accepted_us"] <= baseline_us,
            )
            for key, row in waiting.items()
        ]
        proof = prove(total, unit.device["credit_total"], explained, accepted)
        for key in sorted(proof.proven):
            self._proven(waiting[key])
        if waiting.keys() <= proof.proven:
            unit.clear_alarm(CREDIT_UNPROVEN, "The meter's credit shows every token", data={})
        unexplained = total - proof.explained
        data = {"credit_total": total, "explained": proof.explained, "unexplained": unexplained}
        if proof.mismatch:
            unit.raise_alarm(
                "credit_mismatch",
                "The meter's credit did not rise by what it accepted",
                data=data,
            )
        else:
            unit.clear_alarm("credit_mismatch", "The meter's credit is explained again", data=data)
        return proof.explained

    def _proven(self, token: Row) -> None:
        self.unit.sale(token, Happening.PROVEN)
        for row in list(self.acknowledged.values()):
            if row["token_id"] == token["id"]:
                self._change(row, CommandState.VERIFIED, "the meter's credit rose by it")
                del self.acknowledged[row["id"]]


def _token_in(command: Row) -> Row:
    """Return the token of a command in the shape of a token row."""
    return {
        **command,
        "id": command["token_id"],
        "tid": command["token_tid"],
        "amount": command["token_amount"],
        "accepted_by": command["token_accepted_by"],
    }
