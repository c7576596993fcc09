"""The parameters that may follow a path; closed like bodies, read from text."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from slotmeter.api.models import ROWS, ROWS_MAX, CommandState, Commodity, SupplyState

__all__ = [
    "AlarmsQuery",
    "CommandsQuery",
    "EventsQuery",
    "Language",
    "LanguageQuery",
    "MetersQuery",
    "PageQuery",
    "ReadingsQuery",
    "ReceiptForm",
    "ReceiptQuery",
    "RegisterName",
    "SalesQuery",
]

ID_MAX: Final = 2**63 - 1
YEAR_S: Final = 31_622_400

Limit = Annotated[int, Field(ge=1, le=ROWS_MAX, description="Rows on a page.")]
Before = Annotated[
    int | None, Field(ge=1, le=ID_MAX, description="`next` of the page before this one.")
]
Language = Literal["en", "fr", "es", "pt"]
ReceiptForm = Literal["text58", "text80", "html", "message"]
RegisterName = Literal[
    "energy_import",
    "volume",
    "credit_balance",
    "credit_total",
    "credit_balance_money",
    "credit_total_money",
    "energy_import_rate_1",
    "energy_import_rate_2",
    "energy_import_rate_3",
    "energy_import_rate_4",
    "energy_export",
    "reactive_import",
    "reactive_export",
    "apparent_import",
    "energy_import_interval",
    "energy_export_interval",
    "demand",
    "power",
    "power_l1",
    "power_l2",
    "power_l3",
    "reactive_power",
    "apparent_power",
    "voltage",
    "voltage_l1",
    "voltage_l2",
    "voltage_l3",
    "current",
    "current_l1",
    "current_l2",
    "current_l3",
    "current_neutral",
    "frequency",
    "power_factor",
    "volume_reverse",
    "volume_interval",
    "flow",
    "pressure",
    "valve_position",
    "relay",
    "load_limit",
    "tariff",
    "credit_mode",
    "leak",
    "temperature",
    "battery",
    "battery_voltage",
    "signal",
    "signal_to_noise",
]


class _Query(BaseModel):
    """Parameters of a path: closed; text is turned into what a field says."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class PageQuery(_Query):
    """A page, newest first."""

    limit: Limit = ROWS
    before: Before = None


class SalesQuery(PageQuery):
    """Which sales."""

    meter: str | None = Field(default=None, max_length=64)
    commodity: Commodity | None = None
    from_at: AwareDatetime | None = Field(
        default=None, alias="from", description="Sold at or after this time."
    )
    to_at: AwareDatetime | None = Field(
        default=None, alias="to", description="Sold before this time."
    )


class LanguageQuery(_Query):
    """In which language."""

    language: Language | None = Field(
        default=None,
        description="If not given, `Accept-Language` counts, else the utility's policy.",
    )


class ReceiptQuery(LanguageQuery):
    """How to write a receipt."""

    format: Literal["json", "text", "html", "message"] = "json"
    width: Literal["58", "80"] = Field(
        default="80", description="Width of the paper in millimetres, for text."
    )
    letters: Literal["all", "ascii"] = Field(
        default="all", description="`ascii` for printers without a code page; for text."
    )


class MetersQuery(_Query):
    """Which meters."""

    commodity: Commodity | None = None
    supply: SupplyState | None = None
    q: str | None = Field(
        default=None,
        min_length=1,
        max_length=100,
        description="Part of a number; with the right to readings also of a customer's name or an "
        "address.",
    )
    limit: Limit = ROWS
    after: str = Field(default="", max_length=64, description="`next` of the page before.")


class ReadingsQuery(_Query):
    """Which values of a register; without times the newest 24 hours of the meter's own clock."""

    register_name: RegisterName | None = Field(
        default=None,
        alias="register",
        description="The meter's cumulative register if not given.",
    )
    from_at: AwareDatetime | None = Field(default=None, alias="from")
    to_at: AwareDatetime | None = Field(default=None, alias="to")
    limit: Annotated[int, Field(ge=1, le=ROWS_MAX, description="Values at most.")] = ROWS_MAX
    bucket: Annotated[
        int | None,
        Field(ge=1, le=YEAR_S, description="Length in seconds of the spans to sum up."),
    ] = None


class CommandsQuery(PageQuery):
    """Which commands."""

    state: CommandState | None = None


class EventsQuery(_Query):
    """Which events: those after an id, or the newest."""

    after: Annotated[int | None, Field(ge=0, le=ID_MAX)] = None
    limit: Limit = ROWS
    meter: str | None = Field(default=None, max_length=64)


class AlarmsQuery(PageQuery):
    """Which alarms."""

    open: bool = Field(default=True, description="Only those not cleared.")
