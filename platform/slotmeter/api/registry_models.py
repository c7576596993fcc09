"""The shapes of areas, of the lives of meters, of nodes, keypads and bearers."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from slotmeter.api.models import Body, Commodity, Instant, MeterNumber, Out, Reason
from slotmeter.api.paging import AfterQuery

__all__ = [
    "AreaBody",
    "AreaDetail",
    "AreaLine",
    "AreaPointLine",
    "AreaPointsPage",
    "AreasPage",
    "AreasQuery",
    "BearerBody",
    "BearerLine",
    "BearersPage",
    "BindBody",
    "BindingLine",
    "BindingsPage",
    "InstallBody",
    "KeypadBody",
    "KeypadLine",
    "KeypadsPage",
    "LifeBody",
    "LifeEventLine",
    "LifeEvents",
    "LifeLine",
    "LifeQuery",
    "LivesPage",
    "LivesQuery",
    "NodeBody",
    "NodeDetail",
    "NodeLine",
    "NodesPage",
    "PointsInBody",
    "RegistryReasonBody",
    "SlotPlace",
    "StateCounts",
    "TakeOffBody",
    "TakenIn",
]

Level = Literal["region", "dma", "transformer", "feeder", "other"]
LifeState = Literal["received", "stored", "installed", "swapped", "repaired", "scrapped", "unknown"]
Place = Annotated[str, Field(min_length=1, max_length=120)]
AreaText = Annotated[
    str, Field(min_length=3, max_length=50, description="`LEVEL/CODE`.", examples=["region/north"])
]
After = Field(description="Give it as `after` for the page that follows.")
Before = Field(description="Give it as `before` for the page that follows.")
At = Annotated[AwareDatetime | None, Field(description="At this time; now if left out.")]


class RegistryReasonBody(Body):
    """Why."""

    reason: Reason


# --- areas ----------------------------------------------------------------------------------------


class AreaLine(Out):
    """One area."""

    area: str = Field(description="`LEVEL/CODE`.", examples=["dma/D12"])
    level: Level
    code: str
    name: str
    above: str | None = Field(description="The area that this one is in.")
    created_at: Instant


class AreasPage(Out):
    """Areas by level and code."""

    items: list[AreaLine]
    next: str | None = After


class AreaDetail(AreaLine):
    """One area with what it holds."""

    path: str = Field(description="The areas above, the highest first, joined by ` > `.")
    areas: int = Field(description="Directly below it.")
    supply_points: int = Field(description="Directly in it.")


class AreasQuery(AfterQuery):
    """Which areas."""

    level: Level | None = None
    above: AreaText | None = Field(default=None, description="Directly below this one.")


class AreaBody(Body):
    """What an area is called and where it is."""

    name: Annotated[str, Field(min_length=1, max_length=100)]
    above: AreaText | None = None
    reason: Reason


class AreaPointLine(Out):
    """One supply point of an area."""

    supply_point: str
    commodity: Commodity
    address: str
    meter: str | None


class AreaPointsPage(Out):
    """Supply points directly in an area, by number."""

    items: list[AreaPointLine]
    next: str | None = After


class PointsInBody(Body):
    """Which supply points come in."""

    supply_points: Annotated[list[str], Field(min_length=1, max_length=500)]
    reason: Reason


class TakenIn(Out):
    """What became of it."""

    moved: int = Field(description="Supply points that were elsewhere before.")


# --- lives ----------------------------------------------------------------------------------------


class LifeLine(Out):
    """Where a meter is at a time."""

    meter: str
    commodity: Commodity
    state: LifeState
    place: str = Field(description="The supply point's number, or what was recorded.")
    since: Instant | None


class LivesPage(Out):
    """Meters by number."""

    items: list[LifeLine]
    next: str | None = After


class LifeQuery(BaseModel):
    """At which time."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    at: At = None


class LivesQuery(AfterQuery):
    """Which meters, at which time."""

    at: At = None
    state: LifeState | None = None


class StateCounts(Out):
    """How many meters are in each state."""

    received: int
    stored: int
    installed: int
    swapped: int
    repaired: int
    scrapped: int
    unknown: int


