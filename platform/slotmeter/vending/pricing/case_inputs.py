"""A published case as what pricing needs: the situation of a buyer, a tender or units.

========================  =========================================================================
input                     meaning
========================  =========================================================================
``tender``                what the buyer pays, major units
``units``                 bought or used, sold units (kWh, m³)
``use``                   measured: sold units by stretch of time, ``start/end``
``prior_units``           counted before in the same block window; 0 when nothing is said, and for
                          a later case of an ``order`` what the cases before it bought
``fixed_due``             whether fixed charges by month or day are open; unless said, they are
                          when nothing was bought before in the window, or part of them is taken
``months_missed``         months without a purchase before this one; ``months_due`` counts this too
``days``                  days since the purchase before, for charges by day
``taken``                 of the fixed charge of this month already, without tax; by the code or
                          label of the charge where the tariff has several
``tendered_before``       in this month, for charges that small purchases share
``free_units_due``        free units that may be claimed, sold units
``class``                 customer class
``average_units``         average use a month, sold units
``connection``            size of the connection
``load_kw``               sanctioned load
``demand_kw``             highest demand of the month before
``channel``, ``vendor``   of the purchase
``date``                  of the purchase; else the first day of the tariff's ``period``
``debt``                  balance of a debt; ``debt_percent`` is the share of the tender that goes
                          to it, a fraction; ``debt_due`` what is due of it now
``cv``                    calorific value, MJ/m³
``m3``                    volume; ``units_hundred_ft3`` for imperial meters
``name``, ``block``       what a rate is asked of
a percentage's code       its rate, a fraction: see :func:`with_stated_rates`
========================  =========================================================================
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from decimal import Decimal, InvalidOperation
from typing import Final

from slotmeter.errors import Refused
from slotmeter.units import parse_money
from slotmeter.vending.sts.vector_inputs import VectorError
from slotmeter.vending.tariff.model import PercentItem, Tariff

__all__ = ["INPUTS", "CaseInputs", "case_date", "same_name", "with_stated_rates", "words_of"]

_NOTES: Final = frozenset(
    {"expect", "id", "kind", "match", "note", "notes", "recomputed", "source"}
)
_SYNONYMS: Final[Mapping[str, tuple[str, ...]]] = {
    "tender": (),
    "units": (),
    "use": (),
    "order": (),
    "prior_units": (),
    "fixed_due": (),
    "months_missed": ("missed_months", "windows_missed"),
    "months_due": ("months_since_last_purchase", "months_since_last"),
    "days": ("days_since_last", "days_since_last_purchase", "days_since_previous_purchase"),
    "taken": ("fixed_taken", "fixed_paid"),
    "tendered_before": ("tendered_this_month", "prior_tender"),
    "free_units_due": (),
    "class": ("customer_class", "category"),
    "average_units": ("average", "average_use", "average_kwh"),
    "connection": ("connection_size", "connection_mm", "phase"),
    "load_kw": ("sanctioned_load_kw", "sanctioned_load"),
    "demand_kw": (),
    "channel": (),
    "vendor": (),
    "date": ("on",),
    "debt": (),
    "debt_percent": (),
    "debt_due": (),
    "cv": ("calorific_value",),
    "m3": ("volume_m3",),
    "units_hundred_ft3": ("hundred_ft3",),
    "name": (),
    "block": (),
}
_KNOWN: Final = _NOTES | {name for key, more in _SYNONYMS.items() for name in (key, *more)}
INPUTS: Final = tuple(_SYNONYMS)
"""What a case may hold beside notes, the kind and what it expects."""

_USUAL_DATE: Final = date(2026, 1, 15)
_DATE: Final = re.compile(r"\b([0-9]{4})-([0-9]{2})(?:-([0-9]{2}))?\b")


@dataclass(slots=True)
class CaseInputs:
    """The inputs of one case, read with types; remembers what was read."""

    data: Mapping[str, object]
    read: set[str] = field(default_factory=set)

    def refuse_unknown(self, tariff: Tariff) -> None:
        """Refuse inputs that are neither known nor the rate of one of the tariff's percentages."""
        for key in self.data:
            if key not in _KNOWN and not _family(tariff, key):
                raise VectorError("vector_field_unknown", "it is not a known input", field=key)

    def has(self, name: str) -> bool:
        """Say whether an input is there, by its name or a synonym."""
        return self._key(name) is not None

    def _key(self, name: str) -> str | None:
        found = [key for key in (name, *_SYNONYMS.get(name, ())) if key in self.data]
        if len(found) > 1:
            raise VectorError("vector_field_wrong", f"{found[0]} says the same", field=found[1])
        return found[0] if found else None

    def text(self, name: str) -> str | None:
        """Return an input as text; None when it is missing."""
        key = self._key(name)
        if key is None:
            return None
        self.read.add(key)
        value = self.data[key]
        if isinstance(value, bool) or value is None or isinstance(value, dict | list):
            raise VectorError("vector_field_wrong", f"expected a text, got {value!r}", field=key)
        return str(value)

    def decimal(self, name: str) -> Decimal | None:
        """Return an input as an exact number; None when it is missing."""
        text = self.text(name)
        if text is None:
            return None
        try:
            value = Decimal(text)
        except InvalidOperation:
            value = Decimal("NaN")
        if not value.is_finite():
            raise VectorError(
                "vector_field_wrong", f"expected a number, got {text[:40]!r}", field=name
            )
        return value

    def whole(self, name: str, scale: int = 1) -> int | None:
        """Return a number times ``scale``, which must then be whole; None when it is missing."""
        value = self.decimal(name)
        if value is None:
            return None
        scaled = value * scale
        if scaled != scaled.to_integral_value():
            raise VectorError("vector_field_wrong", f"{value} is too precise", field=name)
        return int(scaled)

    def money(self, name: str, currency: str) -> int | None:
        """Return an amount as minor units; None when it is missing."""
        text = self.text(name)
        if text is None:
            return None
        try:
            return parse_money(text, currency, name).minor
        except Refused as error:
            raise VectorError(error.code, error.message, field=name) from error

    def named(self, name: str) -> CaseInputs | None:
        """Return an input that is itself values by name; None when it is missing, or one value."""
        key = self._key(name)
        value = None if key is None else self.data[key]
        if key is None or not isinstance(value, dict):
            return None
        self.read.add(key)
        return CaseInputs(value)

    def flag(self, name: str) -> bool | None:
        """Return whether something is so; None when nothing is said."""
        key = self._key(name)
        if key is None:
            return None
        self.read.add(key)
        said = {True: True, False: False, "true": True, "false": False}
        value = self.data[key]
        if not isinstance(value, bool | str) or value not in said:
            raise VectorError(
                "vector_field_wrong", f"expected true or false, got {value!r}", field=key
            )
        return said[value]

    def unused(self) -> tuple[str, ...]:
        """Name the inputs that nothing has read, apart from notes."""
        return tuple(key for key in self.data if key not in self.read and key not in _NOTES)


