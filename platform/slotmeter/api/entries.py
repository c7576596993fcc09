"""Integrations, and the config entries that are set up with them."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final

from slotmeter.api.call import Answer, Call, Nothing, json_answer
from slotmeter.api.entry_models import (
    BrokenIntegration,
    EntriesPage,
    EntryBody,
    EntryChangeBody,
    EntryLogLine,
    EntryLogPage,
    EntryOut,
    IntegrationOut,
    IntegrationsPage,
    RemovalQuery,
    RetryBody,
)
from slotmeter.api.paging import AfterQuery, BeforeQuery
from slotmeter.api.route import API, OK, Route, get, post
from slotmeter.errors import Unavailable
from slotmeter.ports import Right
from slotmeter.services.entries import EntryChange, EntryDesk, EntryLine, EntryWish
from slotmeter.services.integrations import Integration
from slotmeter.services.list_pages import cut
from slotmeter.units import iso_utc

__all__ = ["ROUTES"]

SETTLE_WITHIN_S: Final = 5.0
"""An answer waits so long for what became of a change, and tells the state it is in then."""


async def integrations(call: Call[Nothing, Nothing]) -> Answer:
    """List installed integrations with their quality."""
    found = _desk(call).integrations
    return json_answer(
        IntegrationsPage(
            items=[_integration(each) for each in found.integrations.values()],
            broken=[
                BrokenIntegration(
                    package=package, code=error.code, field=error.field, detail=error.message
                )
                for package, error in found.broken.items()
            ],
        )
    )


async def entries(call: Call[Nothing, AfterQuery]) -> Answer:
    """List config entries and how they do."""
    query = call.query
    found = await _desk(call).entries(after=query.after, limit=query.limit + 1)
    page, following = cut(found, query.limit, lambda line: line.entry.key)
    return json_answer(EntriesPage(items=[_entry(line) for line in page], next=following))


async def entry(call: Call[Nothing, Nothing]) -> Answer:
    """Return one config entry."""
    return json_answer(_entry(await _desk(call).entry(call.path("key"))))


async def add_entry(call: Call[EntryBody, Nothing]) -> Answer:
    """Make a config entry; it is set up at once."""
    body, desk = call.body, _desk(call)
    wish = EntryWish(
        key=body.key,
        medium=body.medium,
        title=body.title,
        options=body.options,
        secrets={name: value.get_secret_value() for name, value in body.secrets.items()},
        enabled=body.enabled,
    )
    made = await desk.add(call.caller, wish, reason=body.reason)
    line = await desk.settled(made, within_s=SETTLE_WITHIN_S)
    return json_answer(_entry(line), HTTPStatus.CREATED)


async def change_entry(call: Call[EntryChangeBody, Nothing]) -> Answer:
    """Change a config entry; it is unloaded and set up as it is then."""
    body, desk = call.body, _desk(call)
    secrets = None
    if body.secrets is not None:
        secrets = {
            name: None if value is None else value.get_secret_value()
            for name, value in body.secrets.items()
        }
    change = EntryChange(
        title=body.title, options=body.options, secrets=secrets, enabled=body.enabled
    )
    made = await desk.change(call.caller, call.path("key"), change, reason=body.reason)
    return json_answer(_entry(await desk.settled(made, within_s=SETTLE_WITHIN_S)))


async def retry_entry(call: Call[RetryBody, Nothing]) -> Answer:
    """Set a config entry up now that failed, or that waits for its next try."""
    desk = _desk(call)
    made = await desk.retry(call.caller, call.path("key"), reason=call.body.reason)
    return json_answer(_entry(await desk.settled(made, within_s=SETTLE_WITHIN_S)))


async def remove_entry(call: Call[Nothing, RemovalQuery]) -> Answer:
    """Remove a config entry; it is unloaded, and what it recorded stays under its key."""
    desk = _desk(call)
    gone = await desk.remove(call.caller, call.path("key"), reason=call.query.reason)
    return json_answer(_entry(await desk.unloaded(gone, within_s=SETTLE_WITHIN_S)))


async def entry_log(call: Call[Nothing, BeforeQuery]) -> Answer:
    """Return the states that a config entry came to, the newest first."""
    query = call.query
    rows = await _desk(call).log(call.path("key"), before=query.before, limit=query.limit + 1)
    page, following = cut(rows, query.limit, lambda row: int(row["id"]))
    lines = [
        EntryLogLine(at=iso_utc(row["at_us"]), state=row["state"], reason=row["reason"])
        for row in page
    ]
    return json_answer(EntryLogPage(items=lines, next=following))


def _desk(call: Call[Any, Any]) -> EntryDesk:
    desk = call.services.entries
    if desk is None:
        raise Unavailable("entries_not_here", "this server keeps no config entries")
    return desk


def _entry(line: EntryLine) -> EntryOut:
    entry, status = line.entry, line.status
    return EntryOut(
        key=entry.key,
        medium=entry.medium,
        title=entry.title,
        options=dict(entry.options),
        secrets=list(entry.secret_names),
        enabled=entry.enabled,
        source=entry.source.value,
        state=status.state.value,
        reason=status.reason,
        since=iso_utc(status.since_us),
        failures=status.failures,
        retry_at=None if status.retry_us is None else iso_utc(status.retry_us),
        addresses=list(status.addresses),
        created_at=iso_utc(entry.created_us),
        changed_at=iso_utc(entry.changed_us),
    )


def _integration(found: Integration) -> IntegrationOut:
    manifest = found.manifest
    return IntegrationOut(
        key=manifest.key,
        kind=manifest.kind.value,
        name=manifest.name,
        version=manifest.version,
        package=found.package,
        iot_class=manifest.iot_class,
        documentation=manifest.documentation,
        codeowners=list(manifest.codeowners),
        quality=manifest.quality.value,
        requires=list(manifest.requires),
        missing=list(found.missing),
        secrets=list(manifest.secrets),
    )


_LOOK: Final = frozenset({Right.INTEGRATIONS, Right.INTEGRATIONS_WRITE})
_WRITE: Final = Right.INTEGRATIONS_WRITE
_TAG: Final = "integrations"
_ONE: Final = f"{API}/entries/{{key}}"

ROUTES: Final[tuple[Route, ...]] = (
    get("/integrations", integrations, _TAG, _LOOK, IntegrationsPage),
    get("/entries", entries, _TAG, _LOOK, EntriesPage, query=AfterQuery),
    post(
        "/entries",
        add_entry,
        _TAG,
        _WRITE,
        {HTTPStatus.CREATED: EntryOut},
        body=EntryBody,
        problems=(409,),
    ),
    get("/entries/{key}", entry, _TAG, _LOOK, EntryOut),
    Route(
        "PATCH",
        _ONE,
        "change_entry",
        _TAG,
        change_entry,
        frozenset({_WRITE}),
        {OK: EntryOut},
        body=EntryChangeBody,
        problems=(409,),
    ),
    Route(
        "DELETE",
        _ONE,
        "remove_entry",
        _TAG,
        remove_entry,
        frozenset({_WRITE}),
        {OK: EntryOut},
        query=RemovalQuery,
        problems=(409,),
    ),
    post(
        "/entries/{key}/retry",
        retry_entry,
        _TAG,
        _WRITE,
        {OK: EntryOut},
        body=RetryBody,
        problems=(409,),
    ),
    get("/entries/{key}/log", entry_log, _TAG, _LOOK, EntryLogPage, query=BeforeQuery),
)
"""What the API answers about integrations and entries."""
