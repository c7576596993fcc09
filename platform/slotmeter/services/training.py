"""Practice: a utility of its own beside the real one, with keys of its own.

A utility is for practice or it is not, from its first day on. What is sold in it stands in its own
books and nowhere else, as everything is scoped by its utility. Its meters are on keys whose names
begin with ``training-``, and no other utility's are: real meters refuse its tokens, and nobody who
practises can make one that a real meter takes. Everything it hands out is marked.
"""

from __future__ import annotations

from typing import Final

from slotmeter.errors import Refused

__all__ = ["MARK", "TRAINING_KEYS", "check_training_key", "key_name"]

MARK: Final = "training"
"""The mark of receipts, slips, messages and answers."""

TRAINING_KEYS: Final = "training-"
"""How the names of vending keys for practice begin."""


def key_name(name: str, *, training: bool) -> str:
    """Return the name of a vending key within a utility that is for practice, or not."""
    return f"{TRAINING_KEYS}{name}" if training else name


def check_training_key(key_id: str | None, *, training: bool) -> None:
    """Refuse a key of the other kind.

    Args:
        key_id: of a meter; None for one whose credit the platform holds.
        training: whether the utility is for practice.

    Raises:
        Refused: ``training_key_needed`` or ``training_key_refused``.
    """
    if key_id is None or key_id.startswith(TRAINING_KEYS) == training:
        return
    if training:
        raise Refused("training_key_needed", "practice uses keys for practice alone", field="meter")
    raise Refused(
        "training_key_refused", "a key for practice makes no tokens for real meters", field="meter"
    )
