"""Tokens as the database keeps them and as people see them: sealed, opened, masked.

The 20 digits of a token are money. They stand sealed in the rows of tokens and in stored receipts,
and are opened only on their way to the meter and to those who may see them.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from typing import Any, Final

from slotmeter.ports import (
    Changes,
    Insert,
    NewId,
    Read,
    Row,
    Rows,
    SqlValue,
    Step,
    TokenSafe,
    UnitOfWork,
    Update,
)
from slotmeter.services.events import compact_json
from slotmeter.vending.receipts import Receipt

__all__ = [
    "SCRUBBED",
    "SCRUB_MARK",
    "SealOldTokens",
    "masked",
    "must_scrub",
    "open_receipt",
    "opened",
    "sealed_receipt",
]

SHOWN_DIGITS: Final = 4
TOKEN_DIGITS: Final = 20
BATCH_ROWS: Final = 500
PROGRESS_EVERY: Final = 100_000

SCRUB_MARK: Final = "tokens_to_scrub"
"""Name of the cursor that remembers it, and its two positions."""

SCRUBBED: Final = 0
WAITS: Final = 1

_TO_SCRUB: Final = Read("ingest_cursor", {"name": SCRUB_MARK}, "scrub")
_LOG = logging.getLogger("slotmeter.tokens")

Change = Callable[[str], str]


def opened(tokens: Sequence[Row], safe: TokenSafe) -> list[Row]:
    """Return rows of ``token`` with their digits in clear.

    Raises:
        Unavailable: ``token_unreadable``.
    """
    return [
        row if row["digits"] is None else {**row, "digits": safe.open(row["digits"])}
        for row in tokens
    ]


def masked(digits: str) -> str:
    """Hide all but the last four of 20 digits."""
    return "*" * (TOKEN_DIGITS - SHOWN_DIGITS) + digits[-SHOWN_DIGITS:]


def open_receipt(text: str, safe: TokenSafe, *, is_masked: bool = False) -> Receipt:
    """Read a stored receipt, with its tokens in clear or masked.

    Args:
        text: JSON as stored with the sale.
        safe: opens the tokens.
        is_masked: for those who must not see them.

    Raises:
        Unavailable: ``token_unreadable``.
    """
    show: Change = (lambda sealed: masked(safe.open(sealed))) if is_masked else safe.open
    return Receipt.from_dict(_with_tokens(json.loads(text), show))


def sealed_receipt(text: str, safe: TokenSafe) -> str:
    """Return a stored receipt with its tokens sealed; one that is sealed comes back as it was."""
    return compact_json(
        _with_tokens(json.loads(text), lambda digits: safe.seal(safe.open(digits)).text)
    )


def _with_tokens(body: dict[str, Any], change: Change) -> dict[str, Any]:
    """Return a receipt's body with each token in it changed."""
    if body["token"] is not None:
        body["token"] = change(body["token"])
    for token in body.get("tokens", ()):
        token["digits"] = change(token["digits"])
    return body


class SealOldTokens:
    """Seals what releases before wrote in clear: tokens and the receipts that show them.

    It goes through the tokens in the order of their ids, in units of a few hundred, and can be
    stopped at any moment: what is sealed has an index and is not looked at again.
    """

    def __init__(self, uow: UnitOfWork, safe: TokenSafe) -> None:
        """Join the parts."""
        self._uow = uow
        self._safe = safe

    async def run(self) -> int:
        """Seal all that is left; return how many tokens that were.

        Raises:
            Unavailable: the database cannot be written now; call it again later.
        """
        done, after_id = 0, 0
        while True:
            found = await self._unsealed(after_id)
            if not found:
                break
            after_id = found[-1]["id"]
            reads = [_read(found[0]["id"] - 1, len(found)), _TO_SCRUB]
            await self._uow.run(reads, self._decide)
            if done // PROGRESS_EVERY != (done + len(found)) // PROGRESS_EVERY:
                _LOG.info("sealed %s tokens of an earlier release so far", done + len(found))
            done += len(found)
        if done:
            _LOG.info("sealed %s tokens of an earlier release", done)
        return done

    async def _unsealed(self, after_id: int) -> Sequence[Row]:
        return (await self._uow.read([_read(after_id, BATCH_ROWS)]))["tokens"]

    def _decide(self, rows: Rows, _new_id: NewId) -> Changes[None]:
        steps: list[Step] = _scrub_later(rows)
        receipts: dict[int, str] = {}
        for row in rows["tokens"]:
            sealed = self._safe.seal(self._safe.open(row["digits"]))
            params = {
                "token_id": row["id"],
                "new_digits": sealed.text,
                "new_index": sealed.index,
            }
            steps.append(Update("token_seal", params))
            if row["receipt"] is not None:
                receipts[row["sale_row_id"]] = row["receipt"]
        steps += [
            Update(
                "receipt_seal",
                {"sale_row_id": row_id, "new_receipt": sealed_receipt(text, self._safe)},
                rows=None,
            )
            for row_id, text in receipts.items()
        ]
        return Changes(None, steps)


async def must_scrub(uow: UnitOfWork) -> bool:
    """Tell whether old text of tokens may remain in unused parts of the database's file."""
    rows = (await uow.read([_TO_SCRUB]))["scrub"]
    return bool(rows) and rows[0]["position"] == WAITS


def _scrub_later(rows: Rows) -> list[Step]:
    """Return what remembers, until somebody has scrubbed, that text in clear was overwritten."""
    if not rows["scrub"]:
        return [Insert("cursor", {"name": SCRUB_MARK, "position": WAITS, "at_us": 0})]
    if rows["scrub"][0]["position"] == WAITS:
        return []
    move: dict[str, SqlValue] = {"of_name": SCRUB_MARK, "of_position": SCRUBBED}
    move |= {"to_position": WAITS, "to_at_us": 0}
    return [Update("ingest_cursor_move", move)]


def _read(after_id: int, limit: int) -> Read:
    return Read("tokens_unsealed", {"after_id": after_id, "limit": limit}, "tokens")
