"""What the demo shows: a live screen on a terminal, plain lines elsewhere."""

from __future__ import annotations

import argparse
import io
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from rich.console import Console

from slotmeter.cli.demo_view import View
from slotmeter.testing.meter_clock import ManualClock
from slotmeter.testing.simulators import FleetStats, MeterLink
from slotmeter.testing.site import Site
from slotmeter.testing.token_maker import TokenMaker
from slotmeter.testing.town_life import Happened
from slotmeter.vending.sts import VendingKey

NOW = datetime(2026, 3, 1, tzinfo=UTC)
KEY = VendingKey(bytes(20), "600001", 1, 2, "04", 2014)


class TwoMeters:
    """One meter with credit, and one without that has lost the network."""

    def __init__(self) -> None:
        maker, clock = TokenMaker(), ManualClock(NOW)
        lit = maker.meter(1, "electricity", made_at=NOW, opening_credit=500)
        dark = maker.meter(2, "water", made_at=NOW)
        self.links = {
            lit.number: MeterLink(lit, lit.number, clock),
            dark.number: MeterLink(dark, dark.number, clock, online=False),
        }
        self.stats = FleetStats(reports=7, commands=3)

    async def stop(self) -> None:
        return


def shown(*, terminal: bool, plain: bool = False, dashboards: bool = True) -> str:
    out = io.StringIO()
    options = argparse.Namespace(
        plain=plain, no_dashboards=not dashboards, for_s=60.0, meters=2, speed=600, seed=4
    )
    console = Console(file=out, force_terminal=terminal, width=120)
    view = View(options, Site(Path("town"), 8480, 8481, 5683, KEY), TwoMeters(), console)
    with view.shown(Happened(sold=5, money=Decimal("250.00"), typed=1, dark=3, back=2)):
        view.count([{"kind": kind} for kind in (*["supply_cut"] * 4, "supply_restored", "tamper")])
        view.tell("Amina bought 2.0 kWh for 50.00")
        view.say("coming to rest")
    return out.getvalue()


@pytest.mark.parametrize("terminal", [True, False], ids=["terminal", "file"])
def test_addresses_and_counts_are_shown(terminal: bool) -> None:
    text = shown(terminal=terminal)

    assert "http://127.0.0.1:8481" in text
    assert "http://127.0.0.1:8480/api/v1" in text
    assert "250.00 taken" in text
    assert "4 cuts, 1 reconnection" in text
    assert "1 offline" in text
    assert "coming to rest" in text


def test_one_of_a_thing_is_not_told_as_many() -> None:
    assert "1 token typed" in shown(terminal=True)


def test_a_terminal_shows_what_just_happened() -> None:
    assert "Amina bought 2.0 kWh for 50.00" in shown(terminal=True)


@pytest.mark.parametrize(("terminal", "plain"), [(False, False), (True, True)])
def test_elsewhere_no_control_characters_are_written(terminal: bool, plain: bool) -> None:
    text = shown(terminal=terminal, plain=plain)

    assert "\x1b" not in text
    assert "1 off, 1 on, 1 offline; 7 reports" in text


def test_without_pages_none_are_named() -> None:
    assert ":8481" not in shown(terminal=False, dashboards=False)
