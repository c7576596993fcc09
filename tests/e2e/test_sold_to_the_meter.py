"""VT-05: what is bought on the web is in the meter within seconds, and nobody types anything."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from slotmeter.config import load
from slotmeter.runtime import Runtime
from slotmeter.testing.meter_clock import SpeedClock
from slotmeter.testing.site import make_site
from slotmeter.testing.town import TARIFFS, TILL, plan_town
from slotmeter.testing.town_life import make_meters
from slotmeter_nbiot.simulator import SIMULATOR

pytestmark = pytest.mark.e2e

WITHIN = timedelta(seconds=10)
PATIENCE_S = 240
LOOK_EVERY_S = 0.2


async def shown(display: Any, text: str) -> str:
    """Return what the display shows as soon as a text is on it."""
    async with asyncio.timeout(PATIENCE_S):
        while text not in display():  # noqa: ASYNC110  the meter lives in tasks of its own
            await asyncio.sleep(LOOK_EVERY_S)
    return str(display())


@pytest.mark.timeout(900)
async def test_a_web_purchase_is_in_an_online_meter_within_ten_seconds(tmp_path: Path) -> None:
    town = plan_town(1, seed=5)
    installed_on = (datetime.now(UTC) - timedelta(days=30)).date()
    site = await asyncio.to_thread(
        make_site,
        tmp_path / "data",
        meter_file=town.meter_file(installed_on),
        tariffs=TARIFFS,
        principals={TILL: ("service", "vendor")},
        ports=(0, -1, 0),
    )
    now = datetime.now(UTC)
    (meter,) = make_meters(town, site.vending_key, speed=1, made_at=now)
    before = meter.credit or 0
    runtime = await Runtime.started(load(site.config))
    fleet = await SIMULATOR.attach(
        [meter],
        f"coap://127.0.0.1:{site.nbiot_port}",
        SpeedClock(now),
        poll_every_s=0.5,
        addresses={home.number: home.address_on_medium for home in town.homes},
    )
    headers = {"Authorization": f"Bearer {site.key_of(TILL)}"}
    try:
        async with aiohttp.ClientSession(f"{site.api}/", headers=headers) as session:
            await wait_for_first_report(fleet)
            body = {
                "sale_id": "w1",
                "meter": meter.number,
                "tendered": "500.00",
                "channel": "web",
            }
            async with session.post("/api/v1/sales", json=body) as reply:
                sold = await reply.json()
                assert reply.status == 201, sold
            delivery = await accepted(session)
        display = await shown(lambda: meter.display, "CREDIT")
    finally:
        await fleet.stop()
        await runtime.stop()

    took = moment(delivery["accepted_at"]) - moment(sold["sold_at"])
    assert moment(sold["sold_at"]) <= moment(delivery["sent_at"]) <= moment(delivery["accepted_at"])
    assert took <= WITHIN
    after = meter.credit or 0
    assert after > before
    assert f"{after // 1_000}" in display


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


async def wait_for_first_report(fleet: Any) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not fleet.stats.reports:  # noqa: ASYNC110  counted by the meter's own task
            await asyncio.sleep(LOOK_EVERY_S)


async def accepted(session: aiohttp.ClientSession) -> Any:
    """Return how the sale's token was delivered, once the meter has said that it took it."""
    until_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < until_s:
        async with session.get("/api/v1/sales/w1") as reply:
            delivery = (await reply.json())["delivery"]
        if delivery["accepted_at"] is not None:
            return delivery
        await asyncio.sleep(LOOK_EVERY_S)
    raise AssertionError(f"not accepted: {delivery}")
