"""Prices by a tariff alone: what it makes of a tender, of units or of a volume of gas."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal
from typing import Annotated, Any, Final

from pydantic import ConfigDict, Field

from slotmeter.api.call import Answer, Call, Nothing, json_answer
from slotmeter.api.models import (
    Amount,
    Body,
    Channel,
    Commodity,
    FreeUnits,
    Money,
    MoneyIn,
    Out,
    PriceLine,
)
from slotmeter.api.route import OK, Route, post
from slotmeter.api.tariff_models import Source
from slotmeter.ports import Right
from slotmeter.services.tariff_prices import TariffPrice, Volume, price_by_tariff
from slotmeter.units import Money as MoneyOf
from slotmeter.units import Quantity
from slotmeter.vending.pricing.engine import BlockRate
from slotmeter.vending.pricing.priced import PricedLine

__all__ = ["ROUTES"]

MONTHS_MAX: Final = 120
DAYS_MAX: Final = 3_660
ENERGY_DECIMALS: Final = Decimal("0.000001")

Number = Annotated[
    str, Field(pattern=r"^[0-9]{1,12}(\.[0-9]{1,9})?$", description="As text.", examples=["12.5"])
]
Word = Annotated[str, Field(min_length=1, max_length=64)]


class TariffPriceBody(Body):
    """A purchase, an amount or a volume, and the buyer; what is not said of the buyer is unknown.

    One of `tender`, `units`, `m3` and `units_hundred_ft3`; without any, only prices are answered.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, populate_by_name=False)

    tariff: Word | None = Field(default=None, description="Code; its version of the date counts.")
    source: Source | None = Field(default=None, description="A tariff as YAML, instead of a code.")
    tender: MoneyIn | None = None
    units: Number | None = Field(default=None, description="kWh or m³; kWh for gas by energy.")
    m3: Number | None = None
    units_hundred_ft3: Number | None = None
    date: Annotated[str, Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$")] | None = Field(
        default=None, description="Local; today unless said."
    )
    prior_units: Number | None = Field(
        default=None, description="Counted before in the same block window."
    )
    fixed_due: bool | None = Field(
        default=None, description="Unless said, charges are open when nothing was bought before."
    )
    months_missed: Annotated[int, Field(ge=0, le=MONTHS_MAX)] | None = None
    days: Annotated[int, Field(ge=0, le=DAYS_MAX)] | None = Field(
        default=None, description="Since the purchase before."
    )
    taken: MoneyIn | None = Field(
        default=None, description="Of the month's fixed charge already, without tax."
    )
    tendered_before: MoneyIn | None = Field(default=None, description="This month.")
    customer_class: Word | None = Field(default=None, alias="class")
    average_units: Number | None = Field(default=None, description="Used a month.")
    connection: Word | None = None
    load_kw: Number | None = None
    demand_kw: Number | None = None
    channel: Channel = "till"
    vendor: Word | None = None
    free_units_due: Number | None = None
    debt: MoneyIn | None = Field(default=None, description="Balance of a debt.")
    debt_percent: Number | None = Field(
        default=None, description="Share of the tender that goes to it, as a fraction."
    )
    debt_due: MoneyIn | None = None
    calorific_value: Number | None = Field(default=None, description="MJ/m³.")


class BlockPrice(Out):
    """What a unit of a block costs."""

    block: int = Field(description="1 is the first, 0 the lifeline.")
    to: Amount | None = Field(description="Its upper limit; null is none.")
    price: str = Field(description="As published.")
    price_with_all: str = Field(description="With levies, percentages and taxes.")


class ChargePrice(Out):
    """What a fixed charge comes to for one period."""

    code: str
    label: str
    every: str
    amount: Money = Field(description="Without tax.")
    amount_with_all: Money


class GasVolume(Out):
    """A volume of gas and the energy in it."""

    m3: Amount
    corrected_m3: Amount
    kwh: Amount


class TariffPriceAnswer(Out):
    """What a tariff makes of it; nothing is booked."""

    tariff: str
    version: int | None = Field(description="Null for a tariff that was sent along.")
    date: str
    commodity: Commodity
    currency: str
    tendered: Money | None = Field(description="What is paid: the sum of the lines.")
    units: Amount | None = Field(description="What a token carries; null for prices alone.")
    unit: str
    priced_unit: str = Field(description="Of prices, blocks and quantities: kWh for gas by energy.")
    kept: Money
    lines: list[PriceLine]
    free: list[FreeUnits]
    blocks: list[BlockPrice]
    charges: list[ChargePrice]
    volume: GasVolume | None


