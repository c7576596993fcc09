"""``slotmeter audit``: is every row still what was written, and who vouches for it?"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slotmeter.cli import EXIT_FAILED, EXIT_OK
from slotmeter.cli.acting import add_acting_options, caller_of
from slotmeter.cli.data_folder import add_folder_options, config_of, open_folder, write_secret
from slotmeter.errors import Refused

if TYPE_CHECKING:
    from slotmeter.cli import Subparsers
    from slotmeter.runtime.audit_verify import AuditVerdict
    from slotmeter.storage.seal.reader import Checkpoint

__all__ = ["register"]

CHECKPOINT_BYTES_MAX = 4096


def register(subparsers: Subparsers) -> None:
    """Add ``audit``."""
    parser = subparsers.add_parser("audit", help="prove that nothing was changed behind our back")
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    _add_verify(actions)
    _add_checkpoint(actions)
    _add_export(actions)
    _add_show(actions)
    _add_trace(actions)


def _add_verify(actions: Subparsers) -> None:
    verifying = actions.add_parser(
        "verify",
        help="check the chain, and every row against it",
        description="Check that the chain of the audit is whole, that it goes through every "
        "checkpoint, and that every row is what the chain says. Exit code 1 names the first entry, "
        "table and row at fault. A server may go on selling.",
    )
    add_folder_options(verifying, utility=False)
    verifying.add_argument(
        "--checkpoint",
        type=Path,
        metavar="FILE",
        action="append",
        default=[],
        help="a checkpoint exported before, or a folder of them: the chain must still go through "
        "it; may be repeated",
    )
    verifying.add_argument(
        "--chain", action="store_true", help="check only the chain, not the rows: much faster"
    )
    verifying.add_argument(
        "--processes", type=int, choices=(1, 2), default=2, help="default %(default)s"
    )
    verifying.add_argument("--json", action="store_true", help="print the result as JSON")
    verifying.set_defaults(run=_verify)


def _add_checkpoint(actions: Subparsers) -> None:
    signing = actions.add_parser(
        "checkpoint",
        help="sign how far the chain has come, to be kept elsewhere",
        description="Sign the newest group of the chain with the vault's key and print the "
        "checkpoint. Keep it where nobody reaches it who can write the database: with it, "
        "`audit verify --checkpoint` tells when the chain was written anew.",
    )
    add_folder_options(signing)
    signing.add_argument("--out", type=Path, metavar="FILE", help="write it to a new file")
    signing.set_defaults(run=_checkpoint)


def _add_export(actions: Subparsers) -> None:
    exporting = actions.add_parser(
        "export",
        help="write the hashes of the chain, one group a line",
        description="Write number, time, entries and hash of every group as JSON lines.",
    )
    add_folder_options(exporting, utility=False)
    exporting.add_argument("--from-group", type=int, default=1, metavar="N", help="start here")
    exporting.add_argument("--out", type=Path, metavar="FILE", help="write to a new file")
    exporting.set_defaults(run=_export)


def _add_show(actions: Subparsers) -> None:
    showing = actions.add_parser(
        "show",
        help="say what an entry of the chain speaks of",
        description="Print the newest entries, or one, with the rows that they speak of.",
    )
    add_folder_options(showing, utility=False)
    showing.add_argument("--entry", type=int, metavar="ID", help="only this one")
    showing.add_argument("--last", type=int, default=10, metavar="N", help="default %(default)s")
    showing.add_argument("--json", action="store_true", help="print JSON")
    showing.set_defaults(run=_show)


def _add_trace(actions: Subparsers) -> None:
    tracing = actions.add_parser(
        "trace",
        help="say who sold a token, where, when, for how much, and how it was delivered",
        description="Print everything that is known of a sale. Without a receipt the 20 digits of "
        "a token are read from standard input, so that no list of processes shows them. To see the "
        "digits of somebody else's sale is an act of its own.",
    )
    tracing.add_argument("receipt", nargs="?", metavar="RECEIPT", help="such as R00000001")
    add_acting_options(tracing)
    tracing.set_defaults(run=_trace)


# --- verify ---------------------------------------------------------------------------------------


def _verify(options: argparse.Namespace) -> int:
    from slotmeter.runtime.audit_readers import reader_of
    from slotmeter.runtime.audit_verify import verify_audit
    from slotmeter.storage.opening import long_looks

    brought = [
        _read_checkpoint(file) for given in options.checkpoint for file in _checkpoint_files(given)
    ]
    verdict = verify_audit(
        reader_of(long_looks(config_of(options.data))),
        checkpoints=brought,
        rows=not options.chain,
        processes=options.processes,
        progress=_progress if sys.stderr.isatty() else lambda _entries: None,
    )
    if options.json:
        print(json.dumps(_as_document(verdict), indent=2))
    else:
        _print_verdict(verdict, brought=len(brought), rows=not options.chain)
    return EXIT_OK if verdict.holds else EXIT_FAILED


def _progress(entries: int) -> None:
    print(f"\r{entries:,} entries", end="", file=sys.stderr)


def _checkpoint_files(given: Path) -> list[Path]:
    """Return a file, or the checkpoints in a folder."""
    if not given.is_dir():
        return [given]
    from slotmeter.runtime.checkpoint_folder import PATTERN

    files = sorted(given.glob(PATTERN))
    if not files:
        raise Refused("bad_checkpoint", f"there is no {PATTERN} in {given}", field="checkpoint")
    return files


def _read_checkpoint(file: Path) -> Checkpoint:
    from slotmeter.services.audit_checkpoints import Checkpoint as Signed
    from slotmeter.storage.seal.reader import Checkpoint

    try:
        document = json.loads(file.read_bytes()[:CHECKPOINT_BYTES_MAX])
    except ValueError as error:
        raise Refused("bad_checkpoint", f"{file} is not JSON", field="checkpoint") from error
    if not isinstance(document, dict):
        raise Refused("bad_checkpoint", f"{file} is not a JSON object", field="checkpoint")
    signed = Signed.from_dict(document)
    return Checkpoint(0, signed.at_us, signed.seq, signed.hash, signed.public_key, signed.signature)


def _as_document(verdict: AuditVerdict) -> dict[str, Any]:
    newest = verdict.newest
    return {
        "holds": verdict.holds,
        "groups": verdict.groups,
        "entries": verdict.entries,
        "rows": verdict.rows,
        "checkpoints": verdict.checkpoints,
        "newest_group": None if newest is None else newest.seq,
        "newest_hash": None if newest is None else bytes(newest.hash).hex(),
        "breaks_in_all": verdict.breaks_in_all,
        "breaks": [
            {
                "entry": each.entry_id,
                "table": each.table,
                "row": each.row_id,
                "name": each.name,
                "problem": each.problem,
            }
            for each in verdict.breaks
        ],
    }


def _print_verdict(verdict: AuditVerdict, *, brought: int, rows: bool) -> None:
    for each in verdict.breaks:
        entry = "no entry" if each.entry_id is None else f"entry {each.entry_id}"
        name = f" ({each.name})" if each.name else ""
        print(f"  BROKEN  {entry}: {each.table} {each.row_id}{name}: {each.problem}")
    if verdict.breaks_in_all > len(verdict.breaks):
        print(f"          and {verdict.breaks_in_all - len(verdict.breaks):,} more")
    print(f"  {verdict.entries:,} entries in {verdict.groups:,} groups", end="")
    print(f", {verdict.rows:,} rows compared" if rows else ", rows not looked at")
    if verdict.checkpoints:
        print(f"  {verdict.checkpoints} checkpoints vouch for this chain, {brought} from files")
    if verdict.newest is not None:
        print(f"  newest group {verdict.newest.seq}, {bytes(verdict.newest.hash).hex()}")
    print("the audit holds" if verdict.holds else "the audit does NOT hold")


# --- checkpoint, export, show ---------------------------------------------------------------------


def _checkpoint(options: argparse.Namespace) -> int:
    text = json.dumps(asyncio.run(_make_checkpoint(options)), indent=2)
    if options.out is None:
        print(text)
    else:
        write_secret(options.out, text)
        print(f"wrote {options.out}; keep it away from this machine")
    return EXIT_OK


async def _make_checkpoint(options: argparse.Namespace) -> dict[str, object]:
    from slotmeter.services.audit_checkpoints import make_checkpoint

    async with open_folder(options.data) as folder:
        utility = await folder.utility(options)
        async with folder.vault() as vault:
            made = await make_checkpoint(
                folder.database, vault.signer, folder.clock, folder.origin, utility.id
            )
    return made.to_dict()


def _export(options: argparse.Namespace) -> int:
    from slotmeter.runtime.audit_export import groups_of
    from slotmeter.runtime.audit_readers import reader_of
    from slotmeter.storage.opening import long_looks

    lines = groups_of(reader_of(long_looks(config_of(options.data))), options.from_group)
    if options.out is None:
        for line in lines:
            print(json.dumps(line))
        return EXIT_OK
    count = 0
    with options.out.open("x", encoding="utf-8") as file:
        for line in lines:
            file.write(json.dumps(line) + "\n")
            count += 1
    print(f"wrote {count:,} groups to {options.out}")
    return EXIT_OK


def _show(options: argparse.Namespace) -> int:
    from slotmeter.runtime.audit_export import entries_of
    from slotmeter.runtime.audit_readers import reader_of

    entries = entries_of(
        reader_of(config_of(options.data)), entry_id=options.entry, last=options.last
    )
    if options.json:
        print(json.dumps(entries, indent=2))
        return EXIT_OK
    for entry in entries:
        print(f"entry {entry['entry']}, group {entry['group']}, {entry['at']}")
        for item in entry["items"]:
            ids = ", ".join(str(each) for each in item["ids"])
            print(f"  {item['kind']:8} {item['table']} ({item['face']}): {ids}")
    return EXIT_OK


# --- trace ----------------------------------------------------------------------------------------


def _trace(options: argparse.Namespace) -> int:
    document = asyncio.run(_traced(options))
    if options.json:
        print(json.dumps(document, indent=2))
    elif "token_id" in document:
        _print_token_trace(document)
    else:
        _print_trace(document)
    return EXIT_OK


async def _traced(options: argparse.Namespace) -> dict[str, Any]:
    from slotmeter.api.audit import token_trace_document, trace_document
    from slotmeter.ports import Right
    from slotmeter.services.audit_token_trace import TokenTraces
    from slotmeter.services.audit_trace import AuditTrace

    async with open_folder(options.data) as folder, folder.vault() as vault:
        caller = await caller_of(options, folder, Right.SALES_ALL)
        parts, reason = (folder.database, folder.clock, vault.tokens), options.reason
        traces = AuditTrace(*parts)
        if options.receipt is not None:
            found = await traces.of_receipt(caller, options.receipt, reason=reason)
            return trace_document(found).model_dump(mode="json")
        digits = await asyncio.to_thread(sys.stdin.readline)
        alone = await TokenTraces(*parts).of_digits(caller, digits, reason=reason)
        if not alone.receipts:
            return token_trace_document(alone).model_dump(mode="json")
        found = await traces.of_receipt(caller, alone.receipts[0], reason=reason)
    return trace_document(found).model_dump(mode="json")


def _print_token_trace(found: dict[str, Any]) -> None:
    token, act = found["token"], found["act"]
    print(f"token {found['token_id']} for meter {found['meter']}: {token['purpose']}")
    print(f"  token     {token['digits'] or '-'} {token['state']}")
    if act is not None:
        print(f"  made for  {act['by'] or act['address']} at {act['at']}: {act['reason']}")
        print(f"            {act['what']} from {act['address']}, {act['request_id']}")
    if found["key_change"] is not None:
        print(f"  belongs   to key change {found['key_change']}")
    for step in found["steps"]:
        print(f"  delivery  {step['at']} {step['state']} {step['detail']}".rstrip())
    for entry in found["entries"]:
        print(f"  sealed    entry {entry['entry']} in group {entry['group']}")


def _print_trace(found: dict[str, Any]) -> None:
    seller, tariff, delivery = found["seller"], found["tariff"], found["delivery"]
    print(f"{found['receipt_number']}: {found['state']}")
    print(f"  sold      {found['sold_at']} by {seller['principal']} of branch {seller['branch']}")
    print(f"            from {seller['address']}, {seller['channel']}, {seller['request_id']}")
    print(f"  for       {found['currency']} {found['tendered']}: {found['quantity']}")
    print(f"  to        meter {found['meter']}, account {found['account']}, {found['area']}")
    print(f"  by tariff {tariff['code']} version {tariff['version']} of {tariff['valid_from']}")
    for token in found["tokens"]:
        print(f"  token     {token['digits'] or '-'} {token['purpose']}, {token['state']}")
    print(f"  delivery  {delivery['state']}")
    for step in found["steps"]:
        print(f"            {step['at']} {step['state']} {step['detail']}".rstrip())
    for posting in found["postings"]:
        print(f"  posted    {posting['account']} {posting['amount']} ({posting['reason']})")
    for operation in found["operations"]:
        print(f"  later     {operation['at']} {operation['kind']} by {operation['by']}")
    for each in found["prints"]:
        print(f"  printed   {each['at']} {each['form']} by {each['by']}")
    for entry in found["entries"]:
        print(f"  sealed    entry {entry['entry']} in group {entry['group']}")
