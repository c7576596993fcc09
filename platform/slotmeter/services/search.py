"""Finding a meter or a sale by what somebody has in hand: a number, a name, an address, a token.

A number is found by how it begins; words by how each of them begins, in any order, without case and
accents; a receipt and a token as a whole. Who may not see readings finds meters by number only, as
others must not learn names and addresses by asking.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from slotmeter.errors import Refused
from slotmeter.ports import Principal, Read, Right, Row, SqlValue, TokenSafe
from slotmeter.ports.looking import Looks
from slotmeter.vending.accounts import words_of

__all__ = ["TEXT_CHARACTERS_MAX", "Found", "Hit", "Kind", "Search", "word_ranges"]

Kind = Literal["token", "receipt", "meter", "account", "customer", "words"]
"""What matched; account and customer by their numbers."""

TEXT_CHARACTERS_MAX: Final = 100
TEXT_CHARACTERS_MIN: Final = 2
LAST: Final = "\U0010ffff"
"""Follows whatever a text may go on with."""

KINDS: Final[tuple[Kind, ...]] = ("token", "receipt", "meter", "account", "customer", "words")
_NUMBERED: Final[Mapping[str, str]] = {
    "meter": "search_meter",
    "account": "search_account",
    "customer": "search_customer",
}
_BY_WORDS: Final = ("search_words_1", "search_words_2", "search_words_3", "search_words_4")
_TOKEN: Final = re.compile(r"[0-9]{20}")
_RECEIPT: Final = re.compile(r"[A-Za-z]{1,4}[0-9]{1,18}")
_CURSOR: Final = re.compile(r"(meter|account|customer|words)/([0-9]{1,19})/(.{0,64})")


@dataclass(frozen=True, slots=True)
class Hit:
    """One thing found.

    Args:
        by: what matched.
        row: the place, and for token and receipt the sale; see ``storage.statements.search``.
    """

    by: Kind
    row: Row


@dataclass(frozen=True, slots=True)
class Found:
    """A page of hits; ``next`` is None at the end."""

    hits: Sequence[Hit]
    next: str | None


@dataclass(frozen=True, slots=True)
class _Cursor:
    """Where a page begins: a kind, and the key after which it goes on there."""

    kind: Kind
    after_id: int = -1
    after: str = ""

    def text(self) -> str:
        return f"{self.kind}/{self.after_id + 1}/{self.after}"

    @classmethod
    def read(cls, text: str | None) -> _Cursor:
        if text is None:
            return cls(KINDS[0])
        match = _CURSOR.fullmatch(text)
        if match is None:
            raise Refused("bad_cursor", "expected the `next` of a page before", field="after")
        kind = next(kind for kind in KINDS if kind == match[1])
        return cls(kind, int(match[2]) - 1, match[3])


class Search:
    """Finds; writes nothing."""

    def __init__(self, looks: Looks, safe: TokenSafe) -> None:
        """Hold the database, and what tokens are found by."""
        self._looks = looks
        self._safe = safe

    async def find(
        self, principal: Principal, text: str, *, after: str | None = None, limit: int = 50
    ) -> Found:
        """Return what a text stands for, a page of it.

        Args:
            principal: who asks; sees its own sales, or all with ``sales.all``.
            text: 20 digits, with or without spaces between them; a receipt number; the beginning
                of a number; words.
            after: ``next`` of the page before.
            limit: hits on a page.

        Raises:
            Refused: ``search_too_short`` or ``bad_cursor``.
        """
        wanted = text.strip()
        if not TEXT_CHARACTERS_MIN <= len(wanted) <= TEXT_CHARACTERS_MAX:
            raise Refused(
                "search_too_short",
                f"expected {TEXT_CHARACTERS_MIN} to {TEXT_CHARACTERS_MAX} characters to search "
                f"for, got {len(wanted)}",
                field="q",
            )
        cursor = _Cursor.read(after)
        hits: list[Hit] = []
        for kind in KINDS[KINDS.index(cursor.kind) :]:
            start = cursor if kind == cursor.kind else _Cursor(kind)
            read = self._read(principal, kind, wanted, start, limit + 1 - len(hits))
            if read is None:
                continue
            rows = (await self._looks.read([read]))[read.statement]
            hits += [Hit(kind, row) for row in rows]
            if len(hits) > limit:
                return Found(hits[:limit], _after(hits[limit - 1], hits[limit]).text())
        return Found(hits, None)

    def _read(
        self, principal: Principal, kind: Kind, wanted: str, start: _Cursor, limit: int
    ) -> Read | None:
        of: dict[str, SqlValue] = {"utility_id": principal.utility_id}
        if kind in ("token", "receipt"):
            own = None if Right.SALES_ALL in principal.rights else principal.id
            return self._sale_read(kind, wanted, {**of, "principal_id": own})
        if kind != "meter" and Right.READINGS not in principal.rights:
            return None
        of |= {"after_id": start.after_id, "limit": limit}
        if kind == "words":
            return _words_read(wanted, of)
        if " " in wanted:
            return None
        ends: dict[str, SqlValue] = {"from": wanted, "to": wanted + LAST, "after": start.after}
        if kind == "meter":
            del of["after_id"]
        return Read(_NUMBERED[kind], {**of, **ends})

    def _sale_read(self, kind: str, wanted: str, of: Mapping[str, SqlValue]) -> Read | None:
        if kind == "receipt":
            if _RECEIPT.fullmatch(wanted) is None:
                return None
            return Read("search_receipt", {**of, "receipt_number": wanted.upper()})
        digits = re.sub(r"[ -]", "", wanted)
        if _TOKEN.fullmatch(digits) is None:
            return None
        return Read("search_token", {**of, "digits_index": self._safe.index(digits)})


def _words_read(wanted: str, of: Mapping[str, SqlValue]) -> Read | None:
    # The longest word is the rarest, most often: it is looked for first.
    words = sorted(words_of(wanted), key=len, reverse=True)[: len(_BY_WORDS)]
    if not words or len(words[0]) < TEXT_CHARACTERS_MIN:
        return None
    ends: dict[str, SqlValue] = {}
    for at, word in enumerate(words):
        ends |= {f"from{at}": word, f"to{at}": word + LAST}
    return Read(_BY_WORDS[len(words) - 1], {**of, **ends})


def word_ranges(words: Sequence[str]) -> dict[str, SqlValue]:
    """Return the ranges of words that begin as these do, four of them; nothing without a word."""
    ends: dict[str, SqlValue] = {"from0": LAST, "to0": ""}
    ends |= {f"{end}{at}": None for at in range(1, len(_BY_WORDS)) for end in ("from", "to")}
    for at, word in enumerate(sorted(words, key=len, reverse=True)[: len(_BY_WORDS)]):
        ends |= {f"from{at}": word, f"to{at}": word + LAST}
    return ends


def _after(last: Hit, following: Hit) -> _Cursor:
    """Return where the next page begins, from the last hit of this one and the one after."""
    if following.by != last.by:
        return _Cursor(following.by)
    return _Cursor(last.by, last.row["supply_point_id"] or 0, last.row.get("found", ""))
