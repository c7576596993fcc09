"""Tables as CSV files, streamed page by page from the API, with the filters of the screen.

UTF-8 with a byte order mark (spreadsheets need it), times in ISO 8601 with the utility's offset,
units in the headings or in a column of their own. A cell that a spreadsheet would run as a formula
is written with an apostrophe before it.
"""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from decimal import Decimal
from typing import Any
from urllib.parse import quote

from fastapi import FastAPI, Request, Response
from fastapi.responses import PlainTextResponse, StreamingResponse

from slotmeter.errors import NotFound, Refused, SlotmeterError
from slotmeter_dashboards import words
from slotmeter_dashboards.answers import Row
from slotmeter_dashboards.client import ApiClient
from slotmeter_dashboards.device_model import (
    Claim,
    Device,
    Stranger,
    parse_claim,
    parse_device,
    parse_stranger,
)
from slotmeter_dashboards.model import (
    Alarm,
    Command,
    Event,
    Meter,
    Sale,
    Token,
    parse_alarm,
    parse_command,
    parse_event,
    parse_meter,
    parse_sale,
    parse_token,
)
from slotmeter_dashboards.pages.lists import alarms_asked, api_day, chosen, of_kind, of_severity

__all__ = ["add_downloads", "csv_lines", "problem_answer"]

BYTE_ORDER_MARK = "\ufeff"
RUNS_AS_FORMULA = ("=", "+", "-", "@", "\t", "\r")
Cell = str | int | Decimal | None
Cells = Callable[[Any, tzinfo], Sequence[Cell]]


def _every(_row: object, _asked: Mapping[str, str]) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Sheet:
    """One kind of file: its headings, its rows, and what may narrow it.

    ``filters`` and ``fixed`` go to the API; ``keep`` does here what the API does not pick out.
    """

    headings: tuple[str, ...]
    parse: Callable[[Row], Any]
    cells: Cells
    cursor: str
    filters: tuple[str, ...] = ()
    fixed: tuple[tuple[str, str], ...] = ()
    keep: Callable[[Any, Mapping[str, str]], bool] = _every


def _meter(meter: Meter, zone: tzinfo) -> Sequence[Cell]:
    return (
        *(meter.number, meter.commodity, meter.credit_mode, meter.area, meter.address),
        *(meter.account, meter.supply, meter.register, meter.credit_balance),
        *(meter.unit, meter.account_balance),
        *("yes" if meter.tamper else "no", words.iso(meter.last_contact_at, zone)),
    )


def _sale(sale: Sale, zone: tzinfo) -> Sequence[Cell]:
    return (
        *(words.iso(sale.sold_at, zone), sale.receipt_number, sale.meter, sale.commodity),
        *(sale.tendered, sale.currency),
        *((None, None) if sale.credit_mode == "platform" else (sale.units, sale.unit)),
        *(sale.state, sale.delivery),
    )


def _command(command: Command, zone: tzinfo) -> Sequence[Cell]:
    return (
        *(command.id, command.meter, command.kind, command.state, command.cause, command.reason),
        *("; ".join(command.hold), command.result, words.iso(command.created_at, zone)),
        *(words.iso(command.sent_at, zone), words.iso(command.ended_at, zone)),
    )


def _alarm(alarm: Alarm, zone: tzinfo) -> Sequence[Cell]:
    raised, cleared = words.iso(alarm.raised_at, zone), words.iso(alarm.cleared_at, zone)
    return (raised, cleared, alarm.meter, alarm.kind, alarm.severity, alarm.text)


def _event(event: Event, zone: tzinfo) -> Sequence[Cell]:
    at = words.iso(event.at, zone)
    return (event.id, at, event.meter, event.kind, event.severity, event.text)


def _token(token: Token, zone: tzinfo) -> Sequence[Cell]:
    return (
        *(words.iso(token.sold_at, zone), token.receipt_number, token.masked, token.units),
        *(
            token.unit,
            token.state,
            token.delivery,
            token.accepted_by,
            words.iso(token.accepted_at, zone),
        ),
    )


def _device(device: Device, zone: tzinfo) -> Sequence[Cell]:
    interval_s = None if device.interval is None else int(device.interval.total_seconds())
    return (
        *(device.meter, device.serial, device.node, device.behind, device.medium, device.address),
        *(device.driver, device.state, words.iso(device.last_contact_at, zone)),
        *(words.iso(device.expected_at, zone), interval_s),
        *(device.success, device.missed, device.battery, device.signal, device.clock_offset_s),
        words.iso(device.offline_at, zone),
    )


def _claim(claim: Claim, zone: tzinfo) -> Sequence[Cell]:
    first = claim.readings[0] if claim.readings else None
    return (
        *(claim.meter, claim.state, claim.scan, claim.problem, "; ".join(claim.choices)),
        *(claim.medium, claim.address, claim.driver, claim.scanned_by),
        *(words.iso(claim.scanned_at, zone), words.iso(claim.done_at, zone)),
        *((first.register, first.value) if first else (None, None)),
    )


def _stranger(stranger: Stranger, zone: tzinfo) -> Sequence[Cell]:
    return (
        *(stranger.medium, stranger.address, stranger.serial, "; ".join(stranger.drivers)),
        *(stranger.frames, words.iso(stranger.first_at, zone), words.iso(stranger.last_at, zone)),
    )


