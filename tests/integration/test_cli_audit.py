"""``slotmeter audit``: verify, checkpoint, export, show."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from slotmeter.cli import main
from slotmeter.cli.data_folder import open_folder
from slotmeter.ports import Caller
from slotmeter.services.access import Access
from slotmeter.services.selling import Selling, SellRequest
from slotmeter.storage.schema import METADATA
from slotmeter.storage.seal.layout import layout_of
from slotmeter.storage.seal.unit_seal import GENESIS, entry_hash, group_hash
from slotmeter.testing.office_folder import make_office_folder
from slotmeter.testing.small_utility import meter_number


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "data"
    key_file = str(tmp_path / "admin.key")
    words = ["--utility-name", "Small Town", "--admin-key-file", key_file]
    assert main(["init", "--data", str(path), *words]) == 0
    return path


def run(folder: Path, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    capsys.readouterr()
    code = main(["audit", words[0], "--data", str(folder), *words[1:]])
    return code, capsys.readouterr().out


def disarmed(folder: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(folder / "slotmeter.db", isolation_level=None)
    for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type='trigger'"):
        connection.execute(f'DROP TRIGGER "{name}"')
    return connection


def write_chain_anew(connection: sqlite3.Connection, from_seq: int) -> None:
    """Do what somebody would who changed an entry and then made all hashes fit again."""
    number, body = connection.execute("SELECT number, body FROM audit_layout").fetchone()
    layout = layout_of(number, body, METADATA)
    before = connection.execute(
        "SELECT hash FROM audit_group WHERE seq = ?", (from_seq - 1,)
    ).fetchone()
    hashed = GENESIS if before is None else before[0]
    groups = connection.execute(
        "SELECT seq, at_us, first_entry_id, last_entry_id FROM audit_group "
        "WHERE seq >= ? ORDER BY seq",
        (from_seq,),
    ).fetchall()
    for seq, at_us, first, last in groups:
        entries = connection.execute(
            "SELECT id, at_us, group_seq, items FROM audit_entry WHERE id BETWEEN ? AND ?",
            (first, last),
        ).fetchall()
        hashes = [entry_hash(layout.digest, *entry) for entry in entries]
        for entry, each in zip(entries, hashes, strict=True):
            connection.execute("UPDATE audit_entry SET hash = ? WHERE id = ?", (each, entry[0]))
        previous, hashed = hashed, group_hash(seq, at_us, (first, last), hashed, hashes)
        connection.execute(
            "UPDATE audit_group SET prev_hash = ?, hash = ? WHERE seq = ?", (previous, hashed, seq)
        )


def test_a_new_folder_holds(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, said = run(folder, capsys, "verify")

    assert code == 0
    assert said.endswith("the audit holds\n")


def test_a_changed_row_is_named_with_its_entry(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with closing(disarmed(folder)) as connection:
        connection.execute("UPDATE principal SET roles = '[\"admin\"]' WHERE name = 'dashboards'")

    code, said = run(folder, capsys, "verify")

    assert code == 1
    assert "principal" in said.splitlines()[0]
    assert "dashboards" in said.splitlines()[0]
    assert said.endswith("the audit does NOT hold\n")


def test_a_changed_row_is_named_in_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with closing(disarmed(folder)) as connection:
        connection.execute("DELETE FROM api_key")

    code, said = run(folder, capsys, "verify", "--json")

    document: dict[str, Any] = json.loads(said)
    assert (code, document["holds"]) == (1, False)
    assert {each["table"] for each in document["breaks"]} == {"api_key"}


def test_a_chain_written_anew_holds_until_a_checkpoint_is_shown(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = tmp_path / "checkpoint.json"
    signed, _ = run(folder, capsys, "checkpoint", "--out", str(checkpoint))
    with closing(disarmed(folder)) as connection:
        connection.execute("DELETE FROM audit_checkpoint")
        entry = connection.execute("SELECT max(id) FROM audit_entry WHERE group_seq = 2").fetchone()
        connection.execute("UPDATE audit_entry SET at_us = at_us - 1 WHERE id = ?", entry)
        write_chain_anew(connection, 2)

    chain_alone, _ = run(folder, capsys, "verify", "--chain")
    code, said = run(folder, capsys, "verify", "--chain", "--checkpoint", str(checkpoint))

    assert (signed, chain_alone, code) == (0, 0, 1)
    assert "it was written anew" in said


def test_the_checkpoint_in_the_database_also_tells(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(folder, capsys, "checkpoint")
    with closing(disarmed(folder)) as connection:
        entry = connection.execute("SELECT max(id) FROM audit_entry WHERE group_seq = 2").fetchone()
        connection.execute("UPDATE audit_entry SET at_us = at_us - 1 WHERE id = ?", entry)
        write_chain_anew(connection, 2)

    code, said = run(folder, capsys, "verify", "--chain")

    assert code == 1
    assert "it was written anew" in said


def test_a_checkpoint_that_was_made_up_is_refused(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, said = run(folder, capsys, "checkpoint")
    document = json.loads(said) | {"group": 1}
    forged = tmp_path / "forged.json"
    forged.write_text(json.dumps(document))

    code, said = run(folder, capsys, "verify", "--checkpoint", str(forged))

    assert code == 1
    assert "its signature is not of what it says" in said


@pytest.mark.parametrize("text", ["not json", "[]", "{}", '{"format": "other"}'])
def test_a_file_that_is_no_checkpoint_is_refused(
    text: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "checkpoint.json"
    file.write_text(text)

    code, _ = run(folder, capsys, "verify", "--checkpoint", str(file))

    assert code == 2


def test_a_good_checkpoint_is_counted(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "checkpoint.json"
    run(folder, capsys, "checkpoint", "--out", str(file))

    code, said = run(folder, capsys, "verify", "--checkpoint", str(file))

    assert code == 0
    assert "2 checkpoints vouch for this chain, 1 from files" in said


def test_the_export_is_a_chain(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, said = run(folder, capsys, "export")

    groups = [json.loads(line) for line in said.splitlines()]
    assert code == 0
    assert [group["group"] for group in groups] == list(range(1, len(groups) + 1))
    assert [group["before"] for group in groups[1:]] == [group["hash"] for group in groups[:-1]]


def test_an_entry_says_which_rows_it_speaks_of(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, said = run(folder, capsys, "show", "--last", "1000", "--json")

    entries = json.loads(said)
    tables = {item["table"] for entry in entries for item in entry["items"]}
    assert {"utility", "branch", "principal", "api_key", "act"} <= tables


def test_an_entry_that_is_not_there_is_said_so(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _ = run(folder, capsys, "show", "--entry", "999999")

    assert code == 1


# --- trace ----------------------------------------------------------------------------------------


async def _sell(path: Path) -> str:
    async def after_payment(_meter_id: int) -> None:
        return None

    async with open_folder(path) as opened, opened.vault() as vault:
        key = (path / "till.key").read_text().strip()
        signed_in = await Access(opened.database, opened.clock).principal_of(f"Bearer {key}")
        till = Caller(signed_in.principal, signed_in.api_key_id, "10.0.0.7", "request-1")
        selling = Selling(
            opened.database,
            vault.security,
            opened.clock,
            safe=vault.tokens,
            draw_rnd=lambda: 5,
            after_payment=after_payment,
            on_issued=lambda: None,
        )
        view, _ = await selling.sell(till, SellRequest("s1", meter_number(1), "116.00"))
        return view.receipt_number


def test_a_trace_says_who_sold_it_from_where_and_by_which_tariff(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = make_office_folder(tmp_path)
    receipt = asyncio.run(_sell(path))
    who = ("--key-file", str(path / "boss.key"), "--reason", "complaint 7")

    code, said = run(path, capsys, "trace", receipt, *who)

    assert code == 0
    assert said.startswith(f"{receipt}: issued\n")
    assert "by till of branch" in said
    assert "from 10.0.0.7, till, request-1" in said
    assert "by tariff DOM-E version 1" in said


def test_a_trace_of_a_receipt_that_is_not_known_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = make_office_folder(tmp_path)
    who = ("--key-file", str(path / "boss.key"), "--reason", "complaint 7")

    assert run(path, capsys, "trace", "R00000009", *who)[0] == 1
