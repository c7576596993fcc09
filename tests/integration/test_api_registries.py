"""Areas, lives, nodes, keypads and bearers over HTTP; each answer is held against the document."""

from __future__ import annotations

import pytest

from slotmeter.testing.api_town import ApiTown
from slotmeter.testing.small_utility import SmallMeter

V1 = "/api/v1"
WHY = {"reason": "test"}
BOX = {
    "serial": "BOX-1",
    "medium": "nbiot",
    "address": "box-1",
    "driver": "slotmeter_virtual",
    **WHY,
}


@pytest.fixture
async def meters(api: ApiTown) -> list[SmallMeter]:
    """Three meters, somebody who may change them and somebody who may only look."""
    await api.join("boss", "supervisor")
    await api.join("viewer", "viewer")
    return [await api.utility.add_meter(online=False) for _ in range(3)]


async def test_areas_are_made_filled_emptied_and_removed(
    api: ApiTown, meters: list[SmallMeter]
) -> None:
    north, feeder = f"{V1}/areas/region/north", f"{V1}/areas/feeder/F1"
    points = {"supply_points": ["S0001", "S0002"], **WHY}
    made = await api.call("PUT", north, "boss", json={"name": "North", **WHY})
    below = {"name": "Feeder 1", "above": "region/north", **WHY}
    inner = await api.call("PUT", feeder, "boss", json=below)
    moved = await api.post(f"{feeder}/supply-points", "boss", json=points)
    full = await api.post(f"{feeder}/remove", "boss", json=WHY)
    listed = await api.get(f"{feeder}/supply-points", "viewer")
    out = await api.post(f"{V1}/areas/take-out", "boss", json=points)
    removed = await api.post(f"{feeder}/remove", "boss", json=WHY)
    gone = await api.get(feeder, "viewer")
    rest = await api.get(f"{V1}/areas", "viewer")

    assert (made.status, inner.json["path"]) == (200, "region/north")
    assert (moved.json, out.json) == ({"moved": 2}, {"moved": 2})
    assert [item["meter"] for item in listed.json["items"]] == [m.number for m in meters[:2]]
    assert (full.status, full.json["code"]) == (409, "area_not_empty")
    assert (removed.status, gone.status) == (200, 404)
    assert [item["area"] for item in rest.json["items"]] == ["region/north"]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", "/areas/region/north", {"name": "North", **WHY}),
        ("POST", "/nodes", BOX),
        ("POST", "/meters/{meter}/life", {"state": "stored", "place": "depot", **WHY}),
        ("POST", "/meters/{meter}/take-off", {"place": "depot", **WHY}),
        ("PUT", "/meters/{meter}/keypad", {"serial": "KP-1", **WHY}),
    ],
)
async def test_who_may_only_look_changes_nothing(
    api: ApiTown, meters: list[SmallMeter], method: str, path: str, body: dict[str, object]
) -> None:
    reply = await api.call(method, V1 + path.format(meter=meters[0].number), "viewer", json=body)

    assert (reply.status, reply.json["code"]) == (403, "right_missing")


async def test_a_meter_is_taken_off_stored_and_hung_again(
    api: ApiTown, meters: list[SmallMeter]
) -> None:
    meter = f"{V1}/meters/{meters[0].number}"
    api.clock.advance(seconds=60)
    off = await api.post(f"{meter}/take-off", "boss", json={"place": "van", **WHY})
    api.clock.advance(seconds=60)
    stored = await api.post(
        f"{meter}/life", "boss", json={"state": "stored", "place": "depot", **WHY}
    )
    counts = await api.get(f"{V1}/meter-lives/counts", "viewer")
    listed = await api.get(f"{V1}/meter-lives?state=stored", "viewer")
    wrong = await api.post(
        f"{meter}/life", "boss", json={"state": "scrapped", "place": "x", "at": "soon", **WHY}
    )
    hung = await api.post(f"{meter}/install", "boss", json={"supply_point": "S0001", **WHY})
    life = await api.get(f"{meter}/life", "viewer")

    assert (off.json["state"], stored.json["place"]) == ("swapped", "depot")
    assert (counts.json["installed"], counts.json["stored"]) == (2, 1)
    assert [item["meter"] for item in listed.json["items"]] == [meters[0].number]
    assert (wrong.status, hung.json["state"]) == (422, "installed")
    assert [event["state"] for event in life.json["events"]] == [
        "installed",
        "stored",
        "swapped",
        "installed",
    ]


async def test_a_box_is_registered_bound_and_moved(api: ApiTown, meters: list[SmallMeter]) -> None:
    node = f"{V1}/nodes/BOX-1"
    one, other = meters[0].number, meters[1].number
    places = [{"slot": 3, "meter": one}, {"slot": 7, "meter": other}]
    made = await api.post(f"{V1}/nodes", "boss", json=BOX)
    api.clock.advance(seconds=60)
    bound = await api.post(f"{node}/bindings", "boss", json={"places": places, **WHY})
    api.clock.advance(seconds=60)
    swapped = [{"slot": 3, "meter": other}, {"slot": 7, "meter": one}]
    again = await api.post(f"{node}/bindings", "boss", json={"places": swapped, **WHY})
    twice = await api.post(f"{node}/bindings", "boss", json={"places": places[:1] * 2, **WHY})
    body = {"medium": "nbiot", "address": "box-9", **WHY}
    moved = await api.post(f"{node}/bearers", "boss", json=body)
    history = await api.get(f"{V1}/meters/{one}/bindings", "viewer")
    bearers = await api.get(f"{node}/bearers", "viewer")
    listed = await api.get(f"{V1}/nodes", "viewer")

    assert made.status == 201
    assert [each["meter"] for each in bound.json["bindings"]] == [one, other]
    assert [each["meter"] for each in again.json["bindings"]] == [other, one]
    assert (twice.status, twice.json["code"]) == (422, "slot_twice")
    assert moved.json["address"] == "box-9"
    assert [(each["slot"], each["to"] is None) for each in history.json["items"]] == [
        (7, True),
        (3, False),
    ]
    assert [each["address"] for each in bearers.json["items"]] == ["box-9", "box-1"]
    assert [(each["serial"], each["meters"]) for each in listed.json["items"]] == [("BOX-1", 2)]


async def test_a_keypad_and_a_bearer_belong_to_one_meter(
    api: ApiTown, meters: list[SmallMeter]
) -> None:
    online = await api.utility.add_meter()
    one, other = (f"{V1}/meters/{each.number}" for each in (online, meters[1]))
    keypad = {"serial": "KP-1", **WHY}
    await api.call("PUT", f"{one}/keypad", "boss", json=keypad)
    refused = await api.call("PUT", f"{other}/keypad", "boss", json=keypad)
    taken = await api.call("PUT", f"{other}/keypad", "boss", json={**keypad, "moved": True})
    had = await api.get(f"{one}/keypads", "viewer")
    body = {"medium": "nbiot", "address": "ep-new", **WHY}
    moved = await api.post(f"{one}/bearers", "boss", json=body)
    bearers = await api.get(f"{one}/bearers", "viewer")

    assert (refused.status, refused.json["code"]) == (409, "keypad_elsewhere")
    assert [each["serial"] for each in taken.json["items"]] == ["KP-1"]
    assert [each["to"] is None for each in had.json["items"]] == [False]
    assert moved.json == bearers.json
    assert [each["address"] for each in bearers.json["items"]] == ["ep-new", online.number]
