"""Every key of the language, by the part of a document that it belongs to.

The reader refuses what is not here, and the reference page documents all that is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

__all__ = ["CONDITION", "GROUPS", "KEYS", "RESERVED_CODES"]

CONDITION: Final = (
    *("class", "class_not", "from", "until", "months", "average"),
    *("connection", "load_kw", "channel", "vendor", "tender"),
)

PERCENTAGE: Final = (
    *("label", "percent", "on", "minimum", "maximum", "of_gross", "blocks", "lifeline"),
    *("included", "when"),
)

KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "tariff": (
        *("tariff", "title", "commodity", "currency", "time_zone", "valid_until", "source"),
        "prices_since",
        *("energy", "average_months", "levies", "percentages", "taxes", "fixed", "free_units"),
        *("purchase", "debts", "rounding", "energy_content", "calendar"),
    ),
    "energy": (
        *("label", "price", "blocks", "whole", "lifeline", "periods", "advance_price"),
        *("tables", "use", "counter"),
    ),
    "table": ("price", "blocks", "whole", "lifeline", "periods", "advance_price"),
    "block": ("from", "to", "price", "whole"),
    "lifeline": ("to", "price", "blocks"),
    "use rule": ("table", *(key for key in CONDITION if key != "tender")),
    "condition": CONDITION,
    "range": ("above", "at_least", "to", "below"),
    "counter": (*("window", "start_day", "days", "months", "counts_free", "missed", "months_max"),),
    "levy": ("label", "per_unit", "blocks", "lifeline", "when"),
    "percentage": PERCENTAGE,
    "tax": PERCENTAGE,
    "fixed charge": (
        *("label", "amount", "by_connection", "by_use", "includes_tax", "every", "missed"),
        *("months_max", "per", "split", "lifeline", "when"),
    ),
    "use band": ("to", "amount"),
    "split": ("below",),
    "free units": ("label", "units", "missed", "months_max", "registered", "when"),
    "purchase": ("minimum", "maximum", "too_small", "rules"),
    "purchase rule": ("minimum", "maximum", "when"),
    "debts": ("cap", "rules"),
    "debt rule": ("cap", "when"),
    "rounding": (
        *("unit_step", "units", "lines", "percent_of", "price_step", "fixed_step", "split_by"),
    ),
    "energy content": ("correction", "calorific_value", "volume_step", "imperial_unit"),
    "calendar": ("seasons", "days", "holidays"),
    "season": ("from", "to"),
    "day plan": ("seasons", "weekdays", "holidays", "hours"),
    "holidays": ("country", "subdivision", "dates", "through"),
    # Documents of the first release.
    "flat tariff": (
        *("tariff", "title", "commodity", "currency", "price", "tax", "fixed_charge", "purchase"),
    ),
    "flat tax": ("name", "percent"),
    "flat charge": ("code", "label", "amount", "taxed"),
    "flat limits": ("minimum", "maximum"),
}

GROUPS: Final = ("energy", "levies", "fixed", "tender")
"""Bases of percentages that are not one item."""

RESERVED_CODES: Final = frozenset(
    {*GROUPS, "percentages", "taxes", "debts", "rounding", "credit", "kept", "free_units"}
)
"""No item may be called so: it would read like something else on receipts or in a base."""
