"""What a plugin is given keeps its promises: one contract, for the platform and for the fakes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from inspect import signature
from pathlib import Path

import pytest

from slotmeter.errors import NotFound, Refused, Unavailable
from slotmeter.ports import Caller, EntryInfo, Fate, RecordKind, Records, Secrets
from slotmeter.services.device_keys import DeviceKeyRing
from slotmeter.services.plugin_commands import PluginCommands
from slotmeter.services.plugin_context import PluginContexts
from slotmeter.services.plugin_records import PluginRecords
from slotmeter.services.plugin_routes import RouteTable
from slotmeter.storage.opening import AnyDatabase
from slotmeter.testing import plugin_contract as contract
from slotmeter.testing.clocks import FakeClock
from slotmeter.testing.databases import Behind, opened_in
from slotmeter.testing.device_side import MEDIUM, DeviceTown
from slotmeter.testing.fakes import FakeFrames, FakeMetrics, FakePluginContext, FakeTasks
from slotmeter.testing.sample_safe import sample_secret_box
from slotmeter.testing.small_utility import SmallUtility
from slotmeter.units import epoch_us

CHECKS_OF_RECORDS = [
    contract.check_documents_are_kept,
    contract.check_documents_are_found_by_declared_fields,
    contract.check_a_page_ends_and_goes_on,
    contract.check_changes_are_one_step,
    contract.check_what_cannot_be_kept_is_refused,
    contract.check_counters_never_repeat,
]
SECRET = "a planted password"  # noqa: S105  planted on purpose
NOTE = RecordKind("note")
WHY = "a test"


@pytest.fixture
async def database(tmp_path: Path, database_kind: str) -> AsyncIterator[AnyDatabase]:
    async with opened_in(tmp_path) as opened:
        yield opened


@pytest.fixture
def ring(database: AnyDatabase) -> DeviceKeyRing:
    return DeviceKeyRing(database, FakeClock(), sample_secret_box())


@pytest.fixture
async def keeper(database: AnyDatabase) -> Caller:
    utility = await SmallUtility(database, epoch_us(FakeClock().now())).make()
    return await utility.add_principal("keeper", "admin")


@pytest.mark.both_databases
async def test_records_of_the_platform_keep_the_contract(database: AnyDatabase) -> None:
    for check in CHECKS_OF_RECORDS:
        await check(PluginRecords("town", database, FakeClock()))


async def test_records_of_the_fake_keep_the_contract() -> None:
    for check in CHECKS_OF_RECORDS:
        await check(FakePluginContext().records)


@pytest.mark.both_databases
async def test_two_entries_never_see_what_the_other_keeps(database: AnyDatabase) -> None:
    one, other = (PluginRecords(key, database, FakeClock()) for key in ("one", "other"))

    await contract.check_entries_are_apart(one, other)


def test_records_take_nothing_that_their_port_does_not_know() -> None:
    def shape(kind: type) -> dict[str, list[str]]:
        public = (each for each in vars(kind) if not each.startswith("_"))
        return {name: list(signature(getattr(kind, name)).parameters) for name in public}

    assert shape(PluginRecords) == shape(Records)  # with more, a plugin writes to any table


async def test_what_was_reserved_is_not_given_again_after_a_restart(tmp_path: Path) -> None:
    async with opened_in(tmp_path) as before:
        first = await PluginRecords("town", before, FakeClock()).reserve("invocations", 100)

    async with opened_in(tmp_path) as after:
        second = await PluginRecords("town", after, FakeClock()).reserve("invocations")

    assert (first, second) == (1, 101)


async def test_a_document_that_always_changes_meanwhile_is_given_up_with_a_code(
    database: AnyDatabase,
) -> None:
    records = PluginRecords("town", database, FakeClock())
    await records.put(NOTE, "a", {})
    stale = PluginRecords("town", _Stale(database), FakeClock())  # type: ignore[arg-type]  # reads what is gone

    with pytest.raises(Unavailable) as caught:
        await stale.put(NOTE, "a", {"n": 1})

    assert caught.value.code == "record_contended"


class _Stale:
    """A database whose units read before another server wrote."""

    def __init__(self, database: AnyDatabase) -> None:
        self._database = database

    async def run(self, reads, decide):  # type: ignore[no-untyped-def]  # a double of one method
        return await self._database.run([], lambda _, new_id: decide({"record": []}, new_id))


@pytest.mark.both_databases
async def test_the_log_of_an_entry_keeps_the_contract(town: DeviceTown) -> None:
    meter = await town.utility.add_meter("electricity")
    frames = town.side.frames.of_entry(7)

    await contract.check_frames_are_taken_each_for_itself(frames, MEDIUM, str(meter.address))

    assert town.rows("SELECT DISTINCT entry_id FROM frame") == [{"entry_id": 7}]


async def test_the_log_of_the_fake_keeps_the_contract() -> None:
    await contract.check_frames_are_taken_each_for_itself(FakeFrames(), MEDIUM, "dev-1")


def test_routes_of_the_platform_keep_the_contract() -> None:
    contract.check_routes_are_declared(RouteTable().open("town"))


def test_routes_of_the_fake_keep_the_contract() -> None:
    contract.check_routes_are_declared(FakePluginContext().routes)


def test_the_routes_of_an_entry_go_with_it() -> None:
    table = RouteTable()
    contract.check_routes_are_declared(table.open("town"))

    found = table.match("town", "devices/m-1").routes
    table.close("town")

    assert found["GET"][1] == {"name": "m-1"}
    assert table.match("town", "devices/m-1").routes == {}
    assert table.count == 0


async def test_keys_of_devices_keep_the_contract(ring: DeviceKeyRing, keeper: Caller) -> None:
    key = await ring.make(keeper, "town", "m-1", reason=WHY)

    await contract.check_device_keys_stay_inside(
        ring.of("town"), "m-1", key.encode(), stranger="m-2"
    )


async def test_keys_of_the_fake_keep_the_contract() -> None:
    fake = FakePluginContext()
    fake.device_keys.keys["m-1"] = b"a key for tests"

    await contract.check_device_keys_stay_inside(
        fake.device_keys, "m-1", b"a key for tests", stranger="m-2"
    )


async def test_a_context_shows_no_secret(database: AnyDatabase, ring: DeviceKeyRing) -> None:
    contexts = PluginContexts(database, FakeClock(), FakeFrames(), RouteTable(), ring)
    fake = FakePluginContext()

    context = contexts.open(
        EntryInfo("town", "The town", "ip"),
        commands=fake.commands,
        tasks=FakeTasks(),
        metrics=FakeMetrics(),
        secrets=Secrets({"mqtt_password": SECRET}),
    )

    contract.check_context_shows_no_secret(context, SECRET)


# --- keys of devices ----------------------------------------------------------------------------


async def test_a_device_s_key_is_in_the_database_under_seal_only(
    ring: DeviceKeyRing, keeper: Caller, tmp_path: Path
) -> None:
    key = await ring.make(keeper, "town", "m-1", reason=WHY)

    kept = Behind(tmp_path).rows("SELECT * FROM plugin_record")

    assert len(kept) == 1
    assert key not in str(kept)


async def test_a_key_of_one_entry_is_none_of_another(ring: DeviceKeyRing, keeper: Caller) -> None:
    await ring.make(keeper, "town", "m-1", reason=WHY)

    assert await ring.of("village").sign("m-1", b"message") is None


async def test_a_plugin_cannot_read_keys_as_documents(
    ring: DeviceKeyRing, keeper: Caller, database: AnyDatabase
) -> None:
    await ring.make(keeper, "town", "m-1", reason=WHY)

    records = PluginRecords("town", database, FakeClock())

    assert await records.page(RecordKind("device_key")) == []


async def test_a_new_key_takes_the_place_of_the_old_one(
    ring: DeviceKeyRing, keeper: Caller
) -> None:
    await ring.make(keeper, "town", "m-1", reason=WHY)
    before = await ring.of("town").sign("m-1", b"message")
    await ring.make(keeper, "town", "m-1", reason=WHY)

    assert before is not None
    assert not await ring.of("town").verify("m-1", b"message", before)


async def test_a_withdrawn_key_proves_nothing(ring: DeviceKeyRing, keeper: Caller) -> None:
    await ring.make(keeper, "town", "m-1", reason=WHY)

    await ring.withdraw(keeper, "town", "m-1", reason=WHY)

    assert await ring.of("town").sign("m-1", b"message") is None
    with pytest.raises(NotFound, match="has no key"):
        await ring.withdraw(keeper, "town", "m-1", reason=WHY)


async def test_keys_from_the_factory_are_taken_in_all_or_none(
    ring: DeviceKeyRing, keeper: Caller
) -> None:
    right, short = "f" * 32, "too short"

    with pytest.raises(Refused) as caught:
        await ring.take_in(keeper, "town", {"m-1": right, "m-2": short}, reason=WHY)
    none = await ring.listed("town")
    await ring.take_in(keeper, "town", {"m-1": right, "m-2": right}, reason=WHY)
    both = await ring.listed("town")

    assert caught.value.code == "bad_device_key"
    assert short not in caught.value.message
    assert [each.device for each in none] == []
    assert [(each.device, each.source) for each in both] == [("m-1", "given"), ("m-2", "given")]


@pytest.mark.parametrize("device", ["", "-m", "m 1", "m/1", "m" * 65, "m\n"])
async def test_a_device_that_could_not_be_called_gets_no_key(
    ring: DeviceKeyRing, keeper: Caller, device: str
) -> None:
    with pytest.raises(Refused) as caught:
        await ring.make(keeper, "town", device, reason=WHY)

    assert caught.value.code == "bad_device"


# --- commands -----------------------------------------------------------------------------------


def commands_of(town: DeviceTown) -> PluginCommands:
    side = town.side
    return PluginCommands(MEDIUM, side.queue, side.uow, side.clock, side.bus)


async def ordered(town: DeviceTown) -> tuple[str, int]:
    """Return the address of a meter and the number of a command that is queued for it."""
    meter = await town.utility.add_meter()
    operator = await town.utility.add_principal("operator", "operator")
    made = await town.side.requests.request_command(operator, meter.number, "read_now", "a test")
    return str(meter.address), int(str(made["id"]))


async def test_a_medium_learns_which_commands_it_took(town: DeviceTown) -> None:
    address, number = await ordered(town)

    handed = await commands_of(town).hand_out(address)

    assert handed is not None
    assert handed.command_ids == (number,)
    assert handed.lease_s > 0


async def test_a_lost_command_is_queued_again_before_its_lease_runs_out(town: DeviceTown) -> None:
    address, number = await ordered(town)
    commands = commands_of(town)
    await commands.hand_out(address)

    changed = await commands.report(address, [number], Fate.LOST)
    await town.side.sweep.sweep()

    assert changed == 1
    assert (await commands.hand_out(address)) is not None


async def test_a_command_that_the_device_has_is_given_its_time_again(town: DeviceTown) -> None:
    address, number = await ordered(town)
    commands = commands_of(town)
    handed = await commands.hand_out(address)
    assert handed is not None
    town.side.clock.advance(seconds=handed.lease_s - 1)

    await commands.report(address, [number], Fate.TAKEN)
    town.side.clock.advance(seconds=handed.lease_s - 1)
    await town.side.sweep.sweep()

    assert await commands.hand_out(address) is None


async def test_a_report_of_another_device_or_twice_changes_nothing(town: DeviceTown) -> None:
    address, number = await ordered(town)
    commands = commands_of(town)

    early = await commands.report(address, [number], Fate.LOST)
    await commands.hand_out(address)
    strange = await commands.report("somebody else", [number], Fate.LOST)
    twice = await commands.report(address, [number, number], Fate.LOST)

    assert (early, strange, twice) == (0, 0, 1)


async def test_a_medium_waits_for_commands_and_is_woken(town: DeviceTown) -> None:
    commands = commands_of(town)

    waiting = asyncio.create_task(commands.queued(timeout_s=20))
    address, number = await ordered(town)
    queued = await waiting
    none = await commands.queued(queued.cursor, timeout_s=0)

    assert (queued.addresses, queued.cursor) == ((address,), number)
    assert (none.addresses, none.cursor) == ((), number)


async def test_a_medium_hears_of_no_other_medium_s_commands(town: DeviceTown) -> None:
    _, number = await ordered(town)
    side = town.side
    other = PluginCommands("ip", side.queue, side.uow, side.clock, side.bus)

    passed = await other.queued(timeout_s=0)
    assert (passed.addresses, passed.cursor) == ((), number)  # gone past once
