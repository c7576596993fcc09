"""``slotmeter tariff``: price lists from their draft to the day they take effect.

``add`` is for setting up a site: whoever is at the machine brings a tariff in. Everything after
that is an act of somebody with a key: one person drafts and submits, another one approves.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slotmeter.cli import EXIT_OK
from slotmeter.cli.acting import add_acting_options, add_looking_options, caller_of, one_line
from slotmeter.cli.data_folder import OpenFolder, add_folder_options, open_folder
from slotmeter.cli.local_times import local_time, utc
from slotmeter.cli.paging import add_page_options, say_more
from slotmeter.cli.tariff_check import read_tariff_file, register_check
from slotmeter.cli.tariff_example import register_example
from slotmeter.cli.tariff_preview import register_preview
from slotmeter.cli.tariff_reprice import register_reprice
from slotmeter.errors import ConfigError
from slotmeter.ports import Right
from slotmeter.units import instant, iso_utc

if TYPE_CHECKING:
    from slotmeter.cli import Subparsers
    from slotmeter.services.registry import UtilityInfo
    from slotmeter.services.tariff_admin import TariffAdmin
    from slotmeter.services.tariff_draft import Draft

__all__ = ["office_of", "register", "run_action", "show_problems"]

Action = Callable[[argparse.Namespace, OpenFolder, "UtilityInfo"], Awaitable[None]]


def register(subparsers: Subparsers) -> None:
    """Add ``tariff``."""
    parser = subparsers.add_parser("tariff", help="draft, check, approve and look at price lists")
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    _register_add(actions)
    register_check(actions)
    register_example(actions)
    _register_drafting(actions)
    _register_deciding(actions)
    _register_looking(actions)
    register_preview(actions).set_defaults(run=run_action)
    register_reprice(actions)


def run_action(options: argparse.Namespace) -> int:
    """Run the action that was asked for in its data folder."""
    asyncio.run(_act(options))
    return EXIT_OK


async def _act(options: argparse.Namespace) -> None:
    async with open_folder(options.data) as folder:
        await options.action(options, folder, await folder.utility(options))


def office_of(folder: OpenFolder) -> TariffAdmin:
    """Return the administration of tariffs of a folder."""
    from slotmeter.services.tariff_admin import TariffAdmin

    return TariffAdmin(folder.database, folder.clock)


@contextmanager
def show_problems(path: Path, *, as_json: bool) -> Iterator[None]:
    """Print every problem of a tariff on standard error before the refusal goes on."""
    from slotmeter.vending.tariff.problems import TariffProblems

    try:
        yield
    except TariffProblems as error:
        for each in () if as_json else error.problems:
            print(f"{path}:{_place(each)}{each['message']}", file=sys.stderr)
        raise


def _place(problem: Any) -> str:
    line = f"{problem['line']}:{problem['column']}: " if problem["line"] else " "
    return f"{line}{problem['path']}: " if problem["path"] else line


# --- parsers --------------------------------------------------------------------------------------


def _register_add(actions: Subparsers) -> None:
    adding = actions.add_parser(
        "add",
        help="set up a site: add a tariff, or its next version, from a YAML file",
        description="Add a tariff or its next version at once, as whoever is at the machine: for "
        "setting up a site. Later changes are drafted, and approved by a second person. The "
        "language: docs/reference/tariffs.md.",
    )
    adding.add_argument("file", type=Path, metavar="FILE.yaml")
    _add_valid_from(adding)
    add_folder_options(adding)
    adding.add_argument("--reason", default="by the command line", help="recorded with the act")
    adding.add_argument("--json", action="store_true", help="print JSON")
    adding.set_defaults(run=run_action, action=_add)


def _add_valid_from(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--valid-from",
        type=local_time,
        metavar="WHEN",
        help="YYYY-MM-DD or YYYY-MM-DDTHH:MM in the utility's time zone; now if left out",
    )


def _register_drafting(actions: Subparsers) -> None:
    drafting = actions.add_parser(
        "draft",
        help="keep a tariff as a draft, or write one anew",
        description="Keep a YAML file as a draft that somebody else can approve. --draft writes an "
        "existing one anew, if nobody changed it since --revision.",
    )
    drafting.add_argument("file", type=Path, metavar="FILE.yaml")
    drafting.add_argument("--draft", type=int, metavar="N", help="write this draft anew")
    drafting.add_argument("--note", default="", help="what the draft is for")
    _add_revision(drafting)
    drafting.set_defaults(action=_draft)
    submitting = _of_draft(actions, "submit", "hand a draft to whoever approves it")
    submitting.set_defaults(action=_submit)
    for each in (drafting, submitting):
        add_acting_options(each)
        each.set_defaults(run=run_action)


def _register_deciding(actions: Subparsers) -> None:
    approving = _of_draft(actions, "approve", "make a submitted draft the next version")
    _add_valid_from(approving)
    approving.add_argument(
        "--accept-warnings", action="store_true", help="although something deserves a second look"
    )
    approving.set_defaults(action=_approve)
    rejecting = _of_draft(actions, "reject", "send a submitted draft back")
    rejecting.set_defaults(action=_reject)
    withdrawing = actions.add_parser(
        "withdraw", help="give up a draft, or take back a version before it takes effect"
    )
    withdrawing.add_argument("draft", type=int, metavar="DRAFT", nargs="?")
    withdrawing.add_argument("--tariff", metavar="CODE", help="with --version: take this one back")
    withdrawing.add_argument("--version", type=int, metavar="N")
    _add_revision(withdrawing)
    withdrawing.set_defaults(action=_withdraw)
    for each in (approving, rejecting, withdrawing):
        add_acting_options(each)
        each.set_defaults(run=run_action)


def _register_looking(actions: Subparsers) -> None:
    listing = actions.add_parser("list", help="list tariffs with the version in force")
    add_page_options(listing, "--after", is_number=False)
    listing.set_defaults(action=_list)
    drafts = actions.add_parser("drafts", help="list drafts, the newest first")
    add_page_options(drafts)
    drafts.add_argument("--state", choices=("draft", "submitted", "approved", "rejected"))
    drafts.set_defaults(action=_drafts)
    showing = actions.add_parser("show", help="print a tariff as it was written")
    showing.add_argument("code", metavar="CODE", nargs="?")
    showing.add_argument("--version", type=int, metavar="N", help="this one, not that in force")
    showing.add_argument("--draft", type=int, metavar="N", help="this draft")
    showing.set_defaults(action=_show)
    diffing = actions.add_parser("diff", help="what a draft or a file changes")
    diffing.add_argument("draft", metavar="DRAFT|FILE", help="number of a draft, or a YAML file")
    diffing.set_defaults(action=_diff)
    for each in (listing, drafts, showing, diffing):
        add_looking_options(each)
        each.set_defaults(run=run_action)


def _of_draft(actions: Subparsers, name: str, help_text: str) -> argparse.ArgumentParser:
    parser = actions.add_parser(name, help=help_text)
    parser.add_argument("draft", type=int, metavar="DRAFT", help="see `tariff drafts`")
    _add_revision(parser)
    return parser


def _add_revision(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--revision",
        type=int,
        metavar="N",
        help="refuse if somebody changed the draft since this revision; else the newest is taken",
    )


# --- acts -----------------------------------------------------------------------------------------


async def _add(options: argparse.Namespace, folder: OpenFolder, utility: UtilityInfo) -> None:
    from slotmeter.vending.tariff.reader import read_tariff

    source = read_tariff_file(options.file)
    with show_problems(options.file, as_json=options.json):
        document, _ = read_tariff(source)
    added = await folder.registry.add_tariff(
        folder.origin,
        utility,
        document,
        valid_from=utc(options.valid_from, utility),
        reason=options.reason,
        source=source,
    )
    if options.json:
        said = {"tariff": added.code, "version": added.version, "new": added.is_new}
        print(json.dumps(said))
    elif added.is_new:
        print(f"tariff {added.code}, version {added.version}")
    else:
        print(f"tariff {added.code}, version {added.version}, says the same; nothing was changed")


async def _draft(options: argparse.Namespace, folder: OpenFolder, _utility: UtilityInfo) -> None:
    caller = await caller_of(options, folder, Right.TARIFF_DRAFT)
    office = office_of(folder)
    source = read_tariff_file(options.file)
    with show_problems(options.file, as_json=options.json):
        if options.draft is None:
            draft = await office.make(caller, source, note=options.note, reason=options.reason)
        else:
            revision = await _revision(options, office, caller.principal.utility_id)
            draft = await office.edit(
                caller, options.draft, revision, source, note=options.note, reason=options.reason
            )
    _say_draft(options, draft, f"revision {draft.revision} is kept as draft {draft.id}")
    if not options.json:
        for each in await office.findings(caller, draft):
            print(f"  {each.severity}: {each.message} ({each.code})")


async def _submit(options: argparse.Namespace, folder: OpenFolder, _utility: UtilityInfo) -> None:
    caller = await caller_of(options, folder, Right.TARIFF_DRAFT)
    office = office_of(folder)
    revision = await _revision(options, office, caller.principal.utility_id)
    draft = await office.submit(caller, options.draft, revision, reason=options.reason)
    _say_draft(options, draft, "waits for a second person's approval")


async def _approve(options: argparse.Namespace, folder: OpenFolder, utility: UtilityInfo) -> None:
    caller = await caller_of(options, folder, Right.TARIFF_APPROVE)
    office = office_of(folder)
    revision = await _revision(options, office, caller.principal.utility_id)
    done = await office.approve(
        caller,
        options.draft,
        revision,
        valid_from=utc(options.valid_from, utility),
        accept_warnings=options.accept_warnings,
        reason=options.reason,
    )
    when = _local(done.draft.valid_from_us or 0, utility)
    _say_draft(options, done.draft, f"is version {done.draft.version}, in force from {when}")


async def _reject(options: argparse.Namespace, folder: OpenFolder, _utility: UtilityInfo) -> None:
    caller = await caller_of(options, folder, Right.TARIFF_APPROVE)
    office = office_of(folder)
    revision = await _revision(options, office, caller.principal.utility_id)
    draft = await office.reject(caller, options.draft, revision, reason=options.reason)
    _say_draft(options, draft, "goes back to those who wrote it")


async def _withdraw(options: argparse.Namespace, folder: OpenFolder, _utility: UtilityInfo) -> None:
    office = office_of(folder)
    if options.draft is not None:
        caller = await caller_of(options, folder, Right.TARIFF_DRAFT)
        revision = await _revision(options, office, caller.principal.utility_id)
        draft = await office.withdraw(caller, options.draft, revision, reason=options.reason)
        _say_draft(options, draft, "is given up")
        return
    if options.tariff is None or options.version is None:
        raise ConfigError("which_one", "name a DRAFT, or --tariff CODE and --version N")
    caller = await caller_of(options, folder, Right.TARIFF_APPROVE)
    await office.withdraw_version(caller, options.tariff, options.version, reason=options.reason)
    if options.json:
        print(json.dumps({"tariff": options.tariff, "version": options.version}))
    else:
        print(f"version {options.version} of {options.tariff} is withdrawn; it never took effect")


async def _revision(options: argparse.Namespace, office: TariffAdmin, utility_id: int) -> int:
    if options.revision is not None:
        given: int = options.revision
        return given
    return (await office.draft(utility_id, options.draft)).revision


def _say_draft(options: argparse.Namespace, draft: Draft, sentence: str) -> None:
    if options.json:
        print(json.dumps(_as_document(draft)))
    else:
        print(f"tariff {draft.code}, draft {draft.id}: {sentence}")


def _as_document(draft: Draft) -> dict[str, object]:
    return {
        "draft": draft.id,
        "tariff": draft.code,
        "state": draft.state,
        "revision": draft.revision,
        "author": draft.author,
        "submitter": draft.submitter,
        "decider": draft.decider,
        "note": draft.note,
        "version": draft.version,
        "valid_from": None if draft.valid_from_us is None else iso_utc(draft.valid_from_us),
    }


# --- looking --------------------------------------------------------------------------------------


async def _list(options: argparse.Namespace, folder: OpenFolder, utility: UtilityInfo) -> None:
    from slotmeter.services.list_pages import cut

    rows = await office_of(folder).tariffs(utility.id, after=options.after, limit=options.limit + 1)
    found, following = cut(rows, options.limit, lambda each: each[0]["code"])
    say_more(options, following)
    if options.json:
        print(json.dumps([_tariff_document(row, version) for row, version in found], indent=2))
        return
    for row, version in found:
        state = "no version in force"
        if version is not None:
            since = _local(version["valid_from_us"], utility)
            state = f"version {version['version']} since {since}"
        print(f"{row['code']:24} {row['commodity']:12} {one_line(row['title'], 32):34} {state}")


def _tariff_document(row: Any, version: Any) -> dict[str, object]:
    return {
        "tariff": row["code"],
        "title": row["title"],
        "commodity": row["commodity"],
        "currency": row["currency"],
        "version": None if version is None else version["version"],
        "valid_from": None if version is None else iso_utc(version["valid_from_us"]),
    }


async def _drafts(options: argparse.Namespace, folder: OpenFolder, utility: UtilityInfo) -> None:
    from slotmeter.services.list_pages import cut

    drafts = await office_of(folder).drafts(
        utility.id, state=options.state, before=options.before, limit=options.limit + 1
    )
    found, following = cut(drafts, options.limit, lambda each: each.id)
    say_more(options, following)
    if options.json:
        print(json.dumps([_as_document(each) for each in found], indent=2))
        return
    for each in found:
        people = f"by {each.author}" + (f", {each.state} by {each.decider}" if each.decider else "")
        head = f"{each.id:6} {each.code:24} {each.state:10} revision {each.revision:<3}"
        print(f"{head} {people}  {one_line(each.note)}".rstrip())


async def _show(options: argparse.Namespace, folder: OpenFolder, utility: UtilityInfo) -> None:
    office = office_of(folder)
    if options.draft is not None:
        draft = await office.draft(utility.id, options.draft)
        source, body = draft.source, draft.body
    elif options.code is None:
        raise ConfigError("which_one", "name a tariff, or --draft N")
    elif options.version is not None:
        row = await office.version(utility.id, options.code, options.version)
        source, body = row["source"], row["body"]
    else:
        row = await office.in_force(utility.id, options.code)
        source, body = row["source"], row["body"]
    if options.json or source is None:  # a version from before texts were kept
        print(json.dumps(json.loads(body), indent=2, ensure_ascii=False))
    else:
        print(source, end="" if source.endswith("\n") else "\n")


async def _diff(options: argparse.Namespace, folder: OpenFolder, utility: UtilityInfo) -> None:
    from slotmeter.services.tariff_draft import read_source

    office = office_of(folder)
    if options.draft.isdigit():
        written = (await office.draft(utility.id, int(options.draft))).written
    else:
        path = Path(options.draft)
        with show_problems(path, as_json=options.json):
            written = read_source(read_tariff_file(path))
    diff, version = await office.diff(utility.id, written.tariff.code, written)
    if options.json:
        changes = [{"path": each.path, "old": each.old, "new": each.new} for each in diff.changes]
        said = {"version": version, "same_meaning": diff.same_meaning, "changes": changes}
        print(json.dumps({**said, "text": diff.text}, indent=2, ensure_ascii=False))
        return
    against = "no version in force" if version is None else f"version {version}"
    print(f"{written.tariff.code} against {against}")
    if diff.same_meaning:
        print("  says the same")
    for each in diff.changes:
        old = "(nothing)" if each.old is None else each.old
        new = "(nothing)" if each.new is None else each.new
        print(f"  {each.path}: {old} -> {new}")


def _local(us: int, utility: UtilityInfo) -> str:
    return f"{instant(us).astimezone(utility.zone()):%Y-%m-%d %H:%M}"
