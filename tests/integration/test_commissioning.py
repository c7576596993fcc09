"""A worker scans a meter: it is there with the right driver, and with its first reading."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from slotmeter.devices.drivers import Driver
from slotmeter.devices.frames import Reading, Report
from slotmeter.errors import Conflict, NotFound, Refused
from slotmeter.ports import Caller
from slotmeter.services import commissioning
from slotmeter.services.access import Origin
from slotmeter.services.commissioning import Commissioning, CommissioningWatch, Wish
from slotmeter.services.commissioning_file import CommissioningFile
from slotmeter.services.import_jobs import FileJob, ImportJobs
from slotmeter.testing.device_side import DeviceTown
from slotmeter.testing.meter_box import hang_box
from slotmeter.testing.small_utility import SmallMeter, meter_number

pytestmark = pytest.mark.both_databases

REASON = "new connection"
AT = datetime(2026, 11, 21, 8, tzinfo=UTC)


class Site:
    """A town where meters are mounted that have no device yet."""

    def __init__(self, town: DeviceTown, worker: Caller) -> None:
        self.town, self.worker = town, worker
        side = town.side
        self.commissioning = Commissioning(side.uow, side.clock, drivers=side.drivers, bus=side.bus)
        self.watch = CommissioningWatch(self.commissioning)

    async def mount(self, commodity: str = "electricity") -> SmallMeter:
        """Hang a meter without registering its device."""
        return await self.town.utility.add_meter(commodity, online=False)

    async def speaks(self, address: str, value: int = 1_234, *, serial: str | None = None) -> bytes:
        """Have a device that nobody registered report once."""
        side = self.town.side
        payload = f"{address} {value} {serial}".encode()
        now = side.clock.now()
        side.script.reports[payload] = Report(
            now, (Reading("energy_import", value, now),), serial=serial
        )
        await side.hand_in(address, payload)
        await side.consumer.step()
        return payload

    async def scan(self, text: str, **more: Any) -> Any:
        claim, _ = await self.commissioning.claim(self.worker, Wish(text, **more), reason=REASON)
        return claim

    def register_of(self, meter: SmallMeter) -> int | None:
        """What the platform knows of a meter's register."""
        (row,) = self.town.rows("SELECT register FROM device WHERE meter_id = ?", meter.id)
        value: int | None = row["register"]
        return value

    def install(self, *drivers: Driver) -> None:
        """Install further drivers."""
        for driver in drivers:
            self.town.side.drivers[driver.key] = driver


@pytest.fixture
async def site(town: DeviceTown) -> Site:
    return Site(town, await town.utility.add_principal("worker", "installer"))


async def test_what_waited_takes_effect_as_soon_as_the_meter_is_scanned(site: Site) -> None:
    meter = await site.mount()
    await site.speaks("ep-1", 1_234, serial=meter.number)

    claim = await site.scan(f"SN:{meter.number};FW:2.1")
    await site.town.side.consumer.step()

    assert (claim.state, claim.driver, claim.address) == ("done", "slotmeter_virtual", "ep-1")
    assert [(each.register, each.value) for each in claim.readings] == [("energy_import", 1_234)]
    assert site.register_of(meter) == 1_234


async def test_a_meter_that_is_scanned_first_is_there_after_one_contact(site: Site) -> None:
    meter = await site.mount()
    claim = await site.scan(meter.number)
    assert claim.state == "waiting"

    await site.speaks("ep-1", 77, serial=meter.number)
    found = await site.watch.step()
    await site.town.side.consumer.step()

    assert found == 1
    assert (await site.commissioning.claim_of(site.worker.principal, meter.number)).state == "done"
    assert site.register_of(meter) == 77


async def test_a_meter_is_found_however_many_were_scanned_after_it(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commissioning, "CLAIMS_AT_ONCE", 2)
    meters = [await site.mount() for _ in range(5)]
    for meter in meters:
        await site.scan(meter.number)
    await site.speaks("ep-1", 77, serial=meters[0].number)

    assert await site.watch.step() == 1


async def test_a_meter_that_was_taken_from_its_node_is_not_said_to_be_there(
    town: DeviceTown,
) -> None:
    box = await hang_box(town)
    site, meter = Site(town, box.boss), box.meters[3]
    bound = await site.scan(meter.number)
    await box.bind({3: None})
    with pytest.raises(Conflict, match="taken from the node") as caught:
        await site.scan(meter.number)

    assert (bound.state, caught.value.code) == ("done", "meter_has_device")


async def test_a_device_is_found_by_the_address_on_its_label(site: Site) -> None:
    meter = await site.mount()
    await site.speaks("urn:imei:867400041234567", 5)

    claim = await site.scan(f"SN:{meter.number};IMEI:867400041234567")

    assert (claim.state, claim.address) == ("done", "urn:imei:867400041234567")


