"""Selling: quote, sell, look up, recover. Two commits a sale, and no sale is ever half.

The first commit stores the priced sale, its token identifier, its random bits and the key
parameters of that moment. The token is a pure function of these, so a crash before the second
commit is repaired by making the same token again, whatever the tariff or the meter's key have
become since.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

from slotmeter.errors import Conflict, NotFound, Refused, SlotmeterError, Unavailable
from slotmeter.ports import (
    Caller,
    Changes,
    Clock,
    From,
    NewId,
    Read,
    Right,
    Row,
    Rows,
    SecurityModule,
    SqlValue,
    TokenSafe,
    UnitOfWork,
)
from slotmeter.services.key_change_sale import KEY_CHANGE, make_set
from slotmeter.services.pricing import Purchase, PurchaseReads, price
from slotmeter.services.sale_begin import ONE_LANE, SaleBegin, SellRequest
from slotmeter.services.sale_issue import Begun, Made, issue_sale
from slotmeter.services.sale_particulars import trial_receipt
from slotmeter.services.sale_views import QuoteView, SaleView, quote_view, sale_view
from slotmeter.services.sale_void import refusal_of, void_reads, void_sale
from slotmeter.services.tid_allocator import TidAllocator, stored_parameters
from slotmeter.services.token_secrecy import open_receipt, opened
from slotmeter.services.unpriced import NO_PRICE, raise_unpriced
from slotmeter.units import epoch_us, parse_money
from slotmeter.vending.accounts import CreditMode
from slotmeter.vending.receipts import Receipt
from slotmeter.vending.sts import IssuedToken, TokenRequest, check_drn

__all__ = ["CHANNELS", "QuoteView", "Recovered", "SaleView", "SellRequest", "Selling"]

CHANNELS = ("till", "web", "phone", "bank")
SALE_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")
RECOVER_BATCH = 500
Issued = TypeVar("Issued")
REFUSED_FOR_GOOD = "token_cannot_be_made"
KEY_MISSING = "vending_key_unknown"

_TOKENS = Read("tokens_of_sale", {"sale_row_id": From("sale", "id")})


@dataclass(frozen=True, slots=True)
class Recovered:
    """How many sales that had stopped between their commits were completed, and how many voided."""

    completed: int
    voided: int


def check_request(request: SellRequest) -> None:
    """Refuse what can be refused without asking the database.

    Raises:
        Refused: ``sale_id_malformed``, ``channel_unknown`` or a meter number that cannot be.
    """
    if SALE_ID.fullmatch(request.sale_id) is None:
        raise Refused(
            "sale_id_malformed",
            "expected 1 to 64 letters, digits, dots, dashes, colons or underscores",
            field="sale_id",
        )
    check_channel(request.channel)
    check_meter_number(request.meter)


def check_channel(channel: str) -> None:
    """Refuse a channel that is none.

    Raises:
        Refused: ``channel_unknown``.
    """
    if channel not in CHANNELS:
        raise Refused(
            "channel_unknown", f"channel is one of {', '.join(CHANNELS)}", field="channel"
        )


def check_meter_number(number: str) -> None:
    """Refuse a number that no meter has: 11 or 13 digits with a check digit.

    Raises:
        Refused: the error of ``check_drn`` with the field ``meter``.
    """
    try:
        check_drn(number)
    except Refused as error:
        raise Refused(error.code, error.message, field="meter") from error


class Selling:
    """The transaction boundary of sales."""

    def __init__(
        self,
        uow: UnitOfWork,
        security: SecurityModule,
        clock: Clock,
        *,
        safe: TokenSafe,
        draw_rnd: Callable[[], int],
        after_payment: Callable[[int], Awaitable[None]],
        on_issued: Callable[[], None],
        tids: TidAllocator = ONE_LANE,
    ) -> None:
        """Join the parts.

        Args:
            uow: the database.
            security: makes the tokens.
            clock: stamps the sales.
            safe: seals the digits of tokens for the database.
            draw_rnd: gives the 4 random bits of a token.
            after_payment: called with the meter's id when platform-held credit grew.
            tids: gives the token identifiers of this database.
            on_issued: called after a sale's second commit; wakes whoever follows events.
        """
        self._uow = uow
        self._security = security
        self._clock = clock
        self._safe = safe
        self._draw_rnd = draw_rnd
        self._after_payment = after_payment
        self._on_issued = on_issued
        self._tids = tids

    async def quote(
        self, caller: Caller, meter: str, tendered: str, channel: str = CHANNELS[0]
    ) -> QuoteView:
        """Say what a purchase would give now, without making it.

        Raises:
            NotFound: ``meter_unknown``.
            Refused: whatever :meth:`sell` would refuse of meter, amount and tariff.
        """
        purchase, _ = await self._quoted(caller, meter, tendered, channel)
        return quote_view(purchase)

    async def trial(
        self, caller: Caller, meter: str, tendered: str, channel: str = CHANNELS[0]
    ) -> Receipt:
        """Return what the receipt of a purchase would say, marked as a trial, without making it.

        Raises:
            NotFound: ``meter_unknown``.
            Refused: whatever :meth:`sell` would refuse of meter, amount and tariff.
        """
        purchase, rows = await self._quoted(caller, meter, tendered, channel)
        return trial_receipt(purchase, rows, caller, channel)

    async def _quoted(
        self, caller: Caller, meter: str, tendered: str, channel: str
    ) -> tuple[Purchase, Rows]:
        check_channel(channel)
        check_meter_number(meter)
        now_us = epoch_us(self._clock.now())
        tender = parse_money(tendered, caller.principal.currency)
        asked = PurchaseReads(caller.principal, meter, now_us, channel)
        rows = await self._uow.read(asked.reads())
        try:
            return price(rows, asked, tender), rows
        except Refused as error:
            await self._alarm(caller, meter, error, now_us)
            raise

    async def sell(self, caller: Caller, request: SellRequest) -> tuple[SaleView, bool]:
        """Sell once; the same request again returns the same sale.

        Returns:
            The sale, and whether this call made it.

        Raises:
            Conflict: ``sale_id_reused``: the id was used for another purchase.
            NotFound: ``meter_unknown``.
            Refused: see ``pricing`` and ``sale_begin``; nothing was written. Or
                ``token_cannot_be_made``: the sale was voided and all it took given back.
            Unavailable: ``token_not_made``: the sale is kept; send the same request again.
        """
        now_us = epoch_us(self._clock.now())
        begin = self.begin(caller, request, now_us)
        try:
            begun = await self._uow.run(begin.reads(), begin.decide, apart=begin.apart)
        except Refused as error:
            await self._alarm(caller, request.meter, error, now_us)
            raise
        return await self.finish(begun), begun.sale["created"]

    def begin(self, caller: Caller, request: SellRequest, now_us: int) -> SaleBegin:
        """Return the first commit of a sale, for a unit of work that does more than selling.

        What it begins, :meth:`finish` ends.

        Raises:
            Refused: see :func:`check_request`.
        """
        check_request(request)
        return SaleBegin(caller, request, now_us=now_us, rnd=self._draw_rnd(), tids=self._tids)

    async def finish(self, begun: Begun) -> SaleView:
        """Make the tokens and the second commit of a sale, unless that was done before.

        Raises:
            Refused: ``token_cannot_be_made``: the sale was voided and all it took given back.
            Unavailable: ``token_not_made``: the sale is kept; ask for it again.
        """
        if begun.sale["state"] != "pending":
            return sale_view(begun.sale, opened(begun.tokens, self._safe))
        try:
            sale = await self._complete(begun)
        except Refused as error:
            await self._void(begun, error)
            raise
        return sale_view(sale, sale["tokens"])

    async def _alarm(self, caller: Caller, meter: str, error: Refused, now_us: int) -> None:
        """Tell somebody when a meter has no price in force; every other refusal is the caller's."""
        if error.code != NO_PRICE:
            return
        if await raise_unpriced(self._uow, caller.principal, meter, error, now_us=now_us):
            self._on_issued()

    async def sale(self, caller: Caller, sale_id: str) -> SaleView:
        """Return the caller's own sale.

        Raises:
            NotFound: ``sale_unknown``; another principal's id is simply unknown.
        """
        params: dict[str, SqlValue] = {
            "principal_id": caller.principal.id,
            "sale_id": sale_id,
        }
        rows = await self._uow.read([Read("sale_by_principal", params, "sale"), _TOKENS])
        sale = _found(rows["sale"], "sale_unknown", "no sale of yours has this sale_id")
        return sale_view(sale, opened(rows["tokens_of_sale"], self._safe))

    async def receipt(self, caller: Caller, receipt_number: str) -> Receipt:
        """Return an issued receipt: one's own, or with the right to see all any, masked.

        Raises:
            NotFound: ``receipt_unknown``.
        """
        principal = caller.principal
        params: dict[str, SqlValue] = {
            "utility_id": principal.utility_id,
            "receipt_number": receipt_number,
        }
        rows = await self._uow.read([Read("sale_by_receipt", params, "sale")])
        may_see = [
            row
            for row in rows["sale"]
            if row["receipt"] is not None
            and (row["principal_id"] == principal.id or Right.SALES_ALL in principal.rights)
        ]
        sale = _found(may_see, "receipt_unknown", "no receipt with this number is known here")
        is_masked = sale["principal_id"] != principal.id
        return open_receipt(sale["receipt"], self._safe, is_masked=is_masked)

    async def recover(self, *, age_s: int = 0) -> Recovered:
        """End every sale that stopped between its two commits.

        A sale whose token is refused for good is voided, as :meth:`sell` would void it. One whose
        token cannot be made now, also because a vending key is missing, stays pending and does not
        stop the others; so does one of which a token is stored already: it may have been shown.

        Args:
            age_s: leave alone what was sold less than this many seconds ago; a seller may be
                completing it at this moment.

        Raises:
            Unavailable: ``recovery_incomplete``: tokens of some sales could not be made.
        """
        completed, voided, after_id, failed = 0, 0, 0, list[SlotmeterError]()
        before_us = epoch_us(self._clock.now()) - age_s * 1_000_000
        while True:
            params: dict[str, SqlValue] = {
                "limit": RECOVER_BATCH,
                "after_id": after_id,
                "before_us": before_us,
            }
            rows = await self._uow.read([Read("sales_pending", params, "sales")])
            if not rows["sales"]:
                break
            for sale in rows["sales"]:
                after_id = sale["id"]
                begun = await self._begun(sale)
                try:
                    await self._complete(begun)
                except SlotmeterError as error:
                    if await self._ended_in_vain(begun, error):
                        voided += 1
                    else:
                        failed.append(error)
                else:
                    completed += 1
        if failed:
            raise Unavailable(
                "recovery_incomplete",
                f"{len(failed)} sales stay pending, {completed} were completed, {voided} voided; "
                f"the first: {failed[0].message}",
            )
        return Recovered(completed, voided)

    async def _ended_in_vain(self, begun: Begun, error: SlotmeterError) -> bool:
        """Void a sale that an error ends for good; say whether it is voided."""
        if not isinstance(error, Refused) or error.code != REFUSED_FOR_GOOD:
            return False
        if any(token["digits"] is not None for token in begun.tokens):
            return False
        if error.details.get("cause") == KEY_MISSING:
            return False  # a server started without its keys must not end what it owes
        await self._void(begun, error)
        found = await self._uow.read([Read("sale_by_row", {"id": begun.sale["id"]}, "sale")])
        return bool(found["sale"][0]["state"] == "voided")

    async def _void(self, begun: Begun, error: Refused) -> None:
        now_us = epoch_us(self._clock.now())

        def decide(rows: Rows, new_id: NewId) -> Changes[None]:
            return void_sale(begun, error, rows, new_id, now_us=now_us)

        # A retry beside this one may have voided it already; the refusal is the same.
        with suppress(Conflict):
            await self._uow.run(void_reads(begun), decide)
        self._on_issued()

    async def _complete(self, begun: Begun) -> Row:
        """Make the tokens and the second commit; return the sale with its ``tokens``."""
        sale = begun.sale
        key_set = await self._key_set(begun)
        tokens = [await self._made(token, sale, key_set) for token in begun.tokens]
        now_us = epoch_us(self._clock.now())

        def decide(rows: Rows, new_id: NewId) -> Changes[Row]:
            return issue_sale(begun, tokens, rows, new_id, now_us=now_us)

        try:
            issued = await self._uow.run(begun.reads(), decide, apart=begun.apart)
        except Conflict:
            # The same sale was completed by a retry that ran beside this one.
            found_now = [Read("sale_by_row", {"id": sale["id"]}, "sale"), _TOKENS]
            rows = await self._uow.read(found_now)
            found = rows["sale"][0]
            if found["state"] == "voided":
                raise refusal_of(found["voided"]) from None
            if found["state"] != "issued":
                raise
            return {**found, "tokens": opened(rows["tokens_of_sale"], self._safe)}
        self._on_issued()
        if sale["credit_mode"] == CreditMode.PLATFORM:
            await self._after_payment(sale["meter_id"])
        return issued

    async def _begun(self, sale: Row) -> Begun:
        """Return a sale that stopped between its commits as its first commit left it."""
        of_sale: dict[str, SqlValue] = {"sale_row_id": sale["id"]}
        rows = await self._uow.read(
            [Read("tokens_of_sale", of_sale), Read("debts_of_sale", of_sale)]
        )
        debt_ids = [row["debt_id"] for row in rows["debts_of_sale"]]
        return Begun.stored(sale, rows["tokens_of_sale"], debt_ids)

    async def _key_set(self, begun: Begun) -> Iterator[IssuedToken]:
        """Return the key change tokens of a sale in their order; mostly none."""
        if KEY_CHANGE not in begun.said:
            return iter(())
        making = make_set(self._security, begun.said[KEY_CHANGE])
        return iter(await _making(making, begun.sale))

    async def _made(self, token: Row, sale: Row, key_set: Iterator[IssuedToken]) -> Made:
        """Return a token with its digits."""
        if token["purpose"] == KEY_CHANGE:
            made = next(key_set)
        else:
            parameters = stored_parameters(token["parameters"])
            request = TokenRequest.from_dict(json.loads(token["request"]))
            making = self._security.issue(token["key_id"], parameters, request)
            made = await _making(making, sale)
        sealed = self._safe.seal(made.digits)
        return Made({**token, "digits": made.digits}, made.token_class, made.subclass, sealed)


async def _making(making: Awaitable[Issued], sale: Row) -> Issued:
    """Wait for the security module, and say what its refusal means for the sale."""
    try:
        return await making
    except (Refused, NotFound) as error:
        raise Refused(
            "token_cannot_be_made",
            f"no token can be made for this meter: {error.message}",
            field="meter",
            details={"cause": error.code},
        ) from error
    except SlotmeterError as error:
        raise Unavailable(
            "token_not_made",
            f"the sale is kept but its token cannot be made now ({error.code}); "
            "send the same request again later",
            details={"cause": error.code, "receipt_number": sale["receipt_number"]},
        ) from error


def _found(rows: Sequence[Row], code: str, message: str) -> Row:
    if not rows:
        raise NotFound(code, message)
    return rows[0]
