"""What a ``PluginContext`` must keep to, as functions; the platform's own and the fakes pass them.

A medium that is tested with :class:`slotmeter.testing.fakes.FakePluginContext` can rely on what is
checked here to be so in the platform. Each check raises ``AssertionError`` and leaves documents of
its own kind behind; give it records that nobody else uses.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Final

from slotmeter.devices.frames import PAYLOAD_BYTES_MAX, Frame
from slotmeter.errors import Refused
from slotmeter.ports import (
    RECORD_BYTES_MAX,
    Body,
    ByDeviceKey,
    DeviceKeys,
    Frames,
    MediumRoute,
    PluginContext,
    RecordKind,
    Records,
    RouteAnswer,
    RouteRequest,
    Routes,
    Secrets,
)

__all__ = [
    "check_a_page_ends_and_goes_on",
    "check_changes_are_one_step",
    "check_context_shows_no_secret",
    "check_counters_never_repeat",
    "check_device_keys_stay_inside",
    "check_documents_are_found_by_declared_fields",
    "check_documents_are_kept",
    "check_entries_are_apart",
    "check_frames_are_taken_each_for_itself",
    "check_routes_are_declared",
    "check_what_cannot_be_kept_is_refused",
]

NOTE: Final = RecordKind("note")
SESSION: Final = RecordKind("session", indexed=("gateway", "slot"))


async def check_documents_are_kept(records: Records) -> None:
    """What was put is there, until it is put anew or deleted."""
    assert await records.get(NOTE, "a") is None
    await records.put(
        NOTE, "a", {"text": "ä\n", "list": [1, None, True], "deep": {"n": -(1 << 60)}}
    )
    first = await records.get(NOTE, "a")
    await records.put(NOTE, "a", {"text": "new"})
    second = await records.get(NOTE, "a")
    assert first is not None
    assert second is not None
    assert first.body == {"text": "ä\n", "list": [1, None, True], "deep": {"n": -(1 << 60)}}
    assert first.at.tzinfo is not None
    assert second.body == {"text": "new"}
    assert await records.delete(NOTE, "a")
    assert not await records.delete(NOTE, "a")
    assert await records.get(NOTE, "a") is None


async def check_documents_are_found_by_declared_fields(records: Records) -> None:
    """Each indexed field finds exactly the documents that have its value; others are a mistake."""
    await records.put(SESSION, "s1", {"gateway": "g1", "slot": 7})
    await records.put(SESSION, "s2", {"gateway": "g2", "slot": 7})
    await records.put(SESSION, "s3", {"gateway": "g1"})
    assert [each.name for each in await records.find(SESSION, "gateway", "g1")] == ["s1", "s3"]
    assert [each.name for each in await records.find(SESSION, "slot", 7)] == ["s1", "s2"]
    await records.put(SESSION, "s1", {"gateway": "g2", "slot": 8})
    assert [each.name for each in await records.find(SESSION, "gateway", "g1")] == ["s3"]
    assert await records.find(SESSION, "slot", 9) == []
    try:
        await records.find(SESSION, "colour", "red")
    except ValueError:
        return
    raise AssertionError("searched by a field that is not indexed")


async def check_a_page_ends_and_goes_on(records: Records) -> None:
    """Pages follow each other by name and leave nothing out."""
    kind = RecordKind("paged", indexed=("of",))
    for number in range(5):
        await records.put(kind, f"n{number}", {"of": "all"})
    first = [each.name for each in await records.page(kind, limit=2)]
    rest = [each.name for each in await records.page(kind, after=first[-1], limit=1_000)]
    found = [each.name for each in await records.find(kind, "of", "all", after="n2", limit=1)]
    assert (first, rest, found) == (["n0", "n1"], ["n2", "n3", "n4"], ["n3"])


async def check_changes_are_one_step(records: Records) -> None:
    """Many that change one document at once lose nothing of each other."""

    def one_more(body: Body | None) -> Body:
        count = body["count"] if body is not None else 0
        assert isinstance(count, int)
        return {"count": count + 1}

    await asyncio.gather(*(records.change(NOTE, "tally", one_more) for _ in range(20)))
    record = await records.get(NOTE, "tally")
    assert record is not None
    assert record.body == {"count": 20}
    assert await records.change(NOTE, "tally", lambda _: None) is None
    assert await records.get(NOTE, "tally") is None


async def check_what_cannot_be_kept_is_refused(records: Records) -> None:
    """What is not JSON, too long or wrongly named is refused, and the old document stays."""
    await records.put(SESSION, "kept", {"gateway": "old"})
    long = {"text": "x" * RECORD_BYTES_MAX}
    refused: tuple[tuple[str, Body, str], ...] = (
        ("kept", {"when": object()}, "bad_record"),
        ("kept", {"ratio": float("nan")}, "bad_record"),
        ("kept", long, "bad_record"),
        ("kept", {"gateway": ["a"]}, "bad_record"),
        ("kept", {"slot": True}, "bad_record"),
        ("", {}, "bad_record_name"),
        ("a\nb", {}, "bad_record_name"),
    )
    for name, body, code in refused:
        await _refused(code, lambda name=name, body=body: records.put(SESSION, name, body))  # type: ignore[misc]  # bound at once
    kept = await records.get(SESSION, "kept")
    assert kept is not None
    assert kept.body == {"gateway": "old"}


async def check_counters_never_repeat(records: Records) -> None:
    """Numbers are given once, also to many at once, and a counter only goes forward."""
    firsts = await asyncio.gather(*(records.reserve("invocations", 3) for _ in range(10)))
    given = sorted(number for first in firsts for number in range(first, first + 3))
    assert given == list(range(1, 31)), f"given: {given}"
    assert await records.reserve("invocations", at_least=1_000) == 1_000
    assert await records.reserve("invocations", at_least=5) == 1_001
    assert await records.reserve("other:0.1", at_least=0) == 0
    await _refused("bad_counter", lambda: records.reserve("Not this"))
    await _refused("bad_counter", lambda: records.reserve("invocations", 0))
    await _refused(
        "counter_exhausted", lambda: records.reserve("invocations", at_least=(1 << 63) - 1)
    )
    assert await records.reserve("invocations") == 1_002


async def check_entries_are_apart(records: Records, others: Records) -> None:
    """Two entries have documents and counters of their own, under the same names."""
    await records.put(NOTE, "shared", {"of": "one"})
    await records.reserve("shared", 10)
    assert await others.get(NOTE, "shared") is None
    assert await others.page(NOTE) == []
    assert not await others.delete(NOTE, "shared")
    assert await others.reserve("shared") == 1


async def check_frames_are_taken_each_for_itself(frames: Frames, medium: str, address: str) -> None:
    """Of frames that come together, one that is refused takes no other along.

    Args:
        frames: of the context.
        medium: of the entry.
        address: of a device that is registered.
    """
    now = datetime(2026, 11, 22, tzinfo=UTC)
    good = Frame(medium, address, "m", b"\x01", now)
    long = Frame(medium, address, "m", bytes(PAYLOAD_BYTES_MAX + 1), now)

    first, refused, last = await frames.hand_in_many([good, long, good])
    alone = await frames.hand_in(good)

    assert isinstance(first, int), f"a frame was not taken: {first}"
    assert isinstance(last, int), f"a frame was not taken: {last}"
    assert first < last < alone, f"ids do not grow: {first}, {last}, {alone}"
    assert isinstance(refused, Refused), f"took a payload that is too long: {refused}"
    assert refused.code == "payload_too_large", f"refused with {refused.code}"
    assert not await frames.hand_in_many([]), "answered for frames that nobody handed in"
    await _refused("payload_too_large", lambda: frames.hand_in(long))


def check_routes_are_declared(routes: Routes) -> None:
    """A route needs bounds, a method, a path that can be, and must not be there already."""

    async def answer(_: RouteRequest) -> RouteAnswer:
        return RouteAnswer()

    routes.add(MediumRoute("GET", "devices/{name}", answer, ByDeviceKey()))
    for wrong in (
        MediumRoute("GET", "devices/{other}", answer, ByDeviceKey()),
        MediumRoute("TRACE", "frames", answer, ByDeviceKey()),
        MediumRoute("GET", "/frames", answer, ByDeviceKey()),
        MediumRoute("GET", "../frames", answer, ByDeviceKey()),
        MediumRoute("GET", "frames/{Name}", answer, ByDeviceKey()),
        MediumRoute("POST", "frames", answer, ByDeviceKey(), body_bytes_max=1 << 30),
        MediumRoute("POST", "frames", answer, ByDeviceKey(), per_minute_max=0),
    ):
        try:
            routes.add(wrong)
        except ValueError:
            continue
        raise AssertionError(f"took the route {wrong.method} {wrong.path}")
    assert routes.prefix.startswith("/api/v1/media/")


async def check_device_keys_stay_inside(
    keys: DeviceKeys, device: str, key: bytes, *, stranger: str
) -> None:
    """A proof can be made and checked by a device's key, and by nothing else."""
    mac = await keys.sign(device, b"message")
    assert mac is not None
    assert await keys.verify(device, b"message", mac)
    assert not await keys.verify(device, b"message!", mac)
    assert not await keys.verify(device, b"message", mac[:-1])
    assert not await keys.verify(stranger, b"message", mac)
    assert await keys.sign(stranger, b"message") is None
    assert key not in repr(keys).encode()


def check_context_shows_no_secret(context: PluginContext, secret: str) -> None:
    """A secret can be read by its name, and is in nothing that would be logged."""
    assert secret in context.secrets.values()
    shown = f"{context} {context!r} {context.secrets} {context.secrets!r}"
    assert isinstance(context.secrets, Secrets)
    assert secret not in shown


async def _refused(code: str, call: Callable[[], Awaitable[object]]) -> None:
    found = "nothing"
    try:
        await call()
    except Refused as refusal:
        found = refusal.code
    assert found == code, f"expected to be refused with {code}, got {found}"
