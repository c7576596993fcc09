"""The first commit of a sale, purely: priced, numbered, its token identifiers stored."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import Any

from slotmeter.errors import Conflict, Refused
from slotmeter.ports import (
    Caller,
    Changes,
    From,
    Insert,
    NewId,
    Principal,
    Read,
    Reads,
    Row,
    Rows,
    SqlValue,
    Step,
    Update,
)
from slotmeter.services.access import caller_act
from slotmeter.services.booking import Entry, open_account
from slotmeter.services.events import compact_json
from slotmeter.services.key_change_sale import SaleChange, change_with_sale
from slotmeter.services.pricing import Purchase, PurchaseReads, price, price_claim
from slotmeter.services.sale_issue import Begun, supply_touched
from slotmeter.services.sale_particulars import delivery_of, particulars
from slotmeter.services.sale_void import refusal_of
from slotmeter.services.sold_tokens import has_tokens, token_rows
from slotmeter.services.tid_allocator import TidAllocator
from slotmeter.services.training import check_training_key
from slotmeter.services.unpriced import clear_steps
from slotmeter.units import Money, iso_utc, parse_money
from slotmeter.vending.ledger import Posting, till_account
from slotmeter.vending.receipts.assembly import line_dicts
from slotmeter.vending.sts import KEPT_TIDS, minute_1993_of_us

__all__ = ["ONE_LANE", "SaleBegin", "SellRequest"]

ONE_LANE = TidAllocator()


@dataclass(frozen=True, slots=True)
class SellRequest:
    """What a point of sale asks for.

    Args:
        sale_id: the caller's own name of this sale, 1 to 64 characters; the same id is one sale.
        meter: meter number, digits.
        tendered: amount in major units, as text.
        channel: till, web, phone or bank.
        claim_free: only the free units that are due are wanted, for a tender of zero.
    """

    sale_id: str
    meter: str
    tendered: str
    channel: str = "till"
    claim_free: bool = False


def request_hash(request: SellRequest, tender: Money) -> str:
    """Return what tells two requests under one sale id apart."""
    parts = [request.meter, str(tender.minor), tender.currency, request.channel]
    if request.claim_free:
        parts.append("claim_free")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _known_sale(rows: Rows, hashed: str) -> Changes[Begun]:
    known = rows["known"][0]
    if known["request_hash"] != hashed:
        raise Conflict(
            "sale_id_reused",
            "this sale_id was used for another purchase; take a new one",
            field="sale_id",
            details={"sold_at": iso_utc(known["sold_us"])},
        )
    if known["state"] == "voided":
        raise refusal_of(known["voided"])
    debt_ids = [row["debt_id"] for row in rows["debts_of_sale"]]
    return Changes(Begun.stored({**known, "created": False}, rows["tokens_of_sale"], debt_ids))


def _charge_steps(
    purchase: Purchase, rows: Rows, new_id: NewId, at_us: int, utility_id: int
) -> list[Step]:
    known = {(row["code"], row["period"]): row for row in rows.get("charges", ())}
    steps: list[Step] = []
    for charge in purchase.priced.charges:
        row = known.get((charge.code, charge.period))
        if row is not None:
            params: dict[str, SqlValue] = {
                "charge_id": row["id"],
                "taken_before": row["taken_minor"],
                "amount": charge.net_minor,
                "due": max(charge.due_minor, row["taken_minor"] + charge.net_minor),
            }
            steps.append(Update("charge_take", params))
            continue
        item: dict[str, SqlValue] = {
            "id": new_id(),
            "utility_id": utility_id,
            "supply_point_id": purchase.row["supply_point_id"],
            "code": charge.code,
            "period": charge.period,
            "due_minor": max(charge.due_minor, charge.net_minor),
            "taken_minor": charge.net_minor,
            "created_us": at_us,
        }
        steps.append(Insert("charge", item))
    return steps


def _taken_steps(purchase: Purchase, sale: Row, new_id: NewId) -> list[Step]:
    """Return what records the debts and the free units that this sale takes."""
    steps: list[Step] = [
        Insert(
            "debt_taken",
            {
                "id": new_id(),
                "utility_id": sale["utility_id"],
                "debt_id": taken.debt_id,
                "sale_row_id": sale["id"],
                "minor": taken.minor,
                "at_us": sale["sold_us"],
            },
        )
        for taken in purchase.priced.debts
    ]
    steps.extend(
        Insert(
            "free_claim",
            {
                "id": new_id(),
                "utility_id": sale["utility_id"],
                "supply_point_id": sale["supply_point_id"],
                "code": free.code,
                "period": free.period,
                "units": free.units,
                "sale_row_id": sale["id"],
            },
        )
        for free in purchase.priced.free
    )
    return steps


def _reserve_till(tender: Money, rows: Rows, new_id: NewId, principal: Principal) -> list[Step]:
    if not tender.minor:
        return []
    if not rows["till"]:
        entry = Entry(principal.utility_id, "opening", 0, tender.currency, (), "")
        code = till_account(rows["branch"][0]["code"])
        opened = open_account(entry, Posting(code, 0), new_id())
        return [Insert(opened.table, {**opened.row, "reserved_minor": tender.minor})]
    till = rows["till"][0]
    limit = till["limit_minor"]
    owed = till["balance_minor"] + till["reserved_minor"] + tender.minor
    if limit is not None and owed > limit:
        left = Money(max(0, limit - owed + tender.minor), tender.currency)
        raise Refused(
            "float_exhausted",
            f"the seller may take {left} {left.currency} more before paying in",
            field="tendered",
            details={"left": str(left)},
        )
    return [Update("ledger_reserve", {"ledger_account_id": till["id"], "amount": tender.minor})]


def _next_receipt(rows: Rows, utility_id: int) -> tuple[str, Step]:
    if not rows["sequence"]:
        row: dict[str, SqlValue] = {
            "utility_id": utility_id,
            "name": "receipt",
            "next_value": 2,
        }
        return "R00000001", Insert("sequence", row)
    number = rows["sequence"][0]["next_value"]
    params = {"of_utility_id": utility_id, "of_name": "receipt", "expected": number}
    return f"R{number:08d}", Update("sequence_next", params)


class SaleBegin:
    """The first commit of one sale: what it reads, and what it decides from that.

    Args:
        caller: who sells.
        request: what is asked for.
        now_us: our clock.
        rnd: 4 random bits.
        tids: gives the token identifiers.
    """

    def __init__(
        self,
        caller: Caller,
        request: SellRequest,
        *,
        now_us: int,
        rnd: int,
        tids: TidAllocator = ONE_LANE,
    ) -> None:
        """Hold the question."""
        self._caller = caller
        self._request = request
        self._now_us = now_us
        self._rnd = rnd
        self._tids = tids
        principal = caller.principal
        self._asked = PurchaseReads(principal, request.meter, now_us, request.channel)

    def reads(self) -> Reads:
        """Return what :meth:`decide` needs to know."""
        principal, request = self._caller.principal, self._request
        return [
            Read(
                "sale_by_principal",
                {"principal_id": principal.id, "sale_id": request.sale_id},
                "known",
            ),
            Read("tokens_of_sale", {"sale_row_id": From("known", "id")}),
            Read("debts_of_sale", {"sale_row_id": From("known", "id")}),
            *self._asked.reads(),
            Read(
                "kept_tids",
                {
                    "meter_id": From("meter", "meter_id"),
                    "from_minute": minute_1993_of_us(self._now_us),
                    "limit": KEPT_TIDS,
                },
                "tids",
            ),
            Read("till_of_branch", {"branch_id": principal.branch_id}, "till"),
            Read("sequence", {"utility_id": principal.utility_id, "name": "receipt"}),
        ]

    def apart(self, rows: Rows) -> list[Hashable]:
        """Return what a sale has in common with few others; see ``ports.Apart``."""
        principal = self._caller.principal
        touches: list[Hashable] = [("sale", principal.id, self._request.sale_id)]
        if rows["meter"]:
            touches += supply_touched(rows["meter"][0])
        if not rows["till"]:
            touches.append(("till", principal.branch_id))
        if not rows["sequence"]:
            touches.append(("sequence", principal.utility_id))
        return touches

    def decide(self, rows: Rows, new_id: NewId) -> Changes[Begun]:
        """Price the sale and store it with its token identifiers and random bits.

        From here on the sale will be completed, or voided whole if a token is refused. The row of
        the sale in the result is as the read ``sale_by_row`` would give it, with ``created``
        beside.

        Raises:
            Conflict: ``sale_id_reused``.
            NotFound, Refused: see :mod:`pricing`; ``float_exhausted``; a key that has expired; why
                a sale of this id was voided.
        """
        request, principal = self._request, self._caller.principal
        tender = parse_money(request.tendered, principal.currency)
        hashed = request_hash(request, tender)
        if rows["known"]:
            return _known_sale(rows, hashed)
        price_it = price_claim if request.claim_free else price
        purchase = price_it(rows, self._asked, tender)
        number, receipt_step = _next_receipt(rows, principal.utility_id)
        check_training_key(purchase.row["key_id"], training=principal.training)
        sale_row_id = new_id()
        change = self._key_change(purchase, sale_row_id, new_id)
        if change is not None:
            purchase = replace(purchase, row=change.row)
        row = _sale_row(self._caller, request, purchase, number, self._now_us)
        row |= {"id": sale_row_id, "request_hash": hashed}
        said = particulars(purchase, rows, self._caller)
        if change is not None:
            said["key_change"] = change.said
        row["particulars"] = compact_json(said)
        lines = line_dicts(purchase.priced.lines)
        row["priced"] = compact_json(lines)
        kept = rows["tids"]
        tokens = [] if change is None else [*change.tokens]
        tokens += token_rows(purchase, row, kept, new_id, tids=self._tids, rnd=self._rnd)
        steps: list[Step] = [
            receipt_step,
            *(() if change is None else change.steps),
            Insert("sale", row),
            *(Insert("token", token) for token in tokens),
            *(() if change is None else change.links),
            *_charge_steps(purchase, rows, new_id, self._now_us, principal.utility_id),
            *_taken_steps(purchase, row, new_id),
            *_reserve_till(tender, rows, new_id, principal),
            *clear_steps(purchase.row, principal.utility_id, new_id, now_us=self._now_us),
            self._act(number, tender, new_id),
        ]
        result = {
            **row,
            "created": True,
            "meter_number": purchase.row["number"],
            "commodity": purchase.row["commodity"],
            "branch_code": rows["branch"][0]["code"],
        }
        debt_ids = [taken.debt_id for taken in purchase.priced.debts]
        return Changes(Begun.of(result, tokens, debt_ids, lines, said), steps)

    def _key_change(self, purchase: Purchase, sale_row_id: int, new_id: NewId) -> SaleChange | None:
        """Return what the sale does about the meter's key; a sale without a token does nothing."""
        if purchase.row["wanted"] is None or not has_tokens(purchase):
            return None
        utility_id = self._caller.principal.utility_id
        return change_with_sale(purchase.row, sale_row_id, utility_id, new_id, now_us=self._now_us)

    def _act(self, receipt_number: str, tender: Money, new_id: NewId) -> Step:
        request = self._request
        return caller_act(
            self._caller,
            new_id,
            self._now_us,
            what="sale",
            subject=receipt_number,
            reason=f"sale {request.sale_id} for meter {request.meter}",
            data={"tendered": str(tender), "channel": request.channel},
        )


