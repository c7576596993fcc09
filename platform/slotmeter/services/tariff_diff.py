"""What a new version of a tariff changes: by meaning, key by key, and as lines of text; pure.

Meaning is what counts: a number written another way (``21.5`` for ``21.50``), a comment, or the
order of keys changes nothing. The items of a list are told apart by their place, counted from 1.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

__all__ = ["LINES_MAX", "Changed", "Diff", "diff_documents", "diff_text", "diff_versions"]

LINES_MAX = 2_000
"""At most this many lines of a text diff are kept."""


@dataclass(frozen=True, slots=True)
class Changed:
    """One value: its path as ``energy.blocks[1].price``; None where there is or was nothing."""

    path: str
    old: str | None
    new: str | None


@dataclass(frozen=True, slots=True)
class Diff:
    """What differs between two documents.

    Args:
        changes: by meaning, in the order of the paths.
        text: as a unified diff.
        same_meaning: nothing that a price depends on differs.
    """

    changes: tuple[Changed, ...]
    text: str
    same_meaning: bool


def diff_versions(
    old: Mapping[str, object], new: Mapping[str, object], *, old_source: str, new_source: str
) -> Diff:
    """Compare two versions of a tariff, each as a document and as it was written."""
    changes = diff_documents(old, new)
    return Diff(changes, diff_text(old_source, new_source), not changes)


def diff_documents(old: Mapping[str, object], new: Mapping[str, object]) -> tuple[Changed, ...]:
    """Return every value that differs, by path."""
    before, after = dict(_leaves(old, "")), dict(_leaves(new, ""))
    paths = [*before, *(path for path in after if path not in before)]
    return tuple(
        Changed(path, before.get(path), after.get(path))
        for path in paths
        if _plain(before.get(path)) != _plain(after.get(path))
    )


def diff_text(old: str, new: str) -> str:
    """Return a unified diff of two texts, ``LINES_MAX`` lines at most."""
    lines = list(
        difflib.unified_diff(
            old.splitlines(), new.splitlines(), "in force", "draft", lineterm="", n=3
        )
    )
    if len(lines) > LINES_MAX:
        lines = [*lines[:LINES_MAX], f"... and {len(lines) - LINES_MAX} more lines"]
    return "\n".join(lines)


def _leaves(value: object, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        if not value and path:
            yield path, "{}"
        for key, each in value.items():
            yield from _leaves(each, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list | tuple):
        if not value:
            yield path, "[]"
        for at, each in enumerate(value, start=1):
            yield from _leaves(each, f"{path}[{at}]")
    elif isinstance(value, bool):
        yield path, "true" if value else "false"
    elif value is not None:
        yield path, str(value)


def _plain(text: str | None) -> str | Decimal | None:
    """Return what two ways of writing one number share."""
    if text is None or (not text[:1].isdigit() and text[:1] not in "+-."):
        return text
    try:
        value = Decimal(text)
    except InvalidOperation:
        return text
    return value.normalize() if value.is_finite() else text
