"""Every security module against the contract; the software one also on what only it promises."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from slotmeter.errors import ConfigError, Refused
from slotmeter.ports import SecurityModule
from slotmeter.security.software import SoftwareSecurityModule, create_vault
from slotmeter.testing.vault_contract import VAULT_CHECKS, VaultCheck
from slotmeter.vending.sts import (
    PRODUCTION,
    DerivationOptions,
    KeyParameters,
    TableSet,
    TokenRequest,
    VendingKey,
)

DES_KEY = bytes.fromhex("ABABABABABABABAB")
KEY = VendingKey(DES_KEY, "123456", krn=1, kt=2, dkga="02", base_date=1993)
PARAMETERS = KeyParameters(
    "600727000000000009", "123456", krn=1, kt=2, ti=1, base_date=1993, dkga="02"
)
REQUEST = TokenRequest.credit(0, units=1, tid=5871715, rnd=5)
DIGITS = "23716100501183194197"


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def modes(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()}


def open_module(folder: Path) -> SecurityModule:
    return SoftwareSecurityModule.open(folder)


@pytest.fixture
def vault(tmp_path: Path) -> Path:
    folder = tmp_path / "vault"
    create_vault(folder)
    return folder


@pytest.mark.parametrize("check", VAULT_CHECKS, ids=lambda check: check.__name__)
async def test_the_software_module_keeps_the_contract(check: VaultCheck, vault: Path) -> None:
    await check(lambda: open_module(vault))


def test_a_new_vault_is_for_its_owner_alone(vault: Path) -> None:
    assert vault.stat().st_mode & 0o777 == 0o700
    assert modes(vault) == {"vault.json": 0o600, "master.key": 0o600}


def test_a_vault_is_never_made_over_another(vault: Path) -> None:
    before = contents(vault)

    with pytest.raises(ConfigError) as refusal:
        create_vault(vault)

    assert refusal.value.code == "vault_exists"
    assert contents(vault) == before


def test_a_vault_cannot_be_made_where_a_file_stands(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(ConfigError) as refusal:
        create_vault(tmp_path / "file")

    assert refusal.value.code == "vault_unwritable"


@pytest.mark.parametrize("name", ["master.key", "vault.json"])
def test_a_file_that_others_can_read_is_refused_with_what_to_do(vault: Path, name: str) -> None:
    (vault / name).chmod(0o640)

    with pytest.raises(ConfigError, match=r"mode 0640.*chmod 600") as refusal:
        open_module(vault)

    assert refusal.value.code == "vault_not_private"


async def test_no_key_is_on_disk_in_clear(vault: Path) -> None:
    module = open_module(vault)
    await module.load("first", KEY)

    written = b"".join(contents(vault).values()).lower()

    assert b"first" in written
    assert DES_KEY not in written
    assert DES_KEY.hex().encode() not in written


async def test_a_written_vault_stays_private_and_leaves_nothing_beside_it(vault: Path) -> None:
    await open_module(vault).load("first", KEY)

    assert modes(vault) == {"vault.json": 0o600, "master.key": 0o600, "vault.lock": 0o600}


async def test_an_entry_changed_on_disk_is_refused_and_named(vault: Path) -> None:
    await open_module(vault).load("first", KEY)
    document = json.loads((vault / "vault.json").read_text())
    document["keys"]["first"]["krn"] = 2
    (vault / "vault.json").write_text(json.dumps(document))

    with pytest.raises(ConfigError, match="'first'") as refusal:
        open_module(vault)

    assert refusal.value.code == "vault_key_unreadable"


async def test_an_entry_moved_to_another_id_is_refused(vault: Path) -> None:
    await open_module(vault).load("first", KEY)
    document = json.loads((vault / "vault.json").read_text())
    document["keys"]["second"] = document["keys"].pop("first")
    (vault / "vault.json").write_text(json.dumps(document))

    with pytest.raises(ConfigError) as refusal:
        open_module(vault)

    assert refusal.value.code == "vault_key_unreadable"


async def test_another_master_key_is_refused(vault: Path) -> None:
    await open_module(vault).load("first", KEY)
    (vault / "master.key").write_text("00" * 32)

    with pytest.raises(ConfigError) as refusal:
        open_module(vault)

    assert refusal.value.code == "vault_key_unreadable"


@pytest.mark.parametrize("text", ["", "00" * 31, "not hex" * 10, "é" * 64])
def test_a_master_key_that_is_none_is_refused(vault: Path, text: str) -> None:
    (vault / "master.key").write_text(text)

    with pytest.raises(ConfigError) as refusal:
        open_module(vault)

    assert refusal.value.code == "bad_master_key"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("{", "vault_damaged"),
        ("[]", "vault_damaged"),
        ('{"format": "other"}', "vault_damaged"),
        ('{"format": "slotmeter-vault", "version": 2}', "vault_version"),
        ('{"format": "slotmeter-vault", "version": 1}', "vault_damaged"),
        (
            '{"format": "slotmeter-vault", "version": 1, "vault": "x", "keys": {"a": 1}}',
            "vault_damaged",
        ),
        (
            '{"format": "slotmeter-vault", "version": 1, "vault": "x", "keys": {"a": {}}}',
            "vault_damaged",
        ),
        ("{" + " " * (16 * 1024 * 1024), "vault_unreadable"),
    ],
    ids=["cut", "list", "foreign", "newer", "empty", "no mapping", "no material", "huge"],
)
def test_a_vault_that_cannot_be_read_stops_the_start(vault: Path, text: str, code: str) -> None:
    (vault / "vault.json").write_text(text)

    with pytest.raises(ConfigError) as refusal:
        open_module(vault)

    assert refusal.value.code == code


def test_a_missing_vault_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refusal:
        open_module(tmp_path)

    assert refusal.value.code == "vault_missing"


def test_a_missing_master_key_is_named(vault: Path) -> None:
    (vault / "master.key").unlink()

    with pytest.raises(ConfigError, match=r"master\.key") as refusal:
        open_module(vault)

    assert refusal.value.code == "vault_unreadable"


def test_a_master_key_must_be_a_file(vault: Path) -> None:
    (vault / "master.key").unlink()
    os.mkfifo(vault / "master.key", 0o600)

    with pytest.raises(ConfigError, match="regular file") as refusal:
        open_module(vault)

    assert refusal.value.code == "vault_unreadable"


async def test_the_master_key_may_lie_elsewhere(tmp_path: Path) -> None:
    elsewhere = tmp_path / "usb.key"
    create_vault(tmp_path / "vault", master_key_file=elsewhere)
    await SoftwareSecurityModule.open(tmp_path / "vault", master_key_file=elsewhere).load("a", KEY)

    again = SoftwareSecurityModule.open(tmp_path / "vault", master_key_file=elsewhere)

    assert (await again.issue("a", PARAMETERS, REQUEST)).digits == DIGITS
    assert not (tmp_path / "vault" / "master.key").exists()


async def test_a_key_loaded_by_another_process_is_found_without_a_restart(vault: Path) -> None:
    serving, loading = open_module(vault), open_module(vault)
    await loading.load("first", KEY)

    token = await serving.issue("first", PARAMETERS, REQUEST)

    assert token.digits == DIGITS


async def test_two_modules_do_not_lose_each_others_keys(vault: Path) -> None:
    one, other = open_module(vault), open_module(vault)
    await one.load("first", KEY)
    await other.load("second", KEY)

    again = open_module(vault)

    assert (await again.describe("first")).sgc == (await again.describe("second")).sgc


async def test_a_failed_write_leaves_the_old_vault(
    vault: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = open_module(vault)
    await module.load("first", KEY)
    before = contents(vault)

    def disk_full(source: object, target: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", disk_full)
    with pytest.raises(ConfigError) as refusal:
        await module.load("second", KEY)

    assert refusal.value.code == "vault_unwritable"
    assert contents(vault) == before


async def test_a_written_vault_is_synced_before_and_after_it_takes_its_name(
    vault: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)

        def recorded(*arguments: object, real: Any = real, name: str = name) -> None:
            calls.append(name)
            real(*arguments)

        monkeypatch.setattr(os, name, recorded)
    await open_module(vault).load("first", KEY)

    assert calls == ["fsync", "replace", "fsync"]


async def test_a_vault_removed_while_serving_is_reported_as_missing(vault: Path) -> None:
    module = open_module(vault)
    (vault / "vault.json").unlink()

    with pytest.raises(ConfigError) as refusal:
        await module.describe("first")

    assert refusal.value.code == "vault_unreadable"


async def test_a_des_key_without_odd_parity_is_taken_for_a_typing_error(vault: Path) -> None:
    wrong = VendingKey(b"\xaa" * 8, "123456", krn=1, kt=2, dkga="02", base_date=1993)

    with pytest.raises(Refused) as refusal:
        await open_module(vault).load("first", wrong)

    assert refusal.value.code == "vending_key_parity"


async def test_a_site_may_take_des_keys_without_odd_parity(vault: Path) -> None:
    wrong = VendingKey(b"\xaa" * 8, "123456", krn=1, kt=2, dkga="02", base_date=1993)
    module = SoftwareSecurityModule.open(vault, options=DerivationOptions())
    await module.load("first", wrong)

    # Parity bits do not enter DES, and the XOR uses the key with its parity set.
    assert (await module.issue("first", PARAMETERS, REQUEST)).digits == DIGITS


async def test_the_decoder_key_cache_forgets_the_one_used_longest_ago(vault: Path) -> None:
    module = SoftwareSecurityModule.open(vault, decoder_keys_max=2)
    await module.load("first", KEY)
    meters = [
        KeyParameters("600727000000000009", "123456", 1, 2, ti, base_date=1993, dkga="02")
        for ti in (1, 2, 3)
    ]
    digits = {}
    for meter in (meters[0], meters[1], meters[0], meters[2]):
        digits[meter.ti] = (await module.issue("first", meter, REQUEST)).digits

    assert [parameters.ti for _, parameters in module._ciphers] == [1, 3]
    assert len(set(digits.values())) == 3
    assert (await module.issue("first", meters[1], REQUEST)).digits == digits[2]


async def test_a_sites_own_tables_make_other_tokens(vault: Path) -> None:
    own = TableSet("own", PRODUCTION.s1, PRODUCTION.s0, PRODUCTION.p)
    module = SoftwareSecurityModule.open(vault, table_sets={"own": own})
    await module.load("first", KEY)
    parameters = KeyParameters(
        "600727000000000009", "123456", 1, 2, 1, base_date=1993, dkga="02", table_set="own"
    )

    assert (await module.issue("first", parameters, REQUEST)).digits != DIGITS


async def test_a_change_to_an_expired_key_is_refused_when_the_time_is_told(vault: Path) -> None:
    module = SoftwareSecurityModule.open(vault)
    await module.load("first", KEY)
    expired = KeyParameters(
        "600727000000000009", "123456", 1, 2, ti=2, ken=0, base_date=1993, dkga="02"
    )

    with pytest.raises(Refused) as refusal:
        await module.change_key(
            ("first", PARAMETERS), ("first", expired), now_minute_1993=5_871_715
        )

    assert refusal.value.code == "key_expired"
