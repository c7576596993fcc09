"""The pages of devices and of commissioning, from the API's answers."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from dash.development.base_component import Component

from slotmeter.errors import NotFound, Unavailable
from slotmeter_dashboards.client import ApiClient
from slotmeter_dashboards.device_model import parse_device
from slotmeter_dashboards.downloads import SHEETS, csv_lines
from slotmeter_dashboards.pages.devices import COMMISSIONING, DEVICES, span
from slotmeter_dashboards.parts import View

AT = "2026-11-21T08:00:00.000000Z"
DEVICE = {
    "id": 3, "meter": "07100000003", "medium": "nbiot", "address": "ep-3",
    "driver": "slotmeter_virtual", "serial": None, "node": "BOX-7", "devices_behind": 0,
    "state": "late", "last_contact_at": AT, "expected_at": AT, "interval_s": 3600,
    "success_percent": "97.5", "contacts_missed": 5, "battery": 12, "signal": -101,
    "clock_offset_s": "-81.250", "offline_at": None,
}  # fmt: skip
NODE = {**DEVICE, "id": 9, "meter": None, "serial": "BOX-7", "node": None, "devices_behind": 10,
        "state": "offline"}  # fmt: skip
NEW = {"id": 4, "meter": "07100000004", "state": "never"}
CLAIM = {
    "meter": "07100000003", "commodity": "water", "scan": "SN:07100000003", "state": "done",
    "medium": "nbiot", "address": "ep-3", "driver": "slotmeter_virtual", "problem": None,
    "first_readings": [{"register": "volume", "value": 12_345_000, "at": AT}],
    "scanned_by": "Sipho", "scanned_at": AT, "done_at": AT,
}  # fmt: skip
UNCLEAR = {
    **CLAIM, "state": "unclear", "first_readings": [], "done_at": None,
    "problem": {"code": "several_drivers", "text": "two drivers read it", "choices": ["a", "b"]},
}  # fmt: skip
STRANGER = {"medium": "nbiot", "address": "ep-8", "frames": 2, "first_at": AT, "last_at": AT,
            "serial": "62000000017", "drivers": ["slotmeter_virtual"]}  # fmt: skip


def listed(*rows: Mapping[str, Any]) -> dict[str, Any]:
    return {"items": list(rows), "next": None}


class Answers(ApiClient):
    """A client whose platform is a dictionary of paths, by state where one is asked for."""

    def __init__(self, **documents: Mapping[str, Any]) -> None:
        super().__init__("http://127.0.0.1:1", "smk_test")
        counts = {"on_time": 7, "late": 1, "offline": 1, "behind": 0, "never": 0}
        self.documents: dict[str, Mapping[str, Any]] = {
            "/device-health": listed(),
            "/device-health/counts": counts,
            "/commissioning/claims": listed(),
            "/commissioning/strangers": listed(),
        }
        self.documents |= {f"/{name.replace('__', '/').replace('_', '-')}": each
                           for name, each in documents.items()}  # fmt: skip
        self.asked: list[tuple[str, dict[str, str]]] = []

    async def ask(self, path: str, params: Mapping[str, str] | None = None) -> Mapping[str, Any]:
        asked = dict(params or {})
        self.asked.append((path, asked))
        if path not in self.documents:
            raise NotFound("unknown", "there is no such thing")
        answer = self.documents[path]
        if "state" in asked and "items" in answer:
            rows = [row for row in answer["items"] if row["state"] == asked["state"]]
            return {**answer, "items": rows}
        return answer


def view(**params: str) -> View:
    zone = "Africa/Johannesburg"
    return View("/", params, "light", ZoneInfo(zone), zone, "ZAR")


def text_of(part: object) -> str:
    if isinstance(part, list | tuple):
        return " ".join(text_of(each) for each in part)
    if isinstance(part, Component):
        return text_of(getattr(part, "children", None))
    return "" if part is None else str(part)


async def shown(kind: Any, client: ApiClient, name: str, **params: str) -> str:
    drawn = await kind.draw(client, view(**params), "")
    return text_of(drawn.sections[name]).replace("\u00a0", " ")


async def test_a_device_shows_how_it_is() -> None:
    text = await shown(DEVICES, Answers(device_health=listed(DEVICE)), "rows")

    for part in ("07100000003", "behind BOX-7", "Late", "every 60 min", "97.5 %", "5 missed",
                 "12 % low", "-101 dBm", "-81 s", "NB-IoT"):  # fmt: skip
        assert part in text


async def test_a_node_is_named_by_its_serial_and_says_how_many_are_behind_it() -> None:
    text = await shown(DEVICES, Answers(device_health=listed(NODE)), "rows")

    assert "Node BOX-7" in text
    assert "10 behind it" in text


async def test_a_device_of_which_nothing_is_known_shows_no_number() -> None:
    text = await shown(DEVICES, Answers(device_health=listed(NEW)), "rows")

    assert "Never heard" in text
    assert "None" not in text


async def test_each_state_is_counted_and_leads_to_its_devices() -> None:
    drawn = await DEVICES.draw(Answers(), view(q="0710"), "")

    assert "On time 7" in text_of(drawn.sections["filters"])
    assert "/devices?q=0710&state=offline" in str(drawn.sections["filters"])


async def test_the_filters_go_to_the_platform() -> None:
    client = Answers()

    await DEVICES.draw(client, view(state="late", q="071", after="7"), "")

    asked = dict(client.asked)["/device-health"]
    assert asked == {"state": "late", "q": "071", "after": "7", "limit": "50"}


async def test_without_devices_the_page_says_what_to_do() -> None:
    assert "slotmeter import meters" in await shown(DEVICES, Answers(), "rows")
    assert "No device fits." in await shown(DEVICES, Answers(), "rows", state="late")


async def test_a_meter_that_needs_a_choice_shows_what_to_choose_from() -> None:
    text = await shown(COMMISSIONING, Answers(commissioning__claims=listed(UNCLEAR)), "open")

    assert "Two drivers read it" in text
    assert "a, b" in text
    assert "Needs a choice" in text


async def test_a_list_that_is_cut_says_where_the_rest_is() -> None:
    page = {**listed(UNCLEAR), "next": 7}

    text = await shown(COMMISSIONING, Answers(commissioning__claims=page), "open")

    assert "the newest 50 are shown; the file holds all" in text


async def test_a_commissioned_meter_shows_its_first_reading_in_the_unit_that_is_sold() -> None:
    text = await shown(COMMISSIONING, Answers(commissioning__claims=listed(CLAIM)), "done")

    assert "12.345 m³" in text


async def test_a_stranger_shows_what_it_says_and_what_reads_it() -> None:
    client = Answers(commissioning__strangers=listed(STRANGER, {**STRANGER, "drivers": []}))

    text = await shown(COMMISSIONING, client, "strangers")

    for part in ("ep-8", "62000000017", "slotmeter virtual", "no driver"):
        assert part in text


async def test_where_nothing_waits_the_page_says_what_to_do() -> None:
    client = Answers()

    assert "slotmeter commission scan" in await shown(COMMISSIONING, client, "open")
    assert "Nobody speaks" in await shown(COMMISSIONING, client, "strangers")
    assert "first reading" in await shown(COMMISSIONING, client, "done")


@pytest.mark.parametrize(
    ("name", "row"), [("devices", DEVICE), ("claims", UNCLEAR), ("strangers", STRANGER)]
)
def test_a_file_has_a_cell_for_each_heading(name: str, row: Mapping[str, Any]) -> None:
    sheet = SHEETS[name]

    cells = sheet.cells(sheet.parse(row), ZoneInfo("UTC"))

    assert len(cells) == len(sheet.headings)
    assert csv_lines([cells]).count("\r\n") == 1


def test_an_answer_that_is_not_as_promised_is_said_to_be_so() -> None:
    with pytest.raises(Unavailable):
        parse_device({**DEVICE, "state": None})


@pytest.mark.parametrize(
    ("length", "words"),
    [(40, "40 s"), (300, "5 min"), (3_600, "60 min"), (7_300, "2 h"), (172_800, "2 days")],
)
def test_a_length_of_time_is_written_as_people_say_it(length: int, words: str) -> None:
    assert span(timedelta(seconds=length)).replace("\u00a0", " ") == words