async def test_a_label_without_the_meter_s_number_is_claimed_with_it(site: Site) -> None:
    meter = await site.mount()
    await site.speaks("aabbccddeeff0011", 5)

    claim = await site.scan("AA:BB:CC:DD:EE:FF:00:11", meter=meter.number)

    assert (claim.state, claim.meter) == ("done", meter.number)


async def test_a_contact_takes_effect_once_whoever_looks(site: Site) -> None:
    meter = await site.mount()
    await site.scan(meter.number)
    await site.speaks("ep-1", 77, serial=meter.number)

    await site.watch.step()
    await site.watch.step()
    await site.scan(meter.number)
    await site.town.side.consumer.step()

    assert len(site.town.rows("SELECT id FROM device")) == 1
    payloads = site.town.rows("SELECT payload FROM frame")
    assert len(payloads) == 2  # as it came, and as it took effect
    assert site.town.events(meter).count("meter_commissioned") == 1
    replays = site.town.row("SELECT * FROM quarantine")
    assert (replays["replays"], replays["replayed_us"] is not None) == (1, True)


async def test_the_next_frame_of_a_commissioned_meter_needs_nobody(site: Site) -> None:
    meter = await site.mount()
    await site.speaks("ep-1", 77, serial=meter.number)
    await site.scan(meter.number)

    await site.speaks("ep-1", 99, serial=meter.number)
    await site.town.side.consumer.step()

    assert site.register_of(meter) == 99


async def test_two_devices_that_say_they_are_one_meter_wait_for_a_choice(site: Site) -> None:
    meter = await site.mount()
    for address in ("ep-1", "ep-2"):
        await site.speaks(address, 1, serial=meter.number)

    unclear = await site.scan(meter.number)
    chosen = await site.scan(meter.number, address="ep-2")

    assert (unclear.state, unclear.problem.code) == ("unclear", "several_devices")
    assert unclear.problem.choices == ("nbiot ep-2", "nbiot ep-1")
    assert (chosen.state, chosen.address) == ("done", "ep-2")


async def test_a_device_that_gives_another_number_is_not_taken(site: Site) -> None:
    meter = await site.mount()
    await site.speaks(meter.number, 1, serial="99999999999")

    claim = await site.scan(meter.number)

    assert (claim.state, claim.problem.code) == ("unclear", "serial_differs")
    assert site.town.rows("SELECT id FROM device") == []


async def test_of_two_drivers_that_cannot_be_told_apart_a_person_chooses(site: Site) -> None:
    meter = await site.mount()
    (driver,) = site.town.side.drivers.values()
    site.install(replace(driver, key="twin"))
    await site.speaks(meter.number, 1)

    unclear = await site.scan(meter.number)
    chosen = await site.scan(meter.number, driver="twin")

    assert unclear.problem.choices == ("slotmeter_virtual", "twin")
    assert (chosen.state, chosen.driver) == ("done", "twin")


async def test_frames_that_no_driver_reads_are_said_to_be_so(site: Site) -> None:
    meter = await site.mount()
    await site.town.side.hand_in(meter.number, b"nobody reads this")
    await site.town.side.consumer.step()

    claim = await site.scan(meter.number)

    assert claim.problem.code == "no_driver"


async def test_a_meter_of_which_all_is_known_is_registered_before_it_was_heard(
    site: Site,
) -> None:
    meter = await site.mount()

    claim = await site.scan(meter.number, address="ep-9", driver="slotmeter_virtual")
    await site.speaks("ep-9", 5, serial=meter.number)

    assert (claim.state, claim.medium) == ("done", "nbiot")
    assert site.register_of(meter) == 5


async def test_the_same_scan_again_is_the_same_claim(site: Site) -> None:
    meter = await site.mount()
    first = await site.commissioning.claim(site.worker, Wish(meter.number), reason=REASON)
    site.town.side.clock.advance(seconds=60)

    again = await site.commissioning.claim(site.worker, Wish(meter.number), reason=REASON)

    assert (first[1], again[1]) == (True, False)
    assert again[0].at_us == first[0].at_us


async def test_a_meter_that_has_a_device_is_not_given_another(site: Site) -> None:
    meter = await site.town.utility.add_meter("electricity")

    known = await site.scan(meter.number)

    assert (known.state, known.address) == ("done", meter.address)
    with pytest.raises(Conflict) as conflict:
        await site.scan(meter.number, address="another")
    assert conflict.value.code == "meter_has_device"


async def test_a_label_that_names_no_meter_is_refused_with_what_to_do(site: Site) -> None:
    with pytest.raises(NotFound) as unknown:
        await site.scan(meter_number(99))

    assert unknown.value.code == "meter_unknown"
    assert "meter file" in unknown.value.message


@pytest.mark.parametrize("text", ["", "   ", "a\nb", "x" * 513])
async def test_what_no_label_holds_is_refused(site: Site, text: str) -> None:
    with pytest.raises(Refused) as refused:
        await site.scan(text)

    assert refused.value.code == "scan_malformed"


