"""Words to find a customer by: folded, so that case and accents do not matter; pure."""

from __future__ import annotations

import unicodedata
from typing import Final

__all__ = ["WORD_CHARACTERS_MAX", "words_of"]

WORD_CHARACTERS_MAX: Final = 40
"""What a word is longer is not looked at."""


def words_of(*texts: str) -> list[str]:
    """Return each word of some texts once, in their order.

    A word is a run of letters and digits; ``Müller-Otieno`` is the words ``muller`` and ``otieno``.
    """
    folded = unicodedata.normalize("NFKD", " ".join(texts).casefold())
    kept = "".join(
        each if each.isalnum() else "" if unicodedata.combining(each) else " " for each in folded
    )
    return list(dict.fromkeys(word[:WORD_CHARACTERS_MAX] for word in kept.split()))
