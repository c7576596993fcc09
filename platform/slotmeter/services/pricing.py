"""What a purchase costs: from what the database knows of a meter to priced lines, purely."""

from __future__ import annotations

from dataclasses import dataclass

from slotmeter.errors import NotFound, Refused
from slotmeter.ports import From, Principal, Read, Reads, Row, Rows, SqlValue, Then
from slotmeter.services.buyer import BuyerReads, free_by_token, situation_of
from slotmeter.services.repriced_sales import without_price_changes
from slotmeter.services.unpriced import NO_PRICE
from slotmeter.units import Commodity, Money
from slotmeter.vending.accounts import CreditMode, Supply, Terms, check_may_buy
from slotmeter.vending.pricing.engine import free_given, price_tender
from slotmeter.vending.pricing.limits import check_currency
from slotmeter.vending.pricing.priced import Priced
from slotmeter.vending.pricing.situation import Situation
from slotmeter.vending.tariff.model import Tariff

__all__ = ["Purchase", "PurchaseReads", "price", "price_claim"]


@dataclass(frozen=True, slots=True)
class Purchase:
    """A priced purchase with everything that its two commits need."""

    row: Row  # of the read meter_for_sale
    supply: Supply
    tariff: Tariff
    tariff_version_id: int
    tariff_version: int
    tariff_since_us: int
    situation: Situation
    priced: Priced


class PurchaseReads:
    """What pricing one purchase at one instant needs to know.

    Args:
        principal: the seller.
        meter: its number.
        now_us: our clock.
        channel: till, web, phone or bank.
    """

    def __init__(self, principal: Principal, meter: str, now_us: int, channel: str) -> None:
        """Hold the question."""
        self.principal = principal
        self.meter = meter
        self.now_us = now_us
        self.channel = channel
        self.buyer = BuyerReads(principal, now_us)

    def reads(self) -> Reads:
        """Return the reads."""
        number: dict[str, SqlValue] = {
            "utility_id": self.principal.utility_id,
            "number": self.meter,
            "now_us": self.now_us,
        }
        tariff: dict[str, SqlValue | From] = {
            "tariff_id": From("meter", "tariff_id"),
            "now_us": self.now_us,
        }
        return [
            Read("meter_for_sale", number, "meter"),
            Read("tariff_in_force", tariff, "tariff"),
            Read("branch", {"id": self.principal.branch_id}),
            Then(self.buyer.choose),
            Then(self.buyer.choose_beginnings),
        ]


def _supply(row: Row) -> Supply:
    return Supply(
        meter_number=row["number"],
        commodity=Commodity(row["commodity"]),
        credit_mode=CreditMode(row["credit_mode"]),
        state=row["state"],
        account_number=row["account_number"],
        customer_number=row["customer_number"],
        customer_name=row["customer_name"],
        customer_address=row["customer_address"],
        area=row["area"],
    )


def _found(rows: Rows) -> tuple[Row, Row, Supply]:
    """Return the meter, the tariff version in force and the supply.

    Raises:
        NotFound: ``meter_unknown``.
        Refused: why nothing can be sold for this meter.
    """
    if not rows["meter"]:
        raise NotFound("meter_unknown", "no meter with this number is known here", field="meter")
    row = rows["meter"][0]
    if row["supply_point_id"] is None:
        raise Refused("meter_not_installed", "this meter is not installed anywhere", field="meter")
    supply = _supply(row)
    check_may_buy(supply)
    if not rows["tariff"]:
        raise Refused(
            NO_PRICE,
            "no price is in force for this meter now; the utility must publish a tariff",
            field="meter",
        )
    return row, rows["tariff"][0], supply


def _check_account(row: Row, *, claims_only: bool) -> None:
    """Refuse an account that pays afterwards, and to take money for one that is blocked."""
    if row["terms"] == Terms.POSTPAID:
        raise Refused(
            "account_postpaid",
            f"account {row['account_number']} pays its bills afterwards; nothing is sold to it "
            "in advance",
            field="meter",
        )
    if row["blocked"] is not None and not claims_only:
        raise Refused(
            "account_blocked",
            f"account {row['account_number']} is blocked for sales: {row['blocked']}",
            field="meter",
            details={"reason": row["blocked"]},
        )


def _priced(
    rows: Rows, asked: PurchaseReads, tender: Money, *, claims_only: bool = False
) -> Purchase:
    row, version, supply = _found(rows)
    _check_account(row, claims_only=claims_only)
    tariff = asked.buyer.tariff(rows)[0]
    check_currency(tariff, tender.currency)
    situation = situation_of(asked.buyer, rows, asked.now_us, asked.channel)
    if claims_only:
        # Nothing is paid now: what earlier sales cost more or less waits for the next purchase.
        situation = without_price_changes(situation)
        priced = _claimed(rows, asked, tariff, situation)
    else:
        priced = price_tender(tariff, situation, tender.minor)
    return Purchase(
        row=row,
        supply=supply,
        tariff=tariff,
        tariff_version_id=version["tariff_version_id"],
        tariff_version=version["version"],
        tariff_since_us=version["valid_from_us"],
        situation=situation,
        priced=priced,
    )


def price(rows: Rows, asked: PurchaseReads, tender: Money) -> Purchase:
    """Price a purchase from the rows of its reads.

    Raises:
        NotFound: ``meter_unknown``.
        Refused: why this purchase cannot be (meter, account, amount, tariff).
    """
    return _priced(rows, asked, tender)


def price_claim(rows: Rows, asked: PurchaseReads, tender: Money) -> Purchase:
    """Price a purchase of nothing but the free units that are due; a block does not bar them.

    Raises:
        NotFound: ``meter_unknown``.
        Refused: ``free_units_cost_nothing`` for a tender that is not zero, ``no_free_units_due``,
            ``free_units_need_a_units_meter``, or why nothing can be sold for this meter.
    """
    if tender.minor:
        raise Refused(
            "free_units_cost_nothing",
            f"expected a tender of 0 for free units alone, got {tender}",
            field="tendered",
        )
    return _priced(rows, asked, tender, claims_only=True)


def _claimed(rows: Rows, asked: PurchaseReads, tariff: Tariff, situation: Situation) -> Priced:
    free = free_given(tariff, situation)
    if not free and free_by_token(asked.buyer, rows, situation):
        how = "is filled with money" if situation.is_meter_credit else "keeps no credit of its own"
        raise Refused(
            "free_units_need_a_units_meter",
            "free units are due, but they come by a token of units, which this meter cannot take: "
            f"it {how}; register the household for a class with a cheaper first block instead, or "
            "give it a meter of units",
            field="meter",
            details={"credit_mode": rows["meter"][0]["credit_mode"]},
        )
    if not free:
        raise Refused(
            "no_free_units_due",
            "no free units are due for this meter now: it is not registered for them, or they "
            "were collected",
            field="meter",
        )
    counts = tariff.energy.counter.counts_free
    counted = sum(each.units for each in free) if counts else 0
    return Priced(0, (), 0, counted_units=counted, free=free, kept_minor=situation.advance_minor)