async def test_a_claim_that_was_given_up_is_looked_for_no_longer(site: Site) -> None:
    meter = await site.mount()
    await site.scan(meter.number)

    await site.commissioning.withdraw(site.worker, meter.number, reason="wrong house")
    await site.speaks("ep-1", 1, serial=meter.number)

    assert await site.watch.step() == 0
    counts = await site.commissioning.counts(site.worker.principal)
    assert counts == {"waiting": 0, "unclear": 0, "done": 0, "withdrawn": 1}


async def test_strangers_are_listed_with_what_reads_them(site: Site) -> None:
    await site.speaks("ep-1", 1, serial="62000000017")
    await site.town.side.hand_in("ep-2", b"nobody reads this")
    await site.town.side.consumer.step()

    found = await site.commissioning.strangers()

    shown = [(each.address, each.serial, each.drivers, each.frames) for each in found]
    assert shown == [
        ("ep-2", None, (), 1),
        ("ep-1", "62000000017", ("slotmeter_virtual",), 1),
    ]


async def test_every_scan_is_an_act_of_the_worker(site: Site) -> None:
    meter = await site.mount()
    await site.scan(meter.number)
    await site.speaks("ep-1", 1, serial=meter.number)
    await site.watch.step()

    acts = site.town.rows("SELECT * FROM act WHERE subject = ? ORDER BY id", meter.number)
    assert [each["what"] for each in acts] == ["meter.claim", "meter.commission"]
    assert {each["principal_id"] for each in acts} == {site.worker.principal.id}
    assert {each["reason"] for each in acts} == {REASON}


async def test_claims_are_listed_with_the_newest_first_in_pages(site: Site) -> None:
    meters = [await site.mount() for _ in range(3)]
    for meter in meters:
        await site.scan(meter.number)
    utility_id = site.town.utility.utility_id

    first = await site.commissioning.claims(utility_id, before=None, limit=2)
    rest = await site.commissioning.claims(utility_id, before=first.next, limit=2)

    shown = [claim.meter for page in (first, rest) for claim in page.rows]
    assert shown == [meter.number for meter in reversed(meters)]
    waiting = await site.commissioning.claims(utility_id, state="waiting", before=None, limit=9)
    assert len(waiting.rows) == 3
    assert rest.next is None


# --- many at once ---------------------------------------------------------------------------------


def sheet(*scans: str) -> bytes:
    return ("scan,driver\n" + "".join(f"{scan},\n" for scan in scans)).encode()


async def test_a_file_commissions_what_was_heard_and_waits_for_the_rest(site: Site) -> None:
    heard, quiet = await site.mount(), await site.mount()
    await site.speaks("ep-1", 5, serial=heard.number)
    file = CommissioningFile(site.commissioning, site.worker, reason=REASON)

    done = await file.run(sheet(heard.number, quiet.number))

    assert (done.rows, done.written, done.problems) == (2, 2, ())
    counts = await site.commissioning.counts(site.worker.principal)
    assert (counts["done"], counts["waiting"]) == (1, 1)
    again = await file.run(sheet(heard.number, quiet.number))
    assert (again.written, again.already_there) == (0, 2)


async def test_a_file_with_a_bad_row_claims_nothing_unless_told_to(site: Site) -> None:
    meter = await site.mount()
    file = CommissioningFile(site.commissioning, site.worker, reason=REASON)
    content = sheet(meter.number, meter_number(99), meter.number)

    refused = await file.run(content)
    taken = await file.run(content, accept_good=True)

    codes = [(each.row, each.code) for each in refused.problems]
    assert codes == [(3, "meter_unknown"), (4, "duplicate_scan")]
    assert (refused.written, taken.written) == (0, 1)


async def test_an_import_that_was_stopped_goes_on_where_it_was(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("slotmeter.services.commissioning_file.BATCH_ROWS", 2)
    meters = [await site.mount() for _ in range(5)]
    content = sheet(*(meter.number for meter in meters))
    file = CommissioningFile(site.commissioning, site.worker, reason=REASON)

    seen: list[int] = []

    def stop(done: int) -> None:
        seen.append(done)
        if seen.count(2) == 2:  # the first batch is checked, and then written
            raise KeyboardInterrupt

    resumed: list[int] = []
    with pytest.raises(KeyboardInterrupt):
        await file.run(content, progress=stop, job=job_of(site, resumed))
    done = await file.run(content, job=job_of(site, resumed))

    assert resumed == [3]
    assert (done.rows, done.written, done.already_there) == (5, 3, 0)
    counts = await site.commissioning.counts(site.worker.principal)
    assert counts["waiting"] == 5


def job_of(site: Site, resumed: list[int]) -> FileJob:
    side = site.town.side
    jobs = ImportJobs(side.uow, side.clock, site.town.utility.utility_id)
    return FileJob(
        jobs, Origin.of(site.worker), "commissioning", "meters.csv", reason=REASON,
        on_resumed=resumed.append,
    )  # fmt: skip
