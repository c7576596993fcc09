"""A purchase, priced: every line of how the tender became units, and what it moves."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

__all__ = ["ChargeTaken", "DebtTaken", "FreeGiven", "Outlook", "Priced", "PricedLine"]


class PricedLine(msgspec.Struct, frozen=True):
    """One line; the amounts of all lines add up to the tender.

    Args:
        kind: ``debt``, ``charge``, ``levy``, ``tax``, ``energy``, ``correction``, ``rounding``,
            ``credit`` (into a platform-held balance), ``kept`` (for the next purchase; negative
            when an earlier one is used).
        code: the item's code, ``block1`` and so on for energy, the debt's kind for debts.
        label: for people, as the tariff writes it; programs and translations go by kind and code.
        account: the ledger account it goes to.
        amount_minor: part of the tender; negative for rebates and some roundings.
        quantity: Wh or mL, for lines that are units times a price.
        rate: price per sold unit, or percent, as text; None where neither applies.
        base_minor: what a percentage was taken of, rounded to minor units for people; of a
            correction what its units had cost, where a percentage spared them and does no more; of
            a charge by use what was taken of it before; of energy on a token of money its whole
            price, where the token cannot carry all of it.
        period: month or day that a fixed charge is for.
        left_minor: what is left of a debt or of a charge after this.
        item: id of the debt.
        gross_minor: of energy whose price is published, or rounded, with what lies on it: quantity
            times ``gross_rate``; what lies on it is in lines of its own all the same.
        gross_rate: that price per sold unit, as text.
        tax_minor: tax within what is repaid of a debt, for the receipt; part of ``amount_minor``.
        cost_minor: of a correction, what its units had cost; with the amount, what they cost now.
    """

    kind: str
    code: str
    label: str
    account: str
    amount_minor: int
    quantity: int | None = None
    rate: str | None = None
    base_minor: int | None = None
    period: str | None = None
    left_minor: int | None = None
    item: int | None = None
    gross_minor: int | None = None
    gross_rate: str | None = None
    tax_minor: int | None = None
    cost_minor: int | None = None


@dataclass(frozen=True, slots=True)
class ChargeTaken:
    """So much of a fixed charge of a period is taken now, without tax; its full amount is due."""

    code: str
    period: str
    net_minor: int
    due_minor: int


@dataclass(frozen=True, slots=True)
class DebtTaken:
    """So much of a debt is repaid now."""

    debt_id: int
    minor: int


@dataclass(frozen=True, slots=True)
class FreeGiven:
    """Free units of one month, for one token of zero amount; Wh or mL."""

    code: str
    label: str
    period: str
    units: int


@dataclass(frozen=True, slots=True)
class Outlook:
    """What answers "why so many units?".

    Args:
        block: number of the block that the next unit falls into, 1 is the first; None without.
        left_in_block: units left in it, Wh or mL; None for no limit.
        next_price: what the next unit costs with everything on it, major units as text.
        first_of_month_units: what the same tender would buy on the first of next month with
            nothing bought before and no arrears of charges, Wh or mL; None when it would be
            refused.
    """

    block: int | None = None
    left_in_block: int | None = None
    next_price: str | None = None
    first_of_month_units: int | None = None


@dataclass(frozen=True, slots=True)
class Priced:
    """A priced purchase.

    Args:
        tender_minor: the sum of the lines.
        lines: in the order of the receipt (debts, charges with their taxes, energy, levies, taxes,
            corrections, rounding, kept).
        units: what the paid token carries, Wh or mL; 0 when none is made.
        transfer_minor: money that a currency token carries, in whole coins; None for tokens of
            units.
        transfer_e5: the same as the token counts it, in 0.00001 of the currency: less than a coin
            more, and never more than the energy lines.
        counted_units: the block counter moves by this.
        free: free units given with this purchase.
        charges: taken of fixed charges.
        debts: repaid of debts.
        kept_minor: kept for the next purchase; what the situation had is used up.
        outlook: for the receipt.
        calorific_value: MJ/m³ used, as text; gas priced by energy only.
        lifeline_units: change of the units in the window that a later purchase corrects (see
            ``Situation.prior_lifeline_units``); negative when this one did.
    """

    tender_minor: int
    lines: tuple[PricedLine, ...]
    units: int
    transfer_minor: int | None = None
    counted_units: int = 0
    free: tuple[FreeGiven, ...] = ()
    charges: tuple[ChargeTaken, ...] = ()
    debts: tuple[DebtTaken, ...] = ()
    kept_minor: int = 0
    outlook: Outlook = field(default_factory=Outlook)
    calorific_value: str | None = None
    lifeline_units: int = 0
    transfer_e5: int | None = None
