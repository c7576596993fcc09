"""What a priced case came to, by the names that published cases expect.

=========================  ========================================================================
expected                   meaning
=========================  ========================================================================
``units``                  what the token carries, or what was billed
``energy``                 all energy lines, without tax
``energy_net``             that with what rounding to units leaves, where tax is divided out of the
                           tender
``lines``                  the energy lines one by one, in order
``fixed``                  all fixed charges, without tax
``levies``, ``taxes``      all of them; ``vat`` too, when no item is called so
``total``                  all that is paid; ``total_incl_vat`` is the same
``total_excl_vat``         that without taxes
``rounding``, ``kept``     what rounding left, and what was kept for the next purchase
``correction``             what lines of correction come to
``debt``                   repaid of debts
``block1_units``           units of the first block; so ``block2_units`` and so on
``block1_energy``          its money without tax
``block1_cost``            its money with everything that lies on it; that of the last block is
                           what is left of the tender
``block1_rate``            its price
``lifeline_units``         the same of units at the lifeline price
``night_units``            of a period of time of use: ``..._units``, ``..._energy``, ``..._rate``
``average_c_per_kwh``      hundredths of the currency's unit; ``average_per_kwh`` is not times 100
``free_token_units``       free units
``free_token_amount``      what is paid for them: nothing
a code or label            that item's lines, without tax; ``..._incl_vat`` with the taxes on it
=========================  ========================================================================
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import ROUND_HALF_UP, Context, Decimal
from typing import Final

from slotmeter.units import CURRENCY_EXPONENTS
from slotmeter.vending.pricing.case_inputs import same_name, words_of
from slotmeter.vending.pricing.case_situation import sold_unit_of
from slotmeter.vending.pricing.engine import price_units
from slotmeter.vending.pricing.priced import Priced
from slotmeter.vending.pricing.situation import Situation
from slotmeter.vending.sts.vector_inputs import VectorError
from slotmeter.vending.tariff.model import SplitBy, Tariff

__all__ = ["RESULTS", "Outcome", "Result", "rounded_like", "unknown_result"]

CENTS: Final = 100
ML_PER_M3: Final = 1_000_000
_EXACT: Final = Context(prec=60)
_TWO_DECIMALS: Final = 2
_BLOCK: Final = re.compile(r"(block[0-9]+|lifeline)_(units|energy|cost|rate)")
_PERIOD: Final = re.compile(r"(.+)_(units|energy|rate)")
_AVERAGE: Final = re.compile(r"average(_c)?_per_[a-z0-9]+")
_WITH_TAX: Final = re.compile(r"(.+)_incl(?:uding)?_(?:vat|tax)")
_WITHOUT_TAX: Final = re.compile(r"(.+)_excl(?:uding)?_(?:vat|tax)")


@dataclass(frozen=True, slots=True)
class Result:
    """A number that came out.

    Args:
        value: the number, or the numbers of a list.
        is_rounded: it is published to some decimals only and is compared to as many.
    """

    value: Decimal | list[Decimal]
    is_rounded: bool = False


def rounded_like(value: Decimal, published: Decimal) -> Decimal:
    """Round half up to the decimals of a published number."""
    return value.quantize(published, rounding=ROUND_HALF_UP, context=_EXACT)


@dataclass(frozen=True, slots=True)
class Outcome:
    """A case that was priced.

    Args:
        tariff: that priced it.
        situation: built from its inputs.
        priced: what came out.
        by_volume: units of gas that is priced by energy are published as m³.
    """

    tariff: Tariff
    situation: Situation
    priced: Priced
    by_volume: bool = False

    @property
    def bought(self) -> int:
        """What was bought, as the block counter counts it: Wh for gas priced by energy."""
        return sum(e.quantity or 0 for e in self.priced.lines if e.kind == "energy")

    # --- sums of lines ------------------------------------------------------------------------

    def money(self, minor: int) -> Decimal:
        """Return minor units in major units."""
        return Decimal(minor).scaleb(-CURRENCY_EXPONENTS.get(self.tariff.currency, _TWO_DECIMALS))

    def _kind(self, kind: str) -> Decimal:
        return self.money(sum(e.amount_minor for e in self.priced.lines if e.kind == kind))

    def _net_of_tender(self) -> Decimal:
        """Return the money for energy without tax, before it is rounded to units."""
        is_divided = self.tariff.rounding.split_by is SplitBy.TENDER
        return self._kind("energy") + (self._kind("rounding") if is_divided else 0)

    def _codes(self, codes: set[str]) -> Decimal:
        kinds = ("charge", "levy", "tax", "debt")
        lines = (e for e in self.priced.lines if e.code in codes and e.kind in kinds)
        return self.money(sum(e.amount_minor for e in lines))

    def _sold(self, units: int) -> Decimal:
        return Decimal(units) / sold_unit_of(self.tariff)

    def _units(self) -> Decimal:
        return Decimal(self.priced.units) / ML_PER_M3 if self.by_volume else self._sold(self.bought)

    # --- by name ------------------------------------------------------------------------------

    def result(self, key: str) -> Result:
        """Return what came out under a name that a case expects.

        Raises:
            VectorError: the name is not known.
        """
        if (plain := _PLAIN.get(key)) is not None:
            return Result(plain(self))
        if (block := _BLOCK.fullmatch(key)) is not None:
            return self._of_block(block[1], block[2])
        if (period := _PERIOD.fullmatch(key)) is not None and period[1] in self._periods():
            return self._of_block(period[1], period[2])
        if (average := _AVERAGE.fullmatch(key)) is not None:
            return self._average(CENTS if average[1] else 1)
        return Result(self._of_item(key))

    def _of_item(self, key: str) -> Decimal:
        codes = self._so_called(key)
        if codes:
            return self._codes(codes)
        if (other := _OTHER_NAMES.get(key)) is not None:
            return other(self)
        if (without := _WITHOUT_TAX.fullmatch(key)) is not None:
            return self._without_tax(without[1], key)
        if (with_tax := _WITH_TAX.fullmatch(key)) is not None:
            return self._with_tax(with_tax[1], key)
        return self._codes(self._named(key, key))

    def _items(self) -> Iterator[tuple[str, str]]:
        tariff = self.tariff
        yield from ((item.code, item.label) for item in tariff.fixed_items)
        yield from ((item.code, item.label) for item in tariff.unit_items)
        yield from ((item.code, item.label) for item in tariff.percent_items)
        for debt in self.situation.debts:
            yield debt.kind, debt.label

    def _so_called(self, name: str) -> set[str]:
        """Return the codes of the items, or debts, that have this name."""
        asked = words_of(name)
        items = tuple(self._items())
        for codes in (
            {code for code, label in items if same_name(code, name) or same_name(label, name)},
            {code for code, _ in items if words_of(code)[: len(asked)] == asked},
        ):
            if codes:
                return codes
        return set()

    def _named(self, name: str, key: str) -> set[str]:
        """Return the codes of what has this name, or of the only item that has it in part."""
        codes = self._so_called(name)
        if codes:
            return codes
        asked = set(words_of(name))
        near = {
            code
            for code, label in self._items()
            for words in (set(words_of(code)), set(words_of(label)))
            if words <= asked or asked <= words
        }
        if len(near) != 1:
            raise unknown_result(key)
        return near

    # --- with and without tax -----------------------------------------------------------------

    def _without_tax(self, name: str, key: str) -> Decimal:
        if name == "total":
            return self.money(self.priced.tender_minor) - self._kind("tax")
        if name in ("energy", "fixed"):
            return self._kind("energy" if name == "energy" else "charge")
        return self._codes(self._named(name, key))

    def _with_tax(self, name: str, key: str) -> Decimal:
        charges = {each.code for each in self.situation.charges}
        if name == "energy":
            return self.money(self.priced.tender_minor - self._beside_energy())
        codes = charges if name == "fixed" else self._named(name, key) & charges
        if not codes and name != "fixed":
            raise unknown_result(key)
        return self.money(self._more_with(codes))

    def _more_with(self, codes: Container[str]) -> int:
        """Return what fixed charges add to the price of the units, with their taxes."""
        bare = self._bare()
        chosen = tuple(each for each in self.situation.charges if each.code in codes)
        return self._cost(replace(bare, charges=chosen)) - self._cost(bare)

    def _bare(self) -> Situation:
        return replace(self.situation, charges=(), debts=(), free=(), advance_minor=0)

    def _cost(self, situation: Situation, units: int | None = None) -> int:
        wanted = self.bought if units is None else units
        return price_units(self.tariff, situation, wanted).tender_minor if wanted else 0

    def _beside_energy(self) -> int:
        """Return what was paid for other things than units, minor units."""
        debts = sum(e.amount_minor for e in self.priced.lines if e.kind in ("debt", "kept"))
        return debts + self._more_with({each.code for each in self.situation.charges})

    # --- blocks, periods and averages -------------------------------------------------------------

    def _periods(self) -> set[str]:
        tables = self.tariff.energy.tables.values()
        return {name for table in tables for name in table.periods or ()}

    def _units_of(self, code: str) -> int:
        lines = (e for e in self.priced.lines if e.kind == "energy" and e.code == code)
        return sum(e.quantity or 0 for e in lines)

    def _of_block(self, code: str, what: str) -> Result:
        lines = [e for e in self.priced.lines if e.kind == "energy" and e.code == code]
        if what == "units":
            return Result(self._sold(self._units_of(code)))
        if what == "energy":
            return Result(self.money(sum(e.amount_minor for e in lines)))
        if what == "rate":
            rates = {e.rate for e in lines if e.rate is not None}
            return Result(Decimal(rates.pop()) if len(rates) == 1 else Decimal("NaN"))
        return Result(self.money(self._block_cost(code)))

    def _block_cost(self, code: str) -> int:
        """Return what the units of a block cost with everything on them, minor units."""
        reached = [e.code for e in self.priced.lines if e.kind == "energy" and e.quantity]
        if code not in reached:
            return 0
        before = sum(self._units_of(each) for each in reached[: reached.index(code)])
        cost_before = self._cost(self._bare(), before)
        if code == reached[-1]:
            return self.priced.tender_minor - self._beside_energy() - cost_before
        through = before + self._units_of(code)
        return self._cost(self._bare(), through) - cost_before

    def _average(self, scale: int) -> Result:
        if not self.bought:
            raise VectorError("vector_field_wrong", "no units were bought", field="expect")
        total = self.money(self.priced.tender_minor) * scale
        return Result(_EXACT.divide(total, self._sold(self.bought)), is_rounded=True)


def unknown_result(key: str) -> VectorError:
    """Return the error for a result that nobody knows."""
    return VectorError(
        "vector_field_unknown",
        "it is neither a known result nor the code or label of an item of the tariff",
        field=f"expect.{key}",
    )


_PLAIN: Final[Mapping[str, Callable[[Outcome], Decimal | list[Decimal]]]] = {
    "units": lambda out: out._units(),
    "energy": lambda out: out._kind("energy"),
    "energy_net": lambda out: out._net_of_tender(),
    "lines": lambda out: [
        out.money(e.amount_minor) for e in out.priced.lines if e.kind == "energy"
    ],
    "fixed": lambda out: out._kind("charge"),
    "levies": lambda out: out._kind("levy"),
    "taxes": lambda out: out._kind("tax"),
    "total": lambda out: out.money(out.priced.tender_minor),
    "total_incl_vat": lambda out: out.money(out.priced.tender_minor),
    "rounding": lambda out: out._kind("rounding"),
    "correction": lambda out: out._kind("correction"),
    "kept": lambda out: out.money(out.priced.kept_minor),
    "debt": lambda out: out._kind("debt"),
    "free_token_units": lambda out: out._sold(sum(each.units for each in out.priced.free)),
    "free_token_amount": lambda out: Decimal(0),
}

_OTHER_NAMES: Final[Mapping[str, Callable[[Outcome], Decimal]]] = {
    "debts": lambda out: out._kind("debt"),
    "vat": lambda out: out._kind("tax"),
    "tax": lambda out: out._kind("tax"),
    "total_tax": lambda out: out._kind("tax"),
    "energy_charge": lambda out: out._kind("energy"),
    "energy_charges": lambda out: out._kind("energy"),
    "energy_cost": lambda out: out._kind("energy"),
    "energy_amount": lambda out: out._kind("energy"),
    "consumption_charge": lambda out: out._kind("energy"),
    "gas": lambda out: out._kind("energy"),
    "water": lambda out: out._kind("energy"),
    "electricity": lambda out: out._kind("energy"),
    "fixed_charge": lambda out: out._kind("charge"),
    "fixed_charges": lambda out: out._kind("charge"),
    "fixed_total": lambda out: out._kind("charge"),
    "kwh": lambda out: out._units(),
    "kl": lambda out: out._units(),
    "m3": lambda out: out._units(),
    "token_units": lambda out: out._units(),
    "subtotal": lambda out: out.money(out.priced.tender_minor) - out._kind("tax"),
    "total_cost": lambda out: out.money(out.priced.tender_minor),
    "total_due": lambda out: out.money(out.priced.tender_minor),
    "total_amount": lambda out: out.money(out.priced.tender_minor),
    "total_bill": lambda out: out.money(out.priced.tender_minor),
    "amount_due": lambda out: out.money(out.priced.tender_minor),
}
"""What these mean when no item of the tariff is called so."""

RESULTS: Final = tuple(_PLAIN)
"""Results that need no item of a tariff, other names apart."""
