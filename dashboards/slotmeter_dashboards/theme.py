"""Colours and type of charts, per colour scheme; ``assets/style.css`` holds the same for the rest.

Hues are those of Okabe and Ito, told apart with every common colour vision, darkened or lightened
until they stand out from the card behind them by at least 3 to 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

__all__ = ["SCHEMES", "Theme", "base_layout", "theme"]

FONT = '"Inter Slotmeter", "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif'


@dataclass(frozen=True, slots=True)
class Theme:
    """What a figure needs to know of a colour scheme; CSS colours."""

    ink: str
    ink_soft: str
    grid: str
    axis: str
    card: str
    money: str
    balance: str
    balance_area: str
    use: str


SCHEMES = MappingProxyType(
    {
        "light": Theme(
            ink="#17212b",
            ink_soft="#566472",
            grid="#e9edf1",
            axis="#b9c3cd",
            card="#ffffff",
            money="#0072b2",
            balance="#0072b2",
            balance_area="rgba(0, 114, 178, 0.10)",
            use="#00896a",
        ),
        "dark": Theme(
            ink="#e8edf2",
            ink_soft="#9fadba",
            grid="#26313c",
            axis="#43515e",
            card="#18212a",
            money="#56b4e9",
            balance="#56b4e9",
            balance_area="rgba(86, 180, 233, 0.14)",
            use="#2fbf98",
        ),
    }
)


def theme(scheme: str | None) -> Theme:
    """Return a scheme's theme; anything but ``dark`` is light."""
    return SCHEMES["dark" if scheme == "dark" else "light"]


def base_layout(scheme: str | None, unit: str) -> dict[str, Any]:
    """Return what all figures share: quiet grid, the pages' type, the unit above the scale."""
    colours = theme(scheme)
    axis = {
        "gridcolor": colours.grid,
        "linecolor": colours.axis,
        "zerolinecolor": colours.axis,
        "tickfont": {"color": colours.ink_soft, "size": 12},
        "ticks": "",
        "fixedrange": True,
        "automargin": True,
    }
    return {
        "autosize": True,
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": FONT, "size": 13, "color": colours.ink},
        "margin": {"l": 8, "r": 8, "t": 24, "b": 8},
        "showlegend": False,
        "dragmode": False,
        "hovermode": "x",
        "hoverlabel": {
            "bgcolor": colours.ink,
            "bordercolor": colours.ink,
            "font": {"family": FONT, "size": 13, "color": colours.card},
        },
        "xaxis": {**axis, "showgrid": False, "showline": True, "zeroline": False},
        "yaxis": {**axis, "rangemode": "tozero", "showline": False, "nticks": 5},
        "annotations": [
            {
                **{"text": unit, "showarrow": False, "xref": "paper", "yref": "paper"},
                **{"x": 0, "y": 1, "xanchor": "left", "yanchor": "bottom"},
                **{"xshift": -4, "yshift": 4},
                "font": {"color": colours.ink_soft, "size": 12},
            }
        ],
    }
