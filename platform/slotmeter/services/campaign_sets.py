"""What a campaign hands out: the sets to print, and tokens in place of those it made worthless."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

from slotmeter.errors import Refused, SlotmeterError, Unavailable
from slotmeter.ports import (
    Caller,
    Changes,
    Clock,
    NewId,
    Read,
    Right,
    Row,
    Rows,
    SqlValue,
    Step,
    TokenSafe,
    UnitOfWork,
    Update,
)
from slotmeter.services.access import Origin, act_row
from slotmeter.services.campaigns import BATCH_METERS, Campaigns
from slotmeter.services.guarded_acts import check_reason, need_right
from slotmeter.services.key_replacements import KeyReplacements
from slotmeter.units import epoch_us
from slotmeter.vending.receipts import group_digits

__all__ = ["LIST_FORMS", "CampaignSets", "MeterSet", "ReplacedCount", "render_sets"]

LIST_FORMS: Final = ("csv", "text", "html")


@dataclass(frozen=True, slots=True)
class MeterSet:
    """The set of one meter, for whoever types it."""

    meter: str
    customer: str
    account: str
    area: str
    address: str
    tokens: Sequence[str]


@dataclass(frozen=True, slots=True)
class ReplacedCount:
    """How many tokens were replaced, and how many could not be with why the first was not."""

    replaced: int
    failed: int
    problem: str | None


class CampaignSets:
    """The transaction boundary of what a campaign hands out."""

    def __init__(
        self,
        uow: UnitOfWork,
        safe: TokenSafe,
        clock: Clock,
        campaigns: Campaigns,
        replacements: KeyReplacements,
    ) -> None:
        """Join the parts."""
        self._uow = uow
        self._safe = safe
        self._clock = clock
        self._campaigns = campaigns
        self._replacements = replacements

    async def sets(
        self, caller: Caller, code: str, reason: str, *, after: int = 0, limit: int = BATCH_METERS
    ) -> tuple[Sequence[MeterSet], int | None]:
        """Return the sets whose proof is awaited, in clear, and note that they were handed out.

        Returns:
            The sets, and where the next ones start; None at the end.

        Raises:
            NotAllowed: ``right_missing``.
            NotFound: ``campaign_unknown``.
            Refused: ``reason_missing``, ``reason_too_long``.
        """
        await need_right(
            self._uow,
            self._clock,
            caller,
            Right.KEYS_CHANGE,
            what="key.campaign.print",
            subject=f"campaign:{code[:40]}",
            reason=reason,
        )
        text, now_us = check_reason(reason), epoch_us(self._clock.now())
        campaign = await self._campaigns.campaign(caller, code)
        params: dict[str, SqlValue] = {
            "utility_id": campaign["utility_id"],
            "campaign_id": campaign["id"],
            "now_us": now_us,
            "after": after,
            "limit": limit + 1,
        }
        rows = (await self._uow.read([Read("campaign_open", params, "open")]))["open"]
        page = rows[:limit]
        made = [await self._set(row) for row in page]

        def decide(_rows: Rows, new_id: NewId) -> Changes[None]:
            printed: list[Step] = [
                Update("campaign_printed", {"of_member": row["id"], "at_us": now_us})
                for row in page
            ]
            act = act_row(
                new_id,
                Origin.of(caller),
                campaign["utility_id"],
                now_us,
                what="key.campaign.print",
                subject=f"campaign:{code}",
                reason=text,
                data={"meters": len(page), "after": after},
            )
            return Changes(None, [*printed, act])

        await self._uow.run([], decide)
        following = page[-1]["id"] if len(rows) > limit else None
        return [each for each in made if each.tokens], following

    async def replace_unused(self, caller: Caller, code: str, reason: str) -> ReplacedCount:
        """Replace, once, what meters within reach say they never took and can take no more.

        Of meters that nothing reaches nobody knows what was typed: theirs are replaced one by one
        at a customer's word.

        Raises:
            NotAllowed: ``right_missing``.
            NotFound: ``campaign_unknown``.
            Refused: ``reason_missing``, ``reason_too_long``.
            Unavailable: go on later; what was replaced stays so.
        """
        text = check_reason(reason)
        replaced, failed, problem, after = 0, 0, None, 0
        while True:
            page = await self._campaigns.unused(caller, code, after=after)
            for row in page.rows:
                if not _is_due(row):
                    continue
                try:
                    await self._replacements.replace(caller, row["key_change_id"], row["id"], text)
                except Unavailable:
                    raise
                except Refused as error:
                    failed, problem = failed + 1, problem or _why(error)
                else:
                    replaced += 1
            if page.next is None:
                return ReplacedCount(replaced, failed, problem)
            after = int(page.next)

    async def _set(self, row: Row) -> MeterSet:
        read = Read("campaign_set", {"change_id": row["key_change_id"]}, "set")
        tokens = (await self._uow.read([read]))["set"]
        return MeterSet(
            meter=row["meter"],
            customer=row["customer"] or "",
            account=row["account"] or "",
            area=row["area"] or "",
            address=row["address"] or "",
            tokens=[self._safe.open(token["digits"]) for token in tokens],
        )


def _is_due(row: Row) -> bool:
    return (
        row["device_id"] is not None
        and row["change_state"] == "proven"
        and row["state"] == "issued"
        and row["new_token_id"] is None
    )


def _why(error: SlotmeterError) -> str:
    return f"{error.code}: {error.message}"


_TITLE: Final = "Key change tokens"
_HINT: Final = "Type all tokens of your meter in this order, before any other token."


def render_sets(sets: Sequence[MeterSet], form: str, *, mark: str = "") -> str:
    """Write sets for people.

    Args:
        sets: what to write.
        form: one of :data:`LIST_FORMS`.
        mark: written at each set, as TRAINING.

    Raises:
        Refused: ``bad_form``.
    """
    if form == "csv":
        return _csv(sets, mark)
    if form == "text":
        return "\n".join(_slip(each, mark) for each in sets)
    if form == "html":
        return _html(sets, mark)
    raise Refused("bad_form", f"expected one of {', '.join(LIST_FORMS)}", field="format")


def _csv(sets: Sequence[MeterSet], mark: str) -> str:
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(
        [
            *("meter", "customer", "account", "area", "address"),
            *("token_1", "token_2", "token_3", "token_4", "mark"),
        ]
    )
    for each in sets:
        tokens = [*each.tokens, *([""] * (4 - len(each.tokens)))]
        person = [_cell(text) for text in (each.customer, each.account, each.area, each.address)]
        table.writerow([each.meter, *person, *tokens, mark])
    return out.getvalue()


def _cell(text: str) -> str:
    """Keep a spreadsheet from taking text for a formula."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


