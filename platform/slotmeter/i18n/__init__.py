"""The languages that people are spoken to in: catalogues read once, then pure look-ups.

English is the source: its texts stand in the code. The other languages are catalogues of the
standard ``gettext`` format beside this module, as ``locales/<language>/LC_MESSAGES/slotmeter.po``
(written by people) and ``.mo`` (compiled from it by ``make translations``). Texts for programs, as
problems of the HTTP API are, stay English: programs go by their codes.
"""

from __future__ import annotations

import re
from functools import lru_cache
from gettext import GNUTranslations, NullTranslations
from importlib.resources import files
from typing import Final

__all__ = ["DEFAULT", "DOMAIN", "LANGUAGES", "Words", "choose", "mark", "words"]

DEFAULT: Final = "en"
LANGUAGES: Final = ("en", "fr", "es", "pt")
"""ISO 639-1 codes."""

DOMAIN: Final = "slotmeter"
HEADER_CHARS_MAX: Final = 500

Words = NullTranslations
"""The words of one language; ``gettext`` and ``pgettext`` look one up by its English text."""

_WISH: Final = re.compile(
    r"\s*(?P<language>[A-Za-z]{2,3})(?:-[A-Za-z0-9-]+)?\s*"
    r"(?:;\s*q\s*=\s*(?P<weight>[01](?:\.[0-9]{0,3})?)\s*)?"
)


def mark(text: str) -> str:
    """Return the text itself; marks it for translation where it is not looked up at once."""
    return text


@lru_cache(maxsize=len(LANGUAGES))
def words(language: str) -> Words:
    """Return the words of a language; reads its catalogue the first time, as an import does.

    Args:
        language: one of :data:`LANGUAGES`.

    Raises:
        ValueError: there is no such language here.
    """
    if language == DEFAULT:
        return NullTranslations()
    if language not in LANGUAGES:
        raise ValueError(f"expected one of {', '.join(LANGUAGES)}, got {language!r}")
    catalogue = files(__package__).joinpath("locales", language, "LC_MESSAGES", f"{DOMAIN}.mo")
    with catalogue.open("rb") as file:
        return GNUTranslations(file)


def choose(wanted: str | None, accepted: str = "", default: str = DEFAULT) -> str:
    """Choose the language of one answer.

    Args:
        wanted: asked for by name, with or without a region, or None.
        accepted: the header ``Accept-Language`` (RFC 9110, section 12.5.4), or nothing.
        default: for those who ask for nothing that there is.
    """
    if wanted is not None and (language := wanted.lower().partition("-")[0]) in LANGUAGES:
        return language
    best, best_weight = default, 0
    for part in accepted[:HEADER_CHARS_MAX].split(","):
        wish = _WISH.fullmatch(part)
        if wish is None or wish["language"].lower() not in LANGUAGES:
            continue
        weight = _thousandths(wish["weight"])
        if weight > best_weight:
            best, best_weight = wish["language"].lower(), weight
    return best


def _thousandths(weight: str | None) -> int:
    whole, _, fraction = (weight or "1").partition(".")
    return int(whole) * 1000 + int(fraction.ljust(3, "0"))