def _sale_row(
    caller: Caller, request: SellRequest, purchase: Purchase, receipt_number: str, now_us: int
) -> dict[str, Any]:
    act = {
        "principal": caller.principal.name,
        "api_key_id": caller.api_key_id,
        "address": caller.address,
        "request_id": caller.request_id,
    }
    meter, priced = purchase.row, purchase.priced
    return {
        "utility_id": caller.principal.utility_id,
        "principal_id": caller.principal.id,
        "branch_id": caller.principal.branch_id,
        "sale_id": request.sale_id,
        "state": "pending",
        "receipt_number": receipt_number,
        "meter_id": meter["meter_id"],
        "account_id": meter["account_id"],
        "supply_point_id": meter["supply_point_id"],
        "tariff_version_id": purchase.tariff_version_id,
        "tender_minor": priced.tender_minor,
        "currency": purchase.tariff.currency,
        "channel": request.channel,
        "credit_mode": meter["credit_mode"],
        "voided": None,
        "device_id": meter["device_id"],
        "situation": compact_json(purchase.situation.to_dict()),
        "units": priced.units,
        "counted_units": priced.counted_units,
        "lifeline_units": priced.lifeline_units,
        "kept_minor": priced.kept_minor - purchase.situation.advance_minor,
        "transfer": purchase.situation.transfer.value,
        "transfer_minor": priced.transfer_minor,
        "receipt": None,
        "delivery": delivery_of(purchase),
        "sold_us": now_us,
        "issued_us": None,
        "sent_us": None,
        "accepted_us": None,
        "verified_us": None,
        "act": compact_json(act),
    }
