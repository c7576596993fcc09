"""Utilities and their tariffs: what must be there before the first meter comes in.

Every change is one unit of work with its act. Meters come in through ``meter_import``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from slotmeter.errors import Conflict, NotFound, Refused
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
    UnitOfWork,
    Update,
)
from slotmeter.services.access import Origin, act_row
from slotmeter.services.act_changes import changed
from slotmeter.services.events import compact_json
from slotmeter.services.protection import parse_policy
from slotmeter.services.training import key_name
from slotmeter.units import epoch_us
from slotmeter.vending.tariff.model import Tariff
from slotmeter.vending.tariff.reader import parse_tariff

__all__ = [
    "NewUtility",
    "Registry",
    "TariffAdded",
    "UtilityInfo",
    "vending_key_id",
]

CODE = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
TEXT_CHARACTERS_MAX = 200
POLICY_CHARACTERS_MAX = 20_000


@dataclass(frozen=True, slots=True)
class NewUtility:
    """A utility to set up, with the branch that its head office is.

    Args:
        code: lower-case letters, digits and hyphens.
        name: for receipts.
        currency: ISO 4217.
        time_zone: IANA name; "today" and tariff months follow it.
        tax_number: for receipts.
        address: for receipts.
        branch_code: of the head office.
        branch_name: of the head office.
        training: it is for practice: see :mod:`slotmeter.services.training`.
    """

    code: str
    name: str
    currency: str
    time_zone: str
    tax_number: str = ""
    address: str = ""
    branch_code: str = "head-office"
    branch_name: str = "Head office"
    training: bool = False


@dataclass(frozen=True, slots=True)
class UtilityInfo:
    """A utility that is set up."""

    id: int
    code: str
    name: str
    currency: str
    time_zone: str
    policy: str
    training: bool = False

    def zone(self) -> ZoneInfo:
        """Return its time zone."""
        return ZoneInfo(self.time_zone)


@dataclass(frozen=True, slots=True)
class TariffAdded:
    """What became of a tariff document; not new when the newest version says the same."""

    code: str
    version: int
    is_new: bool


def vending_key_id(sgc: str, krn: int, *, training: bool = False) -> str:
    """Return the name under which the vault keeps the vending key of a supply group."""
    return key_name(f"{sgc}-{krn}", training=training)


class Registry:
    """Keeps utilities, tariffs and policies."""

    def __init__(self, uow: UnitOfWork, clock: Clock) -> None:
        """Hold the database and the clock."""
        self._uow = uow
        self._clock = clock

    async def utilities(self) -> list[UtilityInfo]:
        """Return every utility, the oldest first."""
        rows = await self._uow.read([Read("registry_utilities")])
        return [_utility_info(row) for row in rows["registry_utilities"]]

    async def utility(self, code: str | None) -> UtilityInfo:
        """Return a utility by its code, or the only one there is.

        Raises:
            NotFound: ``unknown_utility`` or ``no_utility``.
            Refused: ``which_utility`` when there are several and no code.
        """
        known = await self.utilities()
        if not known:
            raise NotFound("no_utility", "no utility is set up here; run `slotmeter init` first")
        chosen = [each for each in known if code in (None, each.code)]
        codes = ", ".join(each.code for each in known)
        if not chosen:
            raise NotFound(
                "unknown_utility", f"there is no utility {code}; there are {codes}", field="utility"
            )
        if len(chosen) > 1:
            raise Refused("which_utility", f"name the utility, one of {codes}", field="utility")
        return chosen[0]

    async def add_utility(self, origin: Origin, new: NewUtility, *, reason: str) -> UtilityInfo:
        """Set up a utility with its head office.

        Raises:
            Refused: ``bad_code``, ``bad_name``, ``bad_currency`` or ``unknown_time_zone``.
            Conflict: ``utility_exists``.
        """
        _check_utility(new)
        at_us = epoch_us(self._clock.now())

        def decide(rows: Rows, new_id: NewId) -> Changes[UtilityInfo]:
            if rows["registry_utility_by_code"]:
                raise Conflict("utility_exists", f"there is a utility {new.code} already")
            utility_id = new_id()
            act = act_row(
                new_id,
                origin,
                utility_id,
                at_us,
                what="utility.add",
                subject=new.code,
                reason=reason,
                data=changed(
                    None,
                    {"name": new.name, "currency": new.currency, "time_zone": new.time_zone},
                ),
            )
            steps = [
                Insert("utility", _utility_row(utility_id, new, at_us)),
                Insert(
                    "branch",
                    {
                        "id": new_id(),
                        "utility_id": utility_id,
                        "code": new.branch_code,
                        "name": new.branch_name,
                    },
                ),
                act,
            ]
            info = UtilityInfo(
                utility_id,
                new.code,
                new.name,
                new.currency,
                new.time_zone,
                "{}",
                new.training,
            )
            return Changes(info, steps)

        return await self._uow.run([Read("registry_utility_by_code", {"code": new.code})], decide)

    async def record(
        self,
        origin: Origin,
        utility: UtilityInfo,
        *,
        what: str,
        subject: str,
        reason: str,
        data: Mapping[str, object],
    ) -> None:
        """Record an act whose effect lies outside the database, such as a key in the vault."""
        at_us = epoch_us(self._clock.now())

        def decide(_rows: Rows, new_id: NewId) -> Changes[None]:
            act = act_row(
                new_id,
                origin,
                utility.id,
                at_us,
                what=what,
                subject=subject,
                reason=reason,
                data=data,
            )
            return Changes(None, [act])

        await self._uow.run([], decide)

    async def set_policy(
        self, origin: Origin, utility: UtilityInfo, policy: Mapping[str, object], *, reason: str
    ) -> None:
        """Replace the policy document that credit control and cuts obey.

        Raises:
            Refused: ``policy_invalid`` or ``policy_too_long``; the policy stays as it was.
        """
        parse_policy(policy)
        text = compact_json(policy)
        if len(text) > POLICY_CHARACTERS_MAX:
            raise Refused(
                "policy_too_long",
                f"expected at most {POLICY_CHARACTERS_MAX} characters, got {len(text)}",
            )
        at_us = epoch_us(self._clock.now())

        def decide(rows: Rows, new_id: NewId) -> Changes[None]:
            before = json.loads(rows["registry_utility_by_code"][0]["policy"] or "{}")
            act = act_row(
                new_id,
                origin,
                utility.id,
                at_us,
                what="utility.policy",
                subject=utility.code,
                reason=reason,
                data={"before": before, "after": json.loads(text)},
            )
            step = Update("registry_set_policy", {"of_utility": utility.id, "policy": text})
            return Changes(None, [step, act])

        await self._uow.run([Read("registry_utility_by_code", {"code": utility.code})], decide)

    async def set_particulars(
        self,
        origin: Origin,
        utility: UtilityInfo,
        *,
        name: str | None = None,
        tax_number: str | None = None,
        address: str | None = None,
        reason: str,
    ) -> None:
        """Change what receipts print of a utility from now on; None leaves a part as it is.

        Raises:
            Refused: ``bad_name``.
        """
        at_us = epoch_us(self._clock.now())
        wanted = {"name": name, "tax_number": tax_number, "address": address}

        def decide(rows: Rows, new_id: NewId) -> Changes[None]:
            row = rows["registry_utility_by_code"][0]
            before = {key: row[key] for key in wanted}
            after = {key: row[key] if value is None else value for key, value in wanted.items()}
            _check_texts(after["name"], tuple(after.values()))
            params: dict[str, SqlValue] = {f"to_{key}": value for key, value in after.items()}
            step = Update("registry_set_particulars", {"of_utility": utility.id, **params})
            act = act_row(
                new_id,
                origin,
                utility.id,
                at_us,
                what="utility.particulars",
                subject=utility.code,
                reason=reason,
                data={"before": before, "after": after},
            )
            return Changes(None, [step, act])

        await self._uow.run([Read("registry_utility_by_code", {"code": utility.code})], decide)

    async def add_tariff(
        self,
        origin: Origin,
        utility: UtilityInfo,
        document: Mapping[str, object],
        *,
        valid_from: datetime | None,
        reason: str,
        source: str | None = None,
    ) -> TariffAdded:
        """Add a tariff, or its next version, at the machine itself: for setting up.

        Later changes go through ``tariff_admin``, where a second person approves.

        Args:
            origin: who brings it.
            utility: whose it is.
            document: as ``vending.tariff.reader`` reads it.
            valid_from: aware UTC; None is now.
            reason: for the act.
            source: YAML as it was written.

        Raises:
            Refused: ``tariff_invalid``, ``wrong_currency``, ``commodity_changed`` or
                ``version_out_of_order``.
        """
        tariff = parse_tariff(document)
        if tariff.currency != utility.currency:
            raise Refused(
                "wrong_currency",
                f"{utility.code} sells in {utility.currency}, the tariff is in {tariff.currency}",
                field="currency",
            )
        now_us = epoch_us(self._clock.now())
        valid_from_us = now_us if valid_from is None else epoch_us(valid_from)
        body = compact_json(document)

        def decide(rows: Rows, new_id: NewId) -> Changes[TariffAdded]:
            newest = _newest_version(rows, tariff)
            if newest is not None and json.loads(newest["body"]) == json.loads(body):
                return Changes(TariffAdded(tariff.code, newest["version"], is_new=False))
            _check_order(newest, valid_from_us)
            last = rows["tariff_version_newest_number"]
            added = TariffAdded(tariff.code, 1 + (last[0]["version"] if last else 0), is_new=True)
            steps, tariff_id = _tariff_rows(rows, new_id, utility, tariff)
            version: dict[str, SqlValue] = {
                "id": new_id(),
                "utility_id": utility.id,
                "tariff_id": tariff_id,
                "version": added.version,
                "valid_from_us": valid_from_us,
                "body": body,
                "source": source,
                "created_us": now_us,
            }
            act = act_row(
                new_id,
                origin,
                utility.id,
                now_us,
                what="tariff.add",
                subject=tariff.code,
                reason=reason,
                data=changed(None, {"version": added.version, "valid_from_us": valid_from_us}),
            )
            return Changes(added, [*steps, Insert("tariff_version", version), act])

        return await self._uow.run(_tariff_reads(utility.id, tariff), decide)


def _check_utility(new: NewUtility) -> None:
    for field, code in (("code", new.code), ("branch_code", new.branch_code)):
        if CODE.fullmatch(code) is None:
            raise Refused(
                "bad_code",
                f"expected 1 to 32 lower-case letters, digits and hyphens, got {code!r}",
                field=field,
            )
    _check_texts(new.name, (new.name, new.tax_number, new.address, new.branch_name))
    if re.fullmatch(r"[A-Z]{3}", new.currency) is None:
        raise Refused(
            "bad_currency",
            f"expected an ISO 4217 code such as KES, got {new.currency!r}",
            field="currency",
        )
    try:
        ZoneInfo(new.time_zone)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise Refused(
            "unknown_time_zone",
            f"expected an IANA name such as Africa/Nairobi, got {new.time_zone!r}",
            field="time_zone",
        ) from error


def _check_texts(name: str, texts: tuple[str, ...]) -> None:
    if not name.strip() or any(
        len(text) > TEXT_CHARACTERS_MAX or not text.isprintable() for text in texts
    ):
        raise Refused(
            "bad_name",
            f"name, tax number and address are single lines of at most {TEXT_CHARACTERS_MAX} "
            "characters, and the name is not empty",
            field="name",
        )


def _utility_row(utility_id: int, new: NewUtility, at_us: int) -> Mapping[str, str | int]:
    return {
        "id": utility_id,
        "code": new.code,
        "name": new.name,
        "currency": new.currency,
        "time_zone": new.time_zone,
        "tax_number": new.tax_number,
        "address": new.address,
        "policy": "{}",
        "created_us": at_us,
        "training": int(new.training),
    }


def _utility_info(row: Row) -> UtilityInfo:
    return UtilityInfo(
        row["id"],
        row["code"],
        row["name"],
        row["currency"],
        row["time_zone"],
        row["policy"],
        bool(row["training"]),
    )


def _tariff_reads(utility_id: int, tariff: Tariff) -> list[Read]:
    return [
        Read("registry_tariff_by_code", {"utility_id": utility_id, "code": tariff.code}),
        Read(
            "registry_tariff_newest",
            {"utility_id": utility_id, "tariff_id": From("registry_tariff_by_code", "id")},
        ),
        # A number once given is not given again, also when its version was withdrawn.
        Read("tariff_version_newest_number", {"utility_id": utility_id, "code": tariff.code}),
    ]


def _newest_version(rows: Rows, tariff: Tariff) -> Row | None:
    found = rows["registry_tariff_by_code"]
    if found and found[0]["commodity"] != tariff.commodity.value:
        raise Refused(
            "commodity_changed",
            f"tariff {tariff.code} is for {found[0]['commodity']}; give the new one another code",
            field="commodity",
        )
    versions = rows["registry_tariff_newest"]
    return versions[0] if versions else None


def _check_order(newest: Row | None, valid_from_us: int) -> None:
    if newest is not None and valid_from_us <= newest["valid_from_us"]:
        before = datetime.fromtimestamp(newest["valid_from_us"] // 1_000_000, UTC)
        raise Refused(
            "version_out_of_order",
            f"version {newest['version']} is valid from {before:%Y-%m-%d %H:%M} UTC; a new "
            "version must start later",
            field="valid_from",
        )


def _tariff_rows(
    rows: Rows, new_id: NewId, utility: UtilityInfo, tariff: Tariff
) -> tuple[list[Insert], int]:
    """Return the row that a first version needs, and the tariff's id."""
    found = rows["registry_tariff_by_code"]
    if found:
        return [], found[0]["id"]
    tariff_id = new_id()
    row: dict[str, SqlValue] = {
        "id": tariff_id,
        "utility_id": utility.id,
        "code": tariff.code,
        "title": tariff.title,
        "commodity": tariff.commodity.value,
        "currency": tariff.currency,
    }
    return [Insert("tariff", row)], tariff_id
