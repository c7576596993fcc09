"""A master key inside a PKCS#11 token, with SoftHSM2 of Debian in the token's place."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from slotmeter.config import VaultConfig
from slotmeter.errors import ConfigError
from slotmeter.security.master_keys import LocalMasterKey, open_master_key
from slotmeter.security.pkcs11_master_key import Pkcs11MasterKey, create_pkcs11_master_key
from slotmeter.security.vault import Vault, rewrap_root
from slotmeter.services.system_clock import SystemClock
from slotmeter.storage.database import Database

LIBRARY = Path("/usr/lib/softhsm/libsofthsm2.so")
PIN = "482913"
KEY = "slotmeter-master-key"

pytestmark = pytest.mark.skipif(
    not LIBRARY.exists() and os.environ.get("CI") != "true",
    reason="SoftHSM2 is not installed here; continuous integration installs it",
)


@pytest.fixture(scope="module")
def token(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pkcs11MasterKey]:
    folder = tmp_path_factory.mktemp("softhsm")
    (folder / "tokens").mkdir()
    (folder / "conf").write_text(f"directories.tokendir = {folder}/tokens\n")
    patch = pytest.MonkeyPatch()
    patch.setenv("SOFTHSM2_CONF", str(folder / "conf"))
    program = shutil.which("softhsm2-util")
    assert program is not None
    label = ("--label", "slotmeter", "--pin", PIN, "--so-pin", "7777")
    subprocess.run([program, "--init-token", "--free", *label], check=True, capture_output=True)
    made = Pkcs11MasterKey(str(LIBRARY), "slotmeter", KEY, PIN)
    create_pkcs11_master_key(made)
    yield made
    patch.undo()


def test_what_the_token_wrapped_only_the_token_unwraps(token: Pkcs11MasterKey) -> None:
    wrapped = token.wrap(b"r" * 32, b"bound")

    assert token.unwrap(wrapped, b"bound") == b"r" * 32
    assert b"r" * 32 not in wrapped


@pytest.mark.parametrize("place", [0, 20, -1])
def test_what_was_changed_is_not_unwrapped(token: Pkcs11MasterKey, place: int) -> None:
    wrapped = bytearray(token.wrap(b"r" * 32, b"bound"))
    wrapped[place] ^= 1

    with pytest.raises(ConfigError) as refusal:
        token.unwrap(bytes(wrapped), b"bound")

    assert refusal.value.code == "vault_wrong_master_key"


def test_what_is_bound_elsewhere_is_not_unwrapped(token: Pkcs11MasterKey) -> None:
    with pytest.raises(ConfigError):
        token.unwrap(token.wrap(b"r" * 32, b"bound"), b"elsewhere")


def test_a_key_that_is_there_is_not_made_again(token: Pkcs11MasterKey) -> None:
    with pytest.raises(ConfigError) as refusal:
        create_pkcs11_master_key(token)

    assert refusal.value.code == "pkcs11_key_exists"


@pytest.mark.parametrize(
    ("library", "label", "key", "pin", "code"),
    [
        (str(LIBRARY), "slotmeter", "other", PIN, "pkcs11_key_missing"),
        (str(LIBRARY), "slotmeter", KEY, "000000", "pkcs11_unavailable"),
        (str(LIBRARY), "other", KEY, PIN, "pkcs11_unavailable"),
        ("/nowhere/lib.so", "slotmeter", KEY, PIN, "pkcs11_unavailable"),
    ],
)
def test_a_token_that_refuses_is_said_without_its_pin(
    token: Pkcs11MasterKey, library: str, label: str, key: str, pin: str, code: str
) -> None:
    with pytest.raises(ConfigError) as refusal:
        _ = Pkcs11MasterKey(library, label, key, pin).fingerprint

    assert refusal.value.code == code
    assert pin not in refusal.value.message
    assert PIN not in repr(token)


async def test_a_vault_moves_into_the_token_and_opens_from_there(
    token: Pkcs11MasterKey, tmp_path: Path
) -> None:
    (tmp_path / "pkcs11.pin").write_text(f"{PIN}\n")
    (tmp_path / "pkcs11.pin").chmod(0o600)
    before = LocalMasterKey(b"m" * 32)
    database = await Database.open(tmp_path / "slotmeter.db")
    sealed = (await Vault.open(database, SystemClock(), before)).tokens.seal("1" * 20)

    await rewrap_root(database, before, token)

    named = open_master_key(VaultConfig(master_key="pkcs11"), tmp_path)
    vault = await Vault.open(database, SystemClock(), named)
    assert vault.tokens.open(sealed.text) == "1" * 20
    await database.close()