def _slip(each: MeterSet, mark: str) -> str:
    lines = [f"*** {mark} ***"] if mark else []
    lines += [_TITLE.upper(), f"Meter {each.meter}", f"{each.customer} {each.account}".strip()]
    lines += [each.address] if each.address else []
    lines += [f"{at}. {group_digits(digits)}" for at, digits in enumerate(each.tokens, start=1)]
    return "\n".join([*lines, _HINT, "-" * 40, ""])


def _html(sets: Sequence[MeterSet], mark: str) -> str:
    slips = []
    for each in sets:
        tokens = "".join(f"<li>{group_digits(digits)}</li>" for digits in each.tokens)
        head = f"<p><strong>{escape(mark)}</strong></p>" if mark else ""
        slips.append(
            f"<section>{head}<h2>{escape(each.meter)}</h2>"
            f"<p>{escape(each.customer)} {escape(each.account)}<br>{escape(each.address)}</p>"
            f"<ol>{tokens}</ol><p>{_HINT}</p></section>"
        )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f"<title>{_TITLE}</title><style>section{{break-inside:avoid;border-bottom:1px dashed;"
        "padding:1em}li{font:1.3em monospace}</style></head><body>"
        f"<h1>{_TITLE}</h1>{''.join(slips)}</body></html>\n"
    )
