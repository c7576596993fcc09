"""What a generated utility has before its first sale: a key, a tariff, branches with tills."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from typing import Final

from slotmeter.errors import Refused
from slotmeter.ports import (
    Changes,
    Clock,
    NewId,
    Read,
    Row,
    Rows,
    SecurityModule,
    UnitOfWork,
)
from slotmeter.runtime.generate_people import METERS_MAX
from slotmeter.runtime.generate_plan import ROUND_DAYS, TENDERS, Plan, Seller, vending_key
from slotmeter.services.access import Origin
from slotmeter.services.booking import Entry, open_account
from slotmeter.services.principals import Principals
from slotmeter.services.registry import Registry, UtilityInfo, vending_key_id
from slotmeter.tariff_packs import pack_texts
from slotmeter.units import epoch_us
from slotmeter.vending.ledger import OPENING, Posting, till_account
from slotmeter.vending.pricing.engine import price_tender
from slotmeter.vending.pricing.situation import ChargeState, Situation
from slotmeter.vending.receipts.assembly import line_dicts
from slotmeter.vending.tariff.model import Tariff
from slotmeter.vending.tariff.reader import read_tariff

__all__ = ["SALES_MAX", "prepare"]

PACK: Final = "ke-kplc-dc-fixed-charge-era"
SALES_MAX: Final = 100_000_000
BRANCHES: Final = 20
TILLS_PER_BRANCH: Final = 2
REASON: Final = "generated"
ROUNDING: Final = "rounding"


async def prepare(
    uow: UnitOfWork,
    clock: Clock,
    keys: SecurityModule,
    origin: Origin,
    utility: UtilityInfo,
    *,
    meters: int,
    sales: int,
    seed: int,
) -> Plan:
    """Make what comes before the first sale, and say what shall follow.

    Args:
        uow: a database with a utility and no meter.
        clock: sales end with yesterday.
        keys: takes the utility's vending key.
        origin: who generates, for the acts.
        utility: sells in the tariff's currency.
        meters: how many.
        sales: how many.
        seed: everything follows from it, but for the day of the last sale.

    Raises:
        Refused: ``meters_out_of_range``, ``sales_out_of_range`` or ``folder_in_use``.
    """
    _check(meters, sales)
    await _check_empty(uow, utility)
    key = vending_key(seed)
    key_id = vending_key_id(key.sgc, key.krn)
    await keys.load(key_id, key)
    document, tariff = read_tariff(pack_texts()[PACK])
    today = clock.now().astimezone(utility.zone()).date()
    end_at = datetime.combine(today, time(), utility.zone()).astimezone(UTC)
    rounds = max(1, -(-sales // meters))
    since_at = end_at - timedelta(days=rounds * ROUND_DAYS + 1)
    registry = Registry(uow, clock)
    await registry.add_tariff(
        origin, utility, document, valid_from=since_at, reason=REASON, source=pack_texts()[PACK]
    )
    sellers = await _sellers(uow, clock, origin, utility)
    accounts = await _open_accounts(uow, utility, tariff, sellers, epoch_us(since_at))
    version = await _version(uow, utility, tariff.code)
    await registry.record(
        origin,
        utility,
        what="generate",
        subject=f"{meters} meters, {sales} sales",
        reason=REASON,
        data={"meters": meters, "sales": sales, "seed": seed},
    )
    return Plan(
        seed=seed,
        meters=meters,
        sales=sales,
        utility_id=utility.id,
        currency=utility.currency,
        time_zone=utility.time_zone,
        utility_name=utility.name,
        utility_address=version["address"],
        tax_number=version["tax_number"],
        tariff_id=version["tariff_id"],
        tariff_version_id=version["id"],
        tariff_body=version["body"],
        tariff_since_us=epoch_us(since_at),
        end_us=epoch_us(end_at),
        key_id=key_id,
        sellers=sellers,
        accounts=accounts,
        first_id=await uow.run([], _one_id),
    )


def _check(meters: int, sales: int) -> None:
    for name, value, most in (("meters", meters, METERS_MAX), ("sales", sales, SALES_MAX)):
        if not 1 <= value <= most:
            raise Refused(
                f"{name}_out_of_range", f"expected 1 to {most:,}, got {value:,}", field=name
            )


async def _check_empty(uow: UnitOfWork, utility: UtilityInfo) -> None:
    rows = await uow.read([Read("generate_any_meter", {"utility_id": utility.id})])
    if rows["generate_any_meter"]:
        raise Refused(
            "folder_in_use",
            f"{utility.code} has meters already; a generated utility needs a folder of its own",
        )


async def _version(uow: UnitOfWork, utility: UtilityInfo, code: str) -> Row:
    rows = await uow.read([Read("generate_version", {"utility_id": utility.id, "code": code})])
    return rows["generate_version"][0]


async def _sellers(
    uow: UnitOfWork, clock: Clock, origin: Origin, utility: UtilityInfo
) -> tuple[Seller, ...]:
    """Make branches, each with its tills."""
    principals = Principals(uow, clock)
    sellers: list[Seller] = []
    for at in range(1, BRANCHES + 1):
        code, name = f"branch-{at:02d}", f"Branch {at}"
        branch_id = await principals.add_branch(
            origin, utility.id, code=code, name=name, reason=REASON
        )
        for number in range(1, TILLS_PER_BRANCH + 1):
            till = f"{code}-till-{number}"
            principal_id = await principals.add_principal(
                origin,
                utility.id,
                name=till,
                kind="person",
                roles=["vendor"],
                branch_code=code,
                reason=REASON,
            )
            sellers.append(Seller(principal_id, branch_id, till, code, name))
    return tuple(sellers)


def _codes(tariff: Tariff, time_zone: str) -> set[str]:
    """Return the ledger accounts that sales under a tariff move, beside tills."""
    codes = {ROUNDING, OPENING}
    situation = Situation(0, time_zone, account_number="C1")
    months = tuple(ChargeState(item.code, "2026-01", 0) for item in tariff.fixed_items)
    for tender in TENDERS:
        for charges in ((), months):
            priced = price_tender(tariff, replace(situation, charges=charges), tender)
            codes |= {line["account"] for line in line_dicts(priced.lines)}
    return codes


async def _open_accounts(
    uow: UnitOfWork,
    utility: UtilityInfo,
    tariff: Tariff,
    sellers: Sequence[Seller],
    at_us: int,
) -> dict[str, int]:
    """Open the ledger accounts; return the id of each by its code."""
    codes = _codes(tariff, utility.time_zone) | {till_account(each.branch_code) for each in sellers}
    entry = Entry(utility.id, "opening", at_us, utility.currency, (), REASON)

    def decide(_rows: Rows, new_id: NewId) -> Changes[dict[str, int]]:
        ids = {code: new_id() for code in sorted(codes)}
        steps = [open_account(entry, Posting(code, 0), ids[code]) for code in ids]
        return Changes(ids, steps)

    return await uow.run([], decide)


def _one_id(_rows: Rows, new_id: NewId) -> Changes[int]:
    return Changes(new_id())
