"""A platform of paper: the HTTP API's answers from a seed, for looking at the pages and for tests.

Run it as a program: it prints ``ready`` and the port, and serves until it is told to end.
``POST /fake/sell`` lets one sale happen; ``POST /fake/empty`` forgets all of it.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from aiohttp import web

ZONE = ZoneInfo("Africa/Johannesburg")
CURRENCY = "ZAR"
STREETS = ("Acacia Road", "Baobab Street", "Cedar Lane", "Dune Close", "Ebony Way", "Fig Avenue")
NAMES = ("Thandi", "Maria", "Kofi", "Nomsa", "David", "Sipho")
SURNAMES = ("Mbeki", "Okafor", "Ledwaba", "Botha", "Khan", "Zulu")
AREAS = ("north/hillside", "north/market", "south/harbour", "south/mill")
PRICES = {"electricity": 3.12, "water": 41.5, "gas": 28.9}
UNITS = {"electricity": "kWh", "water": "m³", "gas": "m³"}
BASE = {"electricity": ("Wh", 1_000), "water": ("mL", 1_000_000), "gas": ("mL", 1_000_000)}
HOURLY = {"electricity": 0.62, "water": 0.021, "gas": 0.034}
EVENT_TEXTS = (
    ("supply_on", "info", "supply is on again"),
    ("supply_off", "warning", "supply went off: the credit is used up"),
    ("low_credit", "warning", "low credit: 2.1 left"),
    ("token_accepted", "info", "a token was accepted, the balance rose"),
    ("tamper", "alarm", "the cover was opened"),
    ("offline", "warning", "no contact for 15 min"),
)
ALARM_TEXT = next(each for each in EVENT_TEXTS if each[1] == "alarm")


FLEET = json.loads((Path(__file__).parent / "fake_devices.json").read_text())
"""Devices, claims and strangers; times are minutes ago, meters are given by their index."""


def stamp(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


SALES_MIN = 60


class Town:
    """Everything that the answers are made from; the same seed gives the same town."""

    def __init__(self, seed: int, meters: int) -> None:
        self.random = random.Random(seed)
        self.now = datetime.now(UTC)
        self.ids = 1_000
        self.meters: list[dict[str, Any]] = []
        self.sales: list[dict[str, Any]] = []
        self.commands: list[dict[str, Any]] = []
        self.events: list[dict[str, Any]] = []
        self.alarms: list[dict[str, Any]] = []
        for index in range(meters):
            self.add_meter(index)
        if meters:
            self.add_history()

    def new_id(self) -> int:
        self.ids += 1
        return self.ids

    def add_meter(self, index: int) -> None:
        commodity = ("electricity", "electricity", "water", "gas")[index % 4]
        supply = self.random.choices(("on", "off", "armed", "unknown"), (22, 4, 2, 1))[0]
        quiet = supply == "unknown" or self.random.random() < 0.08
        contact = self.now - timedelta(seconds=3 if not quiet else 5_400)
        platform = index % 8 == 6
        balance = 0 if supply == "off" else self.random.uniform(0.05, 1) * 13 * HOURLY[commodity]
        row = {
            "number": f"{14_000_000_00 + index * 7_919:010d}{index % 10}",
            "commodity": commodity,
            "credit_mode": "platform" if platform else "meter",
            "area": AREAS[index % 4],
            "address": f"{index + 1} {STREETS[index % 6]}",
            "customer": f"{NAMES[index % 6]} {SURNAMES[index * 5 % 6]}",
            "account": f"A{2000 + index}",
            "critical": index == 5,
            "supply": supply,
            "unit": UNITS[commodity],
            "currency": CURRENCY,
            "register": f"{self.random.uniform(300, 4000) * HOURLY[commodity]:.3f}",
            "credit_balance": None if platform else f"{balance:.3f}",
            "credit_total": None if platform else f"{balance + 900 * HOURLY[commodity]:.3f}",
            "account_balance": f"{self.random.uniform(-20, 160):.2f}" if platform else None,
            "tamper": index == 9,
            "online": not quiet,
            "last_contact_at": stamp(contact),
            "measured_at": stamp(contact + timedelta(days=2, hours=5)),
            "driver": "slotmeter_virtual",
            "medium": "nbiot",
            "state": "active",
        }
        self.meters.append(row)

    def add_history(self) -> None:
        midnight = self.now.astimezone(ZONE).replace(hour=0, minute=0, second=0, microsecond=0)
        minutes = max(int((self.now - midnight).total_seconds() // 60), 1)
        busy = [m for m in range(minutes) if self.random.random() < 0.14 * self.rush(m // 60)]
        if len(busy) < SALES_MIN:
            # Just after midnight the day is young, but the pages are looked at all the same.
            busy = sorted(self.random.choices(range(minutes), k=SALES_MIN))
        for minute in busy:
            self.sell(midnight + timedelta(minutes=minute, seconds=self.random.randrange(60)))
        for index in range(40):
            drawn = self.random.choice(EVENT_TEXTS)
            # One alarm there is on every day, however many sales were drawn before.
            kind, severity, text = ALARM_TEXT if index == 0 else drawn
            at = self.now - timedelta(minutes=(40 - index) * 4)
            self.add_event(at, kind, severity, text, self.random.choice(self.meters))
        for meter, kind, text in (
            (self.meters[9], "tamper", "the cover was opened"),
            (self.meters[2], "offline", "no contact for 90 min"),
            (self.meters[0], "low_credit", "credit below 5 kWh and no purchase for three days"),
        ):
            severity = "alarm" if kind == "tamper" else "warning"
            self.alarms.insert(0, self.alarm(meter, kind, severity, text))
        self.alarms[-1]["cleared_at"] = stamp(self.now)
        for state, kind, cause in (
            ("verified", "close_relay", "rule"),
            ("queued", "load_token", "sale"),
            ("held", "open_relay", "rule"),
            ("sent", "read_now", "person"),
            ("refused", "close_valve", "rule"),
        ):
            self.add_command(state, kind, cause)

    def fleet(self, name: str) -> list[dict[str, Any]]:
        """Return rows of ``FLEET`` as the API has them."""
        return [self.of_fleet(row) for row in FLEET[name]] if self.meters else []

    def of_fleet(self, row: Mapping[str, Any]) -> dict[str, Any]:
        made: dict[str, Any] = {
            key: stamp(self.now - timedelta(minutes=value))
            if key.endswith("_at") and value is not None
            else value
            for key, value in row.items()
        }
        index: int | None = made.pop("index", None)
        return made | {"meter": None if index is None else self.meters[index]["number"]}

    def rush(self, hour: int) -> float:
        return {7: 2, 8: 2.6, 12: 1.9, 17: 2.8, 18: 3.1, 19: 2.2}.get(hour, 0.3 if hour < 6 else 1)

    def alarm(self, meter: Mapping[str, Any], kind: str, severity: str, text: str) -> Any:
        return {
            "id": self.new_id(),
            "meter": meter["number"],
            "kind": kind,
            "severity": severity,
            "text": text,
            "raised_at": stamp(self.now - timedelta(minutes=self.random.randrange(3, 200))),
            "cleared_at": None,
        }

    def add_command(self, state: str, kind: str, cause: str) -> None:
        reasons = {
            "sale": "deliver the token of a sale",
            "rule": "credit at zero",
            "person": "the customer asked for a fresh reading",
        }
        holds = {
            "held": ["protected hours until 06:00"],
            "refused": ["the account is marked critical: never cut from afar"],
        }
        at = self.now - timedelta(minutes=self.random.randrange(1, 30))
        self.commands.insert(
            0,
            {
                "id": self.new_id(),
                "meter": self.random.choice(self.meters)["number"],
                "kind": kind,
                "state": state,
                "cause": cause,
                "reason": reasons[cause],
                "causes": [
                    {"code": "x", "text": text, "until": None} for text in holds.get(state, [])
                ],
                "asked_by": "Nomsa Khan" if cause == "person" else None,
                "attempts": 1,
                "acknowledged_at": None,
                "result": "done" if state == "verified" else None,
                "created_at": stamp(at),
                "sent_at": stamp(at) if state in ("sent", "verified") else None,
                "ended_at": stamp(at) if state in ("verified", "refused") else None,
            },
        )

    def add_event(
        self, at: datetime, kind: str, severity: str, text: str, meter: Mapping[str, Any]
    ) -> None:
        self.events.insert(
            0,
            {
                "id": self.new_id(),
                "at": stamp(at),
                "kind": kind,
                "severity": severity,
                "meter": meter["number"],
                "text": text,
                "data": {},
            },
        )

    def sell(self, at: datetime) -> dict[str, Any]:
        meter = self.random.choice(self.meters)
        money = self.random.choice((20, 50, 50, 100, 100, 150, 200))
        commodity = meter["commodity"]
        index = self.new_id()
        state = self.random.choices(("verified", "pending", "already_used"), (12, 2, 1))[0]
        sale = {
            "id": index,
            "sale_id": f"till-1:{index}",
            "receipt_number": f"R{index:08d}",
            "state": "issued",
            "meter": meter["number"],
            "commodity": commodity,
            "credit_mode": meter["credit_mode"],
            "tendered": f"{money:.2f}",
            "currency": CURRENCY,
            "units": f"{money * 0.85 / PRICES[commodity]:.3f}",
            "unit": UNITS[commodity],
            "sold_by": self.random.choice(("till-1", "till-2", "phone")),
            "token_end": f"{self.random.randrange(10**4):04d}",
            "sold_at": stamp(at),
            "issued_at": stamp(at),
            "delivery": {"state": state, "accepted_at": stamp(at + timedelta(seconds=2))},
            "receipt_url": f"/api/v1/receipts/R{index:08d}",
        }
        self.sales.insert(0, sale)
        return sale

    # --- answers ---------------------------------------------------------------------------------

    def overview(self) -> dict[str, Any]:
        by_hour: dict[datetime, list[float]] = {}
        units = dict.fromkeys(UNITS, 0.0)
        for sale in self.sales:
            sold_at = datetime.fromisoformat(sale["sold_at"])
            hour = sold_at.replace(minute=0, second=0, microsecond=0)
            by_hour.setdefault(hour, []).append(float(sale["tendered"]))
            units[sale["commodity"]] += float(sale["units"])
        count = {name: 0 for name in ("queued", "held", "sent", "verified", "refused")}
        for command in self.commands:
            count[command["state"]] += 1
        supplies = [meter["supply"] for meter in self.meters]
        commodities = [meter["commodity"] for meter in self.meters]
        unsettled = [alarm for alarm in self.alarms if alarm["cleared_at"] is None]
        return {
            "as_of": stamp(datetime.now(UTC)),
            "day_start": stamp(datetime.now(ZONE).replace(hour=0, minute=0, second=0)),
            "utility": "Paper Town Power",
            "time_zone": "Africa/Johannesburg",
            "currency": CURRENCY,
            "sales": {
                "count": len(self.sales),
                "tendered": f"{sum(float(sale['tendered']) for sale in self.sales):.2f}",
                "units": {name: f"{amount:.3f}" for name, amount in units.items()},
            },
            "sales_by_hour": [
                {"hour": stamp(hour), "count": len(sums), "tendered": f"{sum(sums):.2f}"}
                for hour, sums in sorted(by_hour.items())
            ],
            "meters": {
                "total": len(self.meters),
                "by_supply": {s: supplies.count(s) for s in ("on", "off", "armed", "unknown")},
                "by_commodity": {name: commodities.count(name) for name in UNITS},
                "heard": sum(meter["online"] for meter in self.meters),
            },
            "alarms": {"open": len(unsettled), "items": unsettled[:10]},
            "commands": {"by_state": count, "items": self.commands[:10]},
            "quarantined": 0,
            "ledger_balanced": True,
        }

    def buckets(self, meter: Mapping[str, Any], query: Mapping[str, str]) -> dict[str, Any]:
        """The register backwards from now; top-ups now and then, and three silent hours."""
        end_s = datetime.fromisoformat(query["to"]).timestamp()
        begin = datetime.fromisoformat(query["from"])
        width = timedelta(seconds=int(query["bucket"]))
        unit, scale = BASE[meter["commodity"]]
        hourly = HOURLY[meter["commodity"]]
        grows = query["register"] != "credit_balance"
        shape = random.Random(meter["number"])
        value = float(meter["register"]) if grows else float(meter["credit_balance"] or 0)
        start = datetime.fromtimestamp(end_s // width.total_seconds() * width.total_seconds(), UTC)
        buckets: list[dict[str, Any]] = []
        while start >= begin:
            used = hourly * width.total_seconds() / 3_600 * (0.4 + 1.5 * shape.random())
            before = value - used if grows else value + used
            if not grows and before > 14 * hourly:
                before = 1.5 * hourly
            if not 8 <= (end_s - start.timestamp()) / 3_600 < 11:
                first, last = int(before * scale), int(value * scale)
                times = {"start": stamp(start), "end": stamp(start + width), "count": 4}
                low, high = sorted((first, last))
                buckets.append({**times, "first": first, "last": last, "min": low, "max": high})
            value, start = before, start - width
        buckets.reverse()
        span = {"from": query["from"], "to": query["to"], "truncated": False}
        name = query["register"]
        return {"register": name, "unit": unit, "items": [], "buckets": buckets, **span}

    def tokens(self, meter: Mapping[str, Any]) -> list[dict[str, Any]]:
        return [
            {
                "purpose": "credit",
                "receipt_number": sale["receipt_number"],
                "sold_at": sale["sold_at"],
                "units": sale["units"],
                "unit": sale["unit"],
                "tendered": sale["tendered"],
                "currency": CURRENCY,
                "delivery": sale["delivery"]["state"],
                "state": "issued" if sale["delivery"]["state"] == "pending" else "accepted",
                "accepted_by": {"verified": "delivery", "already_used": "keypad"}.get(
                    sale["delivery"]["state"]
                ),
                "accepted_at": sale["delivery"]["accepted_at"]
                if sale["delivery"]["state"] != "pending"
                else None,
                "token_masked": f"****...{sale['token_end']}",
            }
            for sale in self.sales
            if sale["meter"] == meter["number"]
        ]


def answer(body: Any, status: int = 200) -> web.Response:
    return web.json_response(body, status=status, dumps=json.dumps)


def not_found() -> web.Response:
    return answer({"status": 404, "code": "not_found", "detail": "no such meter"}, 404)


def paged(rows: list[dict[str, Any]], request: web.Request, cursor: str, key: str) -> web.Response:
    """Give the rows after the cursor, which is the key of the last row already given."""
    limit = int(request.query.get("limit", "100"))
    given = request.query.get(cursor)
    keys = [str(row[key]) for row in rows]
    begin = keys.index(given) + 1 if given in keys else 0
    more = len(rows) > begin + limit
    page = rows[begin : begin + limit]
    return answer({"items": page, "next": page[-1][key] if more else None})


def filtered(rows: list[dict[str, Any]], request: web.Request, *keys: str) -> list[dict[str, Any]]:
    wanted = {key: request.query[key] for key in keys if key in request.query}
    return [row for row in rows if all(row[key] == value for key, value in wanted.items())]


class Answers:
    """One handler per route; the newest town is the one that answers."""

    def __init__(self, town: Town) -> None:
        self.towns = [town]

    @property
    def town(self) -> Town:
        return self.towns[-1]

    async def overview(self, _: web.Request) -> web.Response:
        return answer(self.town.overview())

    async def meters(self, request: web.Request) -> web.Response:
        rows = filtered(self.town.meters, request, "commodity", "supply")
        words = request.query.get("q", "").lower()
        rows = [row for row in rows if words in f"{row['number']} {row['address']}".lower()]
        return paged(rows, request, "after", "number")

    def found(self, request: web.Request) -> dict[str, Any] | None:
        number = request.match_info["number"]
        return next((row for row in self.town.meters if row["number"] == number), None)

    async def meter(self, request: web.Request) -> web.Response:
        row = self.found(request)
        return answer(row) if row else not_found()

    async def of_meter(self, request: web.Request) -> web.Response:
        row = self.found(request)
        if row is None:
            return not_found()
        match request.match_info["subject"]:
            case "readings":
                return answer(self.town.buckets(row, request.query))
            case "tokens":
                return answer({"items": self.town.tokens(row), "next": None})
            case _:
                own = [each for each in self.town.commands if each["meter"] == row["number"]]
                return answer({"items": own, "next": None})

    async def sales(self, request: web.Request) -> web.Response:
        rows = filtered(self.town.sales, request, "meter", "commodity")
        begin = datetime.fromisoformat(request.query.get("from", "2000-01-01T00:00:00Z"))
        rows = [row for row in rows if datetime.fromisoformat(row["sold_at"]) >= begin]
        return paged(rows, request, "before", "id")

    async def receipt(self, request: web.Request) -> web.Response:
        number = request.match_info["number"]
        for sale in self.town.sales:
            if sale["receipt_number"] == number and request.query["format"] == "html":
                token = f"1234 5678 9012 3456 {sale['token_end']}"
                text = f"<h1>Receipt</h1><p>{number}</p><p>{token}</p>"
                return web.Response(text=text, content_type="text/html")
        return not_found()

    async def commands(self, request: web.Request) -> web.Response:
        return paged(filtered(self.town.commands, request, "state"), request, "before", "id")

    async def fleet(self, request: web.Request) -> web.Response:
        name = {"device-health": "devices"}.get(request.path.split("/")[-1], "")
        rows = filtered(self.town.fleet(name or request.path.split("/")[-1]), request, "state")
        return paged(rows, request, "after", "id" if name else "address")

    async def device_counts(self, _: web.Request) -> web.Response:
        states = [row["state"] for row in self.town.fleet("devices")]
        every = ("on_time", "late", "offline", "behind", "never")
        return answer({state: states.count(state) for state in every})

    async def events(self, request: web.Request) -> web.Response:
        rows = filtered(self.town.events, request, "meter")
        limit = int(request.query.get("limit", "100"))
        after = request.query.get("after")
        if after is None:
            page = rows[:limit][::-1]
        else:
            page = [row for row in reversed(rows) if row["id"] > int(after)][:limit]
        return answer({"items": page, "next": page[-1]["id"] if page else int(after or 0)})

    async def alarms(self, request: web.Request) -> web.Response:
        only_open = request.query.get("open", "true") == "true"
        rows = [row for row in self.town.alarms if row["cleared_at"] is None or not only_open]
        return paged(rows, request, "before", "id")

    async def sell(self, _: web.Request) -> web.Response:
        sale = self.town.sell(datetime.now(UTC))
        buyer = next(row for row in self.town.meters if row["number"] == sale["meter"])
        text = f"sold for {CURRENCY} {sale['tendered']}"
        self.town.add_event(datetime.now(UTC), "sale", "info", text, buyer)
        return answer(sale)

    async def empty(self, _: web.Request) -> web.Response:
        self.towns.append(Town(1, 0))
        return answer({})

    def routes(self) -> list[web.RouteDef]:
        api = "/api/v1"
        subjects = f"{api}/meters/{{number}}/{{subject:readings|tokens|commands}}"
        return [
            web.get(f"{api}/overview", self.overview),
            web.get(f"{api}/meters", self.meters),
            web.get(f"{api}/meters/{{number}}", self.meter),
            web.get(subjects, self.of_meter),
            web.get(f"{api}/device-health", self.fleet),
            web.get(f"{api}/device-health/counts", self.device_counts),
            web.get(f"{api}/commissioning/{{name:claims|strangers}}", self.fleet),
            web.get(f"{api}/sales", self.sales),
            web.get(f"{api}/commands", self.commands),
            web.get(f"{api}/receipts/{{number}}", self.receipt),
            web.get(f"{api}/events", self.events),
            web.get(f"{api}/alarms", self.alarms),
            web.post("/fake/sell", self.sell),
            web.post("/fake/empty", self.empty),
        ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--meters", type=int, default=30)
    parsed = parser.parse_args()
    app = web.Application()
    app.add_routes(Answers(Town(parsed.seed, parsed.meters)).routes())
    web.run_app(
        app,
        host="127.0.0.1",
        port=parsed.port,
        print=lambda _: print("ready", parsed.port, flush=True),  # noqa: T201  a program's word
    )


if __name__ == "__main__":
    main()
