"""What a sale decides, purely: from rows to a quote, to the first commit, to the second."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from slotmeter.devices.commands import CommandKind
from slotmeter.errors import Conflict, NotFound, Refused
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
from slotmeter.services.booking import Entry, accounts_read, open_account, posting_steps
from slotmeter.services.command_rows import CommandCause
from slotmeter.services.control import Order, Target, queue_steps
from slotmeter.services.events import Event, compact_json, event_step
from slotmeter.units import Commodity, Money, instant, iso_utc, parse_money
from slotmeter.vending.accounts import CreditMode, Supply, check_may_buy
from slotmeter.vending.charges import ChargeDue, period_of, still_due
from slotmeter.vending.ledger import Posting, till_account
from slotmeter.vending.receipts import Receipt, ReceiptLine
from slotmeter.vending.sales import (
    PricedSale,
    check_tender,
    credit_subclass,
    price_sale,
    sale_postings,
)
from slotmeter.vending.sts import (
    KEPT_TIDS,
    KeyParameters,
    TokenRequest,
    minute_1993_of_us,
    next_tid_minute,
    tid_of_minute,
)
from slotmeter.vending.tariffs import Tariff, parse_tariff

__all__ = [
    "Priced",
    "SellRequest",
    "begin_reads",
    "begin_sale",
    "issue_reads",
    "issue_sale",
    "price",
    "quote_reads",
    "request_hash",
]


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


@dataclass(frozen=True, slots=True)
class Priced:
    """A purchase with everything that its two commits need."""

    row: Row  # of the read meter_for_sale
    supply: Supply
    tariff: Tariff
    tariff_version_id: int
    tariff_version: int
    sale: PricedSale


def request_hash(meter: str, tender: Money, channel: str) -> str:
    """Return what tells two requests under one sale id apart."""
    text = "\n".join((meter, str(tender.minor), tender.currency, channel))
    return hashlib.sha256(text.encode()).hexdigest()


def quote_reads(principal: Principal, meter: str, now_us: int) -> list[Read]:
    """Return what pricing needs to know."""
    period = period_of(instant(now_us), principal.time_zone)
    number: dict[str, SqlValue] = {
        "utility_id": principal.utility_id,
        "number": meter,
        "now_us": now_us,
    }
    return [
        Read("meter_for_sale", number, "meter"),
        Read(
            "tariff_in_force", {"tariff_id": From("meter", "tariff_id"), "now_us": now_us}, "tariff"
        ),
        Read(
            "charges_of_period",
            {"supply_point_id": From("meter", "supply_point_id"), "period": period},
            "charges",
        ),
    ]


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
        Read("kept_tids", {"meter_id": From("meter", "meter_id"), "limit": KEPT_TIDS}, "tids"),
        Read("branch", {"id": principal.branch_id}),
        Read("till_of_branch", {"branch_id": principal.branch_id}, "till"),
        Read("sequence", {"utility_id": utility_id, "name": "receipt"}),
    ]


def _supply(row: Row) -> Supply:
    return Supply(
        meter_number=row["number"],
        commodity=Commodity(row["commodity"]),
        credit_mode=CreditMode(row["credit_mode"]),
        state=row["state"],
        account_number=row["account_number"],
        customer_number=row["customer_number"],
        customer_name=row["customer_name"],
        customer_address=row["customer_address"],
        area=row["area"],
    )


def _charge_due(tariff: Tariff, rows: Rows, period: str) -> ChargeDue | None:
    fixed = tariff.fixed_charge
    if fixed is None:
        return None
    taken = sum(row["taken_minor"] for row in rows["charges"] if row["code"] == fixed.code)
    tax = tariff.tax

    def tax_on(net: Money) -> Money:
        return tax.on(net) if tax is not None and fixed.taxed else Money(0, net.currency)

    return still_due(
        code=fixed.code,
        label=fixed.label,
        period=period,
        amount=fixed.amount,
        taken_minor=taken,
        tax_on=tax_on,
    )


@lru_cache(maxsize=1_000)
def _tariff(body: str) -> Tariff:
    return parse_tariff(json.loads(body))


def price(principal: Principal, tendered: str, rows: Rows, now_us: int) -> Priced:
    """Price a purchase from the rows of :func:`quote_reads`.

    Raises:
        NotFound: ``meter_unknown``.
        Refused: why this purchase cannot be (meter, amount, tariff).
    """
    if not rows["meter"]:
        raise NotFound("meter_unknown", "no meter with this number is known here", field="meter")
    row = rows["meter"][0]
    if row["supply_point_id"] is None:
        raise Refused("meter_not_installed", "this meter is not installed anywhere", field="meter")
    supply = _supply(row)
    check_may_buy(supply)
    if not rows["tariff"]:
        raise Refused(
            "no_tariff_in_force",
            "no price is in force for this meter now; the utility must publish a tariff",
            field="meter",
        )
    version = rows["tariff"][0]
    tariff = _tariff(version["body"])
    tender = parse_money(tendered, tariff.currency)
    limit = row["purchase_max_minor"]
    check_tender(tender, tariff, None if limit is None else Money(limit, tariff.currency))
    charge = _charge_due(tariff, rows, period_of(instant(now_us), principal.time_zone))
    sale = price_sale(
        tender,
        tariff,
        credit_mode=supply.credit_mode,
        account_number=supply.account_number,
        charge=charge,
    )
    return Priced(row, supply, tariff, version["tariff_version_id"], version["version"], sale)


def _known_sale(known: Row, hashed: str) -> Changes[Row]:
    if known["request_hash"] != hashed:
        raise Conflict(
            "sale_id_reused",
            "this sale_id was used for another purchase; take a new one",
            field="sale_id",
            details={"sold_at": iso_utc(known["sold_us"])},
        )
    return Changes({**known, "created": False})


def _take_charge(priced: Priced, rows: Rows, new_id: NewId, utility_id: int, at_us: int) -> Step:
    charge = priced.sale.charge
    assert charge is not None  # noqa: S101  the caller asked
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


def _token_values(priced: Priced, rows: Rows, rnd: int, now_us: int) -> dict[str, Any]:
    parameters = KeyParameters.from_dict(json.loads(priced.row["parameters"]))
    minute = next_tid_minute(minute_1993_of_us(now_us), [row["tid_minute"] for row in rows["tids"]])
    tid = tid_of_minute(minute, parameters.base_date, parameters.ken)
    request = TokenRequest.credit(
        credit_subclass(priced.row["commodity"]), units=priced.sale.token_units, tid=tid, rnd=rnd
    )
    return {
        "key_id": priced.row["key_id"],
        "parameters": priced.row["parameters"],
        "request": compact_json(request.to_dict()),
        "tid_minute": minute,
        "tid": tid,
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
    caller: Caller, request: SellRequest, rows: Rows, new_id: NewId, *, now_us: int, rnd: int
) -> Changes[Row]:
    """Decide the first commit: the sale is priced, its token identifier and random bits are stored.

    From here on the sale will be completed, whatever happens. The result is the sale as the read
    ``sale_by_row`` would give it, with ``created`` beside.

    Raises:
        Conflict: ``sale_id_reused``.
        NotFound, Refused: see :func:`price`; ``float_exhausted``; a key that has expired.
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
        token = {"id": new_id(), **_token_values(priced, rows, rnd, now_us)}
        steps.append(Insert("token", _token_row(token, row, priced)))
    if priced.sale.charge is not None:
        steps.append(_take_charge(priced, rows, new_id, principal.utility_id, now_us))
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
        "device_id": priced.row["device_id"],
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


