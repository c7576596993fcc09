"""Published tariffs as examples, one YAML file each, named by the code of the tariff.

Each says where its figures come from. ``slotmeter conformance tariffs`` prices published cases with
them; start from one of them to write your own (``docs/reference/tariffs.md``).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import resources
from types import MappingProxyType

__all__ = ["pack_texts"]


@cache
def pack_texts() -> Mapping[str, str]:
    """Return the YAML of each example by its code, in alphabetical order."""
    files = {
        entry.name.removesuffix(".yaml"): entry.read_text(encoding="utf-8")
        for entry in resources.files(__name__).iterdir()
        if entry.name.endswith(".yaml")
    }
    return MappingProxyType(dict(sorted(files.items())))
