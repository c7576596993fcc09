"""Integrations and config entries over HTTP; every answer is held against the document."""

from __future__ import annotations

from typing import Any

import pytest

from slotmeter.testing.api_town import ApiTown

ENTRIES = "/api/v1/entries"
CLEAR = "open sesame"
BODY: dict[str, Any] = {
    "key": "town",
    "medium": "ip",
    "title": "Broker",
    "options": {"mqtt_host": "127.0.0.1", "mqtt_port": 1883},
    "secrets": {"mqtt_password": CLEAR},
    "reason": "new",
}


@pytest.fixture
async def boss(api: ApiTown) -> ApiTown:
    """Boss may do everything, eye may look at entries, till may not."""
    await api.join("boss", "admin")
    await api.join("eye", "auditor")
    await api.join("till", "vendor")
    return api


async def test_installed_integrations_are_listed_with_their_quality(boss: ApiTown) -> None:
    page = (await boss.get("/api/v1/integrations", "eye")).json

    known = {each["key"]: each for each in page["items"]}
    assert known["nbiot"]["quality"] == "commands"
    assert known["ip"]["secrets"] == ["mqtt_password"]
    assert page["broken"] == []


async def test_an_entry_is_made_looked_at_changed_and_removed(boss: ApiTown) -> None:
    made = await boss.post(ENTRIES, "boss", json=BODY)
    looked = await boss.get(f"{ENTRIES}/town", "eye")
    change = {"options": {"mqtt_port": None}, "title": "Old broker", "reason": "moved"}
    changed = await boss.call("PATCH", f"{ENTRIES}/town", "boss", json=change)
    listed = await boss.get(ENTRIES, "eye")
    gone = await boss.call("DELETE", f"{ENTRIES}/town?reason=done", "boss")
    lost = await boss.get(f"{ENTRIES}/town", "eye")

    assert (made.status, made.json["state"]) == (201, "not_loaded")
    assert looked.json["secrets"] == ["mqtt_password"]
    assert changed.json["options"] == {"mqtt_host": "127.0.0.1"}
    assert [each["title"] for each in listed.json["items"]] == ["Old broker"]
    assert (gone.status, lost.status, lost.code) == (200, 404, "entry_unknown")
    everything = [made, looked, changed, listed, gone]
    assert CLEAR.encode() not in b"".join(reply.content for reply in everything)


async def test_states_are_given_page_by_page(boss: ApiTown) -> None:
    await boss.post(ENTRIES, "boss", json=BODY)
    entry_id = boss.sql("SELECT id FROM integration_entry")[0][0]
    for at, state in enumerate(("setting_up", "retrying", "loaded")):
        boss.sql("INSERT INTO entry_log VALUES (?, ?, ?, ?, '')", 10**9 + at, entry_id, at, state)

    first = (await boss.get(f"{ENTRIES}/town/log?limit=2", "eye")).json
    rest = (await boss.get(f"{ENTRIES}/town/log?before={first['next']}", "eye")).json

    assert [line["state"] for line in first["items"]] == ["loaded", "retrying"]
    assert [line["state"] for line in rest["items"]] == ["setting_up"]


async def test_a_try_is_asked_for_until_it_runs(boss: ApiTown) -> None:
    await boss.post(ENTRIES, "boss", json=BODY)
    tried = await boss.post(f"{ENTRIES}/town/retry", "boss", json={"reason": "now"})
    entry_id = boss.sql("SELECT id FROM integration_entry")[0][0]
    boss.sql("INSERT INTO entry_log VALUES (?, ?, 1, 'loaded', '')", 10**9, entry_id)
    again = await boss.post(f"{ENTRIES}/town/retry", "boss", json={"reason": "now"})

    assert tried.status == 200
    assert (again.status, again.code) == (409, "entry_not_waiting")


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"key": "Town"}, 422, "bad_entry_key"),
        ({"medium": "pigeon"}, 422, "unknown_medium"),
        ({"options": {"mqtt_password": CLEAR}}, 422, "secret_in_options"),
        ({"secrets": {"password": CLEAR}}, 422, "unknown_secret"),
        ({"colour": "red"}, 422, "unknown_field"),
        ({"reason": ""}, 422, "too_short"),
    ],
)
async def test_what_cannot_be_is_a_problem_that_shows_no_secret(
    boss: ApiTown, changes: dict[str, Any], status: int, code: str
) -> None:
    reply = await boss.post(ENTRIES, "boss", json=BODY | changes)

    assert (reply.status, reply.code) == (status, code)
    assert CLEAR.encode() not in reply.content


async def test_a_secret_of_the_wrong_kind_is_not_repeated(boss: ApiTown) -> None:
    reply = await boss.post(ENTRIES, "boss", json=BODY | {"secrets": {"mqtt_password": [CLEAR]}})

    assert reply.status == 422
    assert CLEAR.encode() not in reply.content


async def test_who_looks_cannot_change_and_who_sells_cannot_look(boss: ApiTown) -> None:
    looker = await boss.post(ENTRIES, "eye", json=BODY)
    seller = await boss.get(ENTRIES, "till")

    assert (looker.status, looker.code) == (403, "right_missing")
    assert (seller.status, seller.code) == (403, "right_missing")
