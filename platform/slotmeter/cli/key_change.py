"""``slotmeter key-change``: change the key that one meter is coded with."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any

from slotmeter.cli.codings import add_action
from slotmeter.cli.paging import add_page_options, say_more
from slotmeter.units import iso_utc

if TYPE_CHECKING:
    from slotmeter.cli import Subparsers
    from slotmeter.ports import Caller, Row
    from slotmeter.services.coding_office import CodingOffice
    from slotmeter.services.key_change_plan import ChangeView, KeyWish

__all__ = ["register"]


def register(subparsers: Subparsers) -> None:
    """Add ``key-change``."""
    parser = subparsers.add_parser("key-change", help="change the keys of meters, one by one")
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    plan = add_action(actions, "plan", _plan, "say what a change would do", acting=False)
    issue = add_action(actions, "issue", _issue, "make the set of key change tokens of a meter")
    for each in (plan, issue):
        each.add_argument("meter", metavar="METER")
        each.add_argument("--to", metavar="KEY", help="vending key; that of the supply group else")
        each.add_argument("--tariff-index", type=int, metavar="N", help="0 to 99")
    issue.add_argument(
        "--three-tokens", action="store_true", help="EA07: carry the supply group code as well"
    )
    issue.add_argument(
        "--with-sale", action="store_true", help="let the meter's next sale make the set"
    )
    forget = add_action(actions, "forget", _forget, "let the next sale make no set")
    forget.add_argument("meter", metavar="METER")
    listing = add_action(actions, "list", _list, "list key changes, newest first", acting=False)
    add_page_options(listing)
    listing.add_argument("--meter", metavar="METER")
    listing.add_argument("--state", choices=("open", "proven", "cancelled"))
    show = add_action(actions, "show", _show, "show one with its tokens")
    declare = add_action(actions, "declare", _declare, "say that the meter has its new key")
    cancel = add_action(actions, "cancel", _cancel, "undo one that no meter took")
    send = add_action(actions, "send", _send, "send its tokens to the meter once more")
    replace = add_action(actions, "replace", _replace, "replace a token that it made worthless")
    for each in (show, declare, cancel, send, replace):
        each.add_argument("change", metavar="NUMBER", type=int)
    replace.add_argument(
        "--token", type=int, required=True, metavar="NUMBER", help="as the change names it"
    )


async def _plan(office: CodingOffice, caller: Caller, options: argparse.Namespace) -> None:
    plan = await office.changes.plan(caller, options.meter, _wish(options))
    new = plan.coding
    if options.json:
        document = {
            "meter": options.meter,
            "current": {"key": plan.meter["key_id"], **plan.current.to_dict()},
            "wanted": {"key": new.key_id, **new.parameters.to_dict()},
            "unused": [_unused(row) for row in plan.unused],
        }
        print(json.dumps(document))
        return
    print(f"meter {options.meter}: from {plan.meter['key_id']} to {new.key_id}")
    for name, value in new.parameters.to_dict().items():
        before = plan.current.to_dict()[name]
        if before != value:
            print(f"  {name}: {before} -> {value}")
    _warn(plan.unused)


async def _issue(office: CodingOffice, caller: Caller, options: argparse.Namespace) -> None:
    view, is_new = await office.changes.make(caller, options.meter, _wish(options), options.reason)
    if view is not None:
        _print(view, options, "" if is_new else "this change was made already")
        _warn(view.unused)
    elif options.json:
        print(json.dumps({"meter": options.meter, "state": "with_sale"}))
    else:
        print(f"the next sale to meter {options.meter} makes its key change tokens")


async def _forget(office: CodingOffice, caller: Caller, options: argparse.Namespace) -> None:
    await office.changes.forget_wish(caller, options.meter, options.reason)
    _say(options, {"meter": options.meter, "state": "cancelled"}, "nothing is changed")


async def _list(office: CodingOffice, caller: Caller, options: argparse.Namespace) -> None:
    page = await office.changes.changes(
        caller,
        state=options.state,
        meter=options.meter,
        before=options.before,
        limit=options.limit,
    )
    say_more(options, page.next)
    if options.json:
        print(json.dumps([_line(row) for row in page.rows]))
        return
    for row in page.rows:
        proof = f" by {row['proof']}" if row["proof"] else ""
        print(
            f"{row['id']}  {iso_utc(row['created_us'])}  {row['meter']}  "
            f"{row['from_key_id']} -> {row['to_key_id']}  {row['state']}{proof}"
        )


async def _show(office: CodingOffice, caller: Caller, options: argparse.Namespace) -> None:
    _print(await office.changes.show(caller, options.change), options)


async def _declare(office: CodingOffice, caller: Caller, options: argparse.Namespace) -> None:
    _print(await office.changes.declare(caller, options.change, options.reason), options)


async def _cancel(office: CodingOffice, caller: Caller, options: argparse.Namespace) -> None:
    _print(await office.changes.cancel(caller, options.change, options.reason), options)


async def _send(office: CodingOffice, caller: Caller, options: argparse.Namespace) -> None:
    _print(await office.changes.send(caller, options.change, options.reason), options)


async def _replace(office: CodingOffice, caller: Caller, options: argparse.Namespace) -> None:
    made, _ = await office.replacements.replace(
        caller, options.change, options.token, options.reason
    )
    document = {
        "token": made.new_token_id,
        "replaces": made.old_token_id,
        "digits": made.digits,
        "mark": "training" if caller.principal.training else "",
    }
    _say(options, document, f"{_mark(caller)}{_grouped(made.digits)}")


# --- printing -----------------------------------------------------------------------------------


def _wish(options: argparse.Namespace) -> KeyWish:
    from slotmeter.services.key_change_plan import KeyWish

    return KeyWish(
        options.to,
        options.tariff_index,
        getattr(options, "three_tokens", False),
        with_sale=getattr(options, "with_sale", False),
    )


def _line(row: Row) -> dict[str, Any]:
    return {
        "id": row["id"],
        "meter": row["meter"],
        "state": row["state"],
        "from": {"key": row["from_key_id"], **json.loads(row["from_parameters"])},
        "to": {"key": row["to_key_id"], **json.loads(row["to_parameters"])},
        "proof": row["proof"],
        "reason": row["reason"],
    }


def _unused(row: Row) -> dict[str, Any]:
    return {
        "token": row["id"],
        "receipt_number": row["receipt_number"],
        "state": row["state"],
        "replaced_by": row["new_token_id"],
    }


def _print(view: ChangeView, options: argparse.Namespace, remark: str = "") -> None:
    row = view.row
    if options.json:
        tokens = [
            {"place": each.place, "digits": each.digits, "state": each.state}
            for each in view.tokens
        ]
        document = {
            **_line(row),
            "tokens": tokens,
            "unused": [_unused(each) for each in view.unused],
        }
        print(json.dumps(document))
        return
    if remark:
        print(remark)
    proof = f" by {row['proof']}" if row["proof"] else ""
    print(f"key change {row['id']} of meter {row['meter']}: {row['state']}{proof}")
    for token in view.tokens:
        sent = f"  ({token.command})" if token.command else ""
        print(f"  {token.place}. {_grouped(token.digits)}{sent}")
    for each in view.unused:
        replaced = f", replaced by {each['new_token_id']}" if each["new_token_id"] else ""
        print(
            f"  not reported as used: token {each['id']} of {each['receipt_number'] or 'no sale'}"
            f", {each['state']}{replaced}"
        )


def _warn(unused: Any) -> None:
    """Name what a change makes worthless if it is not typed before."""
    if unused:
        print(
            f"slotmeter: {len(unused)} recent tokens were not reported as used; let the customer "
            "type them before the key change tokens",
            file=sys.stderr,
        )


def _grouped(digits: str) -> str:
    return " ".join(digits[at : at + 4] for at in range(0, len(digits), 4))


def _mark(caller: Caller) -> str:
    return "*** TRAINING *** " if caller.principal.training else ""


def _say(options: argparse.Namespace, document: dict[str, Any], text: str) -> None:
    print(json.dumps(document) if options.json else text)
