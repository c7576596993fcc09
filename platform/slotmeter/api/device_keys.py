"""The keys of devices: made, taken in, listed and withdrawn; a key is shown once."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from slotmeter.api.call import Answer, Call, Nothing, json_answer
from slotmeter.api.models import Body, Instant, Out, Reason
from slotmeter.api.paging import AfterQuery
from slotmeter.api.route import API, OK, Route, get, post
from slotmeter.errors import Unavailable
from slotmeter.ports import Right
from slotmeter.services.device_keys import DeviceKeyRing
from slotmeter.services.list_pages import cut
from slotmeter.units import epoch_us, iso_utc

__all__ = ["ROUTES"]

Device = Annotated[
    str,
    Field(
        min_length=1,
        max_length=64,
        description="Address of the device at its medium.",
        examples=["62000000017"],
    ),
]


class DeviceKeyBody(Body):
    """A key to make, or to take in."""

    device: Device
    key: SecretStr | None = Field(
        default=None,
        description="What the factory burnt into the device; a new one is drawn when it is left "
        "out. 22 to 128 printable ASCII characters without blank and colon.",
    )
    reason: Reason


class DeviceKeyQuery(BaseModel):
    """Why a key is withdrawn."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    reason: Reason


class DeviceKeyOut(Out):
    """What may be known of a device's key."""

    device: str
    source: str = Field(description="`made` here, or `given`.")
    at: Instant


class MadeDeviceKey(Out):
    """A key that was made: it is never shown again. One that was given is not shown at all."""

    device: str
    key: str | None


class DeviceKeysPage(Out):
    """Keys of the devices of an entry, by device."""

    items: list[DeviceKeyOut]
    next: str | None


async def device_keys(call: Call[Nothing, AfterQuery]) -> Answer:
    """List which devices of an entry have a key."""
    query, entry_key = call.query, await _entry(call)
    found = await _ring(call).listed(entry_key, after=query.after, limit=query.limit + 1)
    page, following = cut(found, query.limit, lambda each: each.device)
    items = [
        DeviceKeyOut(device=each.device, source=each.source, at=iso_utc(epoch_us(each.made_at)))
        for each in page
    ]
    return json_answer(DeviceKeysPage(items=items, next=following))


async def make_device_key(call: Call[DeviceKeyBody, Nothing]) -> Answer:
    """Make a key for a device, or take one in; the one before stops being good."""
    body, entry_key = call.body, await _entry(call)
    key: str | None = None
    if body.key is None:
        key = await _ring(call).make(call.caller, entry_key, body.device, reason=body.reason)
    else:
        given = {body.device: body.key.get_secret_value()}
        await _ring(call).take_in(call.caller, entry_key, given, reason=body.reason)
    return json_answer(MadeDeviceKey(device=body.device, key=key), HTTPStatus.CREATED)


async def withdraw_device_key(call: Call[Nothing, DeviceKeyQuery]) -> Answer:
    """Withdraw the key of a device: it is refused from now on."""
    entry_key, device = await _entry(call), call.path("device")
    await _ring(call).withdraw(call.caller, entry_key, device, reason=call.query.reason)
    return json_answer(MadeDeviceKey(device=device, key=None))


async def _entry(call: Call[Any, Any]) -> str:
    """Return the key of an entry that is there.

    Raises:
        NotFound: ``entry_unknown``.
        Unavailable: this server has no device side.
    """
    desk = call.services.entries
    if desk is None:
        raise Unavailable("entries_not_here", "this server keeps no config entries")
    return (await desk.entry(call.path("key"))).entry.key


def _ring(call: Call[Any, Any]) -> DeviceKeyRing:
    door = call.services.media
    if door is None or door.device_keys is None:
        raise Unavailable("entries_not_here", "this server keeps no config entries")
    return door.device_keys


_LOOK: Final = frozenset({Right.INTEGRATIONS, Right.INTEGRATIONS_WRITE})
_TAG: Final = "integrations"

ROUTES: Final[tuple[Route, ...]] = (
    get("/entries/{key}/device-keys", device_keys, _TAG, _LOOK, DeviceKeysPage, query=AfterQuery),
    post(
        "/entries/{key}/device-keys",
        make_device_key,
        _TAG,
        Right.INTEGRATIONS_WRITE,
        {HTTPStatus.CREATED: MadeDeviceKey},
        body=DeviceKeyBody,
    ),
    Route(
        "DELETE",
        f"{API}/entries/{{key}}/device-keys/{{device}}",
        "withdraw_device_key",
        _TAG,
        withdraw_device_key,
        frozenset({Right.INTEGRATIONS_WRITE}),
        {OK: MadeDeviceKey},
        query=DeviceKeyQuery,
    ),
)
"""What the API answers about keys of devices."""
