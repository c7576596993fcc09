"""Tokens in the database are sealed, and are opened for those alone who may see them."""

from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from slotmeter.cli import main
from slotmeter.cli.data_folder import open_folder
from slotmeter.errors import Unavailable
from slotmeter.ports import Changes, Rows
from slotmeter.security.software import create_vault
from slotmeter.services import token_secrecy
from slotmeter.services.receipts import Receipts
from slotmeter.services.token_secrecy import SealOldTokens
from slotmeter.testing.api_town import ApiTown
from slotmeter.testing.old_database import Upgraded, open_old_database
from slotmeter.testing.sample_safe import sample_safe
from slotmeter.testing.shop import Shop, open_shop
from slotmeter.vending.receipts import group_digits

FIXTURE = Path(__file__).parents[1] / "fixtures" / "revision_0002"
SAID: dict[str, Any] = json.loads(FIXTURE.with_suffix(".json").read_text(encoding="utf-8"))
OLD_TOKENS = sorted(
    {
        token
        for sale_id, sale in SAID["sales"].items()
        if sale_id != "pending"
        for token in sale["tokens"]
    }
)


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    async with open_shop(tmp_path) as opened:
        yield opened


@pytest.fixture
async def old(tmp_path: Path) -> AsyncIterator[Upgraded]:
    async with open_old_database(FIXTURE, tmp_path) as opened:
        yield opened


def bytes_in(folder: Path) -> bytes:
    """Everything in the files of a folder, the database's log among them."""
    return b"".join(path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file())


# --- new sales ----------------------------------------------------------------------------------


async def test_no_byte_of_the_database_shows_a_token_that_was_sold(
    shop: Shop, tmp_path: Path
) -> None:
    meter = await shop.utility.add_meter("electricity")

    sale = await shop.sell(meter.number)

    assert sale.token is not None
    found = bytes_in(tmp_path)
    assert len(found) > 100_000
    assert sale.token.encode() not in found
    assert group_digits(sale.token).encode() not in found


async def test_a_token_is_found_by_its_index(shop: Shop) -> None:
    meter = await shop.utility.add_meter("electricity")

    sale = await shop.sell(meter.number)

    index = sample_safe().index(sale.token or "")
    assert shop.column("SELECT digits_index FROM token") == [index]


async def test_a_sale_that_is_asked_for_again_shows_its_token(shop: Shop) -> None:
    meter = await shop.utility.add_meter("electricity")
    sale = await shop.sell(meter.number)

    again = await shop.sell(meter.number)
    looked_up = await shop.selling.sale(shop.till, "s1")

    assert sale.token
    assert again.token == sale.token
    assert looked_up.tokens == sale.tokens


async def test_a_token_that_another_vault_sealed_is_unavailable(shop: Shop) -> None:
    meter = await shop.utility.add_meter("electricity")
    await shop.sell(meter.number)
    shop.sql("UPDATE token SET digits = '1.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA'")

    with pytest.raises(Unavailable) as refusal:
        await shop.selling.sale(shop.till, "s1")

    assert refusal.value.code == "token_unreadable"


# --- who sees what ------------------------------------------------------------------------------


async def test_whoever_reads_the_tokens_of_another_leaves_an_act(shop: Shop) -> None:
    meter = await shop.utility.add_meter("electricity")
    sale = await shop.sell(meter.number)
    auditor = await shop.utility.add_principal("Auditor", "auditor")
    receipts = Receipts(shop.database, shop.clock, sample_safe())

    own = await receipts.receipt(shop.till, sale.receipt_number)
    foreign = await receipts.receipt(auditor, sale.receipt_number)

    assert own.token == foreign.token == sale.token
    acts = shop.rows_of("SELECT subject, principal_id FROM act WHERE what = 'token.read'")
    assert acts == [{"subject": sale.receipt_number, "principal_id": auditor.principal.id}]


async def test_who_may_only_look_sees_the_last_four_digits_and_leaves_no_act(shop: Shop) -> None:
    meter = await shop.utility.add_meter("electricity")
    sale = await shop.sell(meter.number)
    viewer = await shop.utility.add_principal("Viewer", "viewer")
    receipts = Receipts(shop.database, shop.clock, sample_safe())

    seen = await receipts.receipt(viewer, sale.receipt_number)

    assert sale.token is not None
    assert seen.token == "*" * 16 + sale.token[-4:]
    assert [each.digits for each in seen.tokens] == [seen.token]
    assert shop.column("SELECT count(*) FROM act WHERE what = 'token.read'") == [0]


