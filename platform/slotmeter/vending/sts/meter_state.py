"""What an STS meter is built as (:class:`MeterConfig`) and what it remembers (:class:`MeterState`).

Both turn into plain JSON-able dictionaries and back, so that a virtual meter survives a restart.
The
dictionary of a state holds the decoder key: it is a secret.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self, cast

from slotmeter.errors import Refused
from slotmeter.vending.sts.keys import DecoderKey, KeyParameters
from slotmeter.vending.sts.pan import check_pan
from slotmeter.vending.sts.results import Register
from slotmeter.vending.sts.tables import PRODUCTION, TABLE_SETS, TableSet
from slotmeter.vending.sts.tid import KEN_NEVER, check_tid

__all__ = ["STANDARD_FUNCTIONS", "MeterConfig", "MeterState"]

STANDARD_FUNCTIONS: Final = frozenset(
    {
        *((0, subclass) for subclass in range(8)),
        *((1, subclass) for subclass in range(3)),
        *((2, subclass) for subclass in range(11)),
    }
)
"""(class, subclass) of every token that the standard defines."""

TESTS: Final = frozenset(range(1, 19))
REGISTER_MAX: Final = 10**12
TID_MEMORY_SIZE: Final = 50
KEY_CHANGE_TIMEOUT_S: Final = 600


@dataclass(frozen=True, slots=True)
class MeterConfig:
    """How a meter is built; nothing here changes in its life.

    Attributes:
        pan: 18-digit meter PAN.
        registers: the credit registers it has; credit for another is refused (FUNCTION_ERROR).
        ea: 7 or 11.
        tables: STA tables, for EA07.
        functions: (class, subclass) of the tokens it knows. Makers' own ones have to be added.
        tests: numbers of the tests and displays it can do.
        key_expiry: whether it heeds the key expiry number.
        magnetic_carrier: whether its tokens are erasable magnetic cards (TCT 01), the only ones
            for which common keys (KT 3) are allowed.
        register_max: largest magnitude of a credit register, in the register's unit.
        tid_memory_size: how many token identifiers it remembers.
        key_change_timeout_s: an incomplete key change is dropped after this time.
    """

    pan: str
    registers: frozenset[Register]
    ea: int = 7
    tables: TableSet = PRODUCTION
    functions: frozenset[tuple[int, int]] = STANDARD_FUNCTIONS
    tests: frozenset[int] = TESTS
    key_expiry: bool = True
    magnetic_carrier: bool = False
    register_max: int = REGISTER_MAX
    tid_memory_size: int = TID_MEMORY_SIZE
    key_change_timeout_s: int = KEY_CHANGE_TIMEOUT_S

    def __post_init__(self) -> None:
        """Refuse a meter that could not exist."""
        check_pan(self.pan)
        if self.tid_memory_size < 1:
            raise Refused("bad_meter_config", "a meter remembers at least one token identifier")

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able copy; tables are stored by name."""
        return {
            "pan": self.pan,
            "registers": sorted(int(register) for register in self.registers),
            "ea": self.ea,
            "tables": self.tables.name,
            "functions": sorted(list(function) for function in self.functions),
            "tests": sorted(self.tests),
            "key_expiry": self.key_expiry,
            "magnetic_carrier": self.magnetic_carrier,
            "register_max": self.register_max,
            "tid_memory_size": self.tid_memory_size,
            "key_change_timeout_s": self.key_change_timeout_s,
        }

    @classmethod
    def from_dict(
        cls, data: Mapping[str, Any], table_sets: Mapping[str, TableSet] = TABLE_SETS
    ) -> Self:
        """Build from :meth:`to_dict`.

        Raises:
            Refused: a field is missing or wrong, or the table set is unknown.
        """
        name = str(data.get("tables"))
        if name not in table_sets:
            raise Refused("unknown_table_set", f"there is no table set {name!r}", field="tables")
        try:
            return cls(
                **{
                    **data,
                    "tables": table_sets[name],
                    "registers": frozenset(map(Register, data["registers"])),
                    "functions": frozenset((a, b) for a, b in data["functions"]),
                    "tests": frozenset(data["tests"]),
                }
            )
        except (KeyError, TypeError, ValueError) as error:
            raise Refused("bad_meter_config", "the stored meter cannot be read") from error


