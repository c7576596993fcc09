"""A process killed between a sale's two commits; the restart must give what would have come out.

Two copies of one data folder sell the same thing at the same instant. In the first nothing goes
wrong. In the second the process dies inside the security module, that is between the commits, and
before it starts again tariff, key revision and tariff index are changed. Both must end with the
same 20 digits and the same receipt.
"""

from __future__ import annotations

import asyncio
import json
import pickle
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from slotmeter.ports import Caller, Read
from slotmeter.security.software import SoftwareSecurityModule, create_vault
from slotmeter.services.selling import Selling, SellRequest
from slotmeter.storage.database import Database
from slotmeter.testing.clocks import FakeClock
from slotmeter.testing.sample_safe import sample_safe
from slotmeter.testing.small_utility import KEY_ID, VENDING_KEY, SmallUtility, tariff_document
from slotmeter.units import epoch_us

NOW = datetime(2026, 11, 21, 9, 30, 15, tzinfo=UTC)
EXIT_KILLED = 17
SERVICE_CHARGE = {"code": "service", "label": "Service charge", "amount": "50.00", "taxed": True}


async def _nothing(_meter_id: int) -> None:
    return None


def _selling(database: Database, security: Any, clock: FakeClock) -> Selling:
    return Selling(
        database,
        security,
        clock,
        safe=sample_safe(),
        draw_rnd=lambda: 11,
        after_payment=_nothing,
        on_issued=lambda: None,
    )


async def _make(folder: Path) -> tuple[Caller, str]:
    create_vault(folder)
    security = SoftwareSecurityModule.open(folder)
    await security.load(KEY_ID, VENDING_KEY)
    await security.close()
    database = await Database.open(folder / "slotmeter.db")
    utility = await SmallUtility(database, epoch_us(NOW)).make()
    await utility.add_tariff(tariff_document("gas", fixed_charge=SERVICE_CHARGE))
    meter = await utility.add_meter("gas")
    till = await utility.add_principal("Till", "vendor")
    await database.close()
    return till, meter.number


# Runs as a program of its own: sells, and dies where the token would be made.
SELL_AND_DIE = """
import asyncio, datetime, os, pickle, sys
from pathlib import Path
from slotmeter.services.selling import Selling, SellRequest
from slotmeter.storage.database import Database
from slotmeter.testing.clocks import FakeClock
from slotmeter.testing.sample_safe import sample_safe

folder, now, meter, exit_code = sys.argv[1:]
till = pickle.load(sys.stdin.buffer)

class Dies:
    async def issue(self, *_):
        os._exit(int(exit_code))

async def run():
    database = await Database.open(Path(folder) / "slotmeter.db")
    selling = Selling(
        database,
        Dies(),
        FakeClock(datetime.datetime.fromisoformat(now)),
        safe=sample_safe(),
        draw_rnd=lambda: 11,
        after_payment=None,
        on_issued=None,
    )
    await selling.sell(till, SellRequest("s1", meter, "500.00"))

asyncio.run(run())
"""


async def _finish(folder: Path, till: Caller, meter: str | None) -> tuple[str, dict[str, Any]]:
    """Sell (with a meter) or recover (without), and return the digits and the receipt."""
    database = await Database.open(folder / "slotmeter.db")
    security = SoftwareSecurityModule.open(folder)
    clock = FakeClock(NOW if meter else NOW + timedelta(days=40))
    selling = _selling(database, security, clock)
    if meter:
        await selling.sell(till, SellRequest("s1", meter, "500.00"))
    else:
        assert (await selling.recover()).completed == 1
    sale = await selling.sale(till, "s1")
    receipt = await selling.receipt(till, sale.receipt_number)
    params = {"limit": 1, "after_id": 0, "before_us": 2**62}
    pending = await database.read([Read("sales_pending", params)])
    assert pending["sales_pending"] == []
    await security.close()
    await database.close()
    return sale.token or "", receipt.document()


def _change_everything(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        (text,) = connection.execute("SELECT parameters FROM meter").fetchone()
        recoded = {**json.loads(text), "krn": 2, "ti": 77, "sgc": "654321", "base_date": 2035}
        connection.execute("UPDATE meter SET parameters = ?, key_id = 'k2'", (json.dumps(recoded),))
        body = json.dumps(tariff_document("gas", price="77.00", title="Dearer gas"))
        connection.execute(
            "INSERT INTO tariff_version"
            " (id, utility_id, tariff_id, version, valid_from_us, body, created_us)"
            " SELECT id + 1000, utility_id, tariff_id, 2, valid_from_us, ?, created_us"
            " FROM tariff_version",
            (body,),
        )


@pytest.mark.parametrize("change", [False, True])
def test_the_same_digits_and_receipt_come_out_after_a_kill(*, change: bool, tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    whole.mkdir()
    till, meter = asyncio.run(_make(whole))
    shutil.copytree(whole, cut)

    expected = asyncio.run(_finish(whole, till, meter))
    child = subprocess.run(
        [sys.executable, "-c", SELL_AND_DIE, cut, NOW.isoformat(), meter, str(EXIT_KILLED)],
        input=pickle.dumps(till),
        timeout=60,
        check=False,
    )
    if change:
        _change_everything(cut / "slotmeter.db")
    found = asyncio.run(_finish(cut, till, None))

    assert child.returncode == EXIT_KILLED
    assert len(expected[0]) == 20
    assert found == expected
