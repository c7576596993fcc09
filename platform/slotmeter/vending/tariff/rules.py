"""Limits of a purchase, caps on debts, rounding and gas energy, as a document says them."""

from __future__ import annotations

from decimal import Decimal

from slotmeter.units import Rounding
from slotmeter.vending.tariff.conditions import read_when
from slotmeter.vending.tariff.fields import NumberRule, Section, Units
from slotmeter.vending.tariff.model import (
    ALWAYS,
    DebtCap,
    EnergyContent,
    PercentOf,
    PurchaseRule,
    RoundingRules,
    SplitBy,
    TooSmall,
)

__all__ = ["read_debts", "read_energy_content", "read_purchase", "read_rounding"]

_CAP = NumberRule("a percentage of the tender", "50", 6, Decimal(0), Decimal(100))
_STEP = NumberRule("a step", "0.01", 6, Decimal(0), Decimal(10_000), is_above_low=True)
_FACTOR = NumberRule("a factor", "1.02264", 12, Decimal(0), Decimal(1_000), is_above_low=True)


# --- purchase and debts -------------------------------------------------------------------------


def read_purchase(document: Section, units: Units) -> tuple[tuple[PurchaseRule, ...], TooSmall]:
    """Read ``purchase``: all limits, and what becomes of a tender that is too small."""
    part = document.part("purchase", "purchase")
    if part is None:
        return (), TooSmall.REFUSE
    rules: list[PurchaseRule] = []
    if part.has("minimum") or part.has("maximum"):
        rules.append(_limits(part, units))
    for rule in part.parts("rules", "purchase rule"):
        if not (rule.has("minimum") or rule.has("maximum")):
            rule.add("", "expected minimum, maximum or both")
        if not rule.has("when"):
            rule.add("", "when is missing; limits for all stand directly under purchase")
        rules.append(_limits(rule, units))
    return tuple(rules), part.choice("too_small", TooSmall, TooSmall.REFUSE)


def _limits(part: Section, units: Units) -> PurchaseRule:
    low, high = part.number("minimum", units.money), part.number("maximum", units.money)
    if low is not None and high is not None and low > high:
        part.add("maximum", f"expected at least the minimum of {low:f}, got {high:f}")
    elif high is not None and not high:
        part.add("maximum", "expected an amount of more than 0")
    return PurchaseRule(low, high, read_when(part, units) if part.has("when") else ALWAYS)


def read_debts(document: Section, units: Units) -> tuple[DebtCap, ...]:
    """Read ``debts``: caps with conditions first, then the one for all."""
    part = document.part("debts", "debts")
    if part is None:
        return ()
    caps: list[DebtCap] = []
    for rule in part.parts("rules", "debt rule"):
        rule.require("cap")
        if not rule.has("when"):
            rule.add("", "when is missing; the cap for all stands directly under debts")
        cap = rule.number("cap", _CAP)
        caps.append(DebtCap(cap if cap is not None else Decimal(0), read_when(rule, units)))
    if part.has("cap"):
        cap = part.number("cap", _CAP)
        caps.append(DebtCap(cap if cap is not None else Decimal(0)))
    return tuple(caps)


# --- rounding and gas ---------------------------------------------------------------------------


def read_rounding(document: Section, units: Units) -> RoundingRules:
    """Read ``rounding``."""
    part = document.part("rounding", "rounding")
    usual = RoundingRules()
    if part is None:
        return usual
    step = part.number("unit_step", _STEP)
    if step is not None and units.quantity.problem(step) is not None:
        part.add("unit_step", f"expected at most {units.quantity.decimals_max} decimals")
    for key in ("price_step", "fixed_step"):
        if part.has(key) and part.has("split_by"):
            text = "prices that are rounded first are priced by units; leave split_by out"
            if part.text("split_by") == SplitBy.TENDER:
                part.add(key, text)
    return RoundingRules(
        unit_step=step or usual.unit_step,
        units=part.choice("units", Rounding, usual.units),
        lines=part.choice("lines", Rounding, usual.lines),
        percent_of=part.choice("percent_of", PercentOf, usual.percent_of),
        price_step=part.number("price_step", _STEP),
        fixed_step=part.number("fixed_step", _STEP),
        split_by=part.choice("split_by", SplitBy, usual.split_by),
    )


def read_energy_content(document: Section) -> EnergyContent | None:
    """Read ``energy_content``."""
    part = document.part("energy_content", "energy content")
    if part is None:
        return None
    part.require("correction")
    part.require("calorific_value", "it counts where the day and zone have none of their own")
    usual = EnergyContent(Decimal(1), Decimal(1))
    return EnergyContent(
        correction=part.number("correction", _FACTOR) or usual.correction,
        calorific_value=part.number("calorific_value", _FACTOR) or usual.calorific_value,
        volume_step=part.number("volume_step", _STEP),
        imperial_unit_m3=part.number("imperial_unit", _FACTOR) or usual.imperial_unit_m3,
    )
