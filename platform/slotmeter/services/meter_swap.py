"""Another meter at the same place: what was left on the old one moves to it, once.

The installation of the old meter ends with its last reading, and nothing is sold for it any more.
The new meter begins with its first reading; it is registered here if it is not yet, coded like the
old one where nothing else is said, and takes the slot behind a node in which the old one was.
Credit that the old meter still held goes to the new one by a replacement token; credit that the
platform holds stays where it is. What the customer bought lately and never typed into the old meter
is listed, since it can be taken back; what waits to be sent to it is not sent any more.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from slotmeter.errors import NotFound, Refused
from slotmeter.ports import (
    Changes,
    Clock,
    From,
    Insert,
    NewId,
    Read,
    Row,
    Rows,
    SqlValue,
    Step,
    UnitOfWork,
    Update,
)
from slotmeter.services.act_changes import changed
from slotmeter.services.events import Event, compact_json, event_step
from slotmeter.services.meter_row import COLUMNS, MeterRow, read_row
from slotmeter.services.node_slots import swap_slot_reads, swap_slot_steps
from slotmeter.services.operations import (
    Asked,
    Operation,
    Operations,
    done_before,
    operation_reads,
    operation_steps,
)
from slotmeter.services.registry import vending_key_id
from slotmeter.services.sole_tokens import Making, SoleTokens
from slotmeter.services.taken_off import taken_off_steps
from slotmeter.services.tid_allocator import TidAllocator
from slotmeter.units import DAY_US, Commodity, commodity_quantity, epoch_us, instant
from slotmeter.vending.accounts import CreditMode
from slotmeter.vending.sales import TOKEN_UNITS_PER_SOLD_UNIT, currency_credit, units_credit
from slotmeter.vending.sts import KEPT_TIDS, KeyParameters, minute_1993_of_us
from slotmeter.vending.sts.amounts import (
    decode_currency,
    decode_units,
    encode_currency,
    encode_units,
)

__all__ = ["MeterSwaps", "SwapWish", "movable", "movable_money"]

KIND: Final = "swap"
REPLACEMENT: Final = "replacement"
MONEY: Final = "currency"
CURRENCY_STEPS: Final = 100_000
UNUSED_DAYS: Final = 90
UNUSED_MAX: Final = 50
SOLD_UNITS_MAX: Final = 1_000_000
_CODING: Final = ("sgc", "krn", "ti", "kt", "ken", "base_date", "ea", "dkga", "table_set")
_NEW: Final = (*_CODING, "medium", "address_on_medium", "driver")
_DEFAULTS: Final = {column.name: "" for column in COLUMNS}


@dataclass(frozen=True, slots=True)
class SwapWish:
    """Which meter comes instead of which.

    Args:
        old: number of the meter that is taken off.
        new: number of the one that is put on.
        credit: kWh or m³ that the old one still held, or major units of the currency if it counts
            money; 0 if the platform holds the credit.
        old_register: kWh or m³ on the old one's counter; None if it cannot be read.
        new_register: kWh or m³ on the new one's.
        coding: for a new meter that is not known yet, cells of the meter file by column: its key
            (the old one's where nothing is said) and its device.
    """

    old: str
    new: str
    credit: str = "0"
    old_register: str | None = None
    new_register: str | None = None
    coding: Mapping[str, str] = field(default_factory=dict)

    def request(self) -> dict[str, Any]:
        """Return it as it is kept."""
        return {
            "old": self.old,
            "new": self.new,
            "credit": self.credit,
            "old_register": self.old_register,
            "new_register": self.new_register,
            "coding": dict(self.coding),
        }


def movable(commodity: str, amount: int) -> int:
    """Return how much of an amount a token can carry: never more than was there.

    Args:
        commodity: electricity, water or gas.
        amount: Wh or mL.
    """
    step = commodity_quantity(Commodity(commodity)).per_sold_unit // TOKEN_UNITS_PER_SOLD_UNIT
    units = amount // step
    coded = encode_units(units)
    if decode_units(coded) > units:
        coded -= 1
    return decode_units(coded) * step


def movable_money(amount_e5: int) -> int:
    """Return how much money a token can carry: never more than was there; 0.00001 of it."""
    return -decode_currency(encode_currency(-amount_e5))


def _amount(text: str, commodity: str, name: str) -> int:
    """Read kWh or m³ as Wh or mL.

    Raises:
        Refused: ``amount_malformed`` or ``amount_too_precise``.
    """
    kind = commodity_quantity(Commodity(commodity))
    return _scaled(text, kind.per_sold_unit, kind.sold_symbol, name)


def _money(text: str, currency: str) -> int:
    """Read major units as 0.00001 of the currency.

    Raises:
        Refused: as for :func:`_amount`.
    """
    return _scaled(text, CURRENCY_STEPS, currency, "credit")


def _scaled(text: str, steps: int, symbol: str, name: str) -> int:
    plain = text.isascii() and text.replace(".", "", 1).isdigit() and len(text) <= 20
    try:
        value = Decimal(text) if plain else Decimal(-1)
    except InvalidOperation:
        value = Decimal(-1)
    if not 0 <= value <= SOLD_UNITS_MAX:
        raise Refused("amount_malformed", f"expected 0 to {SOLD_UNITS_MAX} {symbol}", field=name)
    if value * steps % 1:
        raise Refused(
            "amount_too_precise", f"that is finer than a meter counts, got {text[:20]}", field=name
        )
    return int(value * steps)


@dataclass(frozen=True, slots=True)
class _New:
    """The meter that is put on, and what writes it where it is new."""

    row: Row
    steps: tuple[Step, ...]


class MeterSwaps:
    """The transaction boundary of swaps."""

    def __init__(self, uow: UnitOfWork, clock: Clock, tokens: SoleTokens) -> None:
        """Join the parts.

        Args:
            uow: the database.
            clock: our time.
            tokens: reserves, makes and sends the tokens.
        """
        self._uow = uow
        self._clock = clock
        self._tokens = tokens

    async def swap(self, asked: Asked, wish: SwapWish) -> tuple[Row, str | None, bool]:
        """Swap a meter; return the operation, the replacement token, and whether this call did it.

        Raises:
            Conflict: ``request_id_reused``, ``changed_meanwhile``.
            NotFound: ``meter_unknown``, ``vending_key_unknown``.
            Refused: ``meter_not_installed``, ``meter_removed``, ``same_meter``,
                ``meter_installed_elsewhere``, ``behind_node``, ``commodity_differs``,
                ``credit_modes_differ``, ``transfer_differs``, ``meter_row_wrong``; of amounts.
            Unavailable: the token cannot be made now; send the same request again.
        """
        asked.check()
        if wish.old == wish.new:
            raise Refused("same_meter", "a meter is not swapped for itself", field="new")
        now_us, rnd = epoch_us(self._clock.now()), self._tokens.draw_rnd()
        utility_id = asked.caller.principal.utility_id

        def decide(rows: Rows, new_id: NewId) -> Changes[bool]:
            if done_before(rows, KIND, wish.request()) is not None:
                return Changes(False)
            steps = _swap_steps(
                asked, wish, rows, new_id, tids=self._tokens.tids, rnd=rnd, now_us=now_us
            )
            return Changes(True, steps)

        await self._check_key(asked, wish, now_us)
        is_new = await self._uow.run(_reads(asked, wish, now_us), decide)
        operation = await Operations(self._uow).of_request(asked)
        detail = json.loads(operation["detail"])
        token = None
        if detail["token_id"] is not None:
            token = await self._tokens.complete(
                utility_id,
                detail["new"],
                detail["token_id"],
                f"credit of meter {detail['old']}",
                asked.caller.principal.id,
            )
        return operation, token, is_new

    async def _check_key(self, asked: Asked, wish: SwapWish, now_us: int) -> None:
        """See that the key of a meter that comes in is there, before anything is written."""
        rows = await self._uow.read(_reads(asked, wish, now_us))
        if rows["operation"] or rows["new"] or not rows["old"]:
            return
        row = _new_row(asked, wish, rows["old"][0], now_us)
        training = asked.caller.principal.training
        key_id = _key_id(rows["old"][0], row.parameters, training=training)
        if key_id is not None:
            await self._tokens.check_key(key_id)


def _reads(asked: Asked, wish: SwapWish, now_us: int) -> list[Read]:
    utility_id = asked.caller.principal.utility_id
    kept: dict[str, SqlValue | From] = {
        "meter_id": From("new", "id"),
        "from_minute": minute_1993_of_us(now_us),
        "limit": KEPT_TIDS,
    }
    unused: dict[str, SqlValue | From] = {
        "meter_id": From("old", "id"),
        "since_us": now_us - UNUSED_DAYS * DAY_US,
        "limit": UNUSED_MAX,
    }
    return [
        *operation_reads(asked),
        Read("swap_meter", {"utility_id": utility_id, "number": wish.old}, "old"),
        Read("swap_meter", {"utility_id": utility_id, "number": wish.new}, "new"),
        Read("kept_tids", kept, "tids"),
        Read("swap_unused", unused),
        *swap_slot_reads(utility_id, wish.old, wish.new),
    ]


def _old_meter(rows: Rows, number: str) -> Row:
    if not rows["old"]:
        raise NotFound("meter_unknown", f"no meter {number[:32]!r} is known here", field="old")
    old = rows["old"][0]
    if old["state"] == "removed":
        raise Refused("meter_removed", f"meter {number} is no longer in use", field="old")
    if old["installation_id"] is None:
        raise Refused("meter_not_installed", f"meter {number} is installed nowhere", field="old")
    return old


def _new_row(asked: Asked, wish: SwapWish, old: Row, now_us: int) -> MeterRow:
    """Return a meter that is not known yet: coded as said, else like the old one.

    Raises:
        Refused: ``meter_row_wrong``.
    """
    strangers = sorted({*wish.coding} - {*_NEW})
    if strangers:
        raise Refused(
            "meter_row_wrong", f"{strangers[0][:32]!r} is none of {', '.join(_NEW)}", field="coding"
        )
    cells = dict(_DEFAULTS)
    if old["parameters"] is not None:
        coded = json.loads(old["parameters"])
        cells |= {name: str(coded[name]) for name in _CODING if name in coded}
    principal = asked.caller.principal
    today = instant(now_us).date()
    cells |= {
        **{name: text.strip() for name, text in wish.coding.items()},
        "meter": wish.new,
        "commodity": old["commodity"],
        "credit_mode": old["credit_mode"],
        "customer_number": old["customer_number"],
        "customer_name": old["customer_name"],
        "address": old["address"],
        "tariff": old["tariff"],
        "installed_on": f"{today}",
    }
    row, problems = read_row(1, cells, currency=principal.currency, today=today)
    if row is None:
        problem = problems[0]
        raise Refused("meter_row_wrong", f"{problem.field}: {problem.reason}", field="coding")
    return row


def _key_id(old: Row, parameters: KeyParameters | None, *, training: bool) -> str | None:
    """Return the vending key of a meter that comes in: the old one's, if its group is the same."""
    if parameters is None:
        return None
    if old["parameters"] is not None:
        coded = json.loads(old["parameters"])
        if (coded["sgc"], coded["krn"]) == (parameters.sgc, parameters.krn):
            key_id: str = old["key_id"]
            return key_id
    return vending_key_id(parameters.sgc, parameters.krn, training=training)


def _new_meter(
    asked: Asked, wish: SwapWish, old: Row, rows: Rows, new_id: NewId, now_us: int
) -> _New:
    if rows["new"]:
        new = rows["new"][0]
        if new["state"] != "active":
            raise Refused("meter_removed", f"meter {wish.new} is not in use", field="new")
        if new["installation_id"] is not None:
            raise Refused(
                "meter_installed_elsewhere", f"meter {wish.new} is installed already", field="new"
            )
        return _New(new, ())
    row = _new_row(asked, wish, old, now_us)
    parameters = row.parameters
    created: dict[str, SqlValue] = {"utility_id": old["utility_id"], "created_us": now_us}
    meter: dict[str, Any] = {
        **created,
        "id": new_id(),
        "number": row.meter,
        "commodity": row.commodity.value,
        "credit_mode": row.credit_mode,
        "purchase_max_minor": None,
        "parameters": None if parameters is None else compact_json(parameters.to_dict()),
        "key_id": _key_id(old, parameters, training=asked.caller.principal.training),
        "state": "active",
        "transfer": old["transfer"],
    }
    steps: list[Step] = [Insert("meter", meter)]
    if row.driver:
        device: dict[str, SqlValue] = {
            **created,
            "id": new_id(),
            "meter_id": meter["id"],
            "medium": row.medium,
            "address": row.address_on_medium,
            "driver": row.driver,
            "supply": "unknown",
            "tamper": 0,
        }
        steps.append(Insert("device", device))
    return _New({**meter, "wanted": None}, tuple(steps))


def _check_fit(old: Row, new: Row, credit: int) -> None:
    if old["commodity"] != new["commodity"]:
        raise Refused(
            "commodity_differs",
            f"meter {old['number']} is for {old['commodity']}, the new one for {new['commodity']}",
            field="new",
        )
    if not credit:
        return
    if {old["credit_mode"], new["credit_mode"]} != {CreditMode.METER.value}:
        raise Refused(
            "credit_modes_differ",
            "credit moves by a token from one meter that holds it to another; what the platform "
            "holds stays with the account",
            field="credit",
        )
    if old["transfer"] != new["transfer"]:
        raise Refused(
            "transfer_differs",
            f"meter {old['number']} counts {old['transfer']}, the new one {new['transfer']}: what "
            "was left cannot move",
            field="credit",
        )


def _swap_steps(
    asked: Asked,
    wish: SwapWish,
    rows: Rows,
    new_id: NewId,
    *,
    tids: TidAllocator,
    rnd: int,
    now_us: int,
) -> list[Step]:
    old = _old_meter(rows, wish.old)
    commodity = old["commodity"]
    credit = _credit(asked, wish, old)
    new = _new_meter(asked, wish, old, rows, new_id, now_us)
    _check_fit(old, new.row, credit)
    moved, making = _moving(old, credit, rnd)
    tokens = []
    if making is not None:
        tokens = [making.row(new.row, rows["tids"], new_id, tids=tids, now_us=now_us)]
    token_id = tokens[0]["id"] if tokens else None
    swap: dict[str, SqlValue] = {
        "id": new_id(),
        "utility_id": old["utility_id"],
        "supply_point_id": old["supply_point_id"],
        "old_installation_id": old["installation_id"],
        "old_meter_id": old["id"],
        "new_meter_id": new.row["id"],
        "old_register": _register(wish.old_register, commodity, "old_register"),
        "new_register": _register(wish.new_register, commodity, "new_register"),
        "credit": credit,
        "moved": moved,
        "token_id": token_id,
        "principal_id": asked.caller.principal.id,
        "reason": asked.reason,
        "at_us": now_us,
    }
    operation = _operation(asked, wish, old, swap, rows["swap_unused"])
    _, recorded = operation_steps(asked, operation, rows, new_id, at_us=now_us)
    installed: dict[str, SqlValue] = {
        "id": new_id(),
        "utility_id": old["utility_id"],
        "supply_point_id": old["supply_point_id"],
        "meter_id": new.row["id"],
        "from_us": now_us,
    }
    ended = {"installation_id": old["installation_id"], "at_us": now_us}
    return [
        *new.steps,
        Update("swap_end_installation", ended),
        Update("swap_remove_meter", {"meter_id": old["id"]}),
        *taken_off_steps(old["utility_id"], rows, new_id, now_us=now_us),
        *swap_slot_steps(wish.old, new.row, rows, new_id, now_us=now_us, coding=wish.coding),
        Insert("installation", installed),
        *(Insert("token", token) for token in tokens),
        Insert("meter_swap", swap),
        *recorded,
        event_step(_event(asked, wish, new.row["id"], now_us), new_id),
    ]


def _credit(asked: Asked, wish: SwapWish, old: Row) -> int:
    """Return what the old meter held: Wh or mL, or 0.00001 of the currency."""
    if old["transfer"] == MONEY:
        return _money(wish.credit, asked.caller.principal.currency)
    return _amount(wish.credit, old["commodity"], "credit")


def _moving(old: Row, credit: int, rnd: int) -> tuple[int, Making | None]:
    """Return how much of the credit moves, and the token that moves it."""
    commodity = old["commodity"]
    if old["transfer"] == MONEY:
        moved = movable_money(credit)
        # It carries no units: the meter has its own prices.
        making = Making(REPLACEMENT, currency_credit(commodity, moved, tid=0))
    else:
        moved = movable(commodity, credit)
        making = Making(REPLACEMENT, units_credit(commodity, moved, tid=0, rnd=rnd), moved)
    return moved, making if moved else None


def _register(text: str | None, commodity: str, name: str) -> int | None:
    return None if text is None else _amount(text, commodity, name)


def _operation(
    asked: Asked, wish: SwapWish, old: Row, swap: Mapping[str, SqlValue], unused: Sequence[Row]
) -> Operation:
    names = ("old_register", "new_register", "credit", "moved", "token_id")
    return Operation(
        kind=KIND,
        request=wish.request(),
        subject=f"installation:{old['installation_id']}",
        amount_minor=0,
        currency=asked.caller.principal.currency,
        detail={
            "old": wish.old,
            "new": wish.new,
            **{name: swap[name] for name in names},
            "transfer": old["transfer"],
            "unused_receipts": [row["receipt_number"] for row in unused],
            **changed({"meter": wish.old}, {"meter": wish.new}),
        },
        account_id=old["account_id"],
    )


def _event(asked: Asked, wish: SwapWish, meter_id: int, now_us: int) -> Event:
    return Event(
        utility_id=asked.caller.principal.utility_id,
        at_us=now_us,
        kind="meter_swapped",
        text=f"Meter {wish.old} was swapped for {wish.new}",
        meter_id=meter_id,
        data={"old": wish.old, "new": wish.new, "credit": wish.credit},
    )
