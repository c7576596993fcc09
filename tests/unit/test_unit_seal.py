"""The seals of a unit of work: what goes into an entry, and how groups chain."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

import msgspec
import pytest
from sqlalchemy import BigInteger, Column, MetaData, Table, Text

from slotmeter.storage.schema import METADATA
from slotmeter.storage.seal.layout import layout_of, next_layout, unsealed_faces
from slotmeter.storage.seal.unit_seal import (
    GENESIS,
    GroupSeal,
    Head,
    Kind,
    Layout,
    SealedEntry,
    Seals,
    Touch,
    UnitSeal,
    digest_of,
    encode_row,
)

NOW_US = 1_790_000_000_000_000
BRANCH = {"id": 7, "utility_id": 1, "code": "01", "name": "Main street"}
POSTING = {
    "utility_id": 1,
    "journal_id": 20,
    "ledger_account_id": 3,
    "amount_minor": 5,
    "currency": "KES",
}


def tables() -> Layout:
    return layout_of(*next_layout(None, METADATA), METADATA)


LAYOUT = tables()


def new_ids(first: int) -> Callable[[], int]:
    return count(first).__next__


def items_of(entry: SealedEntry | None) -> list[object]:
    assert entry is not None
    packed = entry.step.row["items"]
    assert isinstance(packed, bytes)
    items: list[object] = msgspec.msgpack.decode(packed)
    return items


def sealed(*steps: Callable[[UnitSeal], None], entry_id: int = 100) -> list[object]:
    unit = UnitSeal(Seals(LAYOUT))
    for step in steps:
        step(unit)
    return items_of(unit.entry(new_ids(entry_id), NOW_US, 1))


def touch(table: str, *columns: str) -> Touch:
    found = LAYOUT.updated(table, columns)
    assert found is not None
    return found


def code(table: str, face: int, kind: Kind) -> int:
    return LAYOUT.tables[table].code_of(face, kind)


def test_a_unit_that_writes_nothing_sealed_has_no_entry() -> None:
    unit = UnitSeal(Seals(LAYOUT))

    unit.inserted("cursor", {"name": "charging", "position": 1, "at_us": 2})

    assert unit.entry(new_ids(1), NOW_US, 1) is None


def test_a_row_of_a_changing_face_has_its_digest_in_the_entry() -> None:
    items = sealed(lambda unit: unit.inserted("branch", BRANCH))

    digest = digest_of(encode_row((7, 1, "01", "Main street")))
    assert items == [b"", code("branch", 0, Kind.INSERT), 93, digest]


def test_rows_of_final_faces_share_one_digest_and_have_short_names() -> None:
    first, second = {"id": 21, **POSTING}, {"id": 22, **POSTING}

    items = sealed(
        lambda unit: unit.inserted("posting", first), lambda unit: unit.inserted("posting", second)
    )

    rows = [encode_row((at, 1, 20, 3, 5, "KES")) for at in (21, 22)]
    assert items[0] == digest_of(b"".join(rows))
    assert items[1:3] == [code("posting", 0, Kind.INSERT), [79, 1]]
    assert isinstance(items[3], bytes)
    assert len(items[3]) == 8


def test_columns_that_an_insert_leaves_out_are_sealed_as_the_database_stores_them() -> None:
    meter = dict.fromkeys(METADATA.tables["meter"].c.keys(), "x") | {"id": 5, "transfer": "units"}
    less = {name: value for name, value in meter.items() if name != "transfer"}

    whole = sealed(lambda unit: unit.inserted("meter", meter))

    assert sealed(lambda unit: unit.inserted("meter", less)) == whole


def test_an_update_seals_only_the_faces_that_it_touches() -> None:
    delivery = touch("sale", "delivery")

    items = sealed(lambda unit: unit.touched(delivery, [(9, "sent", 4, None, None)]))

    digest = digest_of(encode_row((9, "sent", 4, None, None)))
    assert delivery.columns == ("id", "delivery", "sent_us", "accepted_us", "verified_us")
    assert items == [b"", code("sale", 2, Kind.UPDATE), 91, digest]


def test_a_row_inserted_and_changed_by_one_unit_is_sealed_as_it_is_in_the_end() -> None:
    changed = touch("branch", "name")

    items = sealed(
        lambda unit: unit.inserted("branch", BRANCH),
        lambda unit: unit.touched(changed, [(7, 1, "01", "High street")]),
    )

    digest = digest_of(encode_row((7, 1, "01", "High street")))
    assert items == [b"", code("branch", 0, Kind.INSERT), 93, digest]


def test_a_row_changed_and_removed_by_one_unit_is_sealed_as_removed() -> None:
    changed, removed = touch("free_claim", "units"), LAYOUT.removed("free_claim")
    assert removed is not None

    items = sealed(
        lambda unit: unit.touched(changed, [(7, 1, 2, "x", "2026-11", 4, 5)]),
        lambda unit: unit.touched(removed, [(7,)]),
    )

    assert items == [b"", code("free_claim", 0, Kind.DELETE), 93, b""]


def test_a_row_inserted_and_removed_by_one_unit_leaves_no_entry() -> None:
    unit = UnitSeal(Seals(LAYOUT))
    claim = dict.fromkeys(METADATA.tables["free_claim"].c.keys(), 1)
    removed = LAYOUT.removed("free_claim")
    assert removed is not None

    unit.inserted("free_claim", claim)
    unit.touched(removed, [(1,)])

    assert unit.entry(new_ids(100), NOW_US, 1) is None


def test_balances_are_not_sealed() -> None:
    assert LAYOUT.updated("ledger_account", ["balance_minor"]) is None


@pytest.mark.parametrize(("table", "column"), [("sale", "tender_minor"), ("posting", "currency")])
def test_an_update_of_what_is_final_is_refused(table: str, column: str) -> None:
    with pytest.raises(ValueError, match=f"{table}.{column} is sealed for good"):
        LAYOUT.updated(table, [column])


def test_a_delete_of_what_is_final_is_refused() -> None:
    with pytest.raises(ValueError, match="rows of sale are never removed"):
        LAYOUT.removed("sale")


def test_the_hash_of_an_entry_changes_with_each_of_its_parts() -> None:
    def hashed(row: dict[str, object], entry_id: int, at_us: int, group: int) -> bytes:
        unit = UnitSeal(Seals(LAYOUT))
        unit.inserted("branch", row)
        entry = unit.entry(new_ids(entry_id), at_us, group)
        assert entry is not None
        return entry.hash

    hashes = {
        hashed(dict(BRANCH), 100, 1, 1),
        hashed({**BRANCH, "name": "x"}, 100, 1, 1),
        hashed(dict(BRANCH), 101, 1, 1),
        hashed(dict(BRANCH), 100, 2, 1),
        hashed(dict(BRANCH), 100, 1, 2),
    }

    assert len(hashes) == 5


def group_of(head: Head, *names: str) -> dict[str, object]:
    group = GroupSeal(head)
    new_id = new_ids(100)
    for name in names:
        unit = UnitSeal(Seals(LAYOUT))
        unit.inserted("branch", {**BRANCH, "name": name})
        entry = unit.entry(new_id, NOW_US, group.seq)
        assert entry is not None
        group.add(entry)
    closed = group.group(NOW_US)
    assert closed is not None
    return dict(closed.row)


def test_groups_are_numbered_from_one_and_hold_the_one_before() -> None:
    first = group_of(Head(), "a", "b")
    second = group_of(Head(1, first["hash"]), "c")  # type: ignore[arg-type]  # bytes

    assert (first["seq"], first["prev_hash"], first["entries"]) == (1, GENESIS, 2)
    assert (first["first_entry_id"], first["last_entry_id"]) == (100, 101)
    assert (second["seq"], second["prev_hash"]) == (2, first["hash"])


def test_the_order_of_entries_is_part_of_a_group() -> None:
    assert group_of(Head(), "a", "b")["hash"] != group_of(Head(), "b", "a")["hash"]


def test_a_commit_without_entries_has_no_group() -> None:
    assert GroupSeal(Head()).group(NOW_US) is None


def test_new_tables_and_columns_make_a_layout_that_keeps_the_old_faces() -> None:
    def metadata(*columns: str) -> MetaData:
        made = MetaData()
        names = [Column(name, Text, server_default="x") for name in columns]
        Table("b", made, Column("id", BigInteger, primary_key=True), *names)
        return made

    old, grown = metadata("one"), metadata("one", "two")
    Table("a", grown, Column("id", BigInteger, primary_key=True), Column("three", Text))
    first = next_layout(None, old)
    second = next_layout(first, grown)

    before, after = layout_of(*first, grown), layout_of(*second, grown)
    assert next_layout(first, old) == first
    assert after.tables["b"].faces[:1] == before.tables["b"].faces
    assert [(table.name, at) for table, at in unsealed_faces(before, after)] == [("b", 1), ("a", 0)]


def test_a_table_without_a_number_as_its_key_is_refused() -> None:
    made = MetaData()
    Table("b", made, Column("code", Text, primary_key=True))

    with pytest.raises(ValueError, match="table b has no whole number 'id'"):
        next_layout(None, made)
