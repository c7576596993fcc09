"""Config entries in the database: what is kept, what is sealed, and what is refused."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from slotmeter.devices.entries import EntryState, EntryStatus
from slotmeter.errors import ConfigError, Conflict, NotFound, Refused, SlotmeterError
from slotmeter.ports import Caller
from slotmeter.services.entries import EntryChange, EntryDesk, EntryWish
from slotmeter.services.entry_files import EntryFile, FileEntry, named
from slotmeter.services.integrations import (
    FoundIntegrations,
    Integration,
    IntegrationKind,
    Level,
    Manifest,
)
from slotmeter.storage.opening import AnyDatabase
from slotmeter.testing.clocks import FakeClock
from slotmeter.testing.databases import Behind, opened_in
from slotmeter.testing.sample_safe import sample_secret_box
from slotmeter.testing.small_utility import SmallUtility
from slotmeter.units import epoch_us

pytestmark = pytest.mark.both_databases

CLEAR = "open sesame"
MANIFEST = Manifest(
    key="pigeon",
    kind=IntegrationKind.MEDIUM,
    name="Carrier pigeons",
    version="1.0",
    iot_class="local_push",
    documentation="docs/pigeons.md",
    codeowners=("@town",),
    quality=Level.NONE,
    secrets=("whistle", "seed"),
)
FOUND = FoundIntegrations(
    MappingProxyType({"pigeon": Integration(MANIFEST, "pigeon", Path())}),
    media=frozenset({"pigeon", "owl"}),
)


@dataclass
class Town:
    """A database with a utility, and somebody who changes entries."""

    database: AnyDatabase
    clock: FakeClock
    caller: Caller
    behind: Behind
    wakes: list[int] = field(default_factory=list)
    live: dict[int, EntryStatus] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.box = sample_secret_box()
        self.desk = EntryDesk(
            self.database,
            self.clock,
            self.box,
            FOUND,
            on_change=lambda: self.wakes.append(1),
            live=self.live.get,
        )
        self.file = EntryFile(self.database, self.clock, self.box)

    async def add(self, key: str = "one", **parts: Any) -> Any:
        wish = EntryWish(key=key, **{"medium": "pigeon", **parts})
        return await self.desk.add(self.caller, wish, reason="test")

    async def change(self, key: str = "one", **parts: Any) -> Any:
        self.clock.advance(seconds=1)
        return await self.desk.change(self.caller, key, EntryChange(**parts), reason="test")

    def acts(self) -> list[tuple[str, dict[str, Any]]]:
        rows = self.behind.rows("SELECT what, data FROM act ORDER BY id")
        return [(row["what"], json.loads(row["data"])) for row in rows]


@pytest.fixture
async def town(tmp_path: Path) -> AsyncIterator[Town]:
    clock = FakeClock()
    async with opened_in(tmp_path) as database:
        utility = await SmallUtility(database, epoch_us(clock.now())).make()
        caller = await utility.add_principal("boss", "admin")
        yield Town(database, clock, caller, Behind(tmp_path))


async def test_an_entry_is_kept_as_it_was_made_and_the_supervisor_is_woken(town: Town) -> None:
    made = await town.add(title="Loft", options={"height_m": 12, "names": ["a", "b"]})

    line = await town.desk.entry("one")
    assert line.entry == made
    assert line.entry.options == {"height_m": 12, "names": ["a", "b"]}
    assert line.status.state is EntryState.NOT_LOADED
    assert list(await town.desk.wanted()) == [made]
    assert len(town.wakes) == 1


async def test_secrets_are_sealed_in_the_database_and_in_no_act(town: Town) -> None:
    made = await town.add(secrets={"whistle": CLEAR})
    await town.change(secrets={"seed": CLEAR})

    [row] = town.behind.rows("SELECT * FROM integration_entry")
    whole = json.dumps([row, town.acts()], default=str) + repr(made)
    assert CLEAR not in whole
    assert town.acts()[1][1]["secrets_changed"] == ["seed"]
    entry = (await town.desk.entry("one")).entry
    assert entry.secret_names == ("seed", "whistle")
    assert await town.desk.secrets_of(entry) == {"whistle": CLEAR, "seed": CLEAR}


async def test_a_change_merges_and_none_takes_away(town: Town) -> None:
    await town.add(options={"a": 1, "b": 2}, secrets={"whistle": CLEAR, "seed": "s"})
    entry = await town.change(
        title="New", options={"b": 3, "a": None}, secrets={"seed": None}, enabled=False
    )

    assert (entry.title, entry.options, entry.enabled) == ("New", {"b": 3}, False)
    assert await town.desk.secrets_of(entry) == {"whistle": CLEAR}
    kept = await town.desk.wanted()
    assert list(kept) == [entry]


async def test_only_options_that_the_manifest_names_are_taken_and_old_ones_may_stay(
    town: Town,
) -> None:
    await town.add(options={"heigth": 12})
    manifest = replace(MANIFEST, options=("height",))
    found = {"pigeon": Integration(manifest, "pigeon", Path())}
    town.desk.integrations = FoundIntegrations(MappingProxyType(found), media=FOUND.media)
    for options in ({"hight": 3}, {"heigth": 3}):
        with pytest.raises(Refused) as no:
            await town.change(options=options)
        assert no.value.code == "unknown_option"
        assert "; it has height" in no.value.message
    titled = await town.change(title="Loft")
    changed = await town.change(options={"heigth": None, "height": 12})

    assert titled.options == {"heigth": 12}
    assert changed.options == {"height": 12}


async def test_an_entry_whose_package_is_gone_can_be_switched_off(town: Town) -> None:
    await town.add(secrets={"whistle": CLEAR})
    town.desk.integrations = FoundIntegrations(MappingProxyType({}))

    entry = await town.change(enabled=False)

    assert (entry.enabled, entry.secret_names) == (False, ("whistle",))


async def test_a_secret_that_cannot_be_opened_any_more_is_given_anew(town: Town) -> None:
    await town.add(secrets={"whistle": CLEAR})
    sealed = json.dumps({"whistle": town.box.seal("somebody else", "x")})
    town.behind.damage(f"UPDATE integration_entry SET secrets = '{sealed}'")  # noqa: S608  ours
    with pytest.raises(SlotmeterError):
        await town.change(secrets={"seed": "s"})

    entry = await town.change(secrets={"whistle": "new"})

    assert await town.desk.secrets_of(entry) == {"whistle": "new"}


async def test_every_change_is_an_act_with_before_and_after(town: Town) -> None:
    await town.add(options={"a": 1})
    await town.change(options={"a": 2})
    town.live[(await town.desk.entry("one")).entry.id] = EntryStatus(EntryState.FAILED, "x")
    await town.desk.retry(town.caller, "one", reason="test")
    await town.desk.remove(town.caller, "one", reason="test")

    acts = town.acts()
    assert [what for what, _ in acts] == [
        "entry.add",
        "entry.change",
        "entry.retry",
        "entry.remove",
    ]
    assert acts[0][1]["before"] is None
    assert acts[1][1] == {"before": {"options": {"a": 1}}, "after": {"options": {"a": 2}}}
    assert acts[3][1]["after"] is None


async def test_a_removed_entry_is_gone_and_its_devices_and_log_stay(town: Town) -> None:
    utility = SmallUtility(town.database, epoch_us(town.clock.now()), code="other")
    await utility.make()
    entry = await town.add()
    await town.desk.note(entry, EntryStatus(EntryState.LOADED, "", 1))
    await town.desk.remove(town.caller, "one", reason="test")

    with pytest.raises(NotFound) as caught:
        await town.desk.entry("one")
    assert caught.value.code == "entry_unknown"
    assert town.behind.values("SELECT state FROM entry_log") == ["loaded"]
    again = await town.add()
    assert again.id != entry.id


REFUSALS: list[tuple[str, Callable[[Town], Any]]] = [
    ("bad_entry_key", lambda town: town.add("No Key")),
    ("unknown_medium", lambda town: town.add(medium="smoke")),
    ("bad_title", lambda town: town.add(title="a\nb")),
    ("bad_options", lambda town: town.add(options={"a b": 1})),
    ("bad_options", lambda town: town.add(options={"a": float("nan")})),
    ("bad_options", lambda town: town.add(options={"a": "x" * 20_000})),
    ("bad_options", lambda town: town.add(options={f"a{at}": 1 for at in range(65)})),
    ("secret_in_options", lambda town: town.add(options={"whistle": CLEAR})),
    ("unknown_secret", lambda town: town.add(secrets={"password": CLEAR})),
    ("unknown_secret", lambda town: town.add(medium="owl", secrets={"whistle": CLEAR})),
    ("bad_secret", lambda town: town.add(secrets={"whistle": ""})),
    ("nothing_to_change", lambda town: town.change()),
    ("secret_in_options", lambda town: town.change(options={"seed": CLEAR})),
    ("unknown_secret", lambda town: town.change(secrets={"key": CLEAR})),
]


@pytest.mark.parametrize(
    ("code", "do"), REFUSALS, ids=[f"{c}-{n}" for n, (c, _) in enumerate(REFUSALS)]
)
async def test_what_cannot_be_is_refused_by_code_and_shows_no_secret(
    town: Town, code: str, do: Callable[[Town], Any]
) -> None:
    await town.desk.add(town.caller, EntryWish("one", "pigeon"), reason="test")
    with pytest.raises(Refused) as caught:
        await do(town)

    assert caught.value.code == code
    assert CLEAR not in caught.value.message
    assert len(await town.desk.wanted()) == 1


async def test_a_key_is_given_once(town: Town) -> None:
    await town.add()
    with pytest.raises(Conflict) as caught:
        await town.add()

    assert caught.value.code == "entry_exists"


@pytest.mark.parametrize("state", [EntryState.LOADED, EntryState.SETTING_UP])
async def test_an_entry_that_runs_is_not_tried_again(town: Town, state: EntryState) -> None:
    entry = await town.add()
    town.live[entry.id] = EntryStatus(state)
    with pytest.raises(Conflict) as caught:
        await town.desk.retry(town.caller, "one", reason="test")

    assert caught.value.code == "entry_not_waiting"


async def test_a_retry_is_a_change_that_every_server_sees(town: Town) -> None:
    entry = await town.add()
    after = await town.desk.retry(town.caller, "one", reason="test")

    assert after.changed_us > entry.changed_us
    assert list(await town.desk.wanted()) == [after]


async def test_states_are_listed_from_the_log_where_no_entry_runs(town: Town) -> None:
    for key in ("one", "two"):
        entry = await town.add(key)
    await town.desk.note(entry, EntryStatus(EntryState.SETTING_UP, "", 5))
    await town.desk.note(entry, EntryStatus(EntryState.FAILED, "bad_option: no", 6))

    lines = await town.desk.entries()
    assert [(line.entry.key, line.status.state) for line in lines] == [
        ("one", EntryState.NOT_LOADED),
        ("two", EntryState.FAILED),
    ]
    assert [row["state"] for row in await town.desk.log("two")] == ["failed", "setting_up"]
    assert [row["state"] for row in await town.desk.log("two", limit=1)] == ["failed"]
    assert [line.entry.key for line in await town.desk.entries(after="one")] == ["two"]


# --- entries of the file ------------------------------------------------------------------------


async def test_the_file_makes_changes_and_removes_its_entries_and_no_other(town: Town) -> None:
    await town.add("mine")
    await town.file.take_over([FileEntry("", "pigeon", "A"), FileEntry("two", "owl")])
    first = {entry.key: entry for entry in await town.desk.wanted()}
    town.clock.advance(seconds=5)
    kept = await town.file.take_over([FileEntry("", "pigeon", "B", {"x": 1})])

    assert set(first) == {"mine", "pigeon", "two"}
    assert [(each.key, each.title) for each in kept] == [("pigeon", "B")]
    assert kept[0].id == first["pigeon"].id
    assert {each.key for each in await town.desk.wanted()} == {"mine", "pigeon"}
    assert [what for what, _ in town.acts()][1:] == [
        *["entry.add"] * 2,
        "entry.remove",
        "entry.change",
    ]


async def test_a_file_that_says_the_same_changes_nothing(town: Town) -> None:
    tables = [FileEntry("", "pigeon", "A", {"x": 1}, {"whistle": CLEAR})]
    (first,) = await town.file.take_over(tables)
    town.clock.advance(seconds=5)
    (second,) = await town.file.take_over(tables)

    assert first == second
    assert len(town.acts()) == 1


async def test_another_secret_of_the_file_takes_the_place_of_the_old_one(town: Town) -> None:
    await town.file.take_over([FileEntry("", "pigeon", secrets={"whistle": "old"})])
    (entry,) = await town.file.take_over([FileEntry("", "pigeon", secrets={"whistle": CLEAR})])

    assert await town.desk.secrets_of(entry) == {"whistle": CLEAR}


async def test_another_medium_under_a_key_is_another_entry(town: Town) -> None:
    (first,) = await town.file.take_over([FileEntry("one", "pigeon")])
    (second,) = await town.file.take_over([FileEntry("one", "owl")])

    assert first.id != second.id
    assert list(await town.desk.wanted()) == [second]


async def test_an_entry_of_the_file_is_changed_there_only(town: Town) -> None:
    await town.file.take_over([FileEntry("one", "pigeon")])
    attempts = [
        town.change(title="x"),
        town.desk.remove(town.caller, "one", reason="test"),
    ]
    for attempt in attempts:
        with pytest.raises(Conflict) as caught:
            await attempt
        assert caught.value.code == "entry_of_file"


async def test_the_file_cannot_take_a_key_that_was_given_at_run_time(town: Town) -> None:
    await town.add("one")
    with pytest.raises(ConfigError) as caught:
        await town.file.take_over([FileEntry("one", "pigeon")])

    assert caught.value.code == "entry_key_taken"


def test_tables_without_a_key_are_numbered_in_their_order() -> None:
    tables = [FileEntry("", "owl"), FileEntry("", "owl"), FileEntry("owl", "owl")]

    assert list(named(tables)) == ["owl", "owl-2", "owl-3"]


def test_two_tables_with_one_key_are_refused() -> None:
    with pytest.raises(SlotmeterError) as caught:
        named([FileEntry("a", "owl"), FileEntry("a", "pigeon")])

    assert caught.value.code == "entry_key_doubled"
