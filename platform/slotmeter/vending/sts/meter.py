"""The meter's side of STS: 20 digits in, a result code and its effects out (IEC 62055-41).

Steps of an entry: digits, class, decryption, CRC, known function, validation (old, used, expired,
key type), action. A token identifier is recorded together with the action, or not at all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final, Self

from slotmeter.errors import Refused
from slotmeter.vending.sts.issue import BlockCipher, cipher_for, decode_digits
from slotmeter.vending.sts.keys import DecoderKey, KeyParameters, KeyType
from slotmeter.vending.sts.management import (
    CONTROL_TOKEN_INDEX,
    FLAG_TOKEN_INDEX,
    ClearCredit,
    ClearTamperCondition,
    ExtendedToken,
    KeySection1,
    KeySection2,
    KeySection3,
    KeySection4,
    ProprietaryManagement,
    SetMaximumPhasePowerUnbalanceLimit,
    SetMaximumPowerLimit,
    SetTariffRate,
    SetWaterMeterFactor,
)
from slotmeter.vending.sts.meter_keys import SECTION_CODES, assemble, check_section, kt_allowed
from slotmeter.vending.sts.meter_state import MeterConfig, MeterState
from slotmeter.vending.sts.pan import manufacturer_of_pan
from slotmeter.vending.sts.results import (
    CreditChanged,
    DisplayRequested,
    Effect,
    EntryResult,
    ExtendedRead,
    FlagSet,
    KeyChanged,
    ProprietaryReceived,
    Register,
    ResultCode,
    SettingChanged,
    TamperCleared,
)
from slotmeter.vending.sts.tables import TABLE_SETS, TableSet
from slotmeter.vending.sts.tid import tid_expired
from slotmeter.vending.sts.tokens import (
    CurrencyCredit,
    MeterTest,
    ProprietaryDisplay,
    ReadExtended,
    Token,
    TransferCredit,
)

__all__ = ["StsMeter"]

CLEAR_ALL: Final = 0xFFFF
FLAG_INDEX_MAX: Final = 11

_SETTINGS: Final[Mapping[type, str]] = {
    SetMaximumPowerLimit: "maximum_power_limit",
    SetTariffRate: "tariff_rate",
    SetMaximumPhasePowerUnbalanceLimit: "maximum_phase_power_unbalance_limit",
    SetWaterMeterFactor: "water_meter_factor",
}
_SECTIONS: Final = (KeySection1, KeySection2, KeySection3, KeySection4)

_Outcome = tuple[ResultCode, MeterState, tuple[Effect, ...]]


class StsMeter:
    """One meter with its own key, memory of token identifiers and credit registers.

    Not safe for concurrent use: a meter reads one token at a time.
    """

    __slots__ = ("_cipher", "_manufacturer", "_state", "config")

    def __init__(self, config: MeterConfig, state: MeterState) -> None:
        """Take up a meter's life where ``state`` left it."""
        self.config = config
        self._state = state
        self._cipher: BlockCipher = cipher_for(state.key, config.tables)
        self._manufacturer = manufacturer_of_pan(config.pan)

    @classmethod
    def made(
        cls, config: MeterConfig, parameters: KeyParameters, key: DecoderKey, made_tid: int
    ) -> Self:
        """Return a meter as it leaves the factory, see :meth:`MeterState.made`.

        Raises:
            Refused: key, parameters and configuration do not belong together.
        """
        return cls(config, MeterState.made(config, parameters, key, made_tid))

    def to_dict(self) -> dict[str, Any]:
        """Return configuration and state as a JSON-able dictionary. It holds the decoder key."""
        return {"config": self.config.to_dict(), "state": self._state.to_dict()}

    @classmethod
    def from_dict(
        cls, data: Mapping[str, Any], table_sets: Mapping[str, TableSet] = TABLE_SETS
    ) -> Self:
        """Build from :meth:`to_dict`.

        Raises:
            Refused: it cannot be read.
        """
        if "config" not in data or "state" not in data:
            raise Refused("bad_meter_state", "a stored meter has a config and a state")
        return cls(
            MeterConfig.from_dict(data["config"], table_sets),
            MeterState.from_dict(data["state"]),
        )

    @property
    def state(self) -> MeterState:
        """What the meter remembers now; a value that does not change."""
        return self._state

    def credit(self, register: Register) -> int:
        """Return the credit in a register, in its unit; 0 for one that the meter lacks."""
        return self._state.registers.get(register, 0)

    def draw(self, register: Register, units: int) -> int:
        """Take consumption off a register and return what is left, which may be negative.

        Raises:
            Refused: the meter lacks the register.
        """
        if register not in self.config.registers:
            raise Refused("no_such_register", f"the meter has no register {register.name.lower()}")
        left = self.credit(register) - units
        self._state = replace(self._state, registers={**self._state.registers, register: left})
        return left

    def record_tamper(self) -> None:
        """Note a tamper condition; a ClearTamperCondition token takes it away."""
        self._state = replace(self._state, tampered=True)

    def enter(self, digits: str, *, at_s: int | None = None) -> EntryResult:
        """Read a token and act on it.

        Args:
            digits: 20 digits as typed, without blanks.
            at_s: seconds of any clock that does not jump back, to time out an incomplete key
                change; without it, such a change waits for ever.

        Returns:
            The result. Nothing has changed unless its code is ACCEPT, or partly accepted.
        """
        try:
            decoded = decode_digits(digits, self._cipher)
        except Refused:
            return EntryResult(ResultCode.FORMAT_ERROR)
        token_class, token = decoded.token_class, decoded.token
        if decoded.body is None:
            return EntryResult(ResultCode.FUNCTION_ERROR, token_class)
        if not decoded.crc_right:
            return EntryResult(ResultCode.CRC_ERROR, token_class)
        subclass = decoded.body >> 44
        if token is None or not self._knows(token):
            return EntryResult(ResultCode.FUNCTION_ERROR, token_class, subclass)
        state = self._without_stale_sections(at_s)
        code, state, effects = self._judge(token, state, at_s)
        if code.accepted or code.partly_accepted or code is ResultCode.KEY_TYPE_ERROR:
            self._replace_state(state)
        return EntryResult(code, token_class, subclass, token.tid, token.value, effects)

    def _replace_state(self, state: MeterState) -> None:
        if state.key != self._state.key:
            self._cipher = cipher_for(state.key, self.config.tables)
        self._state = state

    def _knows(self, token: Token) -> bool:
        if isinstance(token, TransferCredit | CurrencyCredit):
            return Register(token.subclass) in self.config.registers
        if isinstance(token, KeySection4) and self.config.ea != 11:
            return False
        return (token.token_class, token.subclass) in self.config.functions

    def _without_stale_sections(self, at_s: int | None) -> MeterState:
        state = self._state
        since = state.sections_at_s
        if since is None or at_s is None or at_s - since <= self.config.key_change_timeout_s:
            return state
        return replace(state, sections={}, sections_at_s=None)

    def _judge(self, token: Token, state: MeterState, at_s: int | None) -> _Outcome:
        if isinstance(token, _SECTIONS):
            return self._take_section(token, state, at_s)
        if isinstance(token, MeterTest | ReadExtended | ProprietaryDisplay):
            code, effects = self._display(token)
            return code, replace(state, sections={}, sections_at_s=None), effects
        refusal = self._invalid(token.token_class, token.tid, state)
        if refusal is not None:
            return refusal, state, ()
        code, after, effects = _ACTIONS[type(token)](self, token, state)
        if not code.accepted:
            return code, state, ()
        tids = tuple(sorted((*state.tids[1:], token.tid)))
        return code, replace(after, tids=tids, sections={}, sections_at_s=None), effects

    def _invalid(self, token_class: int, tid: int, state: MeterState) -> ResultCode | None:
        if tid < state.tids[0]:
            return ResultCode.OLD_ERROR
        if tid in state.tids:
            return ResultCode.USED_ERROR
        if self.config.key_expiry and tid_expired(tid, state.ken):
            return ResultCode.KEY_EXPIRED_ERROR
        if token_class == 0 and state.kt == KeyType.DEFAULT:
            return ResultCode.DDTK_ERROR
        return None

    def _display(
        self, token: MeterTest | ReadExtended | ProprietaryDisplay
    ) -> tuple[ResultCode, tuple[Effect, ...]]:
        if token.manufacturer_code not in (0, self._manufacturer):
            return ResultCode.MFR_CODE_ERROR, ()
        if isinstance(token, ProprietaryDisplay):
            return ResultCode.ACCEPT, (ProprietaryReceived(1, token.subclass, token.value_field),)
        if isinstance(token, ReadExtended):
            if token.token_index not in (CONTROL_TOKEN_INDEX, FLAG_TOKEN_INDEX):
                return ResultCode.FUNCTION_ERROR, ()
            return ResultCode.ACCEPT, (ExtendedRead(token.token_index, token.parameter),)
        asked = self.config.tests if token.tests == (0,) else self.config.tests & {*token.tests}
        if not asked:
            return ResultCode.FUNCTION_ERROR, ()
        return ResultCode.ACCEPT, (DisplayRequested(tuple(sorted(asked)), token.value_field),)

    def _add_credit(self, token: TransferCredit | CurrencyCredit, state: MeterState) -> _Outcome:
        register = Register(token.subclass)
        before = state.registers.get(register, 0)
        after = before + token.value
        if abs(after) > self.config.register_max:
            return ResultCode.OVERFLOW_ERROR, state, ()
        changed = replace(state, registers={**state.registers, register: after})
        return ResultCode.ACCEPT, changed, (CreditChanged(register, before, after),)

    def _clear_credit(self, token: ClearCredit, state: MeterState) -> _Outcome:
        if token.value == CLEAR_ALL:
            cleared = sorted(self.config.registers)
        elif token.value > max(Register):
            return ResultCode.RANGE_ERROR, state, ()
        elif Register(token.value) not in self.config.registers:
            return ResultCode.FUNCTION_ERROR, state, ()
        else:
            cleared = [Register(token.value)]
        effects = tuple(CreditChanged(r, state.registers.get(r, 0), 0) for r in cleared)
        registers = {**state.registers, **dict.fromkeys(cleared, 0)}
        return ResultCode.ACCEPT, replace(state, registers=registers), effects

    def _set(self, name: str, value: int, state: MeterState) -> _Outcome:
        changed = replace(state, settings={**state.settings, name: value})
        return ResultCode.ACCEPT, changed, (SettingChanged(name, value),)

    def _apply_setting(self, token: Token, state: MeterState) -> _Outcome:
        return self._set(_SETTINGS[type(token)], token.value or 0, state)

    def _clear_tamper(self, token: ClearTamperCondition, state: MeterState) -> _Outcome:
        if token.value_field:
            return ResultCode.FORMAT_ERROR, state, ()
        return ResultCode.ACCEPT, replace(state, tampered=False), (TamperCleared(),)

    def _extended(self, token: ExtendedToken, state: MeterState) -> _Outcome:
        if token.token_index == CONTROL_TOKEN_INDEX:
            return self._set("control", token.parameter, state)
        if token.token_index != FLAG_TOKEN_INDEX:
            return ResultCode.FUNCTION_ERROR, state, ()
        if token.flag_index > FLAG_INDEX_MAX:
            return ResultCode.RANGE_ERROR, state, ()
        flags = {**state.flags, token.flag_index: token.flag_value}
        effect = FlagSet(token.flag_index, token.flag_value)
        return ResultCode.ACCEPT, replace(state, flags=flags), (effect,)

    def _proprietary(self, token: ProprietaryManagement, state: MeterState) -> _Outcome:
        effect = ProprietaryReceived(2, token.subclass, token.payload)
        return ResultCode.ACCEPT, state, (effect,)

    def _take_section(
        self,
        token: KeySection1 | KeySection2 | KeySection3 | KeySection4,
        state: MeterState,
        at_s: int | None,
    ) -> _Outcome:
        refusal = check_section(token, self.config.ea)
        if refusal is not None:
            return refusal, state, ()
        payload = token.body() & (1 << 44) - 1
        collected = {**state.sections, token.subclass: payload}
        waiting = replace(state, sections=collected, sections_at_s=at_s)
        change = assemble(collected, self.config.ea)
        if change is None:
            return SECTION_CODES[token.subclass], waiting, ()
        dropped = replace(state, sections={}, sections_at_s=None)
        if change.sgc is None:
            return ResultCode.RANGE_ERROR, state, ()
        if not kt_allowed(state.kt, change.kt, self.config.magnetic_carrier):
            return ResultCode.KEY_TYPE_ERROR, dropped, ()
        changed = replace(
            dropped,
            key=change.key,
            sgc=change.sgc,
            krn=change.krn,
            kt=change.kt,
            ti=change.ti,
            ken=change.ken,
            tids=(0,) * self.config.tid_memory_size if change.rolls_over else state.tids,
        )
        effect = KeyChanged(
            change.sgc, change.krn, change.kt, change.ti, change.ken, change.rolls_over
        )
        return ResultCode.ACCEPT, changed, (effect,)


_ACTIONS: Final[Mapping[type, Callable[..., _Outcome]]] = {
    TransferCredit: StsMeter._add_credit,
    CurrencyCredit: StsMeter._add_credit,
    ClearCredit: StsMeter._clear_credit,
    ClearTamperCondition: StsMeter._clear_tamper,
    ExtendedToken: StsMeter._extended,
    ProprietaryManagement: StsMeter._proprietary,
    **dict.fromkeys(_SETTINGS, StsMeter._apply_setting),
}
