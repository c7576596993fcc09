"""A slip as plain text for receipt printers."""

from __future__ import annotations

from typing import Final

from slotmeter.vending.receipts.slip import Slip, SlipLine

__all__ = ["COLUMNS", "text_of"]

COLUMNS: Final = {58: 32, 80: 48}
"""Characters on a line for each paper width in millimetres."""

INDENT: Final = "  "


def _wrap(text: str, width: int) -> list[str]:
    rows: list[str] = []
    for word in text.split():
        if rows and len(rows[-1]) + 1 + len(word) <= width:
            rows[-1] += f" {word}"
        else:
            rows.extend(word[at : at + width] for at in range(0, len(word), width))
    return rows


def _centred(text: str, width: int) -> list[str]:
    return [row.center(width).rstrip() for row in _wrap(text, width)]


def _pair(label: str, amount: str, width: int) -> list[str]:
    """Write a label at the left and an amount at the right of its last row."""
    rows = _wrap(label, width)
    if rows and len(rows[-1]) + 1 + len(amount) <= width:
        last = rows.pop()
        return [*rows, last + amount.rjust(width - len(last))]
    return [*rows, amount.rjust(width)]


def _line(line: SlipLine, width: int) -> list[str]:
    rows = _pair(line.text, line.amount, width)
    note = _wrap(line.note, width - len(INDENT))
    return rows + [INDENT + row for row in note]


def _token(grouped: str, width: int) -> list[str]:
    """Write a token on one row, or on two without breaking a group."""
    groups = grouped.split()
    rows = [grouped] if len(grouped) <= width else [" ".join(groups[:3]), " ".join(groups[3:])]
    return [row.center(width).rstrip() for row in rows]


def _section(heading: str, rows: list[str], width: int) -> list[str]:
    return ["-" * width, *_wrap(heading, width), *rows] if rows else []


def text_of(slip: Slip, width: int) -> str:
    """Print a slip for a printer of so many columns; one newline at the end of each row."""
    rule = "-" * width
    marks = [f"*** {mark} ***" for mark in slip.marks]
    head = [row for text in (*slip.heading, slip.title, *marks) for row in _centred(text, width)]
    facts = [row for name, value in slip.facts for row in _wrap(f"{name}: {value}", width)]
    lines = [row for line in slip.lines for row in _line(line, width)]
    totals = (*slip.totals, *slip.results)
    sums = [row for name, value in totals for row in _pair(name, value, width)]
    tokens = [
        row
        for token in slip.tokens
        for row in ("", *_centred(token.caption, width), *_token(token.grouped, width))
    ]
    debts = [row for line in slip.debts for row in _line(line, width)]
    outlook = [row for name, value in slip.outlook for row in _pair(name, value, width)]
    rows = [
        *(*head, rule, *facts, rule, *lines, rule, *sums),
        *(*tokens, "", *_wrap(slip.note, width)),
        *_section(slip.debts_heading, debts, width),
        *_section(slip.outlook_heading, outlook, width),
    ]
    return "\n".join(rows) + "\n"
