"""Vending keys and supply groups. Key material comes in by the command line, never by HTTP."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from slotmeter.api.call import Answer, Call, Nothing, json_answer
from slotmeter.api.key_models import (
    ConfirmKeyBody,
    KeyComponentLine,
    KeyComponentsPage,
    KeyReasonBody,
    SupplyGroupBody,
    SupplyGroupLine,
    SupplyGroupsPage,
    VendingKeyLine,
    VendingKeysPage,
    VendingKeysQuery,
    Withdrawn,
)
from slotmeter.api.paging import AfterQuery
from slotmeter.api.route import OK, Route, get, post, put
from slotmeter.ports import Right
from slotmeter.services.key_dates import WARN_DAYS
from slotmeter.services.list_pages import cut
from slotmeter.services.vending_keys import KeyLine
from slotmeter.units import iso_utc

__all__ = ["ROUTES"]

T = TypeVar("T")


async def vending_keys(call: Call[Nothing, VendingKeysQuery]) -> Answer:
    """List vending keys with their check values and when they end."""
    found = await call.services.keys.vending.keys(call.caller.principal.utility_id)
    if call.query.expiring:
        found = [key for key in found if key.state == "active" and key.days_left < WARN_DAYS]
    page, following = _page(found, call.query, lambda key: key.name)
    return json_answer(VendingKeysPage(items=[_key(key) for key in page], next=following))


async def confirm_vending_key(call: Call[ConfirmKeyBody, Nothing]) -> Answer:
    """Confirm a vending key that another officer proposed, by its check value."""
    body = call.body
    office = call.services.keys.vending
    made = await office.confirm(
        call.caller, call.path("name"), body.check_value, reason=body.reason
    )
    return json_answer(_key(made))


async def retire_vending_key(call: Call[KeyReasonBody, Nothing]) -> Answer:
    """Let no token be made under a vending key any more."""
    office = call.services.keys.vending
    return json_answer(
        _key(await office.retire(call.caller, call.path("name"), reason=call.body.reason))
    )


async def key_components(call: Call[Nothing, AfterQuery]) -> Answer:
    """List components that wait for another officer."""
    rows = await call.services.keys.vending.components(call.caller.principal.utility_id)
    page, following = _page(rows, call.query, lambda row: f"{row['name']}/{row['part']:02}")
    names = ("sgc", "krn", "kt", "dkga", "base_date", "ken", "name", "part", "parts", "officer")
    return json_answer(
        KeyComponentsPage(
            items=[
                KeyComponentLine(
                    **{name: row[name] for name in names},
                    method=row["method"],
                    check_value=row["check_value"],
                    created_at=iso_utc(row["created_us"]),
                )
                for row in page
            ],
            next=following,
        )
    )


async def withdraw_components(call: Call[KeyReasonBody, Nothing]) -> Answer:
    """Erase the components that wait under a name."""
    office = call.services.keys.vending
    erased = await office.withdraw(call.caller, call.path("name"), reason=call.body.reason)
    return json_answer(Withdrawn(erased=erased))


async def supply_groups(call: Call[Nothing, AfterQuery]) -> Answer:
    """List supply groups."""
    rows = await call.services.keys.groups.groups(call.caller.principal.utility_id)
    page, following = _page(rows, call.query, lambda row: str(row["sgc"]))
    return json_answer(
        SupplyGroupsPage(
            items=[
                SupplyGroupLine(
                    sgc=row["sgc"],
                    title=row["title"],
                    key=row["key_name"],
                    created_at=iso_utc(row["created_us"]),
                )
                for row in page
            ],
            next=following,
        )
    )


async def put_supply_group(call: Call[SupplyGroupBody, Nothing]) -> Answer:
    """Make or change a supply group."""
    body, groups = call.body, call.services.keys.groups
    sgc = call.path("sgc")
    await groups.put(call.caller, sgc, title=body.title, key_name=body.key, reason=body.reason)
    row = next(
        row for row in await groups.groups(call.caller.principal.utility_id) if row["sgc"] == sgc
    )
    return json_answer(
        SupplyGroupLine(
            sgc=sgc,
            title=row["title"],
            key=row["key_name"],
            created_at=iso_utc(row["created_us"]),
        )
    )


def _page(
    rows: Sequence[T], query: AfterQuery, key: Callable[[T], str]
) -> tuple[Sequence[T], str | None]:
    """Return a page by a key, of what no utility has more of than one reads at once."""
    rest = sorted((row for row in rows if key(row) > query.after), key=key)
    return cut(rest, query.limit, key)


def _key(key: KeyLine) -> VendingKeyLine:
    names = ("name", "sgc", "krn", "kt", "dkga", "base_date", "ken", "check_value", "days_left")
    retired_us = key.retired_us
    state: Final = "active" if key.state == "active" else "retired"
    return VendingKeyLine(
        **{name: getattr(key, name) for name in names},
        state=state,
        expires_at=iso_utc(key.expires_us),
        created_at=iso_utc(key.created_us),
        retired_at=None if retired_us is None else iso_utc(retired_us),
        officer=key.officer,
        second_officer=key.second_officer,
    )


_LOOK: Final = frozenset({Right.KEYS})

ROUTES: Final[tuple[Route, ...]] = (
    get("/vending-keys", vending_keys, "keys", _LOOK, VendingKeysPage, query=VendingKeysQuery),
    get(
        "/vending-key-components",
        key_components,
        "keys",
        _LOOK,
        KeyComponentsPage,
        query=AfterQuery,
    ),
    post(
        "/vending-key-components/{name}/confirm",
        confirm_vending_key,
        "keys",
        Right.KEYS_LOAD,
        {OK: VendingKeyLine},
        body=ConfirmKeyBody,
        problems=(409,),
    ),
    post(
        "/vending-key-components/{name}/withdraw",
        withdraw_components,
        "keys",
        Right.KEYS_LOAD,
        {OK: Withdrawn},
        body=KeyReasonBody,
    ),
    post(
        "/vending-keys/{name}/retire",
        retire_vending_key,
        "keys",
        Right.KEYS_WRITE,
        {OK: VendingKeyLine},
        body=KeyReasonBody,
        problems=(409,),
    ),
    get("/supply-groups", supply_groups, "keys", _LOOK, SupplyGroupsPage, query=AfterQuery),
    put(
        "/supply-groups/{sgc}",
        put_supply_group,
        "keys",
        Right.KEYS_WRITE,
        {OK: SupplyGroupLine},
        body=SupplyGroupBody,
    ),
)
