"""Rows of config entries: read, written, and checked before they are."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from slotmeter.devices.entries import (
    ENTRY_KEY_CHARACTERS_MAX,
    Entry,
    EntrySource,
    valid_entry_key,
)
from slotmeter.errors import Refused
from slotmeter.ports import Row, SecretBox
from slotmeter.services.events import compact_json, strict_json

__all__ = [
    "check_entry_key",
    "check_known",
    "check_options",
    "check_secrets",
    "check_title",
    "entry_of",
    "facts_of",
    "opened_secrets",
    "sealed_secrets",
]

TITLE_CHARACTERS_MAX: Final = 100
OPTIONS_MAX: Final = 64
OPTIONS_CHARACTERS_MAX: Final = 16_384
SECRETS_CHARACTERS_MAX: Final = 16_384
_OPTION: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,62}")


def entry_of(row: Row) -> Entry:
    """Return the entry of a row."""
    names = json.loads(row["secrets"]) if row["secrets"] else {}
    return Entry(
        id=row["id"],
        key=row["key"],
        medium=row["medium"],
        title=row["title"],
        options=json.loads(row["options"]),
        enabled=bool(row["enabled"]),
        source=EntrySource(row["source"]),
        changed_us=row["changed_us"],
        created_us=row["created_us"],
        secret_names=tuple(sorted(names)),
    )


def facts_of(entry: Entry) -> dict[str, Any]:
    """Return what the audit says of an entry; of secrets it says the names."""
    return {
        "medium": entry.medium,
        "title": entry.title,
        "options": dict(entry.options),
        "secrets": list(entry.secret_names),
        "enabled": entry.enabled,
        "source": entry.source.value,
    }


def sealed_secrets(box: SecretBox, key: str, secrets: Mapping[str, str]) -> str | None:
    """Return secrets as the database keeps them: each sealed, under its name."""
    if not secrets:
        return None
    return compact_json({name: box.seal(_owner(key, name), secrets[name]) for name in secrets})


def opened_secrets(
    box: SecretBox, row: Row, *, but: Mapping[str, object] | None = None
) -> dict[str, str]:
    """Return the secrets of a row in clear, without those of some names.

    Raises:
        Unavailable: ``secret_unreadable``.
    """
    if not row["secrets"]:
        return {}
    sealed: dict[str, str] = json.loads(row["secrets"])
    return {
        name: box.open(_owner(row["key"], name), text)
        for name, text in sealed.items()
        if name not in (but or {})
    }


def _owner(key: str, name: str) -> str:
    return f"entry {key} {name}"


def check_entry_key(key: str) -> None:
    """Refuse a key that cannot be a part of a path.

    Raises:
        Refused: ``bad_entry_key``.
    """
    if not valid_entry_key(key):
        raise Refused(
            "bad_entry_key",
            f"expected 1 to {ENTRY_KEY_CHARACTERS_MAX} lower-case letters, digits, '-' or '_', a "
            f"letter first, got {key[:40]!r}",
            field="key",
        )


def check_title(title: str) -> None:
    """Refuse a title that is no line.

    Raises:
        Refused: ``bad_title``.
    """
    if len(title) > TITLE_CHARACTERS_MAX or (title and not title.isprintable()):
        raise Refused(
            "bad_title",
            f"expected one line, {TITLE_CHARACTERS_MAX} characters at most",
            field="title",
        )


def check_options(options: Mapping[str, object], secret_names: tuple[str, ...]) -> None:
    """Refuse options that cannot be kept; what they mean is for the medium to judge.

    Raises:
        Refused: ``bad_options`` or ``secret_in_options``.
    """
    for name in options:
        if _OPTION.fullmatch(name) is None:
            raise Refused(
                "bad_options", f"{name[:64]!r} cannot be the name of an option", field="options"
            )
        if name in secret_names:
            raise Refused(
                "secret_in_options",
                f"{name} is a secret: give it under secrets, where it is sealed and never shown",
                field=f"options.{name}",
            )
    if len(options) > OPTIONS_MAX:
        raise Refused("bad_options", f"expected at most {OPTIONS_MAX} options", field="options")
    try:
        text = strict_json(options)
    except (TypeError, ValueError) as error:
        raise Refused("bad_options", "expected what JSON can hold", field="options") from error
    if len(text) > OPTIONS_CHARACTERS_MAX:
        raise Refused(
            "bad_options",
            f"expected at most {OPTIONS_CHARACTERS_MAX} characters as JSON, got {len(text)}",
            field="options",
        )


def check_known(options: Mapping[str, object], medium: str, known: tuple[str, ...] | None) -> None:
    """Refuse options that the medium's manifest does not have; one that has none is not asked.

    Raises:
        Refused: ``unknown_option``.
    """
    for name in options:
        if known is not None and name not in known:
            raise Refused(
                "unknown_option",
                f"the medium {medium} has no option {name[:64]!r}; it has {', '.join(known)}",
                field=f"options.{name[:64]}",
            )


def check_secrets(secrets: Mapping[str, str | None], medium: str, known: tuple[str, ...]) -> None:
    """Refuse secrets that the medium does not declare, or that cannot be kept.

    Raises:
        Refused: ``unknown_secret`` or ``bad_secret``.
    """
    for name, value in secrets.items():
        if name not in known:
            has = f"it has {', '.join(known)}" if known else "it has none"
            raise Refused(
                "unknown_secret",
                f"the medium {medium} declares no secret {name[:64]!r}; {has}",
                field=f"secrets.{name[:64]}",
            )
        if value is not None and not 1 <= len(value) <= SECRETS_CHARACTERS_MAX:
            raise Refused(
                "bad_secret",
                f"expected 1 to {SECRETS_CHARACTERS_MAX} characters, got {len(value)}",
                field=f"secrets.{name}",
            )