async def test_a_masked_receipt_is_one_by_the_document_of_the_api(api: ApiTown) -> None:
    await api.join("till", "vendor")
    await api.join("viewer", "viewer")
    meter = await api.utility.add_meter("electricity")
    body = {"sale_id": "s1", "meter": meter.number, "tendered": "116.00"}
    sale = await api.post("/api/v1/sales", "till", json=body)
    number = sale.json["receipt_number"]

    seen = await api.get(f"/api/v1/receipts/{number}", "viewer")
    page = await api.get(f"/api/v1/receipts/{number}?format=text", "viewer")

    assert seen.json["token_grouped"] == f"**** **** **** **** {sale.json['token'][-4:]}"
    for answer in (seen, page):
        assert answer.status == 200
        assert sale.json["token"] not in answer.content.decode()
        assert group_digits(sale.json["token"]) not in answer.content.decode()


# --- what an earlier release wrote ----------------------------------------------------------------


async def test_old_tokens_are_sealed_and_read_as_before(old: Upgraded) -> None:
    done = await SealOldTokens(old.database, sample_safe()).run()

    assert done == len(OLD_TOKENS)
    assert old.column("SELECT count(*) FROM token WHERE length(digits) = 20") == [0]
    assert old.column(
        "SELECT count(*) FROM token WHERE digits NOT NULL AND digits_index IS NULL"
    ) == [0]
    for sale_id, said in SAID["sales"].items():
        if sale_id != "pending":
            sale = await old.selling.sale(old.till, sale_id)
            receipt = await old.selling.receipt(old.till, said["receipt_number"])
            assert [each.digits for each in sale.tokens] == said["tokens"]
            assert receipt.token == said["token"]


async def test_sealing_that_was_cut_short_goes_on_where_it_stopped(
    old: Upgraded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(token_secrecy, "BATCH_ROWS", 2)
    run, calls = old.database.run, 0

    async def fails_at_the_third(reads: Any, decide: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise Unavailable("database_unavailable", "the disk is full")
        return await run(reads, decide)

    monkeypatch.setattr(old.database, "run", fails_at_the_third)
    with pytest.raises(Unavailable):
        await SealOldTokens(old.database, sample_safe()).run()

    left = await SealOldTokens(old.database, sample_safe()).run()

    assert left == len(OLD_TOKENS) - 4


async def test_old_tokens_are_gone_from_the_file_after_it_was_rebuilt(
    old: Upgraded, tmp_path: Path
) -> None:
    before = bytes_in(tmp_path)
    await SealOldTokens(old.database, sample_safe()).run()
    await old.database.close()

    with closing(sqlite3.connect(old.path)) as connection:
        connection.execute("VACUUM")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    after = bytes_in(tmp_path)
    assert all(token.encode() in before for token in OLD_TOKENS)
    assert [token for token in OLD_TOKENS if token.encode() in after] == []


async def test_sealing_finds_its_rows_by_the_index(shop: Shop) -> None:
    def nothing(_rows: Rows, _new_id: Any) -> Changes[None]:
        return Changes(None)

    await shop.database.run([], nothing)
    with closing(sqlite3.connect(shop.path)) as connection:
        plan = connection.execute(
            "EXPLAIN QUERY PLAN SELECT id FROM token WHERE id > 5 AND digits IS NOT NULL"
            " AND digits_index IS NULL ORDER BY id LIMIT 500"
        ).fetchall()

    assert any("ix_token_digits_index" in row[-1] for row in plan), plan


# --- what is left of old text -------------------------------------------------------------------


def doctor_of(folder: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """What doctor says of tokens in clear."""
    capsys.readouterr()
    main(["doctor", "--data", str(folder), "--json"])
    findings = json.loads(capsys.readouterr().out)
    found: dict[str, Any] = next(each for each in findings if each["name"] == "tokens_in_clear")
    return found


def test_doctor_tells_of_old_text_until_it_was_scrubbed_and_then_no_byte_of_it_is_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(FIXTURE.with_suffix(".sqlite3"), tmp_path / "slotmeter.db")
    create_vault(tmp_path)
    before = bytes_in(tmp_path)

    in_rows = doctor_of(tmp_path, capsys)
    asyncio.run(_seal(tmp_path))
    in_free_space = doctor_of(tmp_path, capsys)
    scrubbed = main(["vault", "scrub", "--data", str(tmp_path)])
    gone = doctor_of(tmp_path, capsys)

    assert OLD_TOKENS
    assert all(token.encode() in before for token in OLD_TOKENS)
    assert (in_rows["found"], in_rows["detail"]) == (1, "a server that runs seals them; then scrub")
    assert in_free_space["detail"] == "stop the server and run `slotmeter vault scrub` once"
    assert scrubbed == 0
    assert gone["found"] == 0
    after = bytes_in(tmp_path)
    assert [token for token in OLD_TOKENS if token.encode() in after] == []


async def _seal(folder: Path) -> None:
    async with open_folder(folder) as opened, opened.vault() as vault:
        await SealOldTokens(opened.database, vault.tokens).run()
