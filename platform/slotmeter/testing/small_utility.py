"""A utility of a few meters in a real database, for tests of services and for trying things out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from slotmeter.ports import (
    Caller,
    Changes,
    Insert,
    NewId,
    Principal,
    Right,
    Rows,
    SqlValue,
    Step,
    UnitOfWork,
)
from slotmeter.services.access import rights_of
from slotmeter.vending.accounts import words_of
from slotmeter.vending.sts import KeyParameters, VendingKey, luhn_digit, pan_of_drn

__all__ = ["KEY_ID", "VENDING_KEY", "SmallMeter", "SmallUtility", "meter_number", "tariff_document"]

KEY_ID = "sgc-123457-krn-1"
"""Name of the vending key in the security module."""

VENDING_KEY = VendingKey(
    key=bytes.fromhex("abababababababab949494949494949401234567"),
    sgc="123457",
    krn=1,
    kt=2,
    dkga="04",
    base_date=2014,
    ken=255,
)
"""A key for trying things out; its bytes are those of the published STS test suite."""


_METER_TABLES = ("customer", "account", "supply_point", "meter", "installation")


def meter_number(serial: int) -> str:
    """Return an 11-digit meter number (DRN) with its check digit."""
    digits = f"07{serial:08d}"
    return digits + str(luhn_digit(digits))


def tariff_document(commodity: str, **changes: Any) -> dict[str, Any]:
    """Return a flat tariff with 16 % tax and no fixed charge; changes replace its parts."""
    document: dict[str, Any] = {
        "tariff": f"domestic-{commodity}",
        "title": f"Domestic {commodity}",
        "commodity": commodity,
        "currency": "KES",
        "price": "20.00",
        "tax": {"name": "VAT", "percent": "16"},
        "purchase": {"minimum": "10.00", "maximum": "50000.00"},
    }
    return {key: value for key, value in {**document, **changes}.items() if value is not None}


@dataclass(frozen=True, slots=True)
class SmallMeter:
    """One meter of the small utility."""

    id: int
    number: str
    commodity: str
    credit_mode: str
    supply_point_id: int
    account_number: str
    device_id: int | None
    address: str | None
    parameters: KeyParameters | None


@dataclass(slots=True)
class SmallUtility:
    """Writes rows straight through the unit of work and remembers their ids.

    Args:
        uow: an open database without this utility.
        now_us: when everything was made, UTC epoch microseconds.
    """

    uow: UnitOfWork
    now_us: int
    code: str = "small"
    utility_id: int = 0
    branch_id: int = 0
    tariff_ids: dict[str, int] = field(default_factory=dict)
    meters: dict[str, SmallMeter] = field(default_factory=dict)
    _serial: int = 0

    async def make(self, *, policy: Mapping[str, object] | None = None) -> SmallUtility:
        """Make the utility and its head office."""

        def decide(_rows: Rows, new_id: NewId) -> Changes[tuple[int, int]]:
            utility_id, branch_id = new_id(), new_id()
            utility: dict[str, SqlValue] = {
                "id": utility_id,
                "code": self.code,
                "name": "Small Town Utilities",
                "currency": "KES",
                "time_zone": "Africa/Nairobi",
                "tax_number": "P051234567X",
                "address": "1 Main Street",
                "policy": json.dumps(policy or {}),
                "created_us": self.now_us,
            }
            branch: dict[str, SqlValue] = {
                "id": branch_id,
                "utility_id": utility_id,
                "code": "head",
                "name": "Head office",
            }
            return Changes(
                (utility_id, branch_id), [Insert("utility", utility), Insert("branch", branch)]
            )

        self.utility_id, self.branch_id = await self.uow.run([], decide)
        return self

    async def add_tariff(
        self, document: Mapping[str, Any], *, version: int = 1, valid_from_us: int | None = None
    ) -> int:
        """Add a tariff, or a further version of one; return the version's id."""
        code = document["tariff"]
        tariff_id = self.tariff_ids.get(code)
        from_us = self.now_us if valid_from_us is None else valid_from_us

        def decide(_rows: Rows, new_id: NewId) -> Changes[tuple[int, int]]:
            steps: list[Step] = []
            owner = tariff_id if tariff_id is not None else new_id()
            if tariff_id is None:
                row: dict[str, SqlValue] = {
                    "id": owner,
                    "utility_id": self.utility_id,
                    "code": code,
                    "title": document["title"],
                    "commodity": document["commodity"],
                    "currency": document["currency"],
                }
                steps.append(Insert("tariff", row))
            version_id = new_id()
            body: dict[str, SqlValue] = {
                "id": version_id,
                "utility_id": self.utility_id,
                "tariff_id": owner,
                "version": version,
                "valid_from_us": from_us,
                "body": json.dumps(document),
                "created_us": self.now_us,
            }
            return Changes((owner, version_id), [*steps, Insert("tariff_version", body)])

        self.tariff_ids[code], version_id = await self.uow.run([], decide)
        return version_id

    async def add_principal(
        self, name: str, *roles: str, kind: str = "person", branch_id: int | None = None
    ) -> Caller:
        """Add a person or service and return them as a caller, without a key."""
        of_branch = self.branch_id if branch_id is None else branch_id

        def decide(_rows: Rows, new_id: NewId) -> Changes[int]:
            principal_id = new_id()
            row: dict[str, SqlValue] = {
                "id": principal_id,
                "utility_id": self.utility_id,
                "branch_id": of_branch,
                "kind": kind,
                "name": name,
                "roles": json.dumps(list(roles)),
                "disabled_us": None,
                "created_us": self.now_us,
            }
            return Changes(principal_id, [Insert("principal", row)])

        principal = Principal(
            id=await self.uow.run([], decide),
            utility_id=self.utility_id,
            branch_id=of_branch,
            name=name,
            kind=kind,
            rights=rights_of(roles) if roles else frozenset(Right),
            currency="KES",
            time_zone="Africa/Nairobi",
        )
        return Caller(principal, None, "127.0.0.1", "test")

    async def add_meter(
        self,
        commodity: str = "electricity",
        *,
        credit_mode: str = "meter",
        online: bool = True,
        purchase_max_minor: int | None = None,
        critical_until_us: int | None = None,
        tariff: str | None = None,
    ) -> SmallMeter:
        """Add a customer with an account, a supply point and an installed meter."""
        self._serial += 1
        serial = self._serial
        number = meter_number(serial)
        tariff_id = self.tariff_ids[tariff or f"domestic-{commodity}"]
        parameters = None
        if credit_mode == "meter":
            parameters = KeyParameters(
                pan=pan_of_drn(number), sgc="123457", krn=1, kt=2, ti=1, base_date=2014
            )

        def decide(_rows: Rows, new_id: NewId) -> Changes[SmallMeter]:
            ids = {name: new_id() for name in (*_METER_TABLES, "device")}
            meter = SmallMeter(
                id=ids["meter"],
                number=number,
                commodity=commodity,
                credit_mode=credit_mode,
                supply_point_id=ids["supply_point"],
                account_number=f"A{serial:04d}",
                device_id=ids["device"] if online else None,
                address=number if online else None,
                parameters=parameters,
            )
            rows = self._meter_rows(meter, ids, serial, tariff_id)
            rows["meter"]["purchase_max_minor"] = purchase_max_minor
            if critical_until_us is not None:
                rows["account"]["critical_until_us"] = critical_until_us
                rows["account"]["critical_reason"] = "oxygen"
            if online:
                rows["device"] = self._device_row(ids["device"], ids["meter"], number)
            steps = [Insert(table, row) for table, row in rows.items()]
            return Changes(meter, [*steps, *self._word_steps(rows)])

        meter = await self.uow.run([], decide)
        self.meters[number] = meter
        return meter

    def _meter_rows(
        self, meter: SmallMeter, ids: Mapping[str, int], serial: int, tariff_id: int
    ) -> dict[str, dict[str, Any]]:
        street = f"{serial} Lake Road"
        parameters = meter.parameters
        rows: dict[str, dict[str, Any]] = {
            "customer": {
                "number": f"C{serial:04d}",
                "name": "Amina Otieno",
                "phone": "",
                "address": street,
            },
            "account": {
                "customer_id": ids["customer"],
                "number": meter.account_number,
                "currency": "KES",
                "critical_until_us": None,
                "critical_reason": None,
            },
            "supply_point": {
                "account_id": ids["account"],
                "tariff_id": tariff_id,
                "number": f"S{serial:04d}",
                "commodity": meter.commodity,
                "area": "Town/North",
                "address": street,
            },
            "meter": {
                "number": meter.number,
                "commodity": meter.commodity,
                "credit_mode": meter.credit_mode,
                "parameters": None if parameters is None else json.dumps(parameters.to_dict()),
                "key_id": None if parameters is None else KEY_ID,
                "state": "active",
            },
            "installation": {
                "supply_point_id": ids["supply_point"],
                "meter_id": ids["meter"],
                "from_us": self.now_us,
                "to_us": None,
            },
        }
        for table, row in rows.items():
            row |= {"id": ids[table], "utility_id": self.utility_id}
            if table != "installation":
                row["created_us"] = self.now_us
        return rows

    def _word_steps(self, rows: Mapping[str, Mapping[str, Any]]) -> list[Insert]:
        point, customer = rows["supply_point"], rows["customer"]
        scope = {"utility_id": self.utility_id, "supply_point_id": point["id"]}
        words = words_of(customer["name"], customer["address"], point["area"])
        return [Insert("search_word", {**scope, "word": word}) for word in words]

    def _device_row(self, device_id: int, meter_id: int, address: str) -> dict[str, Any]:
        unknown = (
            "last_contact_us",
            "measured_us",
            "received_us",
            "register",
            "credit_balance",
            "credit_total",
        )
        return {
            **dict.fromkeys(unknown),
            "id": device_id,
            "utility_id": self.utility_id,
            "meter_id": meter_id,
            "medium": "nbiot",
            "address": address,
            "driver": "slotmeter_virtual",
            "supply": "unknown",
            "tamper": 0,
            "created_us": self.now_us,
        }
