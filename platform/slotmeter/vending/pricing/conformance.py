"""Published cases of tariffs through the path of a sale.

A case is a mapping with ``kind``, inputs and ``expect``; see
:mod:`~slotmeter.vending.pricing.case_inputs` and :mod:`~slotmeter.vending.pricing.case_results` for
what they may hold. A case of an unknown kind, or with an input or expectation that is not known, is
an error and never skipped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal, InvalidOperation
from typing import Final

from slotmeter.errors import Refused
from slotmeter.units import Rounding, round_to_int
from slotmeter.vending.pricing.case_inputs import CaseInputs, with_stated_rates
from slotmeter.vending.pricing.case_rates import rate_results, volume_results
from slotmeter.vending.pricing.case_results import ML_PER_M3, Outcome, Result, rounded_like
from slotmeter.vending.pricing.case_situation import situation_of, sold_unit_of
from slotmeter.vending.pricing.case_use import at_first_use, intervals_of
from slotmeter.vending.pricing.engine import price_tender, price_units
from slotmeter.vending.pricing.gas import energy_of_volume
from slotmeter.vending.pricing.intervals import price_intervals
from slotmeter.vending.pricing.priced import Priced
from slotmeter.vending.pricing.situation import Situation
from slotmeter.vending.sts.conformance import Checked, Difference
from slotmeter.vending.sts.vector_inputs import VectorError
from slotmeter.vending.tariff.model import Tariff

__all__ = ["KINDS", "Published", "check_case"]

REFUSED: Final = "refused"
"""Expected of a case that must be refused: the error's code, or true for any."""

Results = Callable[[str], Result]


@dataclass(slots=True)
class Published:
    """One published tariff: our reading of it, what was published, and what was bought so far.

    Args:
        tariff: read from YAML.
        entry: of the vector file.
        bought: units counted by the case before, for cases with an ``order``.
    """

    tariff: Tariff
    entry: Mapping[str, object] = field(default_factory=dict)
    bought: int = 0

    def __post_init__(self) -> None:
        """Refuse cases of another commodity or currency than the tariff's."""
        for key, ours in (
            ("resource", self.tariff.commodity.value),
            ("currency", self.tariff.currency),
        ):
            if self.entry.get(key, ours) != ours:
                raise VectorError(
                    f"{key}_mismatch",
                    f"tariff {self.tariff.code} is for {ours}, its cases for {self.entry[key]}",
                    field=key,
                )

    @property
    def by_volume(self) -> bool:
        """Say whether units of gas that is priced by energy are published as m³."""
        return self.tariff.energy_content is not None and self.entry.get("unit") in ("m3", "m³")


def check_case(published: Published, case: Mapping[str, object]) -> Checked:
    """Run one case and return every expected result that did not come out.

    Raises:
        VectorError: the case cannot be run.
    """
    kind = case.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        known = ", ".join(KINDS)
        raise VectorError(
            "unknown_kind", f"{kind!r} is not known; expected one of {known}", field="kind"
        )
    expected = case.get("expect")
    if not isinstance(expected, dict) or not expected:
        raise VectorError("vector_field_missing", "expected results by name", field="expect")
    inputs = CaseInputs(case)
    inputs.refuse_unknown(published.tariff)
    try:
        results = KINDS[kind](published, inputs)
    except VectorError:
        raise
    except Refused as error:
        return Checked(_refused(expected, error), ())
    differences = tuple(
        difference
        for key, wanted in expected.items()
        if (difference := _compare(key, wanted, results)) is not None
    )
    return Checked(differences, inputs.unused())


# --- kinds of cases -------------------------------------------------------------------------------


def _purchase(published: Published, inputs: CaseInputs) -> Results:
    tariff, situation = _case(published, inputs)
    tender = inputs.money("tender", tariff.currency)
    if tender is None:
        raise VectorError("vector_field_missing", "it is missing", field="tender")
    return _results(published, tariff, situation, price_tender(tariff, situation, tender))


def _bill(published: Published, inputs: CaseInputs) -> Results:
    tariff, situation = _case(published, inputs)
    units = inputs.whole("units", ML_PER_M3 if published.by_volume else sold_unit_of(tariff))
    if units is None:
        raise VectorError("vector_field_missing", "it is missing", field="units")
    if published.by_volume and tariff.energy_content is not None:
        energy = energy_of_volume(tariff.energy_content, units, inputs.decimal("cv"))
        units = round_to_int(energy, Rounding.HALF_UP)
    return _results(published, tariff, situation, price_units(tariff, situation, units))


def _measured(published: Published, inputs: CaseInputs) -> Results:
    intervals = intervals_of(published.tariff, inputs)
    dated = at_first_use(published.tariff, inputs, intervals)
    tariff, situation = _case(published, dated)
    bill = price_intervals(tariff, intervals, situation)
    priced = Priced(bill.total_minor, bill.lines, bill.units, counted_units=bill.units)
    return _results(published, tariff, situation, priced)


def _case(published: Published, inputs: CaseInputs) -> tuple[Tariff, Situation]:
    tariff, stated_class = with_stated_rates(published.tariff, inputs)
    situation = situation_of(tariff, published.entry, inputs, published.bought)
    if stated_class is not None and situation.customer_class is None:
        situation = replace(situation, customer_class=stated_class)
    return tariff, situation


def _results(published: Published, tariff: Tariff, situation: Situation, priced: Priced) -> Results:
    published.bought = situation.prior_units + priced.counted_units
    return Outcome(tariff, situation, priced, published.by_volume).result


def _volume(published: Published, inputs: CaseInputs) -> Results:
    return volume_results(published.tariff, inputs)


def _rate(published: Published, inputs: CaseInputs) -> Results:
    tariff, situation = _case(published, inputs)
    return rate_results(tariff, situation, inputs)


KINDS: Final[Mapping[str, Callable[[Published, CaseInputs], Results]]] = {
    "money_to_units": _purchase,
    "money_split": _purchase,
    "units_to_money": _bill,
    "use_to_money": _measured,
    "volume_to_energy": _volume,
    "rate_with_vat": _rate,
}
"""Each kind of case and what runs it."""


# --- comparing ------------------------------------------------------------------------------------


def _refused(expected: Mapping[str, object], error: Refused) -> tuple[Difference, ...]:
    wanted = expected.get(REFUSED)
    if wanted in (True, error.code):
        return ()
    name, value = (REFUSED, wanted) if wanted else next(iter(expected.items()))
    return (Difference(name, value, f"refused: {error.message} ({error.code})"),)


def _compare(key: str, wanted: object, results: Results) -> Difference | None:
    if key == REFUSED:
        return Difference(key, wanted, "priced")
    result = results(key)
    if isinstance(wanted, list):
        published = [_number(each, key) for each in wanted]
        got = result.value if isinstance(result.value, list) else [result.value]
        same = published == got
        return None if same else Difference(key, wanted, [f"{each:f}" for each in got])
    number = _number(wanted, key)
    if isinstance(result.value, list):
        return Difference(key, wanted, [f"{each:f}" for each in result.value])
    value = rounded_like(result.value, number) if result.is_rounded else result.value
    if value < 0 < number and key != "rounding":
        value = -value  # what a rebate comes to is published without its sign
    return None if value == number else Difference(key, wanted, f"{value:f}")


def _number(value: object, key: str) -> Decimal:
    try:
        is_number = isinstance(value, str | int) and not isinstance(value, bool)
        number = Decimal(str(value)) if is_number else Decimal("NaN")
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite():
        raise VectorError(
            "vector_field_wrong",
            f"expected a number in quotes, got {value!r}",
            field=f"expect.{key}",
        )
    return number
