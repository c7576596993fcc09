"""Records, routes and keys of devices in memory, for the tests of a plugin."""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from slotmeter.errors import SlotmeterError
from slotmeter.ports import (
    Body,
    ByDeviceKey,
    Clock,
    MediumRoute,
    Record,
    RecordKind,
    RouteAnswer,
    RouteRequest,
)
from slotmeter.services.plugin_records import check_counter, check_page, index_value, stored
from slotmeter.services.plugin_routes import EntryRoutes, Matched, RouteTable
from slotmeter.testing.clocks import FakeClock

__all__ = ["FakeDeviceKeys", "FakeRecords", "FakeRoutes"]


class FakeRecords:
    """Documents and counters in memory; under the same rules as in the database.

    Attributes:
        error: raised instead of an answer, while it is set.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self.error: SlotmeterError | None = None
        self._clock = clock or FakeClock()
        self._kept: dict[tuple[str, str], tuple[str, datetime]] = {}
        self._counters: dict[str, int] = {}

    async def get(self, kind: RecordKind, name: str) -> Record | None:
        """Return one document, or None."""
        self._check()
        found = self._kept.get((kind.name, name))
        return None if found is None else Record(name, json.loads(found[0]), found[1])

    async def put(self, kind: RecordKind, name: str, body: Body) -> None:
        """Keep a document."""
        self._check()
        self._kept[kind.name, name] = (stored(kind, name, body).body, self._clock.now())

    async def change(
        self, kind: RecordKind, name: str, to: Callable[[Body | None], Body | None]
    ) -> Body | None:
        """Read, decide and write."""
        before = await self.get(kind, name)
        body = to(None if before is None else before.body)
        if body is not None:
            await self.put(kind, name, body)
        elif before is not None:
            await self.delete(kind, name)
        return body

    async def delete(self, kind: RecordKind, name: str) -> bool:
        """Forget a document."""
        self._check()
        return self._kept.pop((kind.name, name), None) is not None

    async def find(
        self, kind: RecordKind, field: str, value: str | int, *, after: str = "", limit: int = 100
    ) -> Sequence[Record]:
        """Return documents whose indexed field has a value."""
        check_page(kind, field, limit)
        wanted = index_value(field, value)
        found = await self.page(kind, after=after, limit=1_000)
        return [each for each in found if index_value(field, each.body.get(field)) == wanted][
            :limit
        ]

    async def page(
        self, kind: RecordKind, *, after: str = "", limit: int = 100
    ) -> Sequence[Record]:
        """Return documents of a kind by name."""
        self._check()
        check_page(kind, None, limit)
        names = sorted(name for of, name in self._kept if of == kind.name and name > after)
        kept = [(name, *self._kept[kind.name, name]) for name in names[:limit]]
        return [Record(name, json.loads(text), at) for name, text, at in kept]

    async def reserve(self, counter: str, count: int = 1, *, at_least: int = 1) -> int:
        """Take numbers."""
        self._check()
        first = max(self._counters.get(counter, at_least), at_least)
        check_counter(counter, count, first)
        self._counters[counter] = first + count
        return first

    def _check(self) -> None:
        if self.error is not None:
            raise self.error


class FakeDeviceKeys:
    """Keys of devices that a test gave; of all entries alike."""

    def __init__(self) -> None:
        self.keys: dict[str, bytes] = {}
        self.error: SlotmeterError | None = None

    async def verify(self, device: str, message: bytes, mac: bytes) -> bool:
        """Say whether a message is a device's."""
        made = await self.sign(device, message)
        return made is not None and hmac.compare_digest(made, mac)

    def of(self, entry_key: str) -> FakeDeviceKeys:
        """Return the keys of an entry's devices: itself."""
        return self

    async def knows(self, device: str, key: bytes) -> bool:
        """Say whether this is the key of a device."""
        return self.keys.get(device) == key

    async def sign(self, device: str, message: bytes) -> bytes | None:
        """Sign for a device."""
        if self.error is not None:
            raise self.error
        key = self.keys.get(device)
        return None if key is None else hmac.digest(key, message, "sha256")


class FakeRoutes:
    """Routes that a test calls without HTTP; who calls is taken on trust.

    Attributes:
        table: what ``fake_http.serving`` serves.
    """

    def __init__(self, entry_key: str = "fake") -> None:
        self.table = RouteTable()
        self._routes: EntryRoutes = self.table.open(entry_key)

    @property
    def prefix(self) -> str:
        """Where the routes stand."""
        return self._routes.prefix

    @property
    def all(self) -> tuple[MediumRoute, ...]:
        """Every route that the plugin added."""
        return self._routes.all

    def add(self, route: MediumRoute) -> None:
        """Take a route; see ``ports.Routes``."""
        self._routes.add(route)

    def match(self, tail: str) -> Matched:
        """Return what a path leads to."""
        return self._routes.match(tail)

    async def call(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        *,
        device: str = "",
        caller: str = "",
        query: Mapping[str, str] | None = None,
        content_type: str = "application/json",
    ) -> RouteAnswer:
        """Call a route as this device or principal.

        Raises:
            LookupError: there is none.
            SlotmeterError: what the handler raises.
        """
        found = self.match(path).routes.get(method)
        if found is None:
            raise LookupError(f"no route {method} {path}")
        route, named = found
        by_device = isinstance(route.auth, ByDeviceKey)
        return await route.handler(
            RouteRequest(
                device=device if by_device else "",
                caller="" if by_device else caller,
                path=named,
                query=query or {},
                content_type=content_type if body else "",
                body=body,
                remote="127.0.0.1",
            )
        )
