"""Principals and API keys on a real database: who is let in, with what rights, and for how long."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from slotmeter.errors import Conflict, NotFound, NotSignedIn, Refused
from slotmeter.ports import Changes, Insert, Right, SqlValue
from slotmeter.services.access import CACHE_S_MAX, Access, Origin
from slotmeter.services.principals import Principals
from slotmeter.storage.opening import AnyDatabase
from slotmeter.testing.databases import Behind, opened_in

pytestmark = pytest.mark.both_databases

LOCAL = Origin("local:test", "test")
UTILITY = 1
WHY = "opening of the shop"


class SetClock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.at = datetime(2026, 11, 21, 8, 0, tzinfo=UTC)
        self.start = self.at

    def now(self) -> datetime:
        return self.at

    def monotonic_s(self) -> float:
        return (self.at - self.start).total_seconds()

    def pass_s(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


def files_holding(folder: Path, text: str) -> list[str]:
    return [path.name for path in folder.iterdir() if text.encode() in path.read_bytes()]


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[AnyDatabase]:
    utility: dict[str, SqlValue] = {
        "id": UTILITY,
        "code": "town",
        "name": "Town Utility",
        "currency": "USD",
        "time_zone": "UTC",
        "tax_number": "1",
        "address": "1 Main Street",
        "policy": "{}",
        "created_us": 0,
    }
    branch: dict[str, SqlValue] = {"id": 2, "utility_id": UTILITY, "code": "main", "name": "Main"}
    steps = [Insert("utility", utility), Insert("branch", branch)]
    async with opened_in(tmp_path) as database:
        await database.run([], lambda rows, new_id: Changes(None, steps))
        yield database


@pytest.fixture
def access(database: AnyDatabase, clock: SetClock) -> Access:
    return Access(database, clock)


@pytest.fixture
def principals(database: AnyDatabase, clock: SetClock) -> Principals:
    return Principals(database, clock)


@pytest.fixture
async def till_key(principals: Principals) -> str:
    """The key of a vendor named till."""
    await principals.add_principal(
        LOCAL,
        UTILITY,
        name="till",
        kind="service",
        roles=["vendor"],
        branch_code="main",
        reason=WHY,
    )
    key = await principals.add_key(LOCAL, UTILITY, name="till", label="shop", reason=WHY)
    return key.text


async def test_a_key_signs_its_principal_in_with_the_rights_of_its_roles(
    access: Access, till_key: str
) -> None:
    signed_in = await access.principal_of(f"Bearer {till_key}")

    assert signed_in.principal.name == "till"
    assert signed_in.principal.rights == {
        Right.QUOTE,
        Right.SELL,
        Right.SALES_OWN,
        Right.METERS,
        Right.METERS_ASK,
    }


async def test_a_key_narrows_the_rights_of_its_principal(
    access: Access, principals: Principals, till_key: str
) -> None:
    narrow = await principals.add_key(
        LOCAL, UTILITY, name="till", label="screen", reason=WHY, rights=[Right.QUOTE]
    )

    signed_in = await access.principal_of(f"Bearer {narrow.text}")

    assert signed_in.principal.rights == {Right.QUOTE}


async def test_a_key_cannot_be_given_rights_that_its_principal_lacks(
    principals: Principals, till_key: str
) -> None:
    with pytest.raises(Refused) as caught:
        await principals.add_key(
            LOCAL, UTILITY, name="till", label="x", reason=WHY, rights=[Right.COMMAND_SEND]
        )

    assert caught.value.code == "rights_not_held"


@pytest.mark.parametrize(
    ("header", "code"),
    [
        (None, "key_missing"),
        ("", "key_missing"),
        ("Basic dGlsbA==", "key_malformed"),
        ("Bearer smk_short", "key_malformed"),
        ("Bearer smk_" + "A" * 43, "key_unknown"),
    ],
)
async def test_a_header_without_a_known_key_signs_nobody_in(
    access: Access, till_key: str, header: str | None, code: str
) -> None:
    with pytest.raises(NotSignedIn) as caught:
        await access.principal_of(header)

    assert caught.value.code == code


async def test_a_revoked_key_stops_working_when_the_cache_has_aged(
    access: Access, principals: Principals, clock: SetClock, till_key: str
) -> None:
    signed_in = await access.principal_of(f"Bearer {till_key}")
    await principals.revoke_key(
        LOCAL, UTILITY, name="till", key_id=signed_in.api_key_id, reason="lost"
    )
    clock.pass_s(CACHE_S_MAX)

    with pytest.raises(NotSignedIn) as caught:
        await access.principal_of(f"Bearer {till_key}")

    assert caught.value.code == "key_revoked"


async def test_an_expired_key_stops_working_even_while_cached(
    access: Access, principals: Principals, clock: SetClock, till_key: str
) -> None:
    expires_at = clock.now() + timedelta(seconds=0.5)
    key = await principals.add_key(
        LOCAL, UTILITY, name="till", label="day", reason=WHY, expires_at=expires_at
    )
    await access.principal_of(f"Bearer {key.text}")
    clock.pass_s(0.5)

    with pytest.raises(NotSignedIn) as caught:
        await access.principal_of(f"Bearer {key.text}")

    assert caught.value.code == "key_expired"


async def test_a_disabled_principal_is_let_in_again_when_enabled(
    access: Access, principals: Principals, clock: SetClock, till_key: str
) -> None:
    await principals.set_disabled(LOCAL, UTILITY, name="till", disabled=True, reason="left")
    with pytest.raises(NotSignedIn, match="disabled"):
        await access.principal_of(f"Bearer {till_key}")
    await principals.set_disabled(LOCAL, UTILITY, name="till", disabled=False, reason="back")
    clock.pass_s(CACHE_S_MAX)

    signed_in = await access.principal_of(f"Bearer {till_key}")

    assert signed_in.principal.name == "till"


async def test_a_key_is_read_from_the_database_once_a_second_at_most(
    access: Access, database: AnyDatabase, till_key: str
) -> None:
    first = await access.principal_of(f"Bearer {till_key}")
    await database.close()

    assert await access.principal_of(f"Bearer {till_key}") == first


async def test_the_text_of_a_key_is_nowhere_in_the_data_folder(
    database: AnyDatabase, tmp_path: Path, till_key: str
) -> None:
    await database.close()

    assert files_holding(tmp_path, till_key) == []


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"name": "no spaces"}, "bad_name"),
        ({"name": ""}, "bad_name"),
        ({"kind": "robot"}, "bad_kind"),
        ({"roles": ["king"]}, "unknown_role"),
        ({"roles": []}, "unknown_role"),
        ({"branch_code": "north"}, "unknown_branch"),
    ],
)
async def test_a_principal_that_makes_no_sense_is_refused(
    principals: Principals, change: dict[str, object], code: str
) -> None:
    asked: dict[str, object] = {
        "name": "ann",
        "kind": "person",
        "roles": ["operator"],
        "branch_code": "main",
        "reason": WHY,
    }

    with pytest.raises(Refused) as caught:
        await principals.add_principal(LOCAL, UTILITY, **{**asked, **change})  # type: ignore[arg-type]  # wrong on purpose

    assert caught.value.code == code


async def test_a_name_and_a_branch_are_given_once(principals: Principals, till_key: str) -> None:
    with pytest.raises(Conflict, match="till"):
        await principals.add_principal(
            LOCAL,
            UTILITY,
            name="till",
            kind="person",
            roles=["admin"],
            branch_code="main",
            reason=WHY,
        )
    with pytest.raises(Conflict, match="main"):
        await principals.add_branch(LOCAL, UTILITY, code="main", name="Main", reason=WHY)


async def test_lists_show_principals_and_keys_but_no_key_text(
    principals: Principals, till_key: str
) -> None:
    await principals.add_branch(LOCAL, UTILITY, code="north", name="North", reason=WHY)
    await principals.add_principal(
        LOCAL,
        UTILITY,
        name="ann",
        kind="person",
        roles=["supervisor", "auditor"],
        branch_code="north",
        reason=WHY,
    )

    listed = await principals.principals(UTILITY)
    keys = await principals.keys(UTILITY, "till")

    assert [(one.name, one.roles, one.branch_code) for one in listed] == [
        ("ann", ("auditor", "supervisor"), "north"),
        ("till", ("vendor",), "main"),
    ]
    assert [(key.label, key.revoked_at) for key in keys] == [("shop", None)]
    assert till_key not in repr(keys)


async def test_a_key_of_somebody_else_is_not_found(
    principals: Principals, access: Access, till_key: str
) -> None:
    signed_in = await access.principal_of(f"Bearer {till_key}")
    await principals.add_principal(
        LOCAL,
        UTILITY,
        name="ann",
        kind="person",
        roles=["admin"],
        branch_code="main",
        reason=WHY,
    )

    with pytest.raises(NotFound) as caught:
        await principals.revoke_key(
            LOCAL, UTILITY, name="ann", key_id=signed_in.api_key_id, reason="wrong"
        )

    assert caught.value.code == "unknown_key"


async def test_every_change_is_an_act_with_its_reason_and_origin(
    database: AnyDatabase, principals: Principals, tmp_path: Path, till_key: str
) -> None:
    await principals.set_disabled(LOCAL, UTILITY, name="till", disabled=True, reason="left")
    acts = Behind(tmp_path).rows("SELECT what, subject, reason, address FROM act ORDER BY id")

    assert [tuple(act.values()) for act in acts] == [
        ("principal.add", "till", WHY, "local:test"),
        ("key.add", "till", WHY, "local:test"),
        ("principal.disable", "till", "left", "local:test"),
    ]
