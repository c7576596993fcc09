"""Receipts as the platform prints them, with all but the token's last digits covered.

Whoever reaches the console sees them, and the console shows no token anywhere: the seller's program
prints the whole one.
"""

from __future__ import annotations

import re

from fastapi import FastAPI, Response
from fastapi.responses import HTMLResponse, PlainTextResponse

from slotmeter.errors import SlotmeterError
from slotmeter_dashboards.client import ApiClient
from slotmeter_dashboards.downloads import problem_answer

__all__ = ["add_receipts", "covered"]

TOKEN = re.compile(r"(?<!\d)\d(?:[ -]?\d){19}(?!\d)")
"""Twenty digits, together or in groups: the form of an STS token."""
NUMBER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def covered(document: str) -> str:
    """Return a receipt in which every run of 20 digits shows only its last four."""
    return TOKEN.sub(lambda found: f"**** **** **** **** {found[0][-4:]}", document)


def add_receipts(server: FastAPI, client: ApiClient, prefix: str) -> None:
    """Serve receipts under ``receipts/``, each a page of its own that prints well."""

    async def receipt(number: str) -> Response:
        if not NUMBER.fullmatch(number):
            return PlainTextResponse("no such receipt", status_code=404)
        try:
            document = await client.receipt_html(number)
        except SlotmeterError as error:
            return problem_answer(error)
        return HTMLResponse(covered(document))

    server.add_api_route(f"{prefix}receipts/{{number}}", receipt, methods=["GET"])
