"""A generated utility on PostgreSQL: it holds together, all of it is there, or nothing of it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from slotmeter.cli import EXIT_OK, main
from slotmeter.cli.data_folder import config_of, open_folder
from slotmeter.errors import Unavailable
from slotmeter.ports import Caller, Principal
from slotmeter.runtime.audit_readers import reader_of
from slotmeter.runtime.audit_verify import verify_audit
from slotmeter.runtime.generate import generate
from slotmeter.runtime.generate_setup import prepare
from slotmeter.services.access import rights_of
from slotmeter.services.ledger_check import verify_ledger
from slotmeter.services.selling import Selling, SellRequest
from slotmeter.storage.bulk_postgres import CONSTRAINTS, INDEXES, TRIGGERS, BulkServer
from slotmeter.testing.databases import name_postgres
from slotmeter.testing.postgres_server import PostgresServer, waited_for
from slotmeter.testing.sample_safe import sample_safe

METERS, SALES = 40, 130


@dataclass(frozen=True)
class Generated:
    """A folder with a database of its own on the server."""

    path: Path
    url: str

    def rows(self, text: str) -> list[Any]:
        async def fetch() -> list[Any]:
            connection = await asyncpg.connect(self.url)
            try:
                return [tuple(row) for row in await connection.fetch(text)]
            finally:
                await connection.close()

        return waited_for(fetch())


@pytest.fixture(scope="module")
def server(postgres: PostgresServer) -> PostgresServer:
    return postgres


def folder_on(server: PostgresServer, path: Path) -> Generated:
    url = server.url(server.make_database())
    name_postgres(path, url)
    return Generated(path, url)


@pytest.fixture(scope="module")
def made(server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Generated:
    folder = folder_on(server, tmp_path_factory.mktemp("generated"))
    wanted = ("--meters", str(METERS), "--sales", str(SALES), "--seed", "5")
    assert main(["generate", "--data", str(folder.path), *wanted]) == EXIT_OK
    return folder


@pytest.fixture
def empty(server: PostgresServer, tmp_path: Path) -> Generated:
    folder = folder_on(server, tmp_path)
    main(["init", "--data", str(tmp_path), "--utility-name", "G", "--no-dashboards"])
    return folder


def test_nobody_is_told_to_remove_a_database_that_was_there_before(
    empty: Generated, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        assert main(["generate", "--data", str(empty.path), "--meters", "2", "--sales", "2"])

        said = capsys.readouterr().err
        assert "utility_exists" in said
        assert "generate_unfinished" not in said


async def test_the_ledger_holds(made: Generated) -> None:
    async with open_folder(made.path) as found:
        utility = await found.registry.utility(None)

        verdict = await verify_ledger(found.database, found.clock, utility)

    assert [each for each in verdict.sentences if not each.holds] == []
    assert verdict.figures["sales_issued"] >= SALES  # another test sells on


def test_the_audit_holds_and_speaks_of_every_sale(made: Generated) -> None:
    verdict = verify_audit(reader_of(config_of(made.path)), processes=1)

    assert verdict.breaks == []
    assert verdict.rows > 10 * SALES


async def test_it_sells_on_at_once(made: Generated) -> None:
    [(meter, receipts, till_id, branch_id)] = made.rows(
        "SELECT (SELECT number FROM meter ORDER BY id LIMIT 1), (SELECT count(*) FROM sale),"
        " id, branch_id FROM principal WHERE name = 'till'"
    )
    async with open_folder(made.path) as found, found.vault() as vault:
        utility = await found.registry.utility(None)
        till = Principal(
            id=till_id,
            utility_id=utility.id,
            branch_id=branch_id,
            name="till",
            kind="service",
            rights=rights_of(["vendor"]),
            currency=utility.currency,
            time_zone=utility.time_zone,
        )

        async def nothing(_meter_id: int) -> None:
            return None

        selling = Selling(
            found.database,
            vault.security,
            found.clock,
            safe=vault.tokens,
            draw_rnd=lambda: 5,
            after_payment=nothing,
            on_issued=lambda: None,
        )
        caller = Caller(till, None, "192.0.2.1", "r1")
        sale, _ = await selling.sell(caller, SellRequest("next", meter, "500.00"))

    assert sale.state == "issued"
    assert sale.receipt_number == f"R{receipts + 1:08d}"


@pytest.mark.parametrize("what", [CONSTRAINTS, INDEXES, TRIGGERS])
def test_keys_references_indexes_and_triggers_are_those_of_a_new_database(
    made: Generated, empty: Generated, what: str
) -> None:
    assert made.rows(what) == empty.rows(what)


def test_what_is_cut_short_leaves_the_database_as_it_was(
    empty: Generated, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_of(empty.path)

    async def prepared() -> Any:
        async with open_folder(empty.path) as found, found.vault() as vault:
            return await prepare(
                found.database,
                found.clock,
                vault.security,
                found.origin,
                await found.registry.utility(None),
                meters=METERS,
                sales=SALES,
                seed=5,
            )

    plan = asyncio.run(prepared())
    before = [empty.rows(what) for what in (CONSTRAINTS, INDEXES, TRIGGERS)]

    def cut(doing: str, _done: int, _total: int) -> None:
        if doing == "indexes":
            raise Unavailable("cut", "somebody pressed Ctrl-C")

    with pytest.raises(Unavailable, match="Ctrl-C"):
        generate(BulkServer(config.database), plan, sample_safe(), progress=cut)

    assert [empty.rows(what) for what in (CONSTRAINTS, INDEXES, TRIGGERS)] == before
    assert empty.rows("SELECT count(*) FROM meter") == [(0,)]
