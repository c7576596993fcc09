"""``slotmeter token make``: a token that manages a meter."""

from __future__ import annotations

import argparse
import asyncio
import json
import secrets

from slotmeter.cli import EXIT_OK
from slotmeter.cli.acting import add_acting_options
from slotmeter.cli.codings import open_codings

__all__ = ["register"]

_KINDS = (
    *("clear_credit", "clear_tamper", "flag", "phase_unbalance"),
    *("power_limit", "tariff_rate", "test_display", "water_factor"),
)


def register(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``make``."""
    parser = actions.add_parser("make", help="make a token that manages a meter, and send it")
    add_acting_options(parser)
    parser.add_argument("meter", metavar="METER")
    parser.add_argument("kind", choices=_KINDS, metavar="KIND", help=", ".join(_KINDS))
    parser.add_argument("--value", type=int, metavar="N", help="watts, a register, raw bits")
    parser.add_argument("--request-id", metavar="ID", help="yours; the same is one token")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    asyncio.run(_make(options))
    return EXIT_OK


async def _make(options: argparse.Namespace) -> None:
    from slotmeter.services.management_tokens import ManagementWish

    request_id = options.request_id or f"cli-{secrets.token_hex(8)}"
    wish = ManagementWish(request_id, options.kind, options.value, options.reason)
    async with open_codings(options) as (office, caller):
        made, _ = await office.management.make(caller, options.meter, wish)
    mark = "training" if caller.principal.training else ""
    if options.json:
        document = {
            "id": made.row["id"],
            "kind": options.kind,
            "digits": made.digits,
            "delivery": made.row["command_state"],
            "key_change": made.key_change_id or None,
            "mark": mark,
        }
        print(json.dumps(document))
        return
    if mark:
        print("*** TRAINING ***")
    print(" ".join(made.digits[at : at + 4] for at in range(0, 20, 4)))
    if made.row["command_state"]:
        print(f"it is also sent to the meter: {made.row['command_state']}")
    if made.key_change_id:
        print(f"type the set of key change {made.key_change_id} first")
