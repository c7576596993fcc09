"""What a site decides about tokens: its own EA07 table sets, and a vault opened with them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from slotmeter.config import StsConfig
from slotmeter.errors import ConfigError, Refused
from slotmeter.security.software import SoftwareSecurityModule
from slotmeter.vending.sts import TABLE_SETS, DerivationOptions, TableSet, parse_table_set

__all__ = ["open_vault", "read_table_sets"]


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


def open_vault(folder: Path, sts: StsConfig) -> SoftwareSecurityModule:
    """Open the vault of a data folder as its configuration says; reads files.

    Raises:
        ConfigError: see :func:`read_table_sets` and ``SoftwareSecurityModule.open``.
    """
    options = DerivationOptions(
        allow_dkga01=sts.allow_dkga01,
        common_key_with_own_pan=sts.common_key_with_own_pan,
        refuse_even_parity=sts.refuse_even_parity,
    )
    return SoftwareSecurityModule.open(
        folder, table_sets=read_table_sets(sts.tables), options=options
    )
