"""The part of a virtual meter that knows its keys and its used tokens."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from slotmeter.devices.commands import Outcome
from slotmeter.errors import Refused
from slotmeter.testing.meter_body import CreditMode
from slotmeter.units import Commodity
from slotmeter.vending.sts import (
    TABLE_SETS,
    DecoderKey,
    EntryResult,
    KeyParameters,
    Register,
    ResultCode,
    minute_1993_of,
    tid_of_minute,
)
from slotmeter.vending.sts.meter import StsMeter
from slotmeter.vending.sts.meter_state import MeterConfig

__all__ = ["MADE_BEFORE", "TOKEN_UNITS", "outcome_of", "token_side"]

MADE_BEFORE: Final = timedelta(days=90)
"""How long before its first day a meter was manufactured; tokens older than that are *old*."""

TOKEN_UNITS: Final[Mapping[Commodity, int]] = {
    Commodity.ELECTRICITY: 100,  # 0.1 kWh in Wh
    Commodity.WATER: 100_000,  # 0.1 m³ in mL
    Commodity.GAS: 100_000,
}
"""What one unit of a credit token is in Wh or mL (IEC 62055-41, transfer credit)."""

_REGISTERS: Final = {
    Commodity.ELECTRICITY: Register.ELECTRICITY,
    Commodity.WATER: Register.WATER,
    Commodity.GAS: Register.GAS,
}
_OUTCOMES: Final = {
    ResultCode.ACCEPT: Outcome.DONE,
    ResultCode.OLD_ERROR: Outcome.OLD_TOKEN,
    ResultCode.USED_ERROR: Outcome.ALREADY_USED,
    ResultCode.KEY_EXPIRED_ERROR: Outcome.KEY_EXPIRED,
    ResultCode.FUNCTION_ERROR: Outcome.UNSUPPORTED,
}


def outcome_of(result: EntryResult) -> Outcome:
    """Return what a meter says of an entry to the outside, in the words of commands."""
    if result.code.partly_accepted:
        return Outcome.WAITING
    return _OUTCOMES.get(result.code, Outcome.REJECTED)


def token_side(
    commodity: Commodity,
    mode: CreditMode,
    key: DecoderKey | None,
    parameters: KeyParameters | None,
    made_at: datetime,
) -> StsMeter | None:
    """Return the part that knows the keys and the used tokens, for a meter that has one.

    Its credit register counts what tokens gave; what is left is counted by the meter, in finer
    units.

    Raises:
        Refused: ``meter_needs_keys``, ``meter_takes_no_keys`` or ``unknown_table_set``.
    """
    if mode is CreditMode.PLATFORM:
        if key is not None or parameters is not None:
            raise Refused(
                "meter_takes_no_keys",
                "a meter whose credit the platform holds has no key",
                field="decoder_key",
            )
        return None
    if key is None or parameters is None:
        raise Refused(
            "meter_needs_keys",
            "a meter that holds its credit has a decoder key and key parameters",
            field="decoder_key",
        )
    if parameters.table_set not in TABLE_SETS:
        raise Refused(
            "unknown_table_set",
            f"expected one of {', '.join(sorted(TABLE_SETS))}, got {parameters.table_set!r}",
            field="table_set",
        )
    config = MeterConfig(
        pan=parameters.pan,
        registers=frozenset({_REGISTERS[commodity]}),
        ea=parameters.ea,
        tables=TABLE_SETS[parameters.table_set],
    )
    made_tid = tid_of_minute(minute_1993_of(made_at - MADE_BEFORE), parameters.base_date)
    return StsMeter.made(config, parameters, key, made_tid)
