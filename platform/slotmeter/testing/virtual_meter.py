"""A prepayment meter without hardware: electricity, water or gas, for integrators, tests and demos.

It is a state machine on exact integers: ``run_to`` lets it live up to a time, everything else
happens at the time it has reached. It opens no socket and reads no clock; simulators (see
``slotmeter.testing.simulators``) make it speak a protocol.

Two kinds. A meter that holds its credit (``credit_mode="meter"``) checks tokens itself, counts its
credit down, cuts itself at zero and comes back when credit is loaded; a gas meter then waits as
*armed* until a person at the site confirms. A meter whose credit the platform holds
(``credit_mode="platform"``) has no keypad and obeys relay and valve commands only.

Always: opening credit + accepted - cleared - used = credit left; nothing is used while the supply
is off; one token is credited once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any, Final, Self

from slotmeter.devices.commands import (
    CUTTING,
    RESTORING,
    CommandKind,
    CommandOut,
    CommandResult,
    Outcome,
)
from slotmeter.devices.entities import SupplyState
from slotmeter.devices.frames import DeviceEvent, DeviceEventKind, TokenEntry
from slotmeter.errors import Refused
from slotmeter.testing.consumption import Household
from slotmeter.testing.meter_body import CreditMode, MeterBody
from slotmeter.testing.meter_reports import MeterReport, Pending
from slotmeter.testing.meter_tokens import TOKEN_UNITS, outcome_of, token_side
from slotmeter.units import DAY_US, Commodity, epoch_us, instant
from slotmeter.vending.sts import CreditChanged, DecoderKey, KeyParameters, TamperCleared
from slotmeter.vending.sts.meter import StsMeter

__all__ = ["COMMANDS_REMEMBERED", "LOW_CREDIT", "CreditMode", "VirtualMeter"]

COMMANDS_REMEMBERED: Final = 32
"""Results kept by command id, so that a command that comes twice acts once."""

LOW_CREDIT: Final[Mapping[Commodity, int]] = {
    Commodity.ELECTRICITY: 5_000,
    Commodity.WATER: 1_000_000,
    Commodity.GAS: 2_000_000,
}
"""At or below this credit (Wh, mL) the display warns, unless the meter is told otherwise."""

MESSAGE_S: Final = 30
"""How long the display shows what came of a key press, by the meter's time."""

_BATTERY_DAYS_PER_PERCENT: Final = 36
_SHOWN: Final = {
    Outcome.DONE: "ACCEPTED",
    Outcome.ALREADY_USED: "USED",
    Outcome.OLD_TOKEN: "OLD",
    Outcome.KEY_EXPIRED: "KEY EXPIRED",
    Outcome.REJECTED: "REJECTED",
    Outcome.WAITING: "NEXT TOKEN",
    Outcome.UNSUPPORTED: "NOT SUPPORTED",
}
_RELAY: Final = frozenset({CommandKind.OPEN_RELAY, CommandKind.CLOSE_RELAY})
_VALVE: Final = frozenset({CommandKind.OPEN_VALVE, CommandKind.CLOSE_VALVE})


