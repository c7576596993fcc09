"""What a site decides about tokens: its own EA07 table sets, and a vault opened with them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from pathlib import Path

from slotmeter.config import Config, StsConfig
from slotmeter.errors import ConfigError, Refused
from slotmeter.ports import Clock, UnitOfWork
from slotmeter.security.core_dumps import forbid_core_dumps
from slotmeter.security.master_keys import open_master_key
from slotmeter.security.vault import Vault
from slotmeter.vending.sts import TABLE_SETS, DerivationOptions, TableSet, parse_table_set

__all__ = ["derivation_options", "open_vault", "read_table_sets"]


def read_table_sets(files: Iterable[Path]) -> Mapping[str, TableSet]:
    """Return the sets that come with slotmeter and those of the files, by name.

    Raises:
        ConfigError: ``sts_tables_unreadable`` or ``bad_table_set``, naming the file; two files
            with one name are ``bad_table_set`` too.
    """
    sets: dict[str, TableSet] = dict(TABLE_SETS)
    for file in files:
        try:
            own = parse_table_set(file.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                "sts_tables_unreadable", f"{file} cannot be read: {error}", field="sts.tables"
            ) from error
        except Refused as error:
            raise ConfigError(error.code, f"{file}: {error.message}", field="sts.tables") from error
        if own.name in sets:
            raise ConfigError(
                "bad_table_set",
                f"{file}: a table set named {own.name} is there already",
                field="sts.tables",
            )
        sets[own.name] = own
    return sets


async def open_vault(config: Config, uow: UnitOfWork, clock: Clock) -> Vault:
    """Open the vault of a database as the site's configuration says; reads files.

    A database that has none gets one. Keys that an earlier release kept in ``vault.json`` are taken
    over. From here on no process of ours leaves a core file.

    Raises:
        ConfigError: see :func:`read_table_sets`, ``open_master_key`` and ``Vault.open``.
    """
    forbid_core_dumps()
    folder = config.data.folder
    master = await asyncio.to_thread(open_master_key, config.vault, folder)
    vault = await Vault.open(
        uow,
        clock,
        master,
        table_sets=read_table_sets(config.sts.tables),
        options=derivation_options(config.sts),
    )
    await vault.take_over(folder, folder / config.vault.master_key_file)
    return vault


def derivation_options(sts: StsConfig) -> DerivationOptions:
    """Return what a site has decided about keys."""
    return DerivationOptions(
        allow_dkga01=sts.allow_dkga01,
        common_key_with_own_pan=sts.common_key_with_own_pan,
        refuse_even_parity=sts.refuse_even_parity,
    )
