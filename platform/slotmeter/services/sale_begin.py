"""The first commit of a sale, purely: priced, numbered, its token identifier stored."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
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
    Row,
    Rows,
    SqlValue,
    Step,
    Update,
)
from slotmeter.services.access import Origin, act_row
from slotmeter.services.booking import Entry, open_account
from slotmeter.services.events import compact_json
from slotmeter.services.pricing import Priced, price, quote_reads
from slotmeter.services.sale_void import refusal_of
from slotmeter.services.tid_allocator import TidAllocator, stored_parameters
from slotmeter.units import Money, iso_utc, parse_money
from slotmeter.vending.accounts import CreditMode
from slotmeter.vending.charges import ChargeDue
from slotmeter.vending.ledger import Posting, till_account
from slotmeter.vending.sales import (
    credit_subclass,
)
from slotmeter.vending.sts import (
    KEPT_TIDS,
    TokenRequest,
    check_issuable,
    minute_1993_of_us,
)

__all__ = ["SellRequest", "begin_reads", "begin_sale"]

ONE_LANE = TidAllocator()


@dataclass(frozen=True, slots=True)
class SellRequest:
    """What a point of sale asks for.

    Args:
        sale_id: the caller's own name of this sale, 1 to 64 characters; the same id is one sale.
        meter: meter number, digits.
        tendered: amount in major units, as text.
        channel: till, web, phone or bank.
    """

    sale_id: str
    meter: str
    tendered: str
    channel: str = "till"


def request_hash(meter: str, tender: Money, channel: str) -> str:
    """Return what tells two requests under one sale id apart."""
    text = "\n".join((meter, str(tender.minor), tender.currency, channel))
    return hashlib.sha256(text.encode()).hexdigest()


def begin_reads(principal: Principal, request: SellRequest, now_us: int) -> list[Read]:
    """Return what the first commit needs to know."""
    utility_id = principal.utility_id
    return [
        Read(
            "sale_by_principal",
            {"principal_id": principal.id, "sale_id": request.sale_id},
            "known",
        ),
        *quote_reads(principal, request.meter, now_us),
        Read(
            "kept_tids",
            {
                "meter_id": From("meter", "meter_id"),
                "from_minute": minute_1993_of_us(now_us),
                "limit": KEPT_TIDS,
            },
            "tids",
        ),
        Read("branch", {"id": principal.branch_id}),
        Read("till_of_branch", {"branch_id": principal.branch_id}, "till"),
        Read("sequence", {"utility_id": utility_id, "name": "receipt"}),
    ]


def _known_sale(known: Row, hashed: str) -> Changes[Row]:
    if known["request_hash"] != hashed:
        raise Conflict(
            "sale_id_reused",
            "this sale_id was used for another purchase; take a new one",
            field="sale_id",
            details={"sold_at": iso_utc(known["sold_us"])},
        )
    if known["state"] == "voided":
        raise refusal_of(known["voided"])
    return Changes({**known, "created": False})


def _take_charge(
    priced: Priced, charge: ChargeDue, rows: Rows, new_id: NewId, at_us: int, utility_id: int
) -> Step:
    for row in rows["charges"]:
        if row["code"] == charge.code:
            return Update("charge_take", {"charge_id": row["id"], "amount": charge.net.minor})
    return Insert(
        "charge",
        {
            "id": new_id(),
            "utility_id": utility_id,
            "supply_point_id": priced.row["supply_point_id"],
            "code": charge.code,
            "period": charge.period,
            "due_minor": charge.net.minor,
            "taken_minor": charge.net.minor,
            "created_us": at_us,
        },
    )


def _token_values(
    priced: Priced, rows: Rows, tids: TidAllocator, rnd: int, now_us: int
) -> dict[str, Any]:
    parameters = stored_parameters(priced.row["parameters"])
    tid = tids.next(now_us, [row["tid_minute"] for row in rows["tids"]], parameters)
    request = TokenRequest.credit(
        credit_subclass(priced.row["commodity"]),
        units=priced.sale.token_units,
        tid=tid.tid,
        rnd=rnd,
    )
    check_issuable(parameters, request)
    return {
        "key_id": priced.row["key_id"],
        "parameters": priced.row["parameters"],
        "request": compact_json(request.to_dict()),
        "tid_minute": tid.minute,
        "tid": tid.tid,
    }


def _reserve_till(priced: Priced, rows: Rows, new_id: NewId, principal: Principal) -> Step:
    tender = priced.sale.tender
    if not rows["till"]:
        entry = Entry(principal.utility_id, "opening", 0, tender.currency, (), "")
        code = till_account(rows["branch"][0]["code"])
        opened = open_account(entry, Posting(code, 0), new_id())
        return Insert(opened.table, {**opened.row, "reserved_minor": tender.minor})
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
    return Update("ledger_reserve", {"ledger_account_id": till["id"], "amount": tender.minor})


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


def _particulars(priced: Priced, rows: Rows, principal: Principal) -> dict[str, Any]:
    """Return what the receipt prints beside its lines, as of this moment."""
    row = priced.row
    parameters = json.loads(row["parameters"]) if row["parameters"] is not None else {}
    return {
        "time_zone": principal.time_zone,
        "utility_name": row["utility_name"],
        "utility_address": row["utility_address"],
        "tax_number": row["tax_number"],
        "branch": rows["branch"][0]["name"],
        "operator": principal.name,
        "customer_number": row["customer_number"],
        "customer_name": row["customer_name"],
        "customer_address": row["customer_address"],
        "account_number": row["account_number"],
        "meter_number": row["number"],
        "commodity": row["commodity"],
        "supply_group_code": parameters.get("sgc"),
        "key_revision": parameters.get("krn"),
        "tariff_index": parameters.get("ti"),
        "tariff_code": priced.tariff.code,
        "tariff_title": priced.tariff.title,
        "tariff_version": priced.tariff_version,
        "delivery": _delivery(row),
    }


def _delivery(row: Row) -> str:
    if row["credit_mode"] == CreditMode.PLATFORM:
        return "none"
    return "keypad" if row["device_id"] is None else "pending"


def begin_sale(
    caller: Caller,
    request: SellRequest,
    rows: Rows,
    new_id: NewId,
    *,
    now_us: int,
    rnd: int,
    tids: TidAllocator = ONE_LANE,
) -> Changes[Row]:
    """Decide the first commit: the sale is priced, its token identifier and random bits are stored.

    From here on the sale will be completed, or voided whole if its token is refused. The result
    is the sale as the read ``sale_by_row`` would give it, with ``created`` beside.

    Raises:
        Conflict: ``sale_id_reused``.
        NotFound, Refused: see :func:`price`; ``float_exhausted``; a key that has expired; why a
            sale of this id was voided.
    """
    principal = caller.principal
    tender = parse_money(request.tendered, principal.currency)
    hashed = request_hash(request.meter, tender, request.channel)
    if rows["known"]:
        return _known_sale(rows["known"][0], hashed)
    priced = price(principal, request.tendered, rows, now_us)
    receipt_number, receipt_step = _next_receipt(rows, principal.utility_id)
    row = _sale_row(caller, request, priced, receipt_number, now_us)
    row |= {"id": new_id(), "request_hash": hashed}
    row["particulars"] = compact_json(_particulars(priced, rows, principal))
    steps: list[Step] = [receipt_step, Insert("sale", row)]
    token: dict[str, Any] = {}
    if priced.supply.credit_mode is CreditMode.METER:
        token = {"id": new_id(), **_token_values(priced, rows, tids, rnd, now_us)}
        steps.append(Insert("token", _token_row(token, row, priced)))
    charge = priced.sale.charge
    if charge is not None:
        steps.append(_take_charge(priced, charge, rows, new_id, now_us, principal.utility_id))
    steps.append(_reserve_till(priced, rows, new_id, principal))
    act = act_row(
        new_id,
        Origin.of(caller),
        principal.utility_id,
        now_us,
        what="sale",
        subject=receipt_number,
        reason=f"sale {request.sale_id} for meter {request.meter}",
        data={"tendered": str(tender), "channel": request.channel},
    )
    steps.append(act)
    result = {
        **row,
        "created": True,
        "meter_number": priced.row["number"],
        "commodity": priced.row["commodity"],
        "token_id": token.get("id"),
        "token_key_id": token.get("key_id"),
        "token_parameters": token.get("parameters"),
        "token_request": token.get("request"),
        "token_digits": None,
        "branch_code": rows["branch"][0]["code"],
    }
    return Changes(result, steps)


def _sale_row(
    caller: Caller, request: SellRequest, priced: Priced, receipt_number: str, now_us: int
) -> dict[str, Any]:
    act = {
        "principal": caller.principal.name,
        "api_key_id": caller.api_key_id,
        "address": caller.address,
        "request_id": caller.request_id,
    }
    return {
        "utility_id": caller.principal.utility_id,
        "principal_id": caller.principal.id,
        "branch_id": caller.principal.branch_id,
        "sale_id": request.sale_id,
        "state": "pending",
        "receipt_number": receipt_number,
        "meter_id": priced.row["meter_id"],
        "account_id": priced.row["account_id"],
        "supply_point_id": priced.row["supply_point_id"],
        "tariff_version_id": priced.tariff_version_id,
        "tender_minor": priced.sale.tender.minor,
        "currency": priced.sale.tender.currency,
        "channel": request.channel,
        "credit_mode": priced.row["credit_mode"],
        "voided": None,
        "device_id": priced.row["device_id"],
        "priced": compact_json([line.to_dict() for line in priced.sale.lines]),
        "units": priced.sale.quantity.amount,
        "receipt": None,
        "delivery": _delivery(priced.row),
        "sold_us": now_us,
        "issued_us": None,
        "sent_us": None,
        "accepted_us": None,
        "verified_us": None,
        "act": compact_json(act),
    }


def _token_row(token: dict[str, Any], sale: dict[str, Any], priced: Priced) -> dict[str, Any]:
    return {
        **token,
        "utility_id": sale["utility_id"],
        "meter_id": sale["meter_id"],
        "sale_row_id": sale["id"],
        "amount": priced.sale.quantity.amount,
        "digits": None,
        "state": "reserved",
        "accepted_by": None,
        "created_us": sale["sold_us"],
        "issued_us": None,
        "accepted_us": None,
    }
