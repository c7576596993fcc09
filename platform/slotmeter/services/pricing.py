"""What a purchase costs: from what the database knows of a meter to priced lines, purely."""

from __future__ import annotations

from dataclasses import dataclass

from slotmeter.errors import NotFound, Refused
from slotmeter.ports import (
    From,
    Principal,
    Read,
    Row,
    Rows,
    SqlValue,
)
from slotmeter.units import Commodity, Money, instant, parse_money
from slotmeter.vending.accounts import CreditMode, Supply, check_may_buy
from slotmeter.vending.charges import ChargeDue, period_of, still_due
from slotmeter.vending.sales import (
    PricedSale,
    check_tender,
    price_sale,
)
from slotmeter.vending.tariffs import Tariff, stored_tariff

__all__ = ["Priced", "price", "quote_reads"]


@dataclass(frozen=True, slots=True)
class Priced:
    """A purchase with everything that its two commits need."""

    row: Row  # of the read meter_for_sale
    supply: Supply
    tariff: Tariff
    tariff_version_id: int
    tariff_version: int
    sale: PricedSale


def quote_reads(principal: Principal, meter: str, now_us: int) -> list[Read]:
    """Return what pricing needs to know."""
    period = period_of(instant(now_us), principal.time_zone)
    number: dict[str, SqlValue] = {
        "utility_id": principal.utility_id,
        "number": meter,
        "now_us": now_us,
    }
    return [
        Read("meter_for_sale", number, "meter"),
        Read(
            "tariff_in_force", {"tariff_id": From("meter", "tariff_id"), "now_us": now_us}, "tariff"
        ),
        Read(
            "charges_of_period",
            {"supply_point_id": From("meter", "supply_point_id"), "period": period},
            "charges",
        ),
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


def _charge_due(tariff: Tariff, rows: Rows, period: str) -> ChargeDue | None:
    fixed = tariff.fixed_charge
    if fixed is None:
        return None
    taken = sum(row["taken_minor"] for row in rows["charges"] if row["code"] == fixed.code)
    tax = tariff.tax

    def tax_on(net: Money) -> Money:
        return tax.on(net) if tax is not None and fixed.taxed else Money(0, net.currency)

    return still_due(
        code=fixed.code,
        label=fixed.label,
        period=period,
        amount=fixed.amount,
        taken_minor=taken,
        tax_on=tax_on,
    )


def price(principal: Principal, tendered: str, rows: Rows, now_us: int) -> Priced:
    """Price a purchase from the rows of :func:`quote_reads`.

    Raises:
        NotFound: ``meter_unknown``.
        Refused: why this purchase cannot be (meter, amount, tariff).
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
            "no_tariff_in_force",
            "no price is in force for this meter now; the utility must publish a tariff",
            field="meter",
        )
    version = rows["tariff"][0]
    tariff = stored_tariff(version["body"])
    tender = parse_money(tendered, tariff.currency)
    limit = row["purchase_max_minor"]
    check_tender(tender, tariff, None if limit is None else Money(limit, tariff.currency))
    charge = _charge_due(tariff, rows, period_of(instant(now_us), principal.time_zone))
    sale = price_sale(
        tender,
        tariff,
        credit_mode=supply.credit_mode,
        account_number=supply.account_number,
        charge=charge,
    )
    return Priced(row, supply, tariff, version["tariff_version_id"], version["version"], sale)