@dataclass(frozen=True, slots=True)
class MeterState:
    """What a meter remembers. A token is accepted by replacing the whole state at once.

    Attributes:
        key: the decoder key; never shown.
        sgc: supply group code as far as known; "000000" after a two-token key change.
        krn, kt, ti, ken: what else belongs to the key.
        tids: remembered token identifiers, ascending, always as many as the meter can hold.
        registers: credit by :class:`Register`.
        settings: by name, as set by class 2 tokens; limits in W.
        flags: flags of STS 202-5 by index.
        tampered: whether a tamper condition is recorded.
        sections: 44-bit payloads of a key change that is not complete, by subclass; never shown.
        sections_at_s: when the last of them came, on the caller's clock.
    """

    key: DecoderKey
    sgc: str
    krn: int
    kt: int
    ti: int
    tids: tuple[int, ...]
    ken: int = KEN_NEVER
    registers: Mapping[Register, int] = field(default_factory=dict)
    settings: Mapping[str, int] = field(default_factory=dict)
    flags: Mapping[int, int] = field(default_factory=dict)
    tampered: bool = False
    sections: Mapping[int, int] = field(default_factory=dict, repr=False)
    sections_at_s: int | None = None

    @classmethod
    def made(
        cls, config: MeterConfig, parameters: KeyParameters, key: DecoderKey, made_tid: int
    ) -> Self:
        """Return the state of a meter as it leaves the factory.

        Args:
            config: how it is built.
            parameters: what it is coded with.
            key: the decoder key that belongs to ``parameters``.
            made_tid: identifier of the minute of manufacture; older tokens are refused.

        Raises:
            Refused: key, parameters and configuration do not belong together.
        """
        if parameters.pan != config.pan or parameters.ea != config.ea or key.ea != config.ea:
            raise Refused(
                "bad_meter_config", "key, parameters and configuration are of different meters"
            )
        return cls(
            key=key,
            sgc=parameters.sgc,
            krn=parameters.krn,
            kt=parameters.kt,
            ti=parameters.ti,
            ken=parameters.ken,
            tids=(check_tid(made_tid),) * config.tid_memory_size,
            registers=dict.fromkeys(sorted(config.registers), 0),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able copy, decoder key included."""
        return {
            "key": self.key.key.hex(),
            "ea": self.key.ea,
            "sgc": self.sgc,
            "krn": self.krn,
            "kt": self.kt,
            "ti": self.ti,
            "ken": self.ken,
            "tids": list(self.tids),
            "registers": {str(int(name)): value for name, value in self.registers.items()},
            "settings": dict(self.settings),
            "flags": {str(index): value for index, value in self.flags.items()},
            "tampered": self.tampered,
            "sections": {str(subclass): value for subclass, value in self.sections.items()},
            "sections_at_s": self.sections_at_s,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Build from :meth:`to_dict`.

        Raises:
            Refused: ``bad_meter_state``: it cannot be read.
        """
        plain = ("sgc", "krn", "kt", "ti", "ken", "tampered", "sections_at_s")
        try:
            return cls(
                key=DecoderKey(bytes.fromhex(data["key"]), data["ea"]),
                tids=tuple(sorted(map(check_tid, data["tids"]))),
                registers={Register(int(k)): int(v) for k, v in data["registers"].items()},
                settings={str(k): int(v) for k, v in data["settings"].items()},
                flags={int(k): int(v) for k, v in data["flags"].items()},
                sections={int(k): int(v) for k, v in data["sections"].items()},
                **cast("dict[str, Any]", {name: data[name] for name in plain}),
            )
        except (KeyError, TypeError, ValueError, AttributeError, Refused) as error:
            raise Refused(
                "bad_meter_state", "the stored state of a meter cannot be read"
            ) from error