# --- names ----------------------------------------------------------------------------------------


def words_of(name: str) -> tuple[str, ...]:
    """Return the words of a name, in small letters, whatever stands between them."""
    return tuple(re.findall(r"[a-z0-9]+", name.lower()))


def same_name(one: str, other: str) -> bool:
    """Say whether two names have the same words."""
    return words_of(one) == words_of(other)


def _family(tariff: Tariff, key: str) -> list[PercentItem]:
    """Return the percentages that a name means: ``ppj`` also means ``ppj-3`` and ``ppj-6``."""
    asked = words_of(key)
    return [item for item in tariff.percent_items if words_of(item.code)[: len(asked)] == asked]


# --- rates that depend on the region --------------------------------------------------------------


def with_stated_rates(tariff: Tariff, inputs: CaseInputs) -> tuple[Tariff, str | None]:
    """Apply the rates that a case states for percentages; return the tariff and a customer class.

    Some taxes have a rate that depends on the region. When the tariff has one percentage of that
    name, without a condition, the case's rate is put in its place. When it has several for
    customer classes, such as ``ppj-3`` and ``ppj-6``, the case is one of the class that pays the
    rate.

    Raises:
        Refused: ``rate_not_in_tariff`` when no class pays this rate.
    """
    customer_class: str | None = None
    for key in inputs.data:
        family = [] if key in _KNOWN else _family(tariff, key)
        if not family:
            continue
        percent = (inputs.decimal(key) or Decimal(0)) * 100
        if len(family) == 1 and family[0].when.classes is None:
            items = tuple(
                replace(item, percent=percent) if item is family[0] else item
                for item in tariff.percent_items
            )
            tariff = replace(tariff, percent_items=items)
            continue
        classes = [item.when.classes for item in family if item.percent == percent]
        if not classes or not classes[0]:
            rates = ", ".join(f"{item.percent:f} %" for item in family)
            raise Refused(
                "rate_not_in_tariff", f"no class pays {key} of {percent.normalize():f} %: {rates}"
            )
        customer_class = min(classes[0])
    return tariff, customer_class


# --- when and how much ----------------------------------------------------------------------------


def case_date(tariff: Tariff, entry: Mapping[str, object], inputs: CaseInputs) -> date:
    """Return the local day of a case: its own, or the first of the period of its tariff."""
    for text, name in ((inputs.text("date"), "date"), (entry.get("period"), "period")):
        found = _DATE.search(text) if isinstance(text, str) else None
        if found is None:
            if name == "date" and text is not None:
                raise VectorError(
                    "vector_field_wrong", f"expected a date, got {text!r}", field=name
                )
            continue
        year, month, day = (int(part or 15) for part in found.groups())
        try:
            return date(year, month, day)
        except ValueError as error:
            raise VectorError("vector_field_wrong", str(error), field=name) from error
    if tariff.valid_until is not None and tariff.valid_until <= _USUAL_DATE:
        return tariff.valid_until - timedelta(days=1)
    return _USUAL_DATE
