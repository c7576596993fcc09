"""Virtual meters over real CoAP: meter time stands still until a test moves it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from functools import partial

import cbor2
import pytest

from slotmeter.devices.commands import CommandKind, CommandOut, Outcome
from slotmeter.devices.entities import SupplyState
from slotmeter.devices.frames import DeviceEventKind, Report
from slotmeter.errors import ConfigError, Unavailable
from slotmeter.ports import MediumSetup
from slotmeter.testing import Household, ManualClock, TokenMaker, VirtualMeter
from slotmeter.testing.fakes import FakePluginContext
from slotmeter.testing.simulators import MeterLink
from slotmeter_drivers.slotmeter_virtual import DRIVER
from slotmeter_nbiot import MEDIUM
from slotmeter_nbiot.push_meter import decode_commands, encode_report
from slotmeter_nbiot.simulator import SIMULATOR, NbiotFleet

START = datetime(2026, 9, 21, 6, 0, tzinfo=UTC)
MAKER = TokenMaker()
TIMEOUT_S = 20
POLL_S = 0.02


@pytest.fixture
def fake() -> FakePluginContext:
    return FakePluginContext()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START)


@pytest.fixture
async def head_end(fake: FakePluginContext) -> AsyncIterator[MediumSetup]:
    setup = await MEDIUM.setup(fake.context, {"port": 0, "retry_after_s": 1})
    yield setup
    await setup.stop()


@pytest.fixture
def meters() -> list[VirtualMeter]:
    kinds = ("electricity", "water", "gas")
    return [
        MAKER.meter(serial, kind, made_at=START, opening_credit=4_000_000)
        for serial, kind in enumerate(kinds, start=1)
    ]


@pytest.fixture
async def fleet(
    meters: list[VirtualMeter], head_end: MediumSetup, clock: ManualClock
) -> AsyncIterator[NbiotFleet]:
    running = await SIMULATOR.attach(meters, head_end.addresses[0], clock, poll_every_s=POLL_S)
    yield running
    await running.stop()


async def until(what: Callable[[], object]) -> None:
    """Wait on real sockets for something to become true."""
    async with asyncio.timeout(TIMEOUT_S):
        while not what():  # noqa: ASYNC110  the state of many parts, none of which signals it
            await asyncio.sleep(POLL_S / 4)


def reports_of(fake: FakePluginContext, link: MeterLink) -> list[Report]:
    frames = [frame for frame in fake.frames.frames if frame.address == link.address]
    return [DRIVER.decode(frame.path, frame.payload) for frame in frames]


async def first_reports(fake: FakePluginContext, fleet: NbiotFleet) -> None:
    await until(lambda: fleet.stats.polls and fleet.stats.reports >= len(fleet.links))


# --- reports ------------------------------------------------------------------------------------


async def test_each_meter_reports_once_at_its_start_and_then_polls(
    fake: FakePluginContext, fleet: NbiotFleet
) -> None:
    await until(lambda: fleet.stats.polls >= 10)

    assert [len(reports_of(fake, link)) for link in fleet.links.values()] == [1, 1, 1]
    assert fleet.stats.unanswered == 0


async def test_a_report_says_what_the_meter_holds(
    fake: FakePluginContext, fleet: NbiotFleet, meters: list[VirtualMeter]
) -> None:
    await first_reports(fake, fleet)

    for meter, register in zip(meters, ("energy_import", "volume", "volume"), strict=True):
        report = reports_of(fake, fleet.links[meter.number])[0]
        values = {reading.register: reading.value for reading in report.readings}
        assert values[register] == meter.register
        assert values["credit_balance"] == meter.credit
        assert (report.measured_at, report.supply, report.tamper) == (START, SupplyState.ON, False)


async def test_meters_report_every_quarter_of_an_hour_of_their_own_time(
    fake: FakePluginContext, fleet: NbiotFleet, clock: ManualClock, meters: list[VirtualMeter]
) -> None:
    await first_reports(fake, fleet)
    for reports in (6, 9, 12):
        clock.advance(timedelta(minutes=15))
        await until(partial(lambda wanted: fleet.stats.reports >= wanted, reports))

    times = [report.measured_at for report in reports_of(fake, fleet.links[meters[0].number])]
    assert times == [START + timedelta(minutes=15 * n) for n in range(4)]


async def test_a_meter_that_cuts_itself_says_so_before_its_next_report_is_due(
    fake: FakePluginContext, fleet: NbiotFleet, clock: ManualClock, meters: list[VirtualMeter]
) -> None:
    await first_reports(fake, fleet)
    link = fleet.links[meters[1].number]
    clock.advance(timedelta(days=30))

    await until(lambda: len(reports_of(fake, link)) > 1 and not link.meter.has_news)

    told = [event.kind for report in reports_of(fake, link) for event in report.events]
    assert told == [
        DeviceEventKind.LOW_CREDIT,
        DeviceEventKind.CREDIT_USED_UP,
        DeviceEventKind.SUPPLY_CUT,
    ]
    assert reports_of(fake, link)[-1].supply is SupplyState.OFF


# --- commands -----------------------------------------------------------------------------------


async def test_a_token_sent_in_an_answer_is_credited_and_reported_at_once(
    fake: FakePluginContext, fleet: NbiotFleet, meters: list[VirtualMeter]
) -> None:
    await first_reports(fake, fleet)
    meter, link = meters[0], fleet.links[meters[0].number]
    before = meter.credit_total or 0
    load = CommandOut(11, CommandKind.LOAD_TOKEN, MAKER.credit(meter, 100, at=START))
    fake.commands.put(meter.number, DRIVER.encode((load,)))

    await until(lambda: meter.credit_total != before and not meter.has_news)

    report = reports_of(fake, link)[-1]
    values = {reading.register: reading.value for reading in report.readings}
    assert [(r.command_id, r.outcome, r.amount) for r in report.results] == [
        (11, Outcome.DONE, 10_000)
    ]
    assert values["credit_total"] == before + 10_000


async def test_commands_are_done_in_order(
    fake: FakePluginContext, fleet: NbiotFleet, meters: list[VirtualMeter]
) -> None:
    await first_reports(fake, fleet)
    number = meters[1].number
    kinds = (CommandKind.CLOSE_VALVE, CommandKind.OPEN_VALVE, CommandKind.READ_NOW)
    fake.commands.put(number, DRIVER.encode(tuple(CommandOut(n, k) for n, k in enumerate(kinds))))

    await until(lambda: fleet.stats.commands == 3 and not meters[1].has_news)

    results = [r for report in reports_of(fake, fleet.links[number]) for r in report.results]
    assert [(r.command_id, r.outcome) for r in results] == [(n, Outcome.DONE) for n in range(3)]
    assert meters[1].supply is SupplyState.ON


async def test_a_command_sent_again_because_the_answer_was_lost_acts_once(
    fake: FakePluginContext, fleet: NbiotFleet, meters: list[VirtualMeter]
) -> None:
    await first_reports(fake, fleet)
    meter, link = meters[0], fleet.links[meters[0].number]
    load = CommandOut(11, CommandKind.LOAD_TOKEN, MAKER.credit(meter, 100, at=START))
    fake.commands.put(meter.number, DRIVER.encode((load,)))
    await until(lambda: meter.credit_total)
    link.lose_answers(1)

    fake.commands.put(meter.number, DRIVER.encode((load,)))
    fake.commands.put(meter.number, DRIVER.encode((load,)))
    await until(lambda: fleet.stats.commands >= 2 and not meter.has_news)

    results = [r for report in reports_of(fake, link) for r in report.results]
    assert {(r.command_id, r.outcome) for r in results} == {(11, Outcome.DONE)}
    assert meter.credit_total == 10_000


async def test_results_are_repeated_until_they_are_acknowledged(
    fake: FakePluginContext, fleet: NbiotFleet, meters: list[VirtualMeter]
) -> None:
    await first_reports(fake, fleet)
    meter, link = meters[0], fleet.links[meters[0].number]
    link.lose_answers(3)
    entry = link.type_token(MAKER.credit(meter, 100, at=START))

    await until(lambda: not meter.has_news)

    told = [report.entries for report in reports_of(fake, link) if report.entries]
    assert len(told) >= 2
    assert set(told) == {(entry,)}


async def test_commands_that_cannot_be_read_are_counted_and_not_done(
    fake: FakePluginContext, fleet: NbiotFleet, meters: list[VirtualMeter]
) -> None:
    await first_reports(fake, fleet)
    fake.commands.put(meters[0].number, b"\xff\xff")

    await until(lambda: fleet.stats.unreadable)
    polls = fleet.stats.polls
    await until(lambda: fleet.stats.polls > polls)

    assert fleet.stats.commands == 0


# --- offline ------------------------------------------------------------------------------------


async def test_an_offline_meter_lives_on_and_tells_everything_when_it_is_back(
    fake: FakePluginContext, fleet: NbiotFleet, clock: ManualClock, meters: list[VirtualMeter]
) -> None:
    await first_reports(fake, fleet)
    meter, link = meters[2], fleet.links[meters[2].number]
    link.go_offline()
    clock.advance(timedelta(days=20))
    link.type_token(MAKER.credit(meter, 20, at=START))
    asked = fake.commands.asked.count(link.address)
    await until(lambda: meter.at == clock.now())
    silent = len(reports_of(fake, link))

    link.come_online()
    await until(lambda: not meter.has_news)

    news = reports_of(fake, link)[silent:]
    assert fake.commands.asked.count(link.address) > asked
    assert [entry.amount for report in news for entry in report.entries] == [2_000_000]
    assert DeviceEventKind.SUPPLY_CUT in [e.kind for report in news for e in report.events]
    assert news[-1].supply is SupplyState.ARMED


async def test_digits_typed_while_offline_make_the_later_delivery_already_used(
    fake: FakePluginContext, fleet: NbiotFleet, meters: list[VirtualMeter]
) -> None:
    await first_reports(fake, fleet)
    meter, link = meters[0], fleet.links[meters[0].number]
    digits = MAKER.credit(meter, 100, at=START)
    link.go_offline()
    fake.commands.put(meter.number, DRIVER.encode((CommandOut(4, CommandKind.LOAD_TOKEN, digits),)))
    link.type_token(digits)

    link.come_online()
    await until(lambda: fleet.stats.commands and not meter.has_news)

    results = [r for report in reports_of(fake, link) for r in report.results]
    assert [(r.outcome, r.amount) for r in results] == [(Outcome.ALREADY_USED, None)]
    assert meter.credit_total == 10_000


async def test_a_person_at_a_gas_meter_opens_it_and_the_platform_hears_of_it(
    fake: FakePluginContext, fleet: NbiotFleet, meters: list[VirtualMeter]
) -> None:
    await first_reports(fake, fleet)
    meter, link = meters[2], fleet.links[meters[2].number]
    close_and_open = (
        CommandOut(1, CommandKind.CLOSE_VALVE),
        CommandOut(2, CommandKind.OPEN_VALVE),
    )
    fake.commands.put(meter.number, DRIVER.encode(close_and_open))
    await until(lambda: meter.supply is SupplyState.ARMED and not meter.has_news)

    opened = link.confirm_at_site()
    await until(lambda: not meter.has_news)

    reports = reports_of(fake, link)
    assert opened
    assert [r.outcome for report in reports for r in report.results] == [
        Outcome.DONE,
        Outcome.UNSUPPORTED,
    ]
    assert reports[-1].supply is SupplyState.ON


async def test_an_open_cover_is_reported_at_once(
    fake: FakePluginContext, fleet: NbiotFleet, meters: list[VirtualMeter]
) -> None:
    await first_reports(fake, fleet)
    link = fleet.links[meters[0].number]

    link.open_cover()
    await until(lambda: not link.meter.has_news)

    assert reports_of(fake, link)[-1].tamper is True


# --- a head-end in trouble ----------------------------------------------------------------------


async def test_a_meter_waits_as_long_as_a_busy_head_end_asks_and_loses_nothing(
    fake: FakePluginContext, fleet: NbiotFleet, meters: list[VirtualMeter]
) -> None:
    await first_reports(fake, fleet)
    link = fleet.links[meters[0].number]
    fake.frames.error = Unavailable("database_unavailable", "busy")
    link.open_cover()
    await until(lambda: fleet.stats.deferred)

    fake.frames.error = None
    await until(lambda: not link.meter.has_news)

    assert DeviceEventKind.TAMPER in [e.kind for e in reports_of(fake, link)[-1].events]


async def test_meters_find_a_head_end_that_was_away(
    fake: FakePluginContext, meters: list[VirtualMeter], clock: ManualClock, free_port: int
) -> None:
    options: dict[str, object] = {"port": free_port}
    fleet = await SIMULATOR.attach(
        meters, f"coap://127.0.0.1:{free_port}", clock, poll_every_s=POLL_S
    )
    await until(lambda: fleet.stats.unanswered >= len(meters))

    setup = await MEDIUM.setup(fake.context, options)
    await until(lambda: fleet.stats.reports == len(meters))
    await setup.stop()
    lost = fleet.stats.unanswered
    await until(lambda: fleet.stats.unanswered > lost)
    setup = await MEDIUM.setup(fake.context, options)
    polls = fleet.stats.polls
    await until(lambda: fleet.stats.polls > polls)
    await fleet.stop()
    await setup.stop()

    assert fleet.stats.refused == 0


async def test_stopping_a_fleet_twice_is_harmless(fleet: NbiotFleet) -> None:
    await fleet.stop()

    await fleet.stop()


async def test_a_meter_whose_life_fails_is_heard_of_when_the_fleet_stops(
    fake: FakePluginContext, head_end: MediumSetup, clock: ManualClock, meters: list[VirtualMeter]
) -> None:
    fleet = await SIMULATOR.attach(meters[:1], head_end.addresses[0], clock, poll_every_s=POLL_S)
    await until(lambda: fleet.stats.reports)
    fleet.links[meters[0].number].meter = None  # type: ignore[assignment]  # what a defect may do
    clock.advance(timedelta(minutes=15))
    await until(lambda: any(task.done() for task in fleet.tasks))

    with pytest.raises(AttributeError):
        await fleet.stop()


async def test_a_meter_is_known_by_the_address_it_was_given(
    fake: FakePluginContext, head_end: MediumSetup, clock: ManualClock, meters: list[VirtualMeter]
) -> None:
    fleet = await SIMULATOR.attach(
        meters,
        head_end.addresses[0],
        clock,
        poll_every_s=POLL_S,
        addresses={meters[0].number: "urn:imei:1"},
    )
    frames = await fake.frames.wait_for(3)
    await fleet.stop()

    assert {frame.address for frame in frames} == {
        "urn:imei:1",
        meters[1].number,
        meters[2].number,
    }


@pytest.mark.parametrize("target", ["http://127.0.0.1:1", "127.0.0.1:1", "coap://h:1/x", "coap://"])
async def test_a_target_that_is_no_coap_address_is_refused(target: str, clock: ManualClock) -> None:
    with pytest.raises(ConfigError, match="expected coap://host:port"):
        await SIMULATOR.attach([], target, clock)


@pytest.mark.parametrize("options", [{"no_such": 1}, {"path": 5}, {"ack_timeout_s": "2"}])
async def test_an_option_that_the_simulator_does_not_know_is_refused(
    options: dict[str, object], clock: ManualClock
) -> None:
    with pytest.raises(ConfigError):
        await SIMULATOR.attach([], "coap://127.0.0.1:1", clock, options=options)


# --- bytes --------------------------------------------------------------------------------------


def test_a_meter_with_as_much_news_as_fits_stays_within_one_small_datagram() -> None:
    meter = MAKER.meter(1, "water", made_at=START, opening_credit=10**12)
    meter.run_to(START + timedelta(days=3_000))
    for number in range(20):
        meter.execute(CommandOut((1 << 53) - number, CommandKind.READ_NOW))

    assert len(encode_report(meter.report())) <= 512


def test_a_platform_held_meter_says_nothing_of_credit() -> None:
    meter = VirtualMeter.create(
        number="7",
        commodity="water",
        household=Household(seed=1),
        made_at=START,
        credit_mode="platform",
    )

    registers = {r.register for r in DRIVER.decode("m", encode_report(meter.report())).readings}

    assert registers == {"volume", "battery"}


@pytest.mark.parametrize(
    "payload",
    [
        b"\xff",
        cbor2.dumps({}),
        cbor2.dumps([5]),
        cbor2.dumps([{1: "x", 2: "read_now"}]),
        cbor2.dumps([{1: 1}]),
        cbor2.dumps([{1: 1, 2: "explode"}]),
        cbor2.dumps([{1: 1, 2: "load_token", 3: 5}]),
        cbor2.dumps([{1: 1, 2: "read_now"}] * 65),
    ],
)
def test_a_meter_does_not_do_what_it_cannot_read(payload: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  the sentence is for a log, the type is the rule
        decode_commands(payload)