class VirtualMeter:
    """One meter; make it with :meth:`create` or :meth:`from_dict`. Not for several threads."""

    def __init__(
        self,
        number: str,
        commodity: Commodity,
        credit_mode: CreditMode,
        household: Household,
        *,
        tokens: StsMeter | None,
        opening_credit: int,
        at_us: int,
    ) -> None:
        """Take the parts of a meter as they are; :meth:`create` checks and makes them."""
        self.number = number
        self._tokens = tokens
        self._body = MeterBody(
            commodity,
            credit_mode,
            household,
            at_us=at_us,
            credit=opening_credit,
            low_credit=LOW_CREDIT[commodity],
            tell=self._tell,
        )
        self._made_us = at_us
        self._tamper = False
        self._cover_open = False
        self._message = ""
        self._message_until_us = 0
        self._sequence = 0
        self._pending = Pending()
        self._results: dict[int, CommandResult] = {}

    @classmethod
    def create(
        cls,
        *,
        number: str,
        commodity: Commodity | str,
        household: Household,
        made_at: datetime,
        credit_mode: CreditMode | str = CreditMode.METER,
        decoder_key: DecoderKey | None = None,
        parameters: KeyParameters | None = None,
        opening_credit: int = 0,
    ) -> Self:
        """Make a meter that begins to live at ``made_at``.

        Args:
            number: the meter's number, 1 to 32 letters and digits; its DRN if it takes tokens.
            commodity: what it meters.
            household: who uses what it meters.
            made_at: its clock at the start, aware UTC; it was manufactured 90 days before.
            credit_mode: who holds the credit.
            decoder_key: the key it shares with the vendor; required if it holds the credit.
            parameters: what it is coded with; required if it holds the credit.
            opening_credit: Wh or mL; 0 if the platform holds the credit.

        Raises:
            Refused: ``bad_meter_number``, ``bad_opening_credit``, ``meter_needs_keys``,
                ``meter_takes_no_keys`` or ``unknown_table_set``.
        """
        kind, mode = Commodity(commodity), CreditMode(credit_mode)
        _check_number(number)
        if opening_credit < 0 or (mode is CreditMode.PLATFORM and opening_credit):
            raise Refused(
                "bad_opening_credit",
                "expected a credit from 0, and 0 when the platform holds it",
                field="opening_credit",
            )
        tokens = token_side(kind, mode, decoder_key, parameters, made_at)
        return cls(
            number,
            kind,
            mode,
            household,
            tokens=tokens,
            opening_credit=opening_credit,
            at_us=epoch_us(made_at),
        )

    # --- what can be seen ------------------------------------------------------------------------

    @property
    def commodity(self) -> Commodity:
        """What it meters."""
        return self._body.commodity

    @property
    def credit_mode(self) -> CreditMode:
        """Who holds the credit."""
        return self._body.credit_mode

    @property
    def household(self) -> Household:
        """Who uses what it meters."""
        return self._body.household

    @property
    def at(self) -> datetime:
        """The time up to which the meter has lived, aware UTC."""
        return instant(self._body.at_us)

    @property
    def register(self) -> int:
        """Used so far, in Wh or mL."""
        return self._body.register

    @property
    def credit(self) -> int | None:
        """Credit left in Wh or mL; None when the platform holds it."""
        return self._body.credit if self._body.holds_credit else None

    @property
    def credit_total(self) -> int | None:
        """All credit ever accepted in Wh or mL; None when the platform holds it."""
        return self._body.credit_total if self._body.holds_credit else None

    @property
    def credit_cleared(self) -> int:
        """Credit taken away by clear-credit tokens, in Wh or mL."""
        return self._body.cleared

    @property
    def low_credit(self) -> int:
        """At or below this credit the meter warns, in Wh or mL; may be set."""
        return self._body.low_credit

    @low_credit.setter
    def low_credit(self, amount: int) -> None:
        self._body.low_credit = amount
        self._body.warned = self._body.credit <= amount

    @property
    def supply(self) -> SupplyState:
        """What the relay or the valve lets through."""
        return self._body.supply

    @property
    def tamper(self) -> bool:
        """The tamper condition; it stays after the cover was closed."""
        return self._tamper

    @property
    def has_news(self) -> bool:
        """Whether something waits to be reported."""
        return len(self._pending) > 0

    @property
    def news_lost(self) -> int:
        """News given up because too much waited."""
        return self._pending.lost

    @property
    def display(self) -> str:
        """What the display shows: credit or use, then warnings and the newest answer."""
        body = self._body
        credit, used = self._shown(body.credit), self._shown(body.register)
        lines = [f"CREDIT {credit}" if body.holds_credit else f"USED {used}"]
        if body.supply is SupplyState.ARMED:
            lines.append("PRESS TO OPEN")
        elif body.supply is SupplyState.OFF:
            lines.append("NO CREDIT" if body.holds_credit and not body.credit else "OFF")
        elif body.holds_credit and body.credit <= body.low_credit:
            lines.append("LOW CREDIT")
        if self._tamper:
            lines.append("TAMPER")
        if self._message and body.at_us < self._message_until_us:
            lines.append(self._message)
        return "\n".join(lines)

    def run_to(self, at: datetime) -> None:
        """Live up to a time: use, warn and cut at the exact moments.

        Raises:
            ValueError: the time lies before what the meter has already lived.
        """
        self._body.run_to(at)

    # --- the person at the meter -----------------------------------------------------------------

    def type_token(self, digits: str) -> TokenEntry:
        """Type a token on the keypad; spaces and dashes are not keys and are left out.

        Raises:
            Refused: ``no_keypad``: the platform holds this meter's credit.
        """
        if self._tokens is None:
            raise Refused("no_keypad", "this meter takes no tokens: its credit is in the account")
        outcome, tid, amount = self._enter(digits.replace(" ", "").replace("-", ""))
        entry = TokenEntry(outcome, tid, amount or 0, self.at)
        self._pending.add(entry)
        self._message = _SHOWN[outcome]
        if amount:
            self._message += f" {self._shown(amount)}"
        self._message_until_us = self._body.at_us + MESSAGE_S * 1_000_000
        return entry

    def confirm_at_site(self) -> bool:
        """Open an armed gas valve, by the person who made sure that all appliances are off.

        Returns whether there was anything to open.
        """
        return self._body.confirm_at_site()

    def open_cover(self) -> None:
        """Open the cover: the tamper switch trips, and stays tripped."""
        self._cover_open = True
        if not self._tamper:
            self._tamper = True
            self._tell(DeviceEventKind.TAMPER)

    def close_cover(self) -> None:
        """Close the cover; the tamper condition stays until it is cleared."""
        self._cover_open = False

    def clear_tamper(self) -> bool:
        """Clear the tamper condition as a service person does; not while the cover is open.

        Returns whether there was a condition to clear. A token does the same.
        """
        if self._cover_open or not self._tamper:
            return False
        self._tamper = False
        self._tell(DeviceEventKind.TAMPER_CLEARED)
        return True

    def restart(self) -> None:
        """Lose and regain the meter's own power: nothing is forgotten, the restart is told."""
        self._tell(DeviceEventKind.RESTARTED)

    # --- the platform ----------------------------------------------------------------------------

    def execute(self, command: CommandOut) -> CommandResult:
        """Do what the platform asks; a command that comes again gives its first result again."""
        known = self._results.get(command.id)
        result = known if known is not None else self._do(command)
        self._results[command.id] = result
        while len(self._results) > COMMANDS_REMEMBERED:
            del self._results[next(iter(self._results))]
        self._pending.add(result)
        return result

    def report(self) -> MeterReport:
        """Say everything, with the oldest news that was not yet acknowledged."""
        self._sequence += 1
        through, news = self._pending.first()
        body, electricity = self._body, self.commodity is Commodity.ELECTRICITY
        used_percent = (body.at_us - self._made_us) // (DAY_US * _BATTERY_DAYS_PER_PERCENT)
        return MeterReport(
            number=self.number,
            commodity=self.commodity,
            sequence=self._sequence,
            at=self.at,
            register=body.register,
            credit=self.credit,
            credit_total=self.credit_total,
            supply=body.supply,
            tamper=self._tamper,
            power_w=body.rate_per_hour() if electricity else None,
            battery_percent=None if electricity else max(0, 100 - used_percent),
            voltage_mv=self.household.voltage_mv(body.at_us) if electricity else None,
            results=tuple(item for item in news if isinstance(item, CommandResult)),
            entries=tuple(item for item in news if isinstance(item, TokenEntry)),
            events=tuple(item for item in news if isinstance(item, DeviceEvent)),
            through=through,
        )

    def acknowledge(self, report: MeterReport) -> None:
        """Forget the news that a report carried, because the platform has it now."""
        self._pending.drop_through(report.through)

    # --- state -----------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """Return everything the meter knows, JSON-able, its key included: keep it like a key."""
        return {
            "number": self.number,
            "commodity": self.commodity.value,
            "credit_mode": self.credit_mode.value,
            "household": asdict(self.household),
            "tokens": None if self._tokens is None else self._tokens.to_dict(),
            "body": self._body.to_dict(),
            "made_us": self._made_us,
            "tamper": self._tamper,
            "cover_open": self._cover_open,
            "message": self._message,
            "message_until_us": self._message_until_us,
            "sequence": self._sequence,
            "pending": self._pending.to_dict(),
            "results": [
                [r.command_id, r.outcome.value, r.tid, r.amount] for r in self._results.values()
            ],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Build from :meth:`to_dict`; the meter goes on where it was."""
        tokens = data["tokens"]
        meter = cls(
            data["number"],
            Commodity(data["commodity"]),
            CreditMode(data["credit_mode"]),
            Household(**data["household"]),
            tokens=None if tokens is None else StsMeter.from_dict(tokens),
            opening_credit=0,
            at_us=data["made_us"],
        )
        meter._body.take_up(data["body"])
        meter._tamper = data["tamper"]
        meter._cover_open = data["cover_open"]
        meter._message = data["message"]
        meter._message_until_us = data["message_until_us"]
        meter._sequence = data["sequence"]
        meter._pending = Pending.from_dict(data["pending"])
        meter._results = {
            row[0]: CommandResult(row[0], Outcome(row[1]), row[2], row[3])
            for row in data["results"]
        }
        return meter

    # --- inside ----------------------------------------------------------------------------------

    def _shown(self, amount: int) -> str:
        """Return an amount as displays show it, cut at 10 Wh or 1 L and never rounded up."""
        if self.commodity is Commodity.ELECTRICITY:
            return f"{amount // 1_000}.{amount % 1_000 // 10:02d} kWh"
        return f"{amount // 1_000_000}.{amount % 1_000_000 // 1_000:03d} m³"

    def _tell(self, kind: DeviceEventKind) -> None:
        self._pending.add(DeviceEvent(kind, self.at))

    def _do(self, command: CommandOut) -> CommandResult:
        kinds = _RELAY if self.commodity is Commodity.ELECTRICITY else _VALVE
        outcome, tid, amount = Outcome.UNSUPPORTED, None, None
        if command.kind is CommandKind.READ_NOW:
            outcome = Outcome.DONE
        elif command.kind is CommandKind.LOAD_TOKEN and self._tokens is not None:
            outcome, tid, amount = self._enter(command.token or "")
        elif command.kind in kinds and command.kind in CUTTING:
            outcome = self._body.cut()
        elif command.kind in kinds and command.kind in RESTORING:
            outcome = self._body.restore()
        return CommandResult(command.id, outcome, tid, amount)

    def _enter(self, digits: str) -> tuple[Outcome, int | None, int | None]:
        """Enter digits; return the outcome, the TID if readable, the credit added in Wh or mL."""
        assert self._tokens is not None, "only a meter with a token side is asked"
        # No time is given, so an incomplete key change waits for ever: its sections come over a
        # network that does not run on the meter's time.
        result = self._tokens.enter(digits)
        amount = None
        for effect in result.effects:
            if isinstance(effect, TamperCleared):
                self.clear_tamper()
            elif isinstance(effect, CreditChanged) and result.token_class == 0:
                amount = (effect.after - effect.before) * TOKEN_UNITS[self.commodity]
                self._body.add_credit(amount)
            elif isinstance(effect, CreditChanged):
                self._body.clear_credit()
        return outcome_of(result), result.tid, amount


def _check_number(number: str) -> None:
    if not (1 <= len(number) <= 32 and number.isascii() and number.isalnum()):
        raise Refused(
            "bad_meter_number",
            f"expected 1 to 32 letters and digits, got {number!r}",
            field="number",
        )
