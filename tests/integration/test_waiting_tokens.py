"""A process killed after it reserved a token that no sale makes: the token is made, and only once.

The process dies inside the security module, that is between the commits, as a management token, a
replacement after a change of key, or the credit of a swapped meter is made.
"""

from __future__ import annotations

import asyncio
import pickle
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from slotmeter.config import Config, DashboardsConfig, HttpConfig
from slotmeter.devices.commands import Outcome
from slotmeter.errors import Refused, Unavailable
from slotmeter.ports import Read
from slotmeter.runtime import Runtime
from slotmeter.runtime.examination import examine_folder
from slotmeter.security.software import SoftwareSecurityModule
from slotmeter.services.access import Origin
from slotmeter.services.coding_office import CodingOffice
from slotmeter.services.doctor import Finding
from slotmeter.services.key_change_plan import KeyWish
from slotmeter.services.management_tokens import ManagementWish
from slotmeter.services.meter_swap import SwapWish
from slotmeter.services.operations import Asked
from slotmeter.services.sale_begin import ONE_LANE
from slotmeter.services.selling import Recovered
from slotmeter.storage.opening import AnyDatabase
from slotmeter.testing.clocks import FakeClock
from slotmeter.testing.databases import Behind, opened_in, settings_of
from slotmeter.testing.key_town import KeyTown, Wire, open_key_town
from slotmeter.testing.sample_safe import sample_safe
from slotmeter.testing.shop import SHOP_OPENS_AT
from slotmeter.testing.small_utility import KEY_ID, VENDING_KEY, meter_number
from slotmeter.testing.virtual_meter import VirtualMeter
from slotmeter.vending.sts import pan_of_drn
from slotmeter_drivers.slotmeter_virtual import DRIVER
from slotmeter_nbiot.push_meter import decode_commands, encode_report
from slotmeter_rules import RULES

pytestmark = pytest.mark.both_databases

WIRE = Wire(DRIVER, RULES.credit_control, encode_report, decode_commands)
EXIT_KILLED = 17
NEW = meter_number(900)
RESERVED = "SELECT id FROM token WHERE state = 'reserved'"


@dataclass(frozen=True)
class Wish:
    """What the process asks for: a method of the office by its path, and what it is given."""

    method: str
    given: tuple[Any, ...]

    async def asked_of(self, office: CodingOffice) -> Any:
        service, _, method = self.method.partition(".")
        return await getattr(getattr(office, service), method)(*self.given)


# Runs as a program of its own: asks, and dies where the token would be made.
ASK_AND_DIE = """
import asyncio, os, pickle, sys
from pathlib import Path
from slotmeter.security.software import SoftwareSecurityModule
from slotmeter.services.coding_office import CodingOffice
from slotmeter.services.doctor import Finding
from slotmeter.services.sale_begin import ONE_LANE
from slotmeter.testing.clocks import FakeClock
from slotmeter.testing.databases import opened_in
from slotmeter.testing.sample_safe import sample_safe

folder, exit_code = Path(sys.argv[1]), int(sys.argv[2])
now, method, given = pickle.load(sys.stdin.buffer)

class Dies(SoftwareSecurityModule):
    async def issue(self, *_):
        os._exit(exit_code)

async def run():
    async with opened_in(folder) as database:
        security = Dies.open(folder)
        office = CodingOffice.of(
            database, security, sample_safe(), FakeClock(now), draw_rnd=lambda: 5, tids=ONE_LANE
        )
        service, _, name = method.partition(".")
        await getattr(getattr(office, service), name)(*given)

asyncio.run(run())
"""


def killed_in(folder: Path, wish: Wish) -> None:
    """Let a process die on its way to what is wished."""
    child = subprocess.run(
        [sys.executable, "-c", ASK_AND_DIE, folder, str(EXIT_KILLED)],
        input=pickle.dumps((SHOP_OPENS_AT, wish.method, wish.given)),
        timeout=60,
        check=False,
    )
    assert child.returncode == EXIT_KILLED


async def management(town: KeyTown) -> tuple[Wish, VirtualMeter]:
    row, thing = await town.meter(online=False)
    wish = ManagementWish("m1", "clear_tamper", None, "seal was broken by a truck")
    return Wish("management.make", (town.supervisor, row.number, wish)), thing


