"""The vault in the database: what it keeps, what opens it, and what it takes over."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from slotmeter.config import Config, DataConfig, VaultConfig
from slotmeter.errors import ConfigError, Unavailable
from slotmeter.ports import KeyFacts
from slotmeter.security.master_keys import (
    CREDENTIALS_FOLDER,
    TEST_KEY,
    TEST_SWITCH,
    LocalMasterKey,
    create_master_key,
    open_master_key,
)
from slotmeter.security.signing import verify_signature
from slotmeter.security.site_tables import open_vault
from slotmeter.security.software import SoftwareSecurityModule, create_vault
from slotmeter.security.vault import TAKEN_OVER_FILE, Vault, rewrap_root
from slotmeter.services.system_clock import SystemClock
from slotmeter.storage.database import Database
from slotmeter.testing.shop import open_shop
from slotmeter.testing.small_utility import KEY_ID, VENDING_KEY
from slotmeter.testing.vault_contract import VAULT_CHECKS, VaultCheck

MASTER = LocalMasterKey(b"m" * 32)
CLOCK = SystemClock()
DIGITS = "12345678901234567890"


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    opened = await Database.open(tmp_path / "slotmeter.db")
    yield opened
    await opened.close()


async def opened(database: Database) -> Vault:
    return await Vault.open(database, CLOCK, MASTER)


def sql(folder: Path, text: str, *values: object) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(folder / "slotmeter.db")) as connection, connection:
        return connection.execute(text, values).fetchall()


def config_of(folder: Path, **vault: object) -> Config:
    return Config(data=DataConfig(folder=folder), vault=VaultConfig.model_validate(vault))


@pytest.mark.parametrize("check", VAULT_CHECKS, ids=lambda check: check.__name__)
async def test_the_vault_in_the_database_keeps_the_contract(
    check: VaultCheck, database: Database
) -> None:
    async def open_module() -> SoftwareSecurityModule:
        return (await opened(database)).security

    await check(open_module)


# --- opening ----------------------------------------------------------------------------------


async def test_a_vault_is_made_once_and_found_again(database: Database) -> None:
    first, second = await opened(database), await opened(database)

    assert second.signer.public_key == first.signer.public_key
    assert second.tokens.open(first.tokens.seal(DIGITS).text) == DIGITS


async def test_another_master_key_does_not_open_the_vault(database: Database) -> None:
    await opened(database)

    with pytest.raises(ConfigError) as refusal:
        await Vault.open(database, CLOCK, LocalMasterKey(b"n" * 32))

    assert refusal.value.code == "vault_wrong_master_key"


@pytest.mark.parametrize("change", ["ken = 17", "name = 'other'", "krn = 9", "kt = 1"])
async def test_a_vending_key_whose_facts_were_changed_is_refused(
    database: Database, tmp_path: Path, change: str
) -> None:
    await (await opened(database)).security.load(KEY_ID, VENDING_KEY)

    sql(tmp_path, f"UPDATE vault_key SET {change} WHERE kind = 'vending'")  # noqa: S608  of this file

    with pytest.raises(ConfigError) as refusal:
        await opened(database)
    assert refusal.value.code == "vault_key_unreadable"


async def test_keys_that_were_exchanged_for_each_other_are_refused(
    database: Database, tmp_path: Path
) -> None:
    vault = await opened(database)
    await vault.security.load("a", VENDING_KEY)
    await vault.security.load("b", replace(VENDING_KEY, key=b"\x02" * len(VENDING_KEY.key)))

    sql(
        tmp_path,
        "UPDATE vault_key SET wrapped = (SELECT wrapped FROM vault_key WHERE name = 'b')"
        " WHERE name = 'a'",
    )

    with pytest.raises(ConfigError, match="'a'"):
        await opened(database)


async def test_the_vault_goes_under_another_master_key_with_all_it_holds(
    database: Database,
) -> None:
    before = await opened(database)
    await before.security.load(KEY_ID, VENDING_KEY)
    sealed = before.tokens.seal(DIGITS)
    new = LocalMasterKey(b"n" * 32)

    await rewrap_root(database, MASTER, new)

    after = await Vault.open(database, CLOCK, new)
    assert after.tokens.open(sealed.text) == DIGITS
    assert (await after.security.describe(KEY_ID)).sgc == VENDING_KEY.sgc
    with pytest.raises(ConfigError, match="another master key"):
        await opened(database)


async def test_a_vault_that_was_removed_is_not_replaced_while_tokens_need_it(
    tmp_path: Path,
) -> None:
    async with open_shop(tmp_path) as shop:
        meter = await shop.utility.add_meter("electricity")
        await shop.sell(meter.number)
        sql(tmp_path, "DELETE FROM vault_key")

        with pytest.raises(ConfigError) as refusal:
            await Vault.open(shop.database, CLOCK, MASTER)

    assert refusal.value.code == "vault_missing"


# --- where the master key comes from -----------------------------------------------------------


def test_a_systemd_credential_is_the_same_key_as_the_file(tmp_path: Path) -> None:
    create_master_key(tmp_path / "master.key")
    (tmp_path / "slotmeter-master-key").write_bytes((tmp_path / "master.key").read_bytes())
    environment = {CREDENTIALS_FOLDER: str(tmp_path)}

    of_file = open_master_key(VaultConfig(), tmp_path, {})
    of_systemd = open_master_key(VaultConfig(master_key="credential"), tmp_path, environment)

    assert of_systemd.fingerprint == of_file.fingerprint


@pytest.mark.parametrize("environment", [{}, {CREDENTIALS_FOLDER: "/nowhere"}])
def test_a_missing_credential_is_named(tmp_path: Path, environment: dict[str, str]) -> None:
    with pytest.raises(ConfigError) as refusal:
        open_master_key(VaultConfig(master_key="credential"), tmp_path, environment)

    assert refusal.value.code == "credential_missing"


def test_a_master_key_of_the_environment_needs_the_test_switch(tmp_path: Path) -> None:
    config = VaultConfig(master_key="environment")
    environment = {TEST_KEY: "ab" * 32}

    with pytest.raises(ConfigError) as refusal:
        open_master_key(config, tmp_path, environment)

    assert refusal.value.code == "test_key_refused"
    assert open_master_key(config, tmp_path, {**environment, TEST_SWITCH: "1"}).fingerprint


def test_a_master_key_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    create_master_key(tmp_path / "master.key")
    os.chmod(tmp_path / "master.key", 0o640)

    with pytest.raises(ConfigError) as refusal:
        open_master_key(VaultConfig(), tmp_path)

    assert refusal.value.code == "vault_not_private"


# --- the vault file of earlier releases --------------------------------------------------------


async def test_a_vault_file_is_taken_over_once(database: Database, tmp_path: Path) -> None:
    create_vault(tmp_path)
    await SoftwareSecurityModule.open(tmp_path).load(KEY_ID, VENDING_KEY)

    vault = await open_vault(config_of(tmp_path), database, CLOCK)

    assert (await vault.security.describe(KEY_ID)).check_value
    assert not (tmp_path / "vault.json").exists()
    assert (tmp_path / TAKEN_OVER_FILE).exists()


async def test_a_take_over_that_was_cut_short_goes_on(database: Database, tmp_path: Path) -> None:
    create_vault(tmp_path)
    file = SoftwareSecurityModule.open(tmp_path)
    await file.load("a", VENDING_KEY)
    await file.load("b", VENDING_KEY)
    cut = await Vault.open(database, CLOCK, open_master_key(VaultConfig(), tmp_path))
    await cut.security.load("a", VENDING_KEY)

    vault = await open_vault(config_of(tmp_path), database, CLOCK)

    assert [(await vault.security.describe(name)).key_id for name in ("a", "b")] == ["a", "b"]


# --- what a key loaded elsewhere means here -----------------------------------------------------


async def test_a_key_that_was_retired_elsewhere_makes_no_token_after_a_refresh(
    database: Database, tmp_path: Path
) -> None:
    vault = await opened(database)
    await vault.security.load(KEY_ID, VENDING_KEY)
    sql(tmp_path, "UPDATE vault_key SET state = 'retired' WHERE name = ?", KEY_ID)

    await vault.security.refresh()

    with pytest.raises(Exception, match="retired"):
        await vault.security.describe(KEY_ID)


# --- tokens ------------------------------------------------------------------------------------


async def test_a_sealed_token_opens_and_shows_nothing(database: Database) -> None:
    tokens = (await opened(database)).tokens

    sealed = tokens.seal(DIGITS)

    assert tokens.open(sealed.text) == DIGITS
    assert sealed == tokens.seal(DIGITS)
    assert sealed.index == tokens.index(DIGITS)
    assert DIGITS not in sealed.text + sealed.index
    assert tokens.seal("12345678901234567891").index != sealed.index


async def test_a_sealed_token_that_was_changed_is_unavailable(database: Database) -> None:
    tokens = (await opened(database)).tokens
    text = tokens.seal(DIGITS).text
    other = "A" if text[10] != "A" else "B"

    for bad in (text[:10] + other + text[11:], "2" + text[1:], "", "1.", "nonsense"):
        with pytest.raises(Unavailable) as refusal:
            tokens.open(bad)
        assert refusal.value.code == "token_unreadable"


async def test_digits_of_before_are_opened_as_they_are(database: Database) -> None:
    assert (await opened(database)).tokens.open(DIGITS) == DIGITS


# --- signatures --------------------------------------------------------------------------------


async def test_a_signature_is_of_its_message_and_no_other(database: Database) -> None:
    signer = (await opened(database)).signer

    made = signer.sign(b"checkpoint")

    assert verify_signature(made.public_key, b"checkpoint", made.signature)
    assert not verify_signature(made.public_key, b"checkpoinT", made.signature)
    assert not verify_signature(b"short", b"checkpoint", made.signature)
    assert made.public_key == signer.public_key


# --- components --------------------------------------------------------------------------------


async def test_components_join_to_their_exclusive_or(database: Database) -> None:
    vault = await opened(database)
    facts = KeyFacts("joined", "600727", 1, 2, "04", 2014, 255)
    components = (b"\x0f" * 20, b"\xf1" * 20, b"\x11" * 20)

    wrapped = [
        vault.wrapping.wrap_part(facts, part, 3, each) for part, each in enumerate(components, 1)
    ]
    made = vault.wrapping.join(facts, [each.wrapped for each in wrapped])

    expected = vault.wrapping.wrap_part(facts, 1, 1, b"\xef" * 20)
    assert made.check_value == expected.check_value
    assert len({each.check_value for each in wrapped}) == 3


async def test_a_component_cannot_take_the_place_of_another(database: Database) -> None:
    vault = await opened(database)
    facts = KeyFacts("joined", "600727", 1, 2, "04", 2014, 255)
    wrapped = [vault.wrapping.wrap_part(facts, part, 2, bytes([part]) * 20) for part in (1, 2)]

    with pytest.raises(ConfigError) as refusal:
        vault.wrapping.join(facts, [wrapped[1].wrapped, wrapped[0].wrapped])

    assert refusal.value.code == "vault_key_unreadable"
