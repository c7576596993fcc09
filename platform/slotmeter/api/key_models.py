"""The shapes of vending keys, of components that wait, and of supply groups; never key material."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from slotmeter.api.models import Body, Instant, Out, Reason
from slotmeter.api.paging import AfterQuery

__all__ = [
    "ConfirmKeyBody",
    "KeyComponentLine",
    "KeyComponentsPage",
    "KeyReasonBody",
    "SupplyGroupBody",
    "SupplyGroupLine",
    "SupplyGroupsPage",
    "VendingKeyLine",
    "VendingKeysPage",
    "VendingKeysQuery",
    "Withdrawn",
]

CheckValue = Annotated[
    str,
    Field(pattern=r"^[0-9A-Fa-f]{6}$", description="Six hex digits that identify the key."),
]


class _KeyFacts(Out):
    """What a vending key is."""

    sgc: str
    krn: int
    kt: int
    dkga: str
    base_date: int
    ken: int = Field(description="Key expiry number; 255 never ends by itself.")


class VendingKeyLine(_KeyFacts):
    """One vending key."""

    name: str
    check_value: CheckValue
    state: Literal["active", "retired"]
    expires_at: Instant = Field(description="No token can be made from then on.")
    days_left: int
    created_at: Instant
    retired_at: Instant | None
    officer: str | None
    second_officer: str | None


class VendingKeysPage(Out):
    """Vending keys of the utility by name."""

    items: list[VendingKeyLine]
    next: str | None = Field(description="Give it as `after` for the page that follows.")


class VendingKeysQuery(AfterQuery):
    """Which vending keys."""

    expiring: bool = Field(
        default=False, description="Only active ones that end within 30 days, or have ended."
    )


class ConfirmKeyBody(Body):
    """What the second officer says of a key that the first one proposed."""

    check_value: CheckValue
    reason: Reason


class KeyReasonBody(Body):
    """Why."""

    reason: Reason


class KeyComponentLine(_KeyFacts):
    """A component that waits for another officer."""

    name: str
    method: Literal["components", "confirm"]
    part: int
    parts: int
    check_value: CheckValue
    officer: str
    created_at: Instant


class KeyComponentsPage(Out):
    """What waits for another officer."""

    items: list[KeyComponentLine]
    next: str | None = Field(description="Give it as `after` for the page that follows.")


class Withdrawn(Out):
    """How many components were erased."""

    erased: int


class SupplyGroupBody(Body):
    """A supply group: what it is called, and the key that its meters shall be on."""

    title: str = Field(min_length=1, max_length=100)
    key: str | None = Field(default=None, description="Name of a vending key of this group.")
    reason: Reason


class SupplyGroupLine(Out):
    """One supply group."""

    sgc: str
    title: str
    key: str | None
    created_at: Instant


class SupplyGroupsPage(Out):
    """Supply groups of the utility by number."""

    items: list[SupplyGroupLine]
    next: str | None = Field(description="Give it as `after` for the page that follows.")