def _lines(sale: Row) -> tuple[ReceiptLine, ...]:
    return tuple(ReceiptLine(**line) for line in json.loads(sale["priced"]))


def _postings(sale: Row) -> tuple[Posting, ...]:
    return sale_postings(sale["branch_code"], sale["tender_minor"], _lines(sale))


def issue_reads(sale: Row) -> list[Read]:
    """Return what the second commit needs to know."""
    codes = [posting.account for posting in _postings(sale)]
    return [accounts_read(sale["utility_id"], codes, "accounts")]


def _deliver(sale: Row, new_id: NewId, now_us: int) -> Sequence[Step]:
    order = Order(
        CommandKind.LOAD_TOKEN,
        CommandCause.SALE,
        f"sale {sale['receipt_number']}",
        principal_id=sale["principal_id"],
        token_id=sale["token_id"],
        sale_row_id=sale["id"],
    )
    target = Target(
        sale["utility_id"], sale["meter_id"], sale["device_id"], Commodity(sale["commodity"])
    )
    return queue_steps(order, target, pending=(), now_us=now_us, new_id=new_id).steps


def _sold_event(sale: Row, new_id: NewId, now_us: int) -> Step:
    tendered = Money(sale["tender_minor"], sale["currency"])
    data = {
        "receipt_number": sale["receipt_number"],
        "meter": sale["meter_number"],
        "tendered": str(tendered),
        "delivery": sale["delivery"],
    }
    event = Event(
        utility_id=sale["utility_id"],
        at_us=now_us,
        kind="sale",
        text=f"Sold {tendered} {tendered.currency} for meter {sale['meter_number']}",
        meter_id=sale["meter_id"],
        principal_id=sale["principal_id"],
        data=data,
    )
    return event_step(event, new_id)


def _receipt(sale: Row, digits: str | None) -> Receipt:
    return Receipt(
        receipt_number=sale["receipt_number"],
        sale_id=sale["sale_id"],
        sold_us=sale["sold_us"],
        channel=sale["channel"],
        currency=sale["currency"],
        tendered_minor=sale["tender_minor"],
        lines=_lines(sale),
        quantity=sale["units"],
        token=digits,
        **json.loads(sale["particulars"]),
    )


def issue_sale(
    sale: Row, digits: str | None, rows: Rows, new_id: NewId, *, now_us: int
) -> Changes[Row]:
    """Decide the second commit: token, receipt, postings and, if the meter is reachable, a command.

    Nothing is priced again: everything comes from what the first commit stored.
    """
    receipt = compact_json(_receipt(sale, digits).to_dict())
    steps: list[Step] = [
        Update(
            "sale_issue",
            {
                "sale_row_id": sale["id"],
                "new_receipt": receipt,
                "at_us": now_us,
                "new_delivery": sale["delivery"],
            },
        )
    ]
    if digits is not None:
        params = {"token_id": sale["token_id"], "new_digits": digits, "at_us": now_us}
        steps.append(Update("token_issue", params))
    entry = Entry(
        utility_id=sale["utility_id"],
        kind="sale",
        at_us=now_us,
        currency=sale["currency"],
        postings=_postings(sale),
        reason=f"sale {sale['receipt_number']}",
        sale_row_id=sale["id"],
        principal_id=sale["principal_id"],
    )
    steps.extend(posting_steps(entry, rows["accounts"], new_id))
    till = till_account(sale["branch_code"])
    till_id = next(row["id"] for row in rows["accounts"] if row["code"] == till)
    steps.append(
        Update("ledger_reserve", {"ledger_account_id": till_id, "amount": -sale["tender_minor"]})
    )
    if digits is not None and sale["device_id"] is not None:
        steps.extend(_deliver(sale, new_id, now_us))
    steps.append(_sold_event(sale, new_id, now_us))
    issued = {**sale, "state": "issued", "receipt": receipt, "issued_us": now_us}
    return Changes({**issued, "token_digits": digits}, steps)
