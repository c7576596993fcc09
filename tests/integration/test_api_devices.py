"""Meters, readings, commands, alarms and the overview over HTTP."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from slotmeter.ports import Read, Reads, Right, Rows, UnitOfWork
from slotmeter.services.access import Origin
from slotmeter.services.queries import Queries
from slotmeter.testing.api_town import ApiTown
from slotmeter.testing.sample_safe import sample_safe
from slotmeter.testing.small_utility import SmallMeter, meter_number
from slotmeter.units import epoch_us

METERS = "/api/v1/meters"
COMMANDS = "/api/v1/commands"


@pytest.fixture
async def meter(api: ApiTown) -> SmallMeter:
    """An electricity meter; boss may do everything, guard may confirm, eye may look."""
    await api.join("boss", "admin")
    await api.join("guard", "supervisor")
    await api.join("eye", "viewer", kind="service")
    return await api.utility.add_meter("electricity")


def heard(api: ApiTown, meter: SmallMeter, **columns: object) -> None:
    """Let a meter have reported just now."""
    now_us = epoch_us(api.clock.now())
    values = {"last_contact_us": now_us, "measured_us": now_us, "received_us": now_us, **columns}
    names = ", ".join(f"{name} = ?" for name in values)
    api.sql(f"UPDATE device SET {names} WHERE id = ?", *values.values(), meter.device_id)  # noqa: S608  our own names


# --- meters ---------------------------------------------------------------------------------------


async def test_a_meter_that_never_reported_is_unknown_and_not_online(
    api: ApiTown, meter: SmallMeter
) -> None:
    shown = (await api.get(f"{METERS}/{meter.number}", "eye")).json

    assert (shown["supply"], shown["online"], shown["register"]) == ("unknown", False, None)
    assert (shown["customer"], shown["account"]) == ("Amina Otieno", "A0001")


async def test_a_meter_shows_what_it_reported_in_the_units_of_its_commodity(
    api: ApiTown, meter: SmallMeter
) -> None:
    heard(api, meter, supply="on", register=1_234_500, credit_balance=7_300, tamper=1)

    shown = (await api.get(f"{METERS}/{meter.number}", "eye")).json

    assert (shown["register"], shown["credit_balance"], shown["unit"]) == ("1234.5", "7.3", "kWh")
    assert (shown["supply"], shown["tamper"], shown["online"]) == ("on", True, True)
    assert shown["last_contact_at"] == "2026-11-21T09:30:00.000000Z"


async def test_a_meter_not_heard_for_longer_than_a_day_is_not_online(
    api: ApiTown, meter: SmallMeter
) -> None:
    heard(api, meter)
    api.clock.advance(hours=27)

    assert (await api.get(f"{METERS}/{meter.number}", "eye")).json["online"] is False


async def test_the_balance_of_platform_held_credit_is_what_the_customer_has(api: ApiTown) -> None:
    await api.join("till", "vendor")
    await api.join("eye", "viewer")
    water = await api.utility.add_meter("water", credit_mode="platform")
    body = {"sale_id": "w", "meter": water.number, "tendered": "250.00"}
    await api.post("/api/v1/sales", "till", json=body)

    shown = (await api.get(f"{METERS}/{water.number}", "eye")).json

    assert (shown["credit_mode"], shown["account_balance"]) == ("platform", "250.00")
    assert shown["credit_balance"] is None


async def test_a_critical_account_shows_until_its_time_is_over(api: ApiTown) -> None:
    await api.join("eye", "viewer")
    until_us = epoch_us(api.clock.now() + timedelta(hours=1))
    ward = await api.utility.add_meter("electricity", critical_until_us=until_us)

    before = (await api.get(f"{METERS}/{ward.number}", "eye")).json["critical"]
    api.clock.advance(hours=1)
    after = (await api.get(f"{METERS}/{ward.number}", "eye")).json["critical"]

    assert (before, after) == (True, False)


async def test_an_unknown_meter_is_404(api: ApiTown, meter: SmallMeter) -> None:
    for path in ("", "/readings", "/tokens", "/commands"):
        reply = await api.get(f"{METERS}/{meter_number(999)}{path}", "eye")

        assert (reply.status, reply.code) == (404, "meter_unknown")


async def test_meters_are_listed_by_number_in_pages(api: ApiTown, meter: SmallMeter) -> None:
    numbers = [meter.number] + [(await api.utility.add_meter("water")).number for _ in range(4)]

    first = (await api.get(f"{METERS}?limit=3", "eye")).json
    second = (await api.get(f"{METERS}?limit=3&after={first['next']}", "eye")).json

    listed = [each["number"] for each in first["items"] + second["items"]]
    assert listed == sorted(numbers)
    assert second["next"] is None


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("commodity=water", 1),
        ("commodity=gas", 0),
        ("supply=on", 1),
        ("supply=unknown", 1),
        ("q=Amina", 2),
        ("q=2 Lake", 1),
        ("q=%25", 0),
        ("q=_", 0),
        ("q=nobody", 0),
    ],
)
async def test_meters_are_found_by_what_they_are(
    api: ApiTown, meter: SmallMeter, query: str, count: int
) -> None:
    await api.utility.add_meter("water")
    heard(api, meter, supply="on")

    reply = await api.get(f"{METERS}?{query}", "eye")

    assert len(reply.json["items"]) == count


# --- commands -------------------------------------------------------------------------------------


def order(kind: str, **more: Any) -> dict[str, Any]:
    return {"kind": kind, "reason": "asked by the customer", **more}


async def test_a_command_is_accepted_and_waits_in_the_queue(
    api: ApiTown, meter: SmallMeter
) -> None:
    reply = await api.post(f"{METERS}/{meter.number}/commands", "boss", json=order("read_now"))

    assert (reply.status, reply.json["state"], reply.json["asked_by"]) == (202, "queued", "boss")


async def test_a_cashier_sees_contact_supply_and_credit_and_asks_a_meter_to_report(
    api: ApiTown, meter: SmallMeter
) -> None:
    await api.join("till", "vendor")
    heard(api, meter, supply="off", credit_balance=7_300)

    shown = (await api.get(f"{METERS}/{meter.number}", "till")).json
    asked = await api.post(f"{METERS}/{meter.number}/commands", "till", json=order("read_now"))

    assert (shown["supply"], shown["credit_balance"], shown["unit"]) == ("off", "7.3", "kWh")
    assert shown["last_contact_at"] == "2026-11-21T09:30:00.000000Z"
    assert (asked.status, asked.json["asked_by"]) == (202, "till")


@pytest.mark.parametrize("kind", ["open_relay", "close_relay", "set_load_limit", "clear_tamper"])
async def test_a_cashier_commands_nothing_else(api: ApiTown, meter: SmallMeter, kind: str) -> None:
    await api.join("till", "vendor")

    reply = await api.post(f"{METERS}/{meter.number}/commands", "till", json=order(kind))

    assert (reply.status, reply.code) == (403, "right_missing")
    assert api.sql("SELECT count(*) FROM command") == [(0,)]


async def test_a_cut_on_no_evidence_is_a_refused_command_with_its_causes(
    api: ApiTown, meter: SmallMeter
) -> None:
    reply = await api.post(f"{METERS}/{meter.number}/commands", "boss", json=order("open_relay"))

    assert (reply.status, reply.code) == (422, "command_refused")
    kept = (await api.get(f"{COMMANDS}/{reply.json['command']['id']}", "eye")).json
    assert kept["state"] == "refused"
    assert "stale_reading" in {cause["code"] for cause in kept["causes"]}


async def test_a_command_shows_its_history(api: ApiTown, meter: SmallMeter) -> None:
    sent = await api.post(f"{METERS}/{meter.number}/commands", "boss", json=order("read_now"))

    shown = (await api.get(f"{COMMANDS}/{sent.json['id']}", "eye")).json

    assert [line["state"] for line in shown["log"]] == ["queued"]
    assert shown["reason"] == "asked by the customer"


async def test_commands_are_listed_by_state_and_by_meter(api: ApiTown, meter: SmallMeter) -> None:
    other = await api.utility.add_meter("electricity")
    await api.post(f"{METERS}/{meter.number}/commands", "boss", json=order("read_now"))
    await api.post(f"{METERS}/{other.number}/commands", "boss", json=order("open_relay"))

    queued = (await api.get(f"{COMMANDS}?state=queued", "eye")).json["items"]
    of_other = (await api.get(f"{METERS}/{other.number}/commands", "eye")).json["items"]

    assert [each["meter"] for each in queued] == [meter.number]
    assert [each["state"] for each in of_other] == ["refused"]


async def test_a_second_person_lets_a_held_cut_go(api: ApiTown, meter: SmallMeter) -> None:
    api.sql("""UPDATE utility SET policy = '{"cuts_per_hour": 0}'""")
    await api.join("second", "supervisor")
    asked = await api.post(
        f"{METERS}/{meter.number}/commands", "guard", json=order("open_relay", safety=True)
    )
    confirm = f"{COMMANDS}/{asked.json['id']}/confirm"
    agreed = {"reason": "seen on site"}

    by_same = await api.post(confirm, "guard", json=agreed)
    by_second = await api.post(confirm, "second", json=agreed)
    again = await api.post(confirm, "second", json=agreed)

    assert asked.json["state"] == "held"
    assert (by_same.status, by_same.code) == (403, "second_person_needed")
    assert (by_second.status, by_second.json["state"]) == (200, "queued")
    assert by_second.json["confirmed"] is True
    assert (again.status, again.code) == (422, "nothing_to_confirm")


async def test_a_program_is_never_the_second_person(api: ApiTown, meter: SmallMeter) -> None:
    api.sql("""UPDATE utility SET policy = '{"cuts_per_hour": 0}'""")
    await api.join("robot", "supervisor", kind="service")
    asked = await api.post(
        f"{METERS}/{meter.number}/commands", "guard", json=order("open_relay", safety=True)
    )

    reply = await api.post(
        f"{COMMANDS}/{asked.json['id']}/confirm", "robot", json={"reason": "because"}
    )

    assert (reply.status, reply.code) == (403, "person_needed")


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        (order("load_token"), "not_one_of", "kind"),
        (order("explode"), "not_one_of", "kind"),
        (order("close_valve"), "kind_does_not_fit", "kind"),
        (order("read_now", safety=True), "safety_is_for_cuts", "safety"),
        ({"kind": "read_now"}, "field_missing", "reason"),
        ({"kind": "read_now", "reason": "   "}, "reason_missing", "reason"),
        ({"kind": "read_now", "reason": "x" * 201}, "too_long", "reason"),
        (order("read_now", colour="1"), "unknown_field", "colour"),
        (order("set_load_limit", value=100), "load_limit_too_low", "value"),
        (order("set_load_limit"), "value_wrong", "value"),
        (order("set_tariff", text="night"), "text_wrong", "text"),
    ],
)
async def test_a_command_that_makes_no_sense_is_refused_and_not_written(
    api: ApiTown, meter: SmallMeter, body: dict[str, Any], code: str, field: str
) -> None:
    reply = await api.post(f"{METERS}/{meter.number}/commands", "boss", json=body)

    assert (reply.status, reply.code, reply.json["field"]) == (422, code, field)
    assert api.sql("SELECT count(*) FROM command") == [(0,)]


async def test_sales_whose_credit_is_not_shown_in_time_are_listed(
    api: ApiTown, meter: SmallMeter
) -> None:
    body = {"sale_id": "s1", "meter": meter.number, "tendered": "100.00"}
    sold = (await api.post("/api/v1/sales", "boss", json=body)).json
    soon = (await api.get("/api/v1/credit-exceptions", "eye")).json
    api.clock.advance(hours=24)
    later = (await api.get("/api/v1/credit-exceptions", "eye")).json
    api.sql("UPDATE sale SET verified_us = issued_us, delivery = 'verified'")
    shown = (await api.get("/api/v1/credit-exceptions", "eye")).json

    assert (soon["proof_hours"], soon["items"], shown["items"]) == (24, [], [])
    (item,) = later["items"]
    assert (item["receipt_number"], item["delivery"]) == (sold["receipt_number"], "pending")


@pytest.mark.parametrize("command_id", ["abc", "-1", "99", "9" * 30, "1e3"])
async def test_a_command_that_is_not_there_is_404(
    api: ApiTown, meter: SmallMeter, command_id: str
) -> None:
    shown = await api.get(f"{COMMANDS}/{command_id}", "eye")
    confirmed = await api.post(
        f"{COMMANDS}/{command_id}/confirm", "guard", json={"reason": "because"}
    )

    assert (shown.status, shown.code) == (404, "command_unknown")
    assert (confirmed.status, confirmed.code) == (404, "command_unknown")


# --- alarms and the overview ----------------------------------------------------------------------


class CountedReads:
    """The database, counting its reads by statement."""

    def __init__(self, uow: UnitOfWork, on_read: Callable[[], None] | None = None) -> None:
        self._uow = uow
        self.on_read = on_read
        self.counts: Counter[str] = Counter()

    async def read(self, reads: Reads) -> Rows:
        self.counts.update(each.statement for each in reads if isinstance(each, Read))
        if self.on_read is not None:
            self.on_read()
        return await self._uow.read(reads)

    async def run(self, reads: Reads, decide: Any, **how: Any) -> Any:
        return await self._uow.run(reads, decide, **how)


def raise_alarm(api: ApiTown, meter: SmallMeter, alarm_id: int, cleared_us: int | None) -> None:
    api.sql(
        "INSERT INTO alarm (id, utility_id, meter_id, kind, severity, text, raised_us, cleared_us)"
        " VALUES (?, ?, ?, 'tamper', 'alarm', 'The cover is open.', 1, ?)",
        alarm_id,
        api.utility.utility_id,
        meter.id,
        cleared_us,
    )


async def test_alarms_are_those_still_open_unless_all_are_wanted(
    api: ApiTown, meter: SmallMeter
) -> None:
    raise_alarm(api, meter, 10_001, None)
    raise_alarm(api, meter, 10_002, 5)

    still_open = (await api.get("/api/v1/alarms", "eye")).json["items"]
    all_of_them = (await api.get("/api/v1/alarms?open=false", "eye")).json["items"]

    assert [alarm["id"] for alarm in still_open] == [10_001]
    assert [alarm["id"] for alarm in all_of_them] == [10_002, 10_001]


async def test_the_overview_counts_the_utilitys_own_day(api: ApiTown, meter: SmallMeter) -> None:
    body = {"sale_id": "late", "meter": meter.number, "tendered": "116.00"}
    await api.post("/api/v1/sales", "boss", json=body)
    before = (await api.get("/api/v1/overview", "eye")).json
    # 09:30 UTC is 12:30 in Nairobi: twelve hours on, the day there is another one.
    api.clock.advance(hours=12)
    after = (await api.get("/api/v1/overview", "eye")).json

    assert before["sales"] == {
        "count": 1,
        "tendered": "116.00",
        "units": {"electricity": "5.0", "water": "0.0", "gas": "0.0"},
    }
    assert before["day_start"] == "2026-11-20T21:00:00.000000Z"
    assert before["sales_by_hour"][-1]["count"] == 1
    assert after["sales"]["count"] == 0


async def test_the_overview_shows_meters_alarms_and_commands(
    api: ApiTown, meter: SmallMeter
) -> None:
    await api.utility.add_meter("gas", online=False)
    heard(api, meter, supply="on")
    raise_alarm(api, meter, 10_001, None)
    await api.post(f"{METERS}/{meter.number}/commands", "boss", json=order("read_now"))

    shown = (await api.get("/api/v1/overview", "eye")).json

    assert shown["meters"]["by_supply"] == {"on": 1, "off": 0, "armed": 0, "unknown": 1}
    assert (shown["meters"]["total"], shown["meters"]["heard"]) == (2, 1)
    assert (shown["alarms"]["open"], shown["commands"]["by_state"]) == (1, {"queued": 1})
    assert shown["ledger_balanced"] is True


async def test_the_overview_leaves_out_what_a_key_has_no_right_to(
    api: ApiTown, meter: SmallMeter
) -> None:
    raise_alarm(api, meter, 10_001, None)
    made = await api.principals.add_key(
        Origin("local:test", "test"),
        api.utility.utility_id,
        name="eye",
        label="sums only",
        reason="test",
        rights=[Right.SALES_ALL],
    )
    api.keys["sums only"] = made.text

    whole = (await api.get("/api/v1/overview", "eye")).json
    sums = (await api.get("/api/v1/overview", "sums only")).json

    hidden = ("meters", "alarms", "commands")
    assert [sums[name] for name in hidden] == [None] * 3
    assert None not in [whole[name] for name in hidden]
    assert sums["sales"] == whole["sales"]


async def test_the_overview_names_its_utility(api: ApiTown, meter: SmallMeter) -> None:
    assert (await api.get("/api/v1/overview", "eye")).json["utility"] == "Small Town Utilities"


async def test_many_who_ask_at_once_share_one_overview(api: ApiTown, meter: SmallMeter) -> None:
    uow = CountedReads(api.database)
    queries = Queries(uow, api.clock, sample_safe())
    principal = api.callers["eye"].principal

    await asyncio.gather(*(queries.overview(principal) for _ in range(20)))

    assert uow.counts["look_meter_counts"] == 1


async def test_sums_over_whole_tables_are_made_less_often_than_the_overview(
    api: ApiTown, meter: SmallMeter
) -> None:
    uow = CountedReads(api.database)
    queries = Queries(uow, api.clock, sample_safe())
    for _ in range(40):
        await queries.overview(api.callers["eye"].principal)
        api.clock.advance(seconds=1)

    assert (uow.counts["look_meter_counts"], uow.counts["look_ledger_sum"]) == (40, 2)


async def test_an_overview_that_is_slow_to_make_is_kept_longer(
    api: ApiTown, meter: SmallMeter
) -> None:
    uow = CountedReads(api.database, on_read=lambda: api.clock.advance(seconds=1))
    queries = Queries(uow, api.clock, sample_safe())
    await queries.overview(api.callers["eye"].principal)  # two reads: it takes two seconds
    uow.on_read = None
    for _ in range(19):
        await queries.overview(api.callers["eye"].principal)
        api.clock.advance(seconds=1)

    assert uow.counts["look_meter_counts"] == 2
