"""Virtual meters and tokens for them under one published key, without a platform."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from slotmeter.testing.consumption import Household
from slotmeter.testing.meter_body import CreditMode
from slotmeter.testing.virtual_meter import VirtualMeter
from slotmeter.units import Commodity
from slotmeter.vending.sts import (
    DecoderKey,
    IssuedToken,
    KeyParameters,
    TokenRequest,
    cipher_for,
    derive_decoder_key,
    issue_token,
    key_change_tokens,
    luhn_digit,
    minute_1993_of,
    pan_of_drn,
    tid_of_minute,
)
from slotmeter.vending.sts.tables import TABLE_SETS

__all__ = ["TokenMaker"]

_VENDING_KEY: Final = bytes.fromhex("abababababababab949494949494949401234567")
_SUBCLASS: Final = {Commodity.ELECTRICITY: 0, Commodity.WATER: 1, Commodity.GAS: 2}
_RANDOM_BITS: Final = 5  # as in the published test vectors, so that tokens can be compared
_CLEAR_CREDIT: Final = 1
_CLEAR_TAMPER: Final = 5
_ALL_REGISTERS: Final = 0xFFFF


class TokenMaker:
    """Makes meters and tokens that fit each other.

    The vending key is that of the published STS test suite and protects nothing: use it for tests
    and for trying things out.
    """

    def __init__(self, *, sgc: str = "123457", krn: int = 1) -> None:
        self.sgc = sgc
        self.krn = krn

    def number(self, serial: int) -> str:
        """Return an 11-digit meter number with its check digit."""
        digits = f"07{serial:08d}"
        return digits + luhn_digit(digits)

    def parameters(self, number: str, *, ti: int = 1) -> KeyParameters:
        """Return what a meter is coded with."""
        return KeyParameters(pan=pan_of_drn(number), sgc=self.sgc, krn=self.krn, kt=2, ti=ti)

    def decoder_key(self, number: str, *, ti: int = 1) -> DecoderKey:
        """Return the key that a meter is coded with."""
        return derive_decoder_key(_VENDING_KEY, self.parameters(number, ti=ti))

    def meter(
        self,
        serial: int,
        commodity: Commodity | str,
        *,
        made_at: datetime,
        opening_credit: int = 0,
        people: int = 3,
    ) -> VirtualMeter:
        """Return a meter that holds its credit; its household is seeded by the serial."""
        number = self.number(serial)
        return VirtualMeter.create(
            number=number,
            commodity=commodity,
            household=Household(seed=serial, people=people),
            made_at=made_at,
            credit_mode=CreditMode.METER,
            decoder_key=self.decoder_key(number),
            parameters=self.parameters(number),
            opening_credit=opening_credit,
        )

    def credit(self, meter: VirtualMeter, tenths: int, *, at: datetime) -> str:
        """Return the 20 digits of a credit token.

        Args:
            meter: whom it is for.
            tenths: credit in 0.1 kWh or 0.1 m³.
            at: the minute it stands for; each minute serves once.
        """
        request = TokenRequest.credit(
            _SUBCLASS[meter.commodity], units=tenths, tid=self._tid(at), rnd=_RANDOM_BITS
        )
        return self._issue(meter.number, request).digits

    def clear_credit(self, meter: VirtualMeter, *, at: datetime) -> str:
        """Return the 20 digits of a token that takes all credit away."""
        request = TokenRequest.management(
            _CLEAR_CREDIT, value=_ALL_REGISTERS, tid=self._tid(at), rnd=_RANDOM_BITS
        )
        return self._issue(meter.number, request).digits

    def clear_tamper(self, meter: VirtualMeter, *, at: datetime) -> str:
        """Return the 20 digits of a token that clears the tamper condition."""
        request = TokenRequest.management(
            _CLEAR_TAMPER, value=0, tid=self._tid(at), rnd=_RANDOM_BITS
        )
        return self._issue(meter.number, request).digits

    def key_change(self, meter: VirtualMeter, *, ti: int) -> tuple[str, ...]:
        """Return the digits of the tokens that take a meter from tariff index 1 to another."""
        current, new = self.parameters(meter.number), self.parameters(meter.number, ti=ti)
        cipher = cipher_for(self.decoder_key(meter.number), TABLE_SETS[current.table_set])
        tokens = key_change_tokens(cipher, current, self.decoder_key(meter.number, ti=ti), new)
        return tuple(token.digits for token in tokens)

    def _tid(self, at: datetime) -> int:
        return tid_of_minute(minute_1993_of(at), 2014)

    def _issue(self, number: str, request: TokenRequest) -> IssuedToken:
        parameters = self.parameters(number)
        cipher = cipher_for(self.decoder_key(number), TABLE_SETS[parameters.table_set])
        return issue_token(cipher, parameters, request)
