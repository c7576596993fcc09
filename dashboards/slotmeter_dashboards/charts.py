"""Charts from data: a figure, one sentence that says what it shows, and the same as a table.

Figures are plain dictionaries: nothing here needs numpy or the graph object classes. Every chart on
a page is drawn by :func:`graph`, because the library's own default offers to send the chart's
data to its vendor.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from decimal import Decimal
from itertools import pairwise
from typing import Any

from dash import dcc

from slotmeter_dashboards import words
from slotmeter_dashboards.model import Bucket, Overview
from slotmeter_dashboards.theme import base_layout, theme

__all__ = ["Chart", "Look", "balance", "consumption", "graph", "sales_by_hour", "used_per_bucket"]

GRAPH_CONFIG: Any = {
    "displaylogo": False,
    "displayModeBar": False,
    "showSendToCloud": False,
    "plotlyServerURL": "",
    "responsive": True,
}
GAP_MIN = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Chart:
    """One chart in its three forms.

    Args:
        figure: for the drawing library; None when there is nothing to draw yet.
        summary: one sentence made from the data.
        columns: headings of the table, with units.
        rows: the table's cells as text.
    """

    figure: dict[str, Any] | None
    summary: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def graph(identity: dict[str, str], figure: dict[str, Any]) -> dcc.Graph:
    """Return the one kind of graph that pages may use; see the module."""
    return dcc.Graph(
        id=identity, figure=figure, config=GRAPH_CONFIG, className="graph", responsive=True
    )


def _wall(at: datetime, zone: tzinfo) -> str:
    """Return wall-clock time without offset, which is how the library keeps it as it is."""
    return at.astimezone(zone).replace(tzinfo=None).isoformat()


# --- sales ---------------------------------------------------------------------------------------


def sales_by_hour(overview: Overview, zone: tzinfo, scheme: str | None) -> Chart:
    """Draw the money taken in each hour of the utility's day, by the clock on its wall."""
    by_hour = _by_wall_hour(overview, zone)
    currency = overview.currency
    columns = ("Hour from", "Sales", f"Money, {currency}")
    rows = tuple(
        (f"{hour:02d}:00", words.count(number), words.money(tendered, currency))
        for hour, (number, tendered) in sorted(by_hour.items())
    )
    if not by_hour:
        return Chart(None, "No sales yet today.", columns, rows)
    best = max(by_hour, key=lambda hour: by_hour[hour][1])
    most = by_hour[best][1]
    one = overview.sale_count == 1
    summary = (
        f"{words.count(overview.sale_count)} {'sale has' if one else 'sales have'} brought "
        f"{words.money(overview.tendered, currency)} since midnight; the best hour began at "
        f"{best:02d}:00 with {words.money(most, currency)}."
    )
    layout = base_layout(scheme, currency)
    layout["xaxis"] |= {
        "range": [-0.6, 23.6],
        "tickvals": [0, 6, 12, 18, 23],
        "ticktext": ["00:00", "06:00", "12:00", "18:00", "23:00"],
    }
    layout["yaxis"] |= {"tickformat": ",~s" if most >= 10_000 else ","}
    layout["bargap"] = 0.22
    bars = {
        "type": "bar",
        "x": list(by_hour),
        "y": [float(tendered) for _, tendered in by_hour.values()],
        "text": [
            f"{hour:02d}:00 to {(hour + 1) % 24:02d}:00<br>"
            f"<b>{words.money(tendered, currency)}</b><br>{words.count(number)} sold"
            for hour, (number, tendered) in by_hour.items()
        ],
        "textposition": "none",
        "hovertemplate": "%{text}<extra></extra>",
        "marker": {"color": theme(scheme).money, "cornerradius": 3},
    }
    return Chart({"data": [bars], "layout": layout}, summary, columns, rows)


def _by_wall_hour(overview: Overview, zone: tzinfo) -> dict[int, tuple[int, Decimal]]:
    """Sum by the hour on the wall; the hour that a clock change repeats is one bar."""
    sums: dict[int, tuple[int, Decimal]] = {}
    for sold in overview.hours:
        if sold.count:
            hour = sold.start.astimezone(zone).hour
            number, tendered = sums.get(hour, (0, Decimal(0)))
            sums[hour] = (number + sold.count, tendered + sold.tendered)
    return sums


# --- one meter -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Used:
    """What was used in one span; ``shared`` when a silent stretch was divided evenly."""

    start: datetime
    end: datetime
    amount: Decimal
    shared: bool


def used_per_bucket(buckets: Sequence[Bucket]) -> tuple[Used, ...]:
    """Turn a cumulative register into use per bucket.

    Each bucket gets the growth since the end of the one before. After silent buckets the growth is
    divided evenly over them and the one that ends the silence, and marked so. A register that went
    back (a meter was exchanged or reset) starts anew and gives nothing for that bucket.
    """
    used: list[Used] = []
    before: Bucket | None = None
    for bucket in buckets:
        since = bucket.first if before is None else before.last
        growth = bucket.last - since
        if growth >= 0:
            begin = bucket.start if before is None else before.end
            spans = max(round((bucket.end - begin) / bucket.width), 1)
            share = growth / spans
            for index in range(spans):
                start = bucket.start - bucket.width * (spans - 1 - index)
                used.append(Used(start, start + bucket.width, share, spans > 1))
        before = bucket
    return tuple(used)


@dataclass(frozen=True, slots=True)
class Look:
    """How the charts of one meter are looked at.

    Args:
        zone: the utility's time zone.
        scheme: ``light`` or ``dark``.
        words: the span in words, as ``in 24 hours``.
        span: its first instant and the first after it; None when nothing was reported yet.
    """

    zone: tzinfo
    scheme: str | None
    words: str
    span: tuple[datetime, datetime] | None


