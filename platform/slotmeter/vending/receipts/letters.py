"""Letters that a printer or a phone has, for those that have not all."""

from __future__ import annotations

import unicodedata
from typing import Final

__all__ = ["GSM_EXTENDED", "GSM_LETTERS", "ascii_only", "gsm_letters"]

GSM_LETTERS: Final = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
"""The default alphabet of short messages, one septet each (3GPP TS 23.038, section 6.2.1)."""

GSM_EXTENDED: Final = frozenset("^{}\\[~]|€")
"""Its extension, two septets each (section 6.2.1.1)."""

_SPELT: Final = {
    "œ": "oe",
    "Œ": "OE",
    "æ": "ae",
    "Æ": "AE",
    "ß": "ss",
    "ø": "o",
    "Ø": "O",
    "đ": "d",
    "ł": "l",
    "Ł": "L",
    "\u2019": "'",
    "\u2018": "'",
    "\u201c": '"',
    "\u201d": '"',
    "«": '"',
    "»": '"',
    "\u2013": "-",
    "\u2014": "-",
    "€": "EUR",
    "º": "o",
    "ª": "a",
    "°": "o",
    "\u00a0": " ",
}


def _plain(letter: str) -> str:
    if letter in _SPELT:
        return _SPELT[letter]
    parts = unicodedata.normalize("NFKD", letter)
    return "".join(part for part in parts if not unicodedata.combining(part))


def ascii_only(text: str) -> str:
    """Write a text with the letters of ASCII: without accents, and ``?`` for other scripts."""
    if text.isascii():
        return text
    plain = "".join(letter if letter.isascii() else _plain(letter) for letter in text)
    return plain.encode("ascii", "replace").decode("ascii")


def gsm_letters(text: str) -> str:
    """Take accents away that the default alphabet of messages lacks; other scripts stay."""
    letters = []
    for letter in text:
        known = letter in GSM_LETTERS or letter in GSM_EXTENDED
        plain = letter if known else _plain(letter)
        fits = all(part in GSM_LETTERS for part in plain)
        letters.append(plain if plain and fits else letter)
    return "".join(letters)
