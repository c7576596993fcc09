"""``slotmeter vault``: the master key, and what the vault has sealed."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from slotmeter.cli import EXIT_OK
from slotmeter.cli.data_folder import OpenFolder, add_folder_options, open_folder

if TYPE_CHECKING:
    from slotmeter.cli import Subparsers
    from slotmeter.config import VaultConfig

__all__ = ["register"]


def register(subparsers: Subparsers) -> None:
    """Add ``vault``."""
    parser = subparsers.add_parser("vault", help="the vault in the database and its master key")
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    show = actions.add_parser("show", help="say what wraps the vault; no secret is shown")
    show.set_defaults(action=_show)
    create = actions.add_parser(
        "create-key",
        help="draw the master key that the settings name",
        description="Draw the master key that slotmeter.toml names: into a new file, or inside the "
        "PKCS#11 token. A key that is there stays as it is.",
    )
    create.set_defaults(action=_create_key)
    rewrap = actions.add_parser(
        "rewrap",
        help="put the vault under the master key that the settings name now",
        description="Put the vault under another master key: first change slotmeter.toml, then "
        "name the file with the old key here. One row changes; tokens and keys stay as they are.",
    )
    rewrap.add_argument("--old-key-file", type=Path, required=True, metavar="FILE")
    rewrap.set_defaults(action=_rewrap)
    scrub = actions.add_parser(
        "scrub",
        help="seal tokens of earlier releases and clear what is left of them in the file",
        description="Seal every token that an earlier release wrote in clear, then rebuild the "
        "database file so that nothing of it remains in unused parts. Stop the server first.",
    )
    scrub.set_defaults(action=_scrub)
    for each in actions.choices.values():
        add_folder_options(each, utility=False)
        each.add_argument("--json", action="store_true", help="print JSON")
        each.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    asyncio.run(_act(options))
    return EXIT_OK


async def _act(options: argparse.Namespace) -> None:
    async with open_folder(options.data) as folder:
        await options.action(options, folder)


async def _show(options: argparse.Namespace, folder: OpenFolder) -> None:
    from slotmeter.security.master_keys import open_master_key

    config = folder.config.vault
    master = open_master_key(config, folder.path)
    async with folder.vault() as vault:
        facts = {
            "master_key": config.master_key,
            "fingerprint": master.fingerprint,
            "signing_key": vault.signer.public_key.hex(),
        }
    if options.json:
        print(json.dumps(facts))
        return
    print(f"master key   {facts['master_key']}, fingerprint {facts['fingerprint']}")
    print(f"signing key  {facts['signing_key']}")


async def _create_key(options: argparse.Namespace, folder: OpenFolder) -> None:
    from slotmeter.security.master_keys import create_master_key, open_master_key

    config = folder.config.vault
    if config.master_key == "pkcs11":
        _create_in_token(config, folder.path)
    elif config.master_key == "file":
        create_master_key(folder.path / config.master_key_file)
    fingerprint = open_master_key(config, folder.path).fingerprint
    print(json.dumps({"fingerprint": fingerprint}) if options.json else f"key {fingerprint}")


def _create_in_token(config: VaultConfig, folder: Path) -> None:
    from slotmeter.security.pkcs11_master_key import (
        create_pkcs11_master_key,
        open_pkcs11_master_key,
    )

    create_pkcs11_master_key(open_pkcs11_master_key(config, folder))


async def _rewrap(options: argparse.Namespace, folder: OpenFolder) -> None:
    from slotmeter.security.master_keys import (
        LocalMasterKey,
        open_master_key,
        read_master_key_file,
    )
    from slotmeter.security.vault import rewrap_root

    before = LocalMasterKey(read_master_key_file(options.old_key_file))
    after = open_master_key(folder.config.vault, folder.path)
    await rewrap_root(folder.database, before, after)
    facts = {"before": before.fingerprint, "after": after.fingerprint}
    if options.json:
        print(json.dumps(facts))
    else:
        print(f"the vault is under the master key {facts['after']} now; destroy the old one when")
        print("no backup that needs it is kept any more")


async def _scrub(options: argparse.Namespace, folder: OpenFolder) -> None:
    from slotmeter.runtime.data_lock import DataLock
    from slotmeter.services.token_secrecy import SealOldTokens

    lock = DataLock.take(folder.path)
    try:
        async with folder.vault() as vault:
            sealed = await SealOldTokens(folder.database, vault.tokens).run()
        cleared = await _clear_unused(folder)
    finally:
        lock.release()
    facts = {"sealed": sealed, "cleared": cleared}
    if options.json:
        print(json.dumps(facts))
        return
    print(f"sealed {sealed} tokens")
    print(
        "the database file was rebuilt" if cleared else "on PostgreSQL no token was ever in clear"
    )


async def _clear_unused(folder: OpenFolder) -> bool:
    """Rebuild an SQLite file, and empty its log; what was freed is gone after that."""
    import sqlite3
    from contextlib import closing

    from slotmeter.services.token_secrecy import SCRUB_MARK, SCRUBBED
    from slotmeter.storage.data_files import DATABASE_FILE

    if folder.config.database.url:
        return False
    await folder.database.close()

    def rebuild() -> None:
        with closing(sqlite3.connect(folder.path / DATABASE_FILE)) as connection:
            connection.execute("PRAGMA secure_delete=ON")
            connection.execute("VACUUM")
            with connection:
                scrubbed = "UPDATE cursor SET position = ? WHERE name = ?"
                connection.execute(scrubbed, (SCRUBBED, SCRUB_MARK))
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    await asyncio.to_thread(rebuild)
    os.sync()
    return True