async def replacement(town: KeyTown) -> tuple[Wish, VirtualMeter]:
    row, thing = await town.meter(online=False)
    await town.shop.sell(row.number, sale_id="before")
    change, _ = await town.changes.make(
        town.supervisor, row.number, KeyWish(key_id="krn-2"), "new key"
    )
    assert change is not None
    for token in change.tokens:
        thing.type_token(token.digits)
    await town.changes.declare(town.supervisor, change.row["id"], "done")
    given = (town.supervisor, change.row["id"], change.unused[0]["id"], "was never typed")
    return Wish("replacements.replace", given), thing


async def swap(town: KeyTown) -> tuple[Wish, VirtualMeter]:
    old, _ = await town.meter(online=False)
    assert old.parameters is not None
    coded = replace(old.parameters, pan=pan_of_drn(NEW))
    thing = town.thing(replace(old, number=NEW), coded, VENDING_KEY)
    asked = Asked(town.supervisor, "w1", "the display was dark")
    return Wish("swaps.swap", (asked, SwapWish(old.number, NEW, "12.3"))), thing


Case = Callable[[KeyTown], Awaitable[tuple[Wish, VirtualMeter]]]
CASES = pytest.mark.parametrize("case", [management, replacement, swap])


async def left_by_a_crash(folder: Path, case: Case) -> tuple[Wish, VirtualMeter]:
    """Prepare a folder, and let a process die in it."""
    async with open_key_town(folder, WIRE) as town:
        wish, thing = await case(town)
    await asyncio.to_thread(killed_in, folder, wish)
    return wish, thing


class Refusing(SoftwareSecurityModule):
    """A security module that makes no token, and says why."""

    code = "table_set_unknown"

    async def issue(self, *_: Any) -> Any:
        raise Refused(self.code, "not in this vault")


class WithoutKey(Refusing):
    """One whose vending key is missing."""

    code = "vending_key_unknown"


class GivenUpMeanwhile(SoftwareSecurityModule):
    """One that takes so long that somebody else gives the token up."""

    folder: Path

    async def issue(self, *given: Any) -> Any:
        Behind(self.folder).rows("UPDATE token SET state = 'void' WHERE state = 'reserved'")
        return await super().issue(*given)


@asynccontextmanager
async def restarted(
    folder: Path, module: type[SoftwareSecurityModule] = SoftwareSecurityModule
) -> AsyncIterator[tuple[AnyDatabase, CodingOffice]]:
    """Open the folder again."""
    async with opened_in(folder) as database:
        security = module.open(folder)
        clock = FakeClock(SHOP_OPENS_AT)
        clock.advance(seconds=120)
        yield (
            database,
            CodingOffice.of(
                database, security, sample_safe(), clock, draw_rnd=lambda: 9, tids=ONE_LANE
            ),
        )
        await security.close()


def digits_in(folder: Path) -> str:
    """Return the digits of the newest token."""
    found = Behind(folder).values("SELECT digits FROM token ORDER BY id DESC LIMIT 1")
    return sample_safe().open(found[0])


@CASES
async def test_the_restart_makes_the_token_that_was_reserved(tmp_path: Path, case: Case) -> None:
    _, thing = await left_by_a_crash(tmp_path, case)
    behind = Behind(tmp_path)
    (token_id,) = behind.values(RESERVED)
    before = behind.values("SELECT count(*) FROM token")

    async with restarted(tmp_path) as (_, office):
        first, again = await office.tokens.recover(), await office.tokens.recover()

    assert (first, again) == (Recovered(1, 0), Recovered(0, 0))
    assert behind.values("SELECT state FROM token WHERE id = ?", token_id) == ["issued"]
    assert behind.values("SELECT count(*) FROM token") == before
    assert thing.type_token(digits_in(tmp_path)).outcome is Outcome.DONE


@CASES
async def test_who_asks_again_after_the_crash_gets_that_token(tmp_path: Path, case: Case) -> None:
    wish, thing = await left_by_a_crash(tmp_path, case)
    before = Behind(tmp_path).values("SELECT count(*) FROM token")

    async with restarted(tmp_path) as (_, office):
        await wish.asked_of(office)
        after = await office.tokens.recover()

    assert after == Recovered(0, 0)
    assert Behind(tmp_path).values("SELECT count(*) FROM token") == before
    assert thing.type_token(digits_in(tmp_path)).outcome is Outcome.DONE


