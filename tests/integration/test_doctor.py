"""The doctor finds what a crash left, and repairs what can be computed again, never history."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from slotmeter.config import Config
from slotmeter.runtime.data_lock import DataLock
from slotmeter.runtime.examination import examine_folder
from slotmeter.services.access import Origin
from slotmeter.services.doctor import Doctor, Finding
from slotmeter.services.sale_begin import ONE_LANE
from slotmeter.services.selling import SellRequest
from slotmeter.services.sole_tokens import SoleTokens
from slotmeter.testing.sample_safe import sample_safe
from slotmeter.testing.shop import Shop, open_shop

ORIGIN = Origin("local:test", "test")
TILL = "SELECT balance_minor, reserved_minor FROM ledger_account WHERE code = 'till:head'"


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    async with open_shop(tmp_path) as opened:
        yield opened


async def examined(shop: Shop, *, repair: bool, serving: bool = False) -> dict[str, Finding]:
    tokens = SoleTokens(
        shop.database, shop.security, sample_safe(), shop.clock, draw_rnd=lambda: 5, tids=ONE_LANE
    )
    doctor = Doctor(shop.database, shop.clock, ORIGIN, shop.selling.recover, tokens.recover)
    findings = await doctor.examine(repair=repair, serving=serving)
    return {finding.name: finding for finding in findings}


async def test_a_sale_between_its_commits_is_found_and_completed(shop: Shop) -> None:
    meter = await shop.utility.add_meter("electricity")
    await shop.first_commit_only(SellRequest("s1", meter.number, "116.00"))

    seen = await examined(shop, repair=False)
    repaired = await examined(shop, repair=True)

    assert seen["sales_between_commits"].found == 1
    assert not seen["sales_between_commits"].holds
    assert repaired["sales_between_commits"].detail == "1 completed, 0 voided"
    assert repaired["sales_between_commits"].holds
    assert shop.column("SELECT state FROM sale") == ["issued"]


async def test_a_sale_that_a_server_is_making_is_left_to_it(shop: Shop) -> None:
    meter = await shop.utility.add_meter("electricity")
    await shop.first_commit_only(SellRequest("s1", meter.number, "116.00"))

    found = await examined(shop, repair=True, serving=True)

    assert found["sales_between_commits"].repaired == 0
    assert shop.column("SELECT state FROM sale") == ["pending"]


@pytest.mark.parametrize(
    ("kind", "spoil"),
    [
        ("balance", "UPDATE ledger_account SET balance_minor = 7 WHERE code = 'till:head'"),
        ("reserved", "UPDATE ledger_account SET reserved_minor = 7 WHERE code = 'till:head'"),
    ],
)
async def test_a_sum_that_is_not_what_the_books_say_is_computed_again_as_an_act(
    shop: Shop, kind: str, spoil: str
) -> None:
    meter = await shop.utility.add_meter("electricity")
    await shop.selling.sell(shop.till, SellRequest("s1", meter.number, "116.00"))
    before = shop.rows_of(TILL)
    shop.sql(spoil)

    found = await examined(shop, repair=True)

    finding = found[f"{kind}_differs"]
    assert (finding.found, finding.repaired) == (1, 1)
    assert shop.rows_of(TILL) == before
    assert shop.column("SELECT subject FROM act WHERE what = ?", f"doctor.{kind}") == ["till:head"]


async def test_without_repair_nothing_is_changed(shop: Shop) -> None:
    meter = await shop.utility.add_meter("electricity")
    await shop.selling.sell(shop.till, SellRequest("s1", meter.number, "116.00"))
    shop.sql("UPDATE ledger_account SET balance_minor = 7 WHERE code = 'till:head'")

    found = await examined(shop, repair=False)

    assert not found["balance_differs"].holds
    assert found["balance_differs"].detail == "till:head: expected 11600, found 7"
    assert shop.column("SELECT balance_minor FROM ledger_account WHERE code = 'till:head'") == [7]


async def test_a_whole_folder_has_nothing_to_do(shop: Shop) -> None:
    meter = await shop.utility.add_meter("electricity")
    await shop.selling.sell(shop.till, SellRequest("s1", meter.number, "116.00"))

    findings = await _folder(shop, repair=False)

    assert [finding.name for finding in findings if not finding.holds] == []
    assert {"file_damaged", "books_disagree", "files_left_over"} <= {f.name for f in findings}


async def test_files_of_writes_that_were_cut_off_are_removed(shop: Shop) -> None:
    folder = shop.path.parent
    left = [folder / ".vault.json.0123456789abcdef", folder / ".writable-0a1b2c3d"]
    for path in left:
        path.write_text("half")

    findings = {finding.name: finding for finding in await _folder(shop, repair=True)}

    assert findings["files_left_over"].repaired == 2
    assert not any(path.exists() for path in left)


async def test_files_that_others_can_read_are_closed_to_them(shop: Shop) -> None:
    key = shop.path.parent / "till.key"
    key.write_text("smk_x")
    key.chmod(0o644)

    findings = {finding.name: finding for finding in await _folder(shop, repair=True)}

    assert findings["files_exposed"].detail == "till.key"
    assert key.stat().st_mode & 0o077 == 0


async def test_beside_a_running_server_its_files_are_left_alone(shop: Shop) -> None:
    lock = DataLock.take(shop.path.parent)
    left = shop.path.parent / ".writable-0a1b2c3d"
    left.write_text("half")

    findings = {finding.name: finding for finding in await _folder(shop, repair=True)}
    lock.release()

    assert findings["files_left_over"].repaired == 0
    assert left.exists()


async def test_history_that_was_changed_is_named_and_not_repaired(shop: Shop) -> None:
    meter = await shop.utility.add_meter("electricity")
    await shop.selling.sell(shop.till, SellRequest("s1", meter.number, "116.00"))
    shop.sql("UPDATE sale SET tender_minor = 1")

    findings = {finding.name: finding for finding in await _folder(shop, repair=True)}

    assert not findings["books_disagree"].holds
    assert "R00000001" in findings["books_disagree"].detail
    assert shop.column("SELECT tender_minor FROM sale") == [1]


async def _folder(shop: Shop, *, repair: bool) -> list[Finding]:
    config = Config.default(shop.path.parent)
    return await examine_folder(config, shop.database, shop.clock, ORIGIN, repair=repair)


async def test_a_folder_that_is_named_from_here_is_examined_as_well(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(shop.path.parent.parent)
    config = Config.default(Path(shop.path.parent.name))

    findings = await examine_folder(config, shop.database, shop.clock, ORIGIN, repair=False)

    assert [finding.name for finding in findings if not finding.holds] == []
