"""The shapes of commissioning and of the health of devices."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from slotmeter.api.models import ROWS, ROWS_MAX, Body, Commodity, Instant, Out, Reason

__all__ = [
    "Claim",
    "ClaimBody",
    "ClaimProblem",
    "ClaimState",
    "ClaimsPage",
    "ClaimsQuery",
    "CommissioningSummary",
    "DeviceHealth",
    "DeviceHealthPage",
    "DeviceHealthQuery",
    "DeviceStates",
    "FirstReading",
    "StrangerDevice",
    "StrangerDevicesPage",
    "WithdrawBody",
]

ID_MAX = 2**63 - 1

ClaimState = Literal["waiting", "unclear", "done", "withdrawn"]
HealthState = Literal["on_time", "late", "offline", "behind", "never"]
Limit = Annotated[int, Field(ge=1, le=ROWS_MAX, description="Rows on a page.")]
OneLine = Annotated[str, Field(min_length=1, max_length=255)]


class ClaimBody(Body):
    """A meter that hangs here: what was scanned or typed, and what must be chosen beside it."""

    scan: str = Field(
        min_length=1,
        max_length=512,
        description="The text of the label, as a reader of bar codes or QR codes gives it, or one "
        "number of it.",
        examples=["SN:07100000003;IMEI:867400041234567"],
    )
    meter: OneLine | None = Field(
        default=None, description="The meter's number, when the label does not hold it."
    )
    medium: OneLine | None = Field(default=None, description="Only when it must be chosen.")
    address: OneLine | None = Field(default=None, description="Only when it must be chosen.")
    driver: OneLine | None = Field(default=None, description="Only when it must be chosen.")
    reason: Reason = "commissioning"


class WithdrawBody(Body):
    """Why nobody shall look for a meter any more."""

    reason: Reason


class ClaimProblem(Out):
    """Why a device that was heard is not taken."""

    code: Literal["several_devices", "several_drivers", "no_driver", "serial_differs"]
    text: str
    choices: list[str] = Field(description="Drivers, addresses or numbers to choose from.")


class FirstReading(Out):
    """What a meter told first, in the register's base unit (Wh, mL, W, ...)."""

    register_name: str = Field(serialization_alias="register")
    value: int
    at: Instant = Field(description="By the meter's clock.")


class Claim(Out):
    """A meter that somebody has scanned, and what became of it."""

    meter: str
    commodity: Commodity
    scan: str
    state: ClaimState = Field(
        description="`waiting`: its device was not heard yet; `unclear`: it was, and `problem` "
        "says what must be chosen; `done`: its device is registered; `withdrawn`: given up."
    )
    medium: str | None
    address: str | None
    driver: str | None
    problem: ClaimProblem | None
    first_readings: list[FirstReading]
    scanned_by: str
    reason: str
    scanned_at: Instant
    done_at: Instant | None


class ClaimsPage(Out):
    """Claims, newest first."""

    items: list[Claim]
    next: int | None = Field(description="Give it as `before` for the page that follows.")


class ClaimsQuery(BaseModel):
    """Which claims."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    state: ClaimState | None = None
    limit: Limit = ROWS
    before: Annotated[
        int | None, Field(ge=1, le=ID_MAX, description="`next` of the page before.")
    ] = None


class StrangerDevice(Out):
    """A device that was heard and that nobody has registered."""

    medium: str
    address: str
    frames: int = Field(description="So many of its frames are kept.")
    first_at: Instant
    last_at: Instant
    serial: str | None = Field(description="What it gives as its own number.")
    drivers: list[str] = Field(description="Those that read its frames, the likeliest first.")


class StrangerDevicesPage(Out):
    """Devices that nobody has registered, newest first."""

    items: list[StrangerDevice]
    next: None = None


class CommissioningSummary(Out):
    """How many meters wait, and how many are done."""

    waiting: int
    unclear: int
    done: int
    withdrawn: int
    strangers: int = Field(description="Devices that were heard and nobody has registered.")


class DeviceHealth(Out):
    """How a device is."""

    id: int
    meter: str | None = Field(description="Null for a node, which has meters behind it.")
    commodity: Commodity | None
    medium: str
    address: str
    driver: str
    serial: str | None
    node: str | None = Field(description="The node that it is behind.")
    slot: int | None
    devices_behind: int
    entry: str | None = Field(description="Key of the integration's entry.")
    state: HealthState = Field(
        description="`behind`: behind a node that is offline; `late`: overdue, but no alarm yet."
    )
    last_contact_at: Instant | None
    expected_at: Instant | None = Field(description="When the next contact should come.")
    interval_s: int | None = Field(description="How often it reports, learned from its contacts.")
    success_percent: str | None = Field(
        pattern=r"^[0-9]+\.[0-9]$",
        description="How many of the contacts came that were expected lately, about the last 200.",
        examples=["99.5"],
    )
    contacts: int = Field(description="Contacts that came, of those.")
    contacts_missed: int
    battery: int | None = Field(description="Percent.")
    signal: int | None = Field(description="dBm.")
    clock_offset_s: str | None = Field(
        pattern=r"^-?[0-9]+\.[0-9]{3}$", description="The meter's clock less ours."
    )
    clock_drift_ppm: str | None = Field(pattern=r"^-?[0-9]+\.[0-9]{3}$")
    clock_seen_at: Instant | None
    offline_at: Instant | None = Field(description="Since when it is told to be offline.")


class DeviceHealthPage(Out):
    """Devices."""

    items: list[DeviceHealth]
    next: int | None = Field(description="Give it as `after` for the page that follows.")


class DeviceHealthQuery(BaseModel):
    """Which devices."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    state: HealthState | None = None
    medium: OneLine | None = None
    q: Annotated[
        str | None,
        Field(min_length=1, max_length=64, description="Part of a number, address or serial."),
    ] = None
    limit: Limit = ROWS
    after: Annotated[int, Field(ge=0, le=ID_MAX, description="`next` of the page before.")] = 0


class DeviceStates(Out):
    """How many devices are in each state."""

    on_time: int
    late: int
    offline: int
    behind: int
    never: int
