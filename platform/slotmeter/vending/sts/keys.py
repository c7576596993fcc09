"""Keys and the parameters that lead to them: what a vending key is, what a meter is coded with.

Nothing here computes a key (see :mod:`.dkga`). Types that hold key bytes never show them in
``repr``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import IntEnum
from typing import Any, Final, Self, cast

from slotmeter.errors import Refused
from slotmeter.vending.sts.pan import check_pan
from slotmeter.vending.sts.tid import BASE_DATES, KEN_NEVER

__all__ = [
    "DKGA_KEY_BYTES",
    "EA_KEY_BYTES",
    "DecoderKey",
    "KeyParameters",
    "KeyType",
    "VendingKey",
    "VendingKeyInfo",
]

DKGA_KEY_BYTES: Final[Mapping[str, int]] = {"01": 8, "02": 8, "04": 20}
"""Length of the vending key for each decoder key generation algorithm that we carry."""

EA_KEY_BYTES: Final[Mapping[int, int]] = {7: 8, 11: 16}
"""Length of the decoder key for each encryption algorithm that we carry."""

TABLE_SET_NAME_CHARACTERS_MAX: Final = 40


class KeyType(IntEnum):
    """Key type (KT) of a vending key and of the decoder key made from it."""

    INITIALISATION = 0  # DITK
    DEFAULT = 1  # DDTK
    UNIQUE = 2  # DUTK
    COMMON = 3  # DCTK


def _require_int(name: str, value: object, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise Refused(
            f"bad_{name}",
            f"{name} must be an integer from {low} to {high}, got {value!r}",
            field=name,
        )


def _require_sgc(value: object) -> None:
    if not (isinstance(value, str) and len(value) == 6 and value.isascii() and value.isdigit()):
        raise Refused("bad_sgc", f"sgc must be six digits, got {value!r}", field="sgc")


def _require_choice(name: str, value: object, choices: tuple[object, ...]) -> None:
    if isinstance(value, bool) or value not in choices:
        listed = ", ".join(str(choice) for choice in choices)
        raise Refused(f"bad_{name}", f"{name} must be one of {listed}, got {value!r}", field=name)


@dataclass(frozen=True, slots=True)
class KeyParameters:
    """Everything beside the vending key that decides a meter's decoder key and its tokens.

    A sale stores these at the moment of sale, so that a token can be made again later, whatever the
    meter is coded with by then.

    Attributes:
        pan: 18-digit meter PAN (IIN, DRN and check digit).
        sgc: supply group code, six digits.
        krn: key revision number, 1 to 9.
        kt: key type, see :class:`KeyType`.
        ti: tariff index, 0 to 99.
        ken: key expiry number, 0 to 255; 255 means that the key does not expire.
        base_date: year in which the token identifier counts from 0: 1993, 2014 or 2035.
        ea: encryption algorithm, 7 (STA) or 11 (MISTY1).
        dkga: decoder key generation algorithm, "01", "02" or "04".
        table_set: name of the STA substitution and permutation tables; unused by EA11.

    Raises:
        Refused: a field is out of range, or ``ea`` and ``dkga`` do not go together.
    """

    pan: str
    sgc: str
    krn: int
    kt: int
    ti: int
    ken: int = KEN_NEVER
    base_date: int = 2014
    ea: int = 7
    dkga: str = "04"
    table_set: str = "production"

    def __post_init__(self) -> None:
        """Refuse what no meter can be coded with."""
        check_pan(self.pan)
        _require_sgc(self.sgc)
        _require_int("krn", self.krn, 1, 9)
        _require_int("kt", self.kt, 0, 3)
        _require_int("ti", self.ti, 0, 99)
        _require_int("ken", self.ken, 0, 255)
        _require_choice("base_date", self.base_date, BASE_DATES)
        _require_choice("ea", self.ea, tuple(EA_KEY_BYTES))
        _require_choice("dkga", self.dkga, tuple(DKGA_KEY_BYTES))
        if self.ea == 11 and self.dkga != "04":
            raise Refused(
                "ea_needs_dkga04",
                f"EA11 needs a 128-bit key, which only DKGA04 makes, got DKGA{self.dkga}",
                field="dkga",
            )
        name = self.table_set
        if not (isinstance(name, str) and 0 < len(name) <= TABLE_SET_NAME_CHARACTERS_MAX):
            raise Refused("bad_table_set", "table_set must name a table set", field="table_set")

    def to_dict(self) -> dict[str, str | int]:
        """Return a JSON-able copy; :meth:`from_dict` reads it."""
        return {
            "pan": self.pan,
            "sgc": self.sgc,
            "krn": self.krn,
            "kt": int(self.kt),
            "ti": self.ti,
            "ken": self.ken,
            "base_date": self.base_date,
            "ea": self.ea,
            "dkga": self.dkga,
            "table_set": self.table_set,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, object]) -> Self:
        """Build from :meth:`to_dict`.

        Raises:
            Refused: a field is missing, unknown or out of range.
        """
        known = {f.name for f in fields(cls)}
        for name in data:
            if name not in known:
                raise Refused("unknown_field", f"key parameters have no field {name!r}", field=name)
        for name in ("pan", "sgc", "krn", "kt", "ti"):
            if name not in data:
                raise Refused("missing_field", f"key parameters lack {name!r}", field=name)
        return cls(**cast("dict[str, Any]", dict(data)))  # __post_init__ checks every value


@dataclass(frozen=True, slots=True)
class VendingKey:
    """A vending key with what belongs to it. Give it to a SecurityModule and forget it.

    Attributes:
        key: 8 bytes for DKGA01 and 02, 20 bytes for DKGA04; never shown.
        sgc, krn, kt, dkga, base_date, ken: as in :class:`KeyParameters`.
    """

    key: bytes = field(repr=False)
    sgc: str
    krn: int
    kt: int
    dkga: str
    base_date: int
    ken: int = KEN_NEVER

    def __post_init__(self) -> None:
        """Refuse a key that cannot be used."""
        _require_sgc(self.sgc)
        _require_int("krn", self.krn, 1, 9)
        _require_int("kt", self.kt, 0, 3)
        _require_choice("dkga", self.dkga, tuple(DKGA_KEY_BYTES))
        _require_choice("base_date", self.base_date, BASE_DATES)
        _require_int("ken", self.ken, 0, 255)
        expected = DKGA_KEY_BYTES[self.dkga]
        if not isinstance(self.key, bytes) or len(self.key) != expected:
            got = len(self.key) if isinstance(self.key, bytes) else type(self.key).__name__
            raise Refused(
                "bad_vending_key",
                f"a DKGA{self.dkga} vending key has {expected} bytes, got {got}",
                field="key",
            )


@dataclass(frozen=True, slots=True)
class VendingKeyInfo:
    """What may be told about a vending key that a SecurityModule holds.

    ``check_value`` is six hex digits, safe to print and to compare with the key's paper.
    """

    key_id: str
    sgc: str
    krn: int
    kt: int
    dkga: str
    base_date: int
    ken: int
    check_value: str


@dataclass(frozen=True, slots=True)
class DecoderKey:
    """The key that one meter shares with its vendor: 8 bytes for EA07, 16 for EA11; never shown."""

    key: bytes = field(repr=False)
    ea: int

    def __post_init__(self) -> None:
        """Refuse a key whose length does not fit the algorithm."""
        _require_choice("ea", self.ea, tuple(EA_KEY_BYTES))
        if not isinstance(self.key, bytes) or len(self.key) != EA_KEY_BYTES[self.ea]:
            raise Refused(
                "bad_decoder_key",
                f"an EA{self.ea:02d} decoder key has {EA_KEY_BYTES[self.ea]} bytes",
                field="key",
            )
