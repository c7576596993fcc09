"""From what money buys exactly to what is delivered: unit step, token grid, gas by volume."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from slotmeter.units import Rounding, commodity_quantity, round_to_int
from slotmeter.vending.pricing.gas import energy_of_volume
from slotmeter.vending.pricing.integers import DIVIDE
from slotmeter.vending.pricing.limits import (
    TOKEN_EXACT_MAX,
    TOKEN_STEPS,
    carried_above,
    carried_below,
)
from slotmeter.vending.pricing.situation import Situation
from slotmeter.vending.sts.amounts import UNITS_MAX
from slotmeter.vending.tariff.model import EnergyContent, Tariff

__all__ = ["Delivery", "delivery_for"]


@dataclass(frozen=True, slots=True)
class Delivery:
    """How units are counted out. Delivered units are Wh or mL; priced ones Wh for gas by energy.

    Args:
        step: delivered units are a multiple of this.
        rounding: direction of that.
        token_step: what an STS token counts; None when no token of units is made.
        symbol: of the sold unit.
        content: for gas priced by energy.
        calorific_value: MJ/m³ that applies, for the same.
        per_priced: delivered units per priced unit.
    """

    step: int
    rounding: Rounding
    token_step: int | None
    symbol: str
    content: EnergyContent | None
    calorific_value: Decimal | None
    per_priced: Fraction

    @property
    def exact_up_to(self) -> int:
        """Up to this a token carries exactly what was asked of it."""
        return 1 << 62 if self.token_step is None else TOKEN_EXACT_MAX * self.token_step

    @property
    def is_strict(self) -> bool:
        """Rounding never gives more than the money buys."""
        return self.rounding in (Rounding.DOWN, Rounding.FLOOR)

    @property
    def smallest(self) -> int:
        """The smallest amount that can be delivered."""
        return self.step if self.token_step is None else max(self.step, self.token_step)

    def whole(self, numerator: int, denominator: int) -> int:
        """Return the delivered units for exact priced ones, given as a fraction."""
        if self.content is not None:
            numerator *= self.per_priced.numerator
            denominator *= self.per_priced.denominator
        steps = DIVIDE[self.rounding](numerator, denominator * self.step)
        return self.on_token(steps * self.step)

    def on_token(self, delivered: int) -> int:
        """Cut to what a token counts."""
        if self.token_step is None:
            return delivered
        return delivered // self.token_step * self.token_step

    def below(self, delivered: int) -> int:
        """Return the next smaller amount that can be delivered; below zero if there is none."""
        return self.on_token(delivered - self.step)

    def priced(self, delivered: int) -> int:
        """Return the priced units of delivered ones."""
        if self.content is None:
            return delivered
        energy = energy_of_volume(self.content, delivered, self.calorific_value)
        return round_to_int(energy, Rounding.HALF_UP)

    def carried(self, delivered: int) -> int:
        """Return what one token really carries: at least as much.

        Raises:
            Refused: ``too_much_for_one_token``.
        """
        if delivered <= self.exact_up_to:
            return delivered
        step = self.token_step or 1
        return carried_above(delivered // step, self.symbol) * step

    def carried_at_most(self, delivered: int) -> int:
        """Return the largest amount that one token can carry and that is not above this one."""
        step = self.token_step
        return delivered if step is None else carried_below(delivered // step) * step

    def fits(self, delivered: int) -> bool:
        """Say whether one token can carry so much."""
        return self.token_step is None or delivered // self.token_step <= UNITS_MAX


def delivery_for(tariff: Tariff, situation: Situation) -> Delivery:
    """Return how units are counted out for a buyer.

    Raises:
        Refused: ``calorific_value_not_positive``.
    """
    content = tariff.energy_content
    value = None
    if content is not None:
        value = Decimal(situation.calorific_value or content.calorific_value)
    per_sold = commodity_quantity(tariff.commodity).per_sold_unit
    has_grid = situation.is_meter_credit and situation.sts_grid
    return Delivery(
        step=max(1, int(tariff.rounding.unit_step * per_sold)),
        rounding=tariff.rounding.units,
        token_step=per_sold // TOKEN_STEPS if has_grid else None,
        symbol=commodity_quantity(tariff.commodity).sold_symbol,
        content=content,
        calorific_value=value,
        per_priced=Fraction(1) if content is None else _ml_per_wh(content, value),
    )


def _ml_per_wh(content: EnergyContent, value: Decimal | None) -> Fraction:
    # Without the step, which rounds what is printed and would make the volume jump.
    exact = EnergyContent(content.correction, content.calorific_value)
    return 1_000_000 / Fraction(energy_of_volume(exact, 1_000_000, value))
