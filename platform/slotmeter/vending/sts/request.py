"""What a vendor asks for (:class:`TokenRequest`) and what it gets (:class:`IssuedToken`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final, Self, cast

from slotmeter.errors import Refused

__all__ = ["TOKEN_NAMES", "IssuedToken", "TokenRequest", "token_name"]

TOKEN_NAMES: Final[Mapping[tuple[int, int], str]] = {
    (0, 0): "credit_electricity",
    (0, 1): "credit_water",
    (0, 2): "credit_gas",
    (0, 3): "credit_time",
    (0, 4): "credit_electricity_currency",
    (0, 5): "credit_water_currency",
    (0, 6): "credit_gas_currency",
    (0, 7): "credit_time_currency",
    (1, 0): "meter_test_display",
    (1, 1): "meter_test_display",
    (1, 2): "read_extended",
    **{(1, subclass): "proprietary_display" for subclass in range(6, 16)},
    (2, 0): "set_maximum_power_limit",
    (2, 1): "clear_credit",
    (2, 2): "set_tariff_rate",
    (2, 3): "set_1st_section_decoder_key",
    (2, 4): "set_2nd_section_decoder_key",
    (2, 5): "clear_tamper_condition",
    (2, 6): "set_maximum_phase_power_unbalance_limit",
    (2, 7): "set_water_meter_factor",
    (2, 8): "set_3rd_section_decoder_key",
    (2, 9): "set_4th_section_decoder_key",
    (2, 10): "extended",
    **{(2, subclass): "proprietary_management" for subclass in range(11, 16)},
}
"""Name of each token by (class, subclass); what is missing is reserved."""

KEY_CHANGE_SUBCLASSES: Final = frozenset({3, 4, 8, 9})


def token_name(token_class: int, subclass: int) -> str:
    """Return the name of a token, or "reserved"."""
    return TOKEN_NAMES.get((token_class, subclass), "reserved")


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """What to make; with :class:`KeyParameters` and a vending key it decides the 20 digits.

    Build it with one of the class methods, which name the units; store it with :meth:`to_dict`.

    Attributes:
        token_class: 0 credit, 1 test and display, 2 management.
        subclass: see :data:`TOKEN_NAMES`. Key change tokens are not requested here.
        tid: 24-bit token identifier under the key's base date; None for class 1.
        rnd: the 4 random bits, drawn by the caller; unused by class 1 and by currency credit.
        value: credit subclass 0-3: 0.1 kWh, 0.1 m3 or 0.1 min; subclass 4-7: 0.00001 of the
            currency, may be negative; power limits: W; clear credit: register; the rest: the raw
            field.
        manufacturer_code: class 1 only; 0 is every manufacturer.
    """

    token_class: int
    subclass: int
    tid: int | None = None
    rnd: int | None = None
    value: int = 0
    manufacturer_code: int = 0

    def __post_init__(self) -> None:
        """Refuse what is not a token that can be asked for."""
        if not (
            type(self.token_class) is type(self.subclass) is type(self.value) is int
            and type(self.manufacturer_code) is int
            and (self.tid is None or type(self.tid) is int)
            and (self.rnd is None or type(self.rnd) is int)
        ):
            self._require_integers()
        if self.token_class == 2 and self.subclass in KEY_CHANGE_SUBCLASSES:
            raise Refused(
                "key_change_not_requested_here",
                "key change tokens come as a set; ask for a key change",
                field="subclass",
            )
        if (self.token_class, self.subclass) not in TOKEN_NAMES:
            raise Refused(
                "unknown_token",
                f"there is no token of class {self.token_class}, subclass {self.subclass}",
                field="subclass",
            )

    def _require_integers(self) -> None:
        for f in fields(self):
            value = getattr(self, f.name)
            optional = f.name in ("tid", "rnd") and value is None
            if not optional and (isinstance(value, bool) or not isinstance(value, int)):
                raise Refused(
                    "bad_token_request", f"{f.name} must be an integer, got {value!r}", field=f.name
                )

    @property
    def name(self) -> str:
        """The token's name, see :data:`TOKEN_NAMES`."""
        return token_name(self.token_class, self.subclass)

    @classmethod
    def credit(cls, subclass: int, *, units: int, tid: int, rnd: int) -> Self:
        """Credit in tenths: subclass 0 of a kWh, 1 and 2 of a cubic metre, 3 of a minute."""
        return cls(0, int(subclass), tid, rnd, units)

    @classmethod
    def currency_credit(cls, subclass: int, *, amount_e5: int, tid: int) -> Self:
        """Credit in 0.00001 of the currency: subclass 4 electricity, 5 water, 6 gas, 7 time."""
        return cls(0, int(subclass), tid, None, amount_e5)

    @classmethod
    def meter_test(
        cls, *, control: int, manufacturer_code: int = 0, four_digit_code: bool = False
    ) -> Self:
        """Test or display, by control bits: 36 of them, or 28 with ``four_digit_code``."""
        return cls(1, int(four_digit_code), None, None, control, manufacturer_code)

    @classmethod
    def management(cls, subclass: int, *, value: int, tid: int, rnd: int) -> Self:
        """Any class 2 token that is not part of a key change."""
        return cls(2, subclass, tid, rnd, value)

    @classmethod
    def set_flag(cls, *, flag_index: int, flag_value: int, tid: int, rnd: int) -> Self:
        """Class 2, subclass 10, index 63: set one flag (STS 202-5).

        Raises:
            Refused: the flag index is not of 9 bits or the value not of 1 bit.
        """
        if not (0 <= flag_index < 512 and flag_value in (0, 1)):
            raise Refused(
                "bad_flag", "a flag has an index from 0 to 511 and the value 0 or 1", field="value"
            )
        return cls(2, 10, tid, rnd, 63 << 10 | flag_index << 1 | flag_value)

    @classmethod
    def set_extended(cls, *, token_index: int, value: int, tid: int, rnd: int) -> Self:
        """Class 2, subclass 10 with a 6-bit index and a 10-bit value (STS 202-5).

        Raises:
            Refused: index or value does not fit.
        """
        if not (0 <= token_index < 64 and 0 <= value < 1024):
            raise Refused(
                "bad_extended_token",
                "an extended token has an index from 0 to 63 and a value from 0 to 1023",
                field="value",
            )
        return cls(2, 10, tid, rnd, token_index << 10 | value)

    def to_dict(self) -> dict[str, int | None]:
        """Return a JSON-able copy; :meth:`from_dict` reads it."""
        return {
            "token_class": self.token_class,
            "subclass": self.subclass,
            "tid": self.tid,
            "rnd": self.rnd,
            "value": self.value,
            "manufacturer_code": self.manufacturer_code,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, object]) -> Self:
        """Build from :meth:`to_dict`.

        Raises:
            Refused: a field is missing, unknown or of the wrong type.
        """
        for name in data:
            if name not in cls.__slots__:
                raise Refused("unknown_field", f"a token request has no field {name!r}", field=name)
        for name in ("token_class", "subclass"):
            if name not in data:
                raise Refused("missing_field", f"a token request lacks {name!r}", field=name)
        return cls(**cast("dict[str, Any]", dict(data)))  # __post_init__ checks every value


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """A token as made.

    Attributes:
        digits: the 20 digits; worth money, so never shown in ``repr``.
        token_class, subclass: what it is.
        tid: its identifier; None for class 1 and for key change tokens.
        rnd: its random bits as encoded; None where there are none.
        value_field: the amount, limit or value field as encoded (16 bits; currency 20 bits; class 1
            the control bits); None for key change tokens, whose fields are key material.
        value: what the meter will read from it, in the units of :attr:`TokenRequest.value`. For
            credit it is the rounded amount that the receipt and ledger must show beside the amount
            paid for.
    """

    digits: str = field(repr=False)
    token_class: int
    subclass: int
    tid: int | None = None
    rnd: int | None = None
    value_field: int | None = None
    value: int | None = None

    @property
    def name(self) -> str:
        """The token's name, see :data:`TOKEN_NAMES`."""
        return token_name(self.token_class, self.subclass)

    @property
    def grouped(self) -> str:
        """The digits in groups of four, for people."""
        return " ".join(self.digits[i : i + 4] for i in range(0, 20, 4))

    def to_dict(self) -> dict[str, str | int | None]:
        """Return a JSON-able copy, digits included; :meth:`from_dict` reads it."""
        return {
            "digits": self.digits,
            "token_class": self.token_class,
            "subclass": self.subclass,
            "tid": self.tid,
            "rnd": self.rnd,
            "value_field": self.value_field,
            "value": self.value,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, object]) -> Self:
        """Build from :meth:`to_dict`."""
        return cls(**cast("dict[str, Any]", dict(data)))