async def test_a_token_that_carries_nothing_is_given_up_when_it_is_refused_for_good(
    tmp_path: Path,
) -> None:
    wish, _ = await left_by_a_crash(tmp_path, management)
    behind = Behind(tmp_path)

    async with restarted(tmp_path, Refusing) as (_, office):
        recovered = await office.tokens.recover()
    async with restarted(tmp_path) as (_, office):
        with pytest.raises(Refused) as refused:
            await wish.asked_of(office)

    assert recovered == Recovered(0, 1)
    assert behind.values("SELECT state FROM token") == ["void"]
    assert behind.values("SELECT kind FROM event WHERE kind = 'token_voided'") == ["token_voided"]
    assert refused.value.code == "token_cannot_be_made"


async def test_a_token_that_was_given_up_beside_who_asks_for_it_is_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wish, _ = await left_by_a_crash(tmp_path, management)
    monkeypatch.setattr(GivenUpMeanwhile, "folder", tmp_path, raising=False)

    async with restarted(tmp_path, GivenUpMeanwhile) as (_, office):
        with pytest.raises(Refused) as refused:
            await wish.asked_of(office)

    assert refused.value.code == "token_cannot_be_made"


@pytest.mark.parametrize(
    ("case", "module"), [(management, WithoutKey), (replacement, Refusing), (swap, Refusing)]
)
async def test_what_is_owed_or_lacks_its_key_waits_until_it_can_be_made(
    tmp_path: Path, case: Case, module: type[SoftwareSecurityModule]
) -> None:
    _, thing = await left_by_a_crash(tmp_path, case)

    async with restarted(tmp_path, module) as (_, office):
        with pytest.raises(Unavailable) as unavailable:
            await office.tokens.recover()
    waiting = Behind(tmp_path).values(RESERVED)
    async with restarted(tmp_path) as (_, office):
        recovered = await office.tokens.recover()

    assert unavailable.value.code == "recovery_incomplete"
    assert len(waiting) == 1
    assert recovered == Recovered(1, 0)
    assert thing.type_token(digits_in(tmp_path)).outcome is Outcome.DONE


async def test_its_key_counts_as_used_while_a_token_waits(tmp_path: Path) -> None:
    await left_by_a_crash(tmp_path, management)

    async with restarted(tmp_path) as (database, office):
        before = await uses_of(database)
        await office.tokens.recover()
        after = await uses_of(database)

    assert (before, after) == (1, 0)


async def uses_of(database: AnyDatabase) -> int:
    rows = await database.read([Read("vending_key_waiting", {"name": KEY_ID}, "uses")])
    return int(rows["uses"][0]["count"])


async def test_a_server_that_starts_makes_it(tmp_path: Path) -> None:
    await left_by_a_crash(tmp_path, swap)
    clock = FakeClock(SHOP_OPENS_AT)
    clock.advance(seconds=3600)

    runtime = await Runtime.started(config_of(tmp_path), clock)
    await runtime.stop()

    assert Behind(tmp_path).values("SELECT state FROM token") == ["issued"]


async def test_doctor_names_it_and_makes_it(tmp_path: Path) -> None:
    await left_by_a_crash(tmp_path, swap)

    seen = await examined(tmp_path, repair=False)
    repaired = await examined(tmp_path, repair=True)

    assert (seen.found, seen.holds) == (1, False)
    assert (repaired.found, repaired.repaired, repaired.detail) == (1, 1, "1 completed, 0 voided")
    assert Behind(tmp_path).values("SELECT state FROM token") == ["issued"]


async def examined(folder: Path, *, repair: bool) -> Finding:
    clock = FakeClock(SHOP_OPENS_AT)
    clock.advance(seconds=3600)
    origin = Origin("local:test", "test")
    async with opened_in(folder) as database:
        findings = await examine_folder(config_of(folder), database, clock, origin, repair=repair)
    return next(each for each in findings if each.name == "tokens_between_commits")


def config_of(folder: Path) -> Config:
    """Any free port, and no pages."""
    parts = {"http": HttpConfig(port=0), "dashboards": DashboardsConfig(enabled=False)}
    return settings_of(folder).model_copy(update=parts)
