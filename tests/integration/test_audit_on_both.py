"""What the platform writes by itself holds on both databases, and what others write does not."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from slotmeter.runtime.audit_readers import reader_of
from slotmeter.runtime.audit_verify import AuditVerdict, verify_audit
from slotmeter.testing.api_town import ApiTown
from slotmeter.testing.databases import settings_of

pytestmark = pytest.mark.both_databases

SALES = "/api/v1/sales"


async def verify(api: ApiTown, **options: Any) -> AuditVerdict:
    reader = reader_of(settings_of(api.path.parent))
    return await asyncio.to_thread(verify_audit, reader, **options)


@pytest.fixture
async def sold(api: ApiTown) -> list[str]:
    await api.join("till", "vendor")
    meter = await api.utility.add_meter("electricity")
    numbers = []
    for at in range(3):
        body = {"sale_id": f"s{at}", "meter": meter.number, "tendered": "116.00"}
        numbers.append((await api.post(SALES, "till", json=body)).json["receipt_number"])
    return numbers


async def test_sales_hold(api: ApiTown, sold: list[str]) -> None:
    verdict = await verify(api)

    assert verdict.holds
    assert verdict.entries >= 2 * len(sold)


async def test_a_changed_sale_is_named_by_its_receipt(api: ApiTown, sold: list[str]) -> None:
    api.sql("UPDATE sale SET delivery = 'verified' WHERE receipt_number = ?", sold[1])

    [only] = (await verify(api)).breaks

    assert only.table == "sale"
    assert only.name.startswith(sold[1])


async def test_a_branch_that_was_added_by_other_means_is_named(
    api: ApiTown, sold: list[str]
) -> None:
    api.sql(
        "INSERT INTO branch (id, utility_id, code, name) SELECT 9999, id, 'x', 'x' FROM utility"
    )

    [only] = (await verify(api)).breaks

    assert (only.table, only.row_id, only.entry_id) == ("branch", 9999, None)


async def test_two_processes_find_what_one_finds(
    api: ApiTown, sold: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    api.sql("UPDATE sale SET delivery = 'verified' WHERE receipt_number = ?", sold[0])
    alone = await verify(api, processes=1)

    monkeypatch.setattr("slotmeter.runtime.audit_verify.ALONE_ENTRIES_MAX", 0)

    assert await verify(api) == alone
