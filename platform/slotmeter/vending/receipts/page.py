"""A slip as a page of its own: it prints well, reads well aloud and loads nothing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

from slotmeter.vending.receipts.slip import Slip, SlipLine, SlipToken

__all__ = ["page_of"]

_STYLE: Final = """
:root{color-scheme:light}
*{box-sizing:border-box}
body{font:16px/1.45 system-ui,sans-serif;color:#1c2430;background:#fff;margin:0}
main{max-width:36rem;margin:0 auto;padding:1.25rem 1rem}
h1{font-size:1.25rem;margin:0}
h2{font-size:1rem;margin:1.5rem 0 .25rem}
header{text-align:center;border-bottom:2px solid #1c2430;padding-bottom:.75rem}
header p{margin:.15rem 0}
.title{font-weight:700;letter-spacing:.04em}
.mark{display:inline-block;font-weight:700;border:2px solid #1c2430;padding:0 .6rem;
letter-spacing:.12em}
dl{display:grid;grid-template-columns:minmax(6rem,auto) 1fr;gap:.1rem 1rem;margin:1rem 0}
dt{color:#4d5866}
dd{margin:0;overflow-wrap:anywhere}
table{width:100%;border-collapse:collapse}
caption{text-align:left;font-weight:700;padding:.5rem 0 .25rem}
th,td{padding:.3rem 0;border-bottom:1px solid #d9dee5;text-align:left;vertical-align:top;
font-weight:400}
th small{display:block;color:#4d5866}
td{text-align:right;white-space:nowrap;padding-left:1rem;font-variant-numeric:tabular-nums}
tfoot th,tfoot td{font-weight:700;border-bottom:0}
.tokens{list-style:none;margin:1.25rem 0 .5rem;padding:0;border:2px solid #1c2430;
border-radius:.5rem;break-inside:avoid}
.tokens li{padding:.6rem .25rem;text-align:center}
.tokens li+li{border-top:1px solid #1c2430}
.token{font:700 clamp(1.05rem,5.2vw,1.6rem)/1.4 ui-monospace,monospace;word-spacing:.1em}
.note{text-align:center;color:#4d5866;margin:.5rem 0}
ol.why{margin:.25rem 0;padding-left:1.9rem}
ol.why li{margin:.2rem 0}
@media print{main{padding:0;max-width:none}h2,caption,tr{break-after:avoid}tr{break-inside:avoid}}
"""


_MONEY: Final = re.compile(r"\b([A-Z]{3}) (-?[0-9])")


def _terms(pairs: Iterable[tuple[str, str]]) -> str:
    rows = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in pairs)
    return f"<dl>{rows}</dl>" if rows else ""


def _row(line: SlipLine) -> str:
    note = f"<small>{escape(line.note)}</small>" if line.note else ""
    return f'<tr><th scope="row">{escape(line.text)}{note}</th><td>{escape(line.amount)}</td></tr>'


def _table(caption: str, lines: Iterable[SlipLine], totals: Iterable[tuple[str, str]] = ()) -> str:
    body = "".join(map(_row, lines))
    foot = "".join(_row(SlipLine(name, value)) for name, value in totals)
    foot = f"<tfoot>{foot}</tfoot>" if foot else ""
    return f"<table><caption>{escape(caption)}</caption><tbody>{body}</tbody>{foot}</table>"


def _token(token: SlipToken) -> str:
    caption = f"<div>{escape(token.caption)}</div>" if token.caption else ""
    return f'<li>{caption}<div class="token" translate="no">{escape(token.grouped)}</div></li>'


def _kept_together(sentence: str) -> str:
    """Let no row end between a currency and its amount."""
    return _MONEY.sub("\\1\u00a0\\2", sentence)


def _why(heading: str, sentences: Sequence[str]) -> str:
    if not sentences:
        return ""
    items = "".join(f"<li>{escape(_kept_together(sentence))}</li>" for sentence in sentences)
    return f'<h2>{escape(heading)}</h2><ol class="why">{items}</ol>'


def page_of(slip: Slip, why_heading: str, why: Sequence[str]) -> str:
    """Write the page of a slip, with the sentences that explain it at the end."""
    title = f"{slip.title} {slip.number}".strip()
    name, *below = slip.heading or ("",)
    heading = "".join(f"<p>{escape(text)}</p>" for text in below)
    marks = "".join(f'<p><strong class="mark">{escape(mark)}</strong></p>' for mark in slip.marks)
    tokens = "".join(map(_token, slip.tokens))
    results = _table("", [SlipLine(label, value) for label, value in slip.results])
    outlook = [SlipLine(label, value) for label, value in slip.outlook]
    parts = (
        f'<!doctype html><html lang="{slip.language}"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body><main>",
        f"<header><h1>{escape(name)}</h1>{heading}",
        f'<p class="title">{escape(slip.title)}</p>{marks}</header>',
        f'<ol class="tokens">{tokens}</ol>' if tokens else "",
        f'<p class="note">{escape(slip.note)}</p>',
        results.replace("<caption></caption>", "") if slip.results else "",
        _terms(slip.facts),
        _table(slip.lines_heading, slip.lines, slip.totals),
        _table(slip.debts_heading, slip.debts) if slip.debts else "",
        _table(slip.outlook_heading, outlook) if outlook else "",
        _why(why_heading, why),
        "</main></body></html>\n",
    )
    return "".join(parts)
