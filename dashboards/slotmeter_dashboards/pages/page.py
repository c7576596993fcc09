"""What a page is: a frame that stands still, and parts that are drawn anew when they changed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from dash.development.base_component import Component

from slotmeter_dashboards.client import ApiClient
from slotmeter_dashboards.parts import Body, View

__all__ = ["Drawn", "PageKind"]


@dataclass(frozen=True, slots=True)
class Drawn:
    """The parts of one page at one moment.

    Args:
        sections: what stands in each place of the frame, by name.
        figures: the drawing of each chart, by name.
        as_of: the moment of the data by the platform's clock; None when the answer does not say.
    """

    sections: Mapping[str, Body]
    figures: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    as_of: datetime | None = None


@dataclass(frozen=True, slots=True)
class PageKind:
    """One kind of page.

    Args:
        title: for the heading of the window; ``{}`` stands for the subject.
        frame: (view, subject) to the components that stand still.
        draw: (client, view, subject) to the parts. The subject is the rest of the address.
    """

    title: str
    frame: Callable[[View, str], Component]
    draw: Callable[[ApiClient, View, str], Awaitable[Drawn]]
