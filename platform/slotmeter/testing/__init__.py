"""What integrators and tests use: virtual meters, fakes and contract suites.

Beside the names below: ``driver_contract`` and ``medium_contract`` hold the checks that every
driver and every medium must pass, and ``fakes`` what a medium can be set up with in a test.
"""

from __future__ import annotations

from slotmeter.testing.consumption import Household
from slotmeter.testing.meter_body import CreditMode
from slotmeter.testing.meter_clock import ManualClock, MeterClock, SpeedClock
from slotmeter.testing.meter_reports import MeterReport
from slotmeter.testing.simulators import Fleet, FleetStats, MeterLink, Simulator
from slotmeter.testing.token_maker import TokenMaker
from slotmeter.testing.virtual_meter import VirtualMeter

__all__ = [
    "CreditMode",
    "Fleet",
    "FleetStats",
    "Household",
    "ManualClock",
    "MeterClock",
    "MeterLink",
    "MeterReport",
    "Simulator",
    "SpeedClock",
    "TokenMaker",
    "VirtualMeter",
]
