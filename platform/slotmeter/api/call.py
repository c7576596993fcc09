"""One request as a handler sees it, one answer as it gives it, and the services behind them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

from aiohttp import web
from pydantic import BaseModel

from slotmeter.api.metrics import MetricsBoard
from slotmeter.config import LimitsConfig
from slotmeter.ports import Caller, Clock, ReadingStore

if TYPE_CHECKING:
    from slotmeter.api.event_stream import EventFeed
    from slotmeter.api.media_routes import MediaDoor
    from slotmeter.services.access import Access
    from slotmeter.services.audit_token_trace import TokenTraces
    from slotmeter.services.audit_trace import AuditTrace
    from slotmeter.services.coding_office import CodingOffice
    from slotmeter.services.command_requests import CommandRequests
    from slotmeter.services.commissioning import Commissioning
    from slotmeter.services.device_health import DeviceHealth
    from slotmeter.services.entries import EntryDesk
    from slotmeter.services.key_desk import KeyDesk
    from slotmeter.services.office import Office
    from slotmeter.services.quarantine import Quarantine
    from slotmeter.services.queries import Queries
    from slotmeter.services.receipts import Receipts
    from slotmeter.services.selling import Selling

__all__ = ["Answer", "Call", "Nothing", "Services", "json_answer"]

BodyT = TypeVar("BodyT")
QueryT = TypeVar("QueryT")

JSON_TYPE = "application/json"


@dataclass(frozen=True, slots=True)
class Services:
    """Everything that handlers use.

    Args:
        media: answers for the routes of plugins; None where no medium runs.
        entries: changes config entries; None where there are none.
        commissioning: registers meters that hang; None where no device is served.
        health: tells how devices are; None where no device is served.
        quarantine: frames that were set aside; None where no device is served.
        warnings: what does not run although the server is ready; shown to whoever asks.
        not_ready: reasons why the server should get no requests yet, or no longer; none when ready.
    """

    access: Access
    queries: Queries
    selling: Selling
    requests: CommandRequests
    office: Office
    receipts: Receipts
    keys: KeyDesk
    codings: CodingOffice
    traces: AuditTrace
    token_traces: TokenTraces
    readings: ReadingStore
    feed: EventFeed
    clock: Clock
    metrics: MetricsBoard
    limits: LimitsConfig
    media: MediaDoor | None = None
    entries: EntryDesk | None = None
    commissioning: Commissioning | None = None
    health: DeviceHealth | None = None
    quarantine: Quarantine | None = None
    not_ready: Callable[[], Sequence[str]] = field(default=lambda: ())
    warnings: Callable[[], Sequence[str]] = field(default=lambda: ())


class Nothing(BaseModel):
    """Stands for a body or a query that a route does not have."""


@dataclass(frozen=True, slots=True)
class Call(Generic[BodyT, QueryT]):
    """One request with its body and query checked.

    Args:
        signed_in: who calls; None on the few routes that are open to all.
    """

    request: web.Request
    services: Services
    signed_in: Caller | None
    body: BodyT
    query: QueryT

    @property
    def caller(self) -> Caller:
        """Who calls, on a route that needs a key."""
        if self.signed_in is None:
            raise TypeError("this route is open to all: nobody is signed in")
        return self.signed_in

    def path(self, name: str) -> str:
        """Return a part of the path."""
        return self.request.match_info[name]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a handler answers.

    Args:
        status: one that the route declares.
        content: a model, or bytes already rendered.
        content_type: of rendered bytes.
    """

    status: int
    content: BaseModel | bytes
    content_type: str = JSON_TYPE


def json_answer(content: BaseModel, status: int = 200) -> Answer:
    """Answer with a model as JSON."""
    return Answer(status, content)