COMMANDS = Sheet(
    ("Id", "Meter", "Kind", "State", "Cause", "Reason", "Held or refused", "Result",
     "Asked", "Sent", "Ended"),
    parse_command, _command, "before", ("state",),
    keep=lambda command, asked: of_kind(command, asked.get("kind")),
)  # fmt: skip
SHEETS: Mapping[str, Sheet] = {
    "meters": Sheet(
        ("Meter", "Commodity", "Credit held by", "Area", "Address", "Account", "Supply",
         "Register", "Credit left", "Unit", "Account balance", "Tamper", "Last contact"),
        parse_meter, _meter, "after", ("commodity", "supply", "q"),
    ),
    "sales": Sheet(
        ("Sold", "Receipt", "Meter", "Commodity", "Money", "Currency", "Units", "Unit", "State",
         "Delivery"),
        parse_sale, _sale, "before", ("meter", "commodity"),
    ),
    "commands": COMMANDS,
    "alarms": Sheet(
        ("Raised", "Cleared", "Meter", "Kind", "Severity", "Text"),
        parse_alarm, _alarm, "before",
    ),
    "events": Sheet(
        ("Id", "At", "Meter", "Kind", "Severity", "Text"), parse_event, _event, "after",
        fixed=(("after", "0"),),
        keep=lambda event, asked: of_severity(event, asked.get("severity")),
    ),
    "devices": Sheet(
        ("Meter", "Serial", "Behind node", "Devices behind it", "Medium", "Address", "Driver",
         "State", "Last contact", "Next expected", "Interval s", "Came %", "Missed", "Battery %",
         "Signal dBm", "Clock offset s", "Offline since"),
        parse_device, _device, "after", ("state", "q"),
    ),
    "claims": Sheet(
        ("Meter", "State", "Label", "Problem", "Choices", "Medium", "Address", "Driver",
         "Scanned by", "Scanned", "Commissioned", "First register", "First value"),
        parse_claim, _claim, "before", ("state",),
    ),
    "strangers": Sheet(
        ("Medium", "Address", "Serial", "Drivers", "Frames kept", "First heard", "Last heard"),
        parse_stranger, _stranger, "after",
    ),
}  # fmt: skip
PATHS: Mapping[str, str] = {
    "devices": "/device-health",
    "claims": "/commissioning/claims",
    "strangers": "/commissioning/strangers",
}
"""Where the API has what its file is not named after."""

METER_SHEETS: Mapping[str, Sheet] = {
    "tokens": Sheet(
        ("Sold", "Receipt", "Token", "Units", "Unit", "State", "Delivery", "Accepted by",
         "Accepted"),
        parse_token, _token, "before",
    ),
    "commands": Sheet(COMMANDS.headings, parse_command, _command, "before"),
}  # fmt: skip


def _safe(cell: Cell) -> str:
    text = "" if cell is None else str(cell)
    is_formula = isinstance(cell, str) and cell.startswith(RUNS_AS_FORMULA)
    return f"'{text}" if is_formula else text


def csv_lines(rows: Sequence[Sequence[Cell]]) -> str:
    """Write rows as lines of a CSV file."""
    out = io.StringIO(newline="")
    csv.writer(out).writerows([_safe(cell) for cell in row] for row in rows)
    return out.getvalue()


async def _stream(
    client: ApiClient,
    path: str,
    sheet: Sheet,
    params: Mapping[str, str],
    zone: tzinfo,
    asked: Mapping[str, str],
) -> AsyncIterator[str]:
    """Yield the file line by line, the heading only when the API has answered."""
    rows = client.every(path, params, sheet.cursor, sheet.parse)
    row = await anext(rows, None)
    yield BYTE_ORDER_MARK + csv_lines([sheet.headings])
    while row is not None:
        if sheet.keep(row, asked):
            yield csv_lines([sheet.cells(row, zone)])
        row = await anext(rows, None)


def problem_answer(error: SlotmeterError) -> Response:
    """Say in a plain sentence why there is no file."""
    status = {NotFound: 404, Refused: 400}.get(type(error), 502)
    return PlainTextResponse(error.message, status_code=status)


async def _answer(
    client: ApiClient, path: str, name: str, sheet: Sheet, asked: dict[str, str]
) -> Response:
    try:
        overview = await client.overview()
        zone = words.zone_of(overview.time_zone)
        params = chosen(asked, *sheet.filters) | dict(sheet.fixed)
        if name == "sales":
            params |= api_day(asked.get("day", ""), zone, overview.as_of)
        elif name == "alarms":
            params |= alarms_asked(asked)
        stream = _stream(client, path, sheet, params, zone, asked)
        head = await anext(stream)
    except SlotmeterError as error:
        return problem_answer(error)

    async def whole() -> AsyncIterator[str]:
        yield head
        async for piece in stream:
            yield piece

    day = overview.as_of.astimezone(zone).strftime("%Y-%m-%d")
    return StreamingResponse(
        whole(),
        media_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}-{day}.csv"'},
    )


def add_downloads(server: FastAPI, client: ApiClient, prefix: str) -> None:
    """Serve the files under ``csv/``."""

    async def of_utility(request: Request, subject: str) -> Response:
        if subject not in SHEETS:
            return PlainTextResponse("no such table", status_code=404)
        asked = dict(request.query_params)
        path = PATHS.get(subject, f"/{subject}")
        return await _answer(client, path, subject, SHEETS[subject], asked)

    async def of_meter(number: str, subject: str) -> Response:
        if subject not in METER_SHEETS or not number.isalnum():
            return PlainTextResponse("no such table", status_code=404)
        path = f"/meters/{quote(number, safe='')}/{subject}"
        return await _answer(client, path, f"{number}-{subject}", METER_SHEETS[subject], {})

    server.add_api_route(f"{prefix}csv/{{subject}}", of_utility, methods=["GET"])
    server.add_api_route(f"{prefix}csv/meters/{{number}}/{{subject}}", of_meter, methods=["GET"])