def consumption(buckets: Sequence[Bucket], unit: str, look: Look) -> Chart:
    """Draw what was used in each hour of the meter's time."""
    zone = look.zone
    used = used_per_bucket(buckets)
    columns = ("Hour from", f"Used, {unit}", "Reading")
    rows = tuple(
        (
            words.day_and_clock(each.start, zone),
            words.quantity(each.amount, "", places=3).strip(),
            "even share of a silent time" if each.shared else "measured",
        )
        for each in reversed(used)
    )
    if not used:
        return Chart(None, "No readings of the register yet.", columns, rows)
    total = sum((each.amount for each in used), Decimal(0))
    most = max(used, key=lambda each: each.amount)
    shared = sum(each.shared for each in used)
    summary = (
        f"{words.quantity(total, unit)} used {look.words}; the most in one hour was "
        f"{words.quantity(most.amount, unit)}, from {words.day_and_clock(most.start, zone)}."
    )
    if shared:
        summary += f" Hatched: {shared} hours without reports, shared evenly."
    colours = theme(look.scheme)
    middle = [each.start + (each.end - each.start) / 2 for each in used]
    bars = {
        "type": "bar",
        "x": [_wall(at, zone) for at in middle],
        "y": [float(each.amount) for each in used],
        "width": [(each.end - each.start).total_seconds() * 820 for each in used],
        "text": [
            f"{words.day_and_clock(each.start, zone)}<br><b>{words.quantity(each.amount, unit)}</b>"
            + ("<br>even share" if each.shared else "")
            for each in used
        ],
        "textposition": "none",
        "hovertemplate": "%{text}<extra></extra>",
        "marker": {
            "color": colours.use,
            "cornerradius": 2,
            "pattern": {
                "shape": ["/" if each.shared else "" for each in used],
                "bgcolor": colours.card,
                "fgcolor": colours.use,
                "size": 6,
                "solidity": 0.35,
            },
        },
    }
    return Chart({"data": [bars], "layout": _time_layout(look, unit)}, summary, columns, rows)


def balance(buckets: Sequence[Bucket], unit: str, look: Look) -> Chart:
    """Draw the credit that the meter holds, as steps; a gap where nothing was heard."""
    zone = look.zone
    columns = ("Until", f"Credit left, {unit}")
    if not buckets:
        return Chart(None, "No readings of the credit yet.", columns, ())
    lowest = min(buckets, key=lambda bucket: min(bucket.first, bucket.last))
    rises = _rises(buckets)
    noun = "top-up" if rises == 1 else "top-ups"
    low = min(lowest.first, lowest.last)
    summary = (
        f"{words.quantity(buckets[-1].last, unit)} left; {rises or 'no'} {noun} {look.words}, "
        f"lowest {words.quantity(low, unit)} at {words.day_and_clock(lowest.start, zone)}."
    )
    lines = [_line(stretch, unit, look) for stretch in _stretches(buckets)]
    rows = tuple(
        (words.day_and_clock(last.end, zone), words.quantity(last.last, "", places=3).strip())
        for last in reversed(_hourly(buckets))
    )
    return Chart({"data": lines, "layout": _time_layout(look, unit)}, summary, columns, rows)


def _line(stretch: Sequence[Bucket], unit: str, look: Look) -> dict[str, Any]:
    """Return one unbroken stretch as steps: each value holds until the next."""
    points = [(bucket.start, bucket.first) for bucket in stretch]
    points.append((stretch[-1].end, stretch[-1].last))
    zone = look.zone
    colours = theme(look.scheme)
    return {
        "type": "scatter",
        "mode": "lines",
        "x": [_wall(at, zone) for at, _ in points],
        "y": [float(value) for _, value in points],
        "text": [
            f"{words.day_and_clock(at, zone)}<br><b>{words.quantity(value, unit)}</b>"
            for at, value in points
        ],
        "hovertemplate": "%{text}<extra></extra>",
        "line": {"color": colours.balance, "width": 2.25, "shape": "hv"},
        "fill": "tozeroy",
        "fillcolor": colours.balance_area,
    }


def _time_layout(look: Look, unit: str) -> dict[str, Any]:
    layout = base_layout(look.scheme, unit)
    layout["xaxis"] |= {
        "type": "date",
        "nticks": 7,
        **({"range": [_wall(at, look.zone) for at in look.span]} if look.span else {}),
        "tickformatstops": [
            {"dtickrange": [None, 43_200_000], "value": "%H:%M\n%-d %b"},
            {"dtickrange": [43_200_000, None], "value": "%-d %b"},
        ],
    }
    return layout


def _rises(buckets: Sequence[Bucket]) -> int:
    values = [value for bucket in buckets for value in (bucket.first, bucket.last)]
    return sum(later > earlier for earlier, later in pairwise(values))


def _stretches(buckets: Sequence[Bucket]) -> list[list[Bucket]]:
    """Part the buckets wherever nothing was heard for ``GAP_MIN``."""
    stretches: list[list[Bucket]] = [[]]
    for bucket in buckets:
        if stretches[-1] and bucket.start - stretches[-1][-1].end >= GAP_MIN:
            stretches.append([])
        stretches[-1].append(bucket)
    return stretches


def _hourly(buckets: Sequence[Bucket]) -> list[Bucket]:
    """The last bucket of each hour."""
    return list({bucket.start.replace(minute=0, second=0): bucket for bucket in buckets}.values())
