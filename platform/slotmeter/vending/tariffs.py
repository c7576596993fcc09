"""What a unit costs: one price, one tax, one monthly charge, as data.

A tariff document is a mapping (YAML or JSON)::

    tariff: domestic-electricity      # code, unique in the utility
    title: Domestic electricity
    commodity: electricity            # electricity | water | gas
    currency: KES
    price: "21.50"                    # per kWh or m³, without tax
    tax: {name: VAT, percent: "16"}
    fixed_charge: {code: service, label: Service charge, amount: "50.00", taxed: true}
    purchase: {minimum: "20.00", maximum: "50000.00"}

Amounts are text, so that no reader turns them into binary floats.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from functools import lru_cache

from slotmeter.errors import Refused
from slotmeter.units import Commodity, Money, Price, Rounding, parse_money, round_to_int

__all__ = ["FixedCharge", "Tariff", "Tax", "parse_tariff", "stored_tariff"]

_HUNDRED = Decimal(100)


@dataclass(frozen=True, slots=True)
class Tax:
    """A percentage on energy and, where said, on fixed charges."""

    name: str
    percent: Decimal

    def on(self, net: Money) -> Money:
        """Return the tax on an amount without tax, rounded half up."""
        exact = Decimal(net.minor) * self.percent / _HUNDRED
        return Money(round_to_int(exact, Rounding.HALF_UP), net.currency)

    def split(self, gross: Money) -> tuple[Money, Money]:
        """Return (net, tax) of an amount with tax; they add up to it exactly."""
        exact = Decimal(gross.minor) * _HUNDRED / (_HUNDRED + self.percent)
        net = Money(round_to_int(exact, Rounding.HALF_UP), gross.currency)
        return net, gross - net


@dataclass(frozen=True, slots=True)
class FixedCharge:
    """An amount due once each calendar month, taken with the first purchase of the month."""

    code: str
    label: str
    amount: Money  # without tax
    taxed: bool


@dataclass(frozen=True, slots=True)
class Tariff:
    """One version of a price list for one commodity."""

    code: str
    title: str
    commodity: Commodity
    price: Price
    tax: Tax | None
    fixed_charge: FixedCharge | None
    purchase_min: Money | None
    purchase_max: Money | None

    @property
    def currency(self) -> str:
        """The currency of every amount in it."""
        return self.price.currency


_KEYS = frozenset(
    {"tariff", "title", "commodity", "currency", "price", "tax", "fixed_charge", "purchase"}
)


def _text(document: Mapping[str, object], key: str, path: str, length_max: int = 80) -> str:
    value = document.get(key)
    if value is None:
        raise Refused("tariff_invalid", f"{path} is missing", field=path)
    if not isinstance(value, str) or not value.strip() or len(value) > length_max:
        raise Refused(
            "tariff_invalid",
            f"{path} needs a text of at most {length_max} characters",
            field=path,
        )
    return value.strip()


def _decimal(document: Mapping[str, object], key: str, path: str) -> Decimal:
    text = _text(document, key, path, 30)
    try:
        value = Decimal(text)
    except InvalidOperation:
        value = Decimal(-1)
    if not value.is_finite() or value < 0:
        raise Refused(
            "tariff_invalid", f"{path} needs a number in quotes that is not negative", field=path
        )
    return value


def _section(
    document: Mapping[str, object], key: str, allowed: frozenset[str]
) -> Mapping[str, object] | None:
    section = document.get(key)
    if section is None:
        return None
    if not isinstance(section, Mapping):
        raise Refused("tariff_invalid", f"{key} needs named values", field=key)
    _only(section, allowed, f"{key}.")
    return section


def _only(document: Mapping[str, object], allowed: frozenset[str], prefix: str = "") -> None:
    for key in document:
        if key not in allowed:
            known = ", ".join(sorted(allowed))
            raise Refused(
                "tariff_invalid",
                f"{prefix}{key} is not known here; known are {known}",
                field=f"{prefix}{key}",
            )


def _money(document: Mapping[str, object], key: str, path: str, currency: str) -> Money:
    amount = parse_money(_text(document, key, path, 30), currency, path)
    if amount.minor < 0:
        raise Refused("tariff_invalid", f"{path} must not be negative", field=path)
    return amount


def _currency(document: Mapping[str, object]) -> str:
    currency = _text(document, "currency", "currency", 3)
    if len(currency) != 3 or not currency.isascii() or not currency.isupper():
        raise Refused(
            "tariff_invalid", "currency needs an ISO 4217 code such as KES", field="currency"
        )
    return currency


def _tax(document: Mapping[str, object]) -> Tax | None:
    section = _section(document, "tax", frozenset({"name", "percent"}))
    if section is None:
        return None
    return Tax(_text(section, "name", "tax.name", 20), _decimal(section, "percent", "tax.percent"))


def _fixed_charge(document: Mapping[str, object], currency: str) -> FixedCharge | None:
    section = _section(document, "fixed_charge", frozenset({"code", "label", "amount", "taxed"}))
    if section is None:
        return None
    taxed = section.get("taxed", True)
    if not isinstance(taxed, bool):
        raise Refused(
            "tariff_invalid", "fixed_charge.taxed is true or false", field="fixed_charge.taxed"
        )
    return FixedCharge(
        code=_text(section, "code", "fixed_charge.code", 20),
        label=_text(section, "label", "fixed_charge.label", 40),
        amount=_money(section, "amount", "fixed_charge.amount", currency),
        taxed=taxed,
    )


def parse_tariff(document: object) -> Tariff:
    """Read a tariff document.

    Raises:
        Refused: ``tariff_invalid`` or an amount error, with the path of the value at fault.
    """
    if not isinstance(document, Mapping):
        raise Refused("tariff_invalid", "a tariff is a document with named values")
    _only(document, _KEYS)
    currency = _currency(document)
    commodity = _text(document, "commodity", "commodity", 20)
    if commodity not in set(Commodity):
        known = ", ".join(Commodity)
        raise Refused("tariff_invalid", f"commodity is one of {known}", field="commodity")
    price = _decimal(document, "price", "price")
    if not price:
        raise Refused("tariff_invalid", "price must be more than zero", field="price")
    purchase = _section(document, "purchase", frozenset({"minimum", "maximum"})) or {}
    limits = {
        key: _money(purchase, key, f"purchase.{key}", currency)
        for key in ("minimum", "maximum")
        if key in purchase
    }
    return Tariff(
        code=_text(document, "tariff", "tariff", 40),
        title=_text(document, "title", "title"),
        commodity=Commodity(commodity),
        price=Price(price, currency),
        tax=_tax(document),
        fixed_charge=_fixed_charge(document, currency),
        purchase_min=limits.get("minimum"),
        purchase_max=limits.get("maximum"),
    )


@lru_cache(maxsize=1_000)
def stored_tariff(body: str) -> Tariff:
    """Read a tariff version as the database keeps it: JSON text that was checked when it came in.

    Versions never change, so that each is read once.
    """
    return parse_tariff(json.loads(body))