async def tariff_price(call: Call[TariffPriceBody, Nothing]) -> Answer:
    """Say what a tariff, or a text that might become one, makes of a purchase."""
    given = call.body.model_dump(exclude_none=True, by_alias=True)
    code, source = given.pop("tariff", None), given.pop("source", None)
    if (calorific_value := given.pop("calorific_value", None)) is not None:
        given["cv"] = calorific_value
    made = await price_by_tariff(
        call.services.office.tariffs,
        call.services.clock,
        call.caller,
        given,
        code=code,
        source=source,
    )
    return json_answer(_answer(made))


def _answer(made: TariffPrice) -> TariffPriceAnswer:
    tariff, priced = made.tariff, made.priced
    fields: dict[str, Any] = {"commodity": tariff.commodity.value}
    return TariffPriceAnswer(
        tariff=tariff.code,
        version=made.version,
        date=f"{made.day}",
        currency=tariff.currency,
        tendered=None if priced is None else _money(priced.tender_minor, made),
        units=_units(made),
        unit=made.delivered_kind.sold_symbol,
        priced_unit=made.priced_kind.sold_symbol,
        kept=_money(0 if priced is None else priced.kept_minor, made),
        lines=[] if priced is None else [_line(each, made) for each in priced.lines],
        free=[]
        if priced is None
        else [
            FreeUnits(
                code=each.code,
                label=each.label,
                period=each.period,
                units=made.delivered_kind(each.units).sold_text,
            )
            for each in priced.free
        ],
        blocks=[_block(each, made.priced_kind) for each in made.blocks],
        charges=[
            ChargePrice(
                code=item.code,
                label=item.label,
                every=item.collect.value,
                amount=_money(amount.net, made),
                amount_with_all=_money(amount.with_all, made),
            )
            for item, amount in made.charges
        ],
        volume=None if made.volume is None else _volume(made.volume),
        **fields,
    )


def _units(made: TariffPrice) -> str | None:
    if made.priced is None:
        return None
    given = made.priced.units if made.volume is None else int(made.volume.ml)
    return made.delivered_kind(given).sold_text


def _money(minor: int, made: TariffPrice) -> str:
    return str(MoneyOf(minor, made.tariff.currency))


def _line(line: PricedLine, made: TariffPrice) -> PriceLine:
    fields: dict[str, Any] = {"kind": line.kind}
    quantity = None if line.quantity is None else made.priced_kind(line.quantity).sold_text
    return PriceLine(
        code=line.code,
        label=line.label,
        quantity=quantity,
        rate=line.rate,
        amount=_money(line.amount_minor, made),
        base=None if line.base_minor is None else _money(line.base_minor, made),
        period=line.period,
        left=None if line.left_minor is None else _money(line.left_minor, made),
        gross_rate=line.gross_rate,
        gross=None if line.gross_minor is None else _money(line.gross_minor, made),
        tax=None if line.tax_minor is None else _money(line.tax_minor, made),
        cost=None if line.cost_minor is None else _money(line.cost_minor, made),
        **fields,
    )


def _block(rate: BlockRate, kind: type[Quantity]) -> BlockPrice:
    return BlockPrice(
        block=rate.block,
        to=None if rate.up_to is None else kind(rate.up_to).sold_text,
        price=rate.price,
        price_with_all=f"{rate.all_in:f}",
    )


def _volume(volume: Volume) -> GasVolume:
    ml, corrected_ml, energy_wh = (
        f"{value.quantize(ENERGY_DECIMALS, ROUND_HALF_UP):f}"
        for value in (
            volume.ml.scaleb(-6),
            volume.corrected_ml.scaleb(-6),
            volume.energy_wh.scaleb(-3),
        )
    )
    return GasVolume(m3=ml, corrected_m3=corrected_ml, kwh=energy_wh)


ROUTES: Final[tuple[Route, ...]] = (
    post(
        "/tariff-prices",
        tariff_price,
        "tariffs",
        Right.TARIFFS,
        {OK: TariffPriceAnswer},
        body=TariffPriceBody,
        problems=(404,),
    ),
)
