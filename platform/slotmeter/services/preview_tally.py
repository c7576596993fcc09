"""What a preview adds up: sales under the old and the new price, by class, account and buyer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from heapq import heappush, heappushpop
from typing import Any, Final

from slotmeter.units import Commodity, Money, commodity_quantity

__all__ = ["LISTED_MAX", "Buyer", "PreviewTally"]

LISTED_MAX: Final = 20
"""So many who gain most, and who lose most, are named."""

NO_CLASS: Final = ""
_OF_EACH_BUYER: Final = frozenset({"debt", "advance", "customer", "receivable"})


@dataclass(slots=True)
class Buyer:
    """One supply point in the month; amounts are Wh or mL."""

    account: str
    customer_class: str | None
    sales: int = 0
    tender_minor: int = 0
    units_old: int = 0
    units_new: int = 0

    @property
    def gained(self) -> int:
        """How much more the same money buys; negative for less."""
        return self.units_new - self.units_old


@dataclass(slots=True)
class _Sums:
    sales: int = 0
    tender_minor: int = 0
    units_old: int = 0
    units_new: int = 0

    def add(self, tender_minor: int, units_old: int, units_new: int) -> None:
        self.sales += 1
        self.tender_minor += tender_minor
        self.units_old += units_old
        self.units_new += units_new


@dataclass(slots=True)
class PreviewTally:
    """Sums of a preview; its size does not grow with the number of sales."""

    commodity: Commodity
    currency: str
    buyers: int = 0
    _total: _Sums = field(default_factory=_Sums)
    _by_class: dict[str, _Sums] = field(default_factory=dict)
    _money_old: dict[str, int] = field(default_factory=dict)
    _money_new: dict[str, int] = field(default_factory=dict)
    _refused: dict[str, int] = field(default_factory=dict)
    _refused_minor: int = 0
    _winners: list[tuple[int, int, Buyer]] = field(default_factory=list)
    _losers: list[tuple[int, int, Buyer]] = field(default_factory=list)

    def add(self, customer_class: str | None, tender_minor: int, units: tuple[int, int]) -> None:
        """Count a sale that both prices allow; units are the old and the new ones."""
        self._total.add(tender_minor, *units)
        name = customer_class or NO_CLASS
        self._by_class.setdefault(name, _Sums()).add(tender_minor, *units)

    def add_money(self, account: str, minor: int, *, is_new: bool) -> None:
        """Count a line of such a sale."""
        kind = account.partition(":")[0]
        name = kind if kind in _OF_EACH_BUYER else account
        sums = self._money_new if is_new else self._money_old
        sums[name] = sums.get(name, 0) + minor

    def add_refused(self, code: str, tender_minor: int) -> None:
        """Count a sale that the new price would have refused."""
        self._refused[code] = self._refused.get(code, 0) + 1
        self._refused_minor += tender_minor

    def add_buyer(self, buyer: Buyer) -> None:
        """Count a buyer whose sales are all counted."""
        if not buyer.sales:
            return
        self.buyers += 1
        self._keep(self._winners, buyer.gained, buyer)
        self._keep(self._losers, -buyer.gained, buyer)

    def _keep(self, heap: list[tuple[int, int, Buyer]], rank: int, buyer: Buyer) -> None:
        if rank <= 0:
            return
        entry = (
            rank,
            self.buyers,
            buyer,
        )  # the number decides between equals; buyers have no order
        if len(heap) < LISTED_MAX:
            heappush(heap, entry)
        else:
            heappushpop(heap, entry)

    def document(self) -> dict[str, Any]:
        """Return it as a JSON document: money in major units, amounts in the unit sold."""
        accounts = sorted({*self._money_old, *self._money_new})
        return {
            "currency": self.currency,
            "unit": commodity_quantity(self.commodity).sold_symbol,
            "buyers": self.buyers,
            **self._sums(self._total),
            "refused": dict(sorted(self._refused.items())),
            "refused_tender": self._money(self._refused_minor),
            "by_class": [
                {"class": name or None, **self._sums(sums)}
                for name, sums in sorted(self._by_class.items())
            ],
            "by_account": [
                {
                    "account": account,
                    "old": self._money(self._money_old.get(account, 0)),
                    "new": self._money(self._money_new.get(account, 0)),
                }
                for account in accounts
            ],
            "winners": self._listed(self._winners),
            "losers": self._listed(self._losers),
        }

    def _listed(self, heap: list[tuple[int, int, Buyer]]) -> list[Mapping[str, Any]]:
        return [
            {
                "account": buyer.account,
                "class": buyer.customer_class,
                **self._sums(
                    _Sums(buyer.sales, buyer.tender_minor, buyer.units_old, buyer.units_new)
                ),
            }
            for _, _, buyer in sorted(heap, key=lambda entry: (-entry[0], entry[1]))
        ]

    def _sums(self, sums: _Sums) -> dict[str, Any]:
        quantity = commodity_quantity(self.commodity)
        return {
            "sales": sums.sales,
            "tender": self._money(sums.tender_minor),
            "units_old": quantity(sums.units_old).sold_text,
            "units_new": quantity(sums.units_new).sold_text,
        }

    def _money(self, minor: int) -> str:
        return str(Money(minor, self.currency))