class LifeEventLine(Out):
    """Something that happened to a meter."""

    state: LifeState
    at: Instant
    place: str
    by: str | None = Field(description="Who recorded it; null where its installation tells it.")
    reason: str


class LifeEvents(Out):
    """Where a meter is, and everything that happened to it, the newest first."""

    meter: str
    commodity: Commodity
    state: LifeState
    place: str
    since: Instant | None
    events: list[LifeEventLine]


class LifeBody(Body):
    """What happened to a meter."""

    state: Literal["stored", "repaired", "scrapped"]
    place: Place
    at: Annotated[AwareDatetime | None, Field(strict=False)] = Field(
        default=None, description="When it happened; now if left out."
    )
    reason: Reason


class InstallBody(Body):
    """Where a meter is hung."""

    supply_point: Annotated[str, Field(min_length=1, max_length=64)]
    reason: Reason


class TakeOffBody(Body):
    """Where a meter goes that is taken off."""

    place: Place
    reason: Reason


# --- nodes ----------------------------------------------------------------------------------------

Serial = Annotated[str, Field(min_length=1, max_length=64, examples=["BOX-1"])]
Medium = Annotated[str, Field(min_length=1, max_length=64, examples=["nbiot"])]
Address = Annotated[str, Field(min_length=1, max_length=64)]
DriverKey = Annotated[str, Field(min_length=1, max_length=64, examples=["slotmeter_virtual"])]


class NodeLine(Out):
    """One node: a box that speaks for the meters in its slots."""

    serial: str
    medium: str
    address: str
    driver: str
    meters: int = Field(description="Behind it now.")
    last_contact_at: Instant | None
    offline: bool
    created_at: Instant


class NodesPage(Out):
    """Nodes by serial number."""

    items: list[NodeLine]
    next: str | None = After


class BindingLine(Out):
    """One meter in one slot, from one time to another."""

    node: str
    slot: int
    meter: str
    from_at: Instant = Field(serialization_alias="from")
    to_at: Instant | None = Field(serialization_alias="to")


class NodeDetail(NodeLine):
    """One node with what is behind it now, by slot."""

    bindings: list[BindingLine]


class BindingsPage(Out):
    """Bindings, the newest first."""

    items: list[BindingLine]
    next: int | None = Before


class NodeBody(Body):
    """A node to register."""

    serial: Serial
    medium: Medium
    address: Address
    driver: DriverKey
    reason: Reason


class SlotPlace(Body):
    """One slot."""

    slot: Annotated[int, Field(ge=0, le=255)]
    meter: MeterNumber | None = Field(description="Null for a slot that is to be empty.")


class BindBody(Body):
    """Which meters are in which slots; slots that are not named stay as they are."""

    places: Annotated[list[SlotPlace], Field(min_length=1, max_length=256)]
    at: Annotated[AwareDatetime | None, Field(strict=False)] = Field(
        default=None, description="Since when it is so; from now on if left out."
    )
    reason: Reason


# --- keypads and bearers --------------------------------------------------------------------------


class KeypadLine(Out):
    """One keypad of a meter, from one time to another."""

    serial: str
    from_at: Instant = Field(serialization_alias="from")
    to_at: Instant | None = Field(serialization_alias="to")


class KeypadsPage(Out):
    """Keypads of a meter, the newest first."""

    items: list[KeypadLine]
    next: int | None = Before


class KeypadBody(Body):
    """Which keypad a meter has from now on."""

    serial: Serial | None = Field(description="Null takes away the one that it has.")
    moved: bool = Field(default=False, description="Take it from the meter that has it.")
    reason: Reason


class BearerLine(Out):
    """How a device was reached, from one time to another."""

    medium: str
    address: str
    from_at: Instant = Field(serialization_alias="from")
    to_at: Instant | None = Field(serialization_alias="to")


class BearersPage(Out):
    """Bearers of a device, the newest first."""

    items: list[BearerLine]
    next: int | None = Before


class BearerBody(Body):
    """How a device is reached from now on."""

    medium: Medium
    address: Address
    driver: DriverKey | None = Field(default=None, description="The one it has, if left out.")
    reason: Reason
