"""What an act changed: before and after, of those facts alone that differ."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["changed"]


def changed(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return ``before`` and ``after`` for the data of an act.

    Args:
        before: the facts as they were; None if there was nothing.
        after: as they are now; None if there is nothing any more.
    """
    if before is None or after is None:
        return {"before": _kept(before), "after": _kept(after)}
    differ = [
        name for name in dict.fromkeys((*before, *after)) if before.get(name) != after.get(name)
    ]
    return {
        "before": {name: before.get(name) for name in differ},
        "after": {name: after.get(name) for name in differ},
    }


def _kept(facts: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return None if facts is None else dict(facts)
