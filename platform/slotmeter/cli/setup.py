"""``slotmeter init``, ``utility``: what is needed before a sale."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, cast

from slotmeter.cli import EXIT_OK
from slotmeter.cli.data_folder import (
    CONFIG_FILE,
    OpenFolder,
    add_folder_options,
    config_of,
    make_folder,
    open_folder,
    write_secret,
)
from slotmeter.cli.user import show_key
from slotmeter.errors import ConfigError, Conflict, Refused

if TYPE_CHECKING:
    from slotmeter.cli import Subparsers
    from slotmeter.services.principals import NewKey
    from slotmeter.services.registry import UtilityInfo

__all__ = ["register"]

DASHBOARDS_KEY_FILE = "dashboards.key"
DASHBOARDS_NAME = "dashboards"
DOCUMENT_BYTES_MAX = 1 << 20

CONFIG_TEXT = """\
# Settings of this slotmeter server; every one is explained in docs/reference/configuration.md.
# Start it with: slotmeter serve --config {path}

[data]
folder = "."              # databases, key vault and lock file lie beside this file

{database}[http]
host = "127.0.0.1"        # put a TLS proxy in front before other machines may reach it
port = {http_port}               # 0 takes any free port

[dashboards]
enabled = {dashboards}
host = "127.0.0.1"
port = {dashboards_port}
api_key_file = "{key_file}"

[log]
level = "info"            # debug, info, warning or error
format = "text"           # text for people, json for programs

{entry}"""

ENTRY_TEXT = """\
[[entry]]                 # one connection of a medium; repeat the table for more
medium = "nbiot"          # CoAP over UDP, see docs/reference/nbiot-push.md
host = "127.0.0.1"
port = {nbiot_port}
"""

LEFT_OUT_TEXT = """\
# {missing} is not installed: pip install "slotmeter[nbiot]", then take away the "# " below.
"""


def register(subparsers: Subparsers) -> None:
    """Add ``init``, ``utility`` and ``vending-key``."""
    _register_init(subparsers)
    _register_utility(subparsers)


def _register_init(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "init",
        help="make a data folder with a utility and its first administrator",
        description="Make a data folder: database, key vault, a utility with its head office, the "
        "first administrator with a key, the dashboards' own key, and slotmeter.toml.",
    )
    add_folder_options(parser, utility=False)
    parser.add_argument("--utility-name", required=True, metavar="NAME", help="for receipts")
    parser.add_argument("--code", default="utility", help="short name; default %(default)s")
    parser.add_argument("--currency", default="KES", help="ISO 4217; default %(default)s")
    parser.add_argument(
        "--time-zone", default="Africa/Nairobi", metavar="ZONE", help="default %(default)s"
    )
    parser.add_argument("--tax-number", default="", help="for receipts")
    parser.add_argument("--address", default="", help="for receipts")
    parser.add_argument("--admin", default="admin", metavar="NAME", help="default %(default)s")
    parser.add_argument(
        "--admin-key-file",
        type=Path,
        metavar="FILE",
        help="write the administrator's key to a new file, and do not print it",
    )
    parser.add_argument("--http-port", type=_port, default=8480, metavar="PORT")
    parser.add_argument("--dashboards-port", type=_port, default=8481, metavar="PORT")
    parser.add_argument("--nbiot-port", type=_port, default=5683, metavar="PORT")
    parser.add_argument(
        "--database-url",
        metavar="URL",
        help="a PostgreSQL database instead of a file, as postgresql://user@host:5432/name",
    )
    parser.add_argument(
        "--database-password-file", type=Path, metavar="FILE", help="with the database's password"
    )
    parser.add_argument("--no-dashboards", action="store_true", help="serve the API only")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=_init)


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > 65_535:
        raise argparse.ArgumentTypeError(f"expected a port from 0 to 65535, got {text!r}")
    return int(text)


def _register_utility(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "utility", help="a utility's branches, its rules on cuts and low credit"
    )
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    policy = actions.add_parser(
        "policy",
        help="set or show protected hours, cuts an hour, low credit",
        description="Set the policy of a utility from a YAML or JSON document, or print the one "
        "in force. The keys: docs/reference/cli.md.",
    )
    policy.add_argument("--file", type=Path, metavar="FILE", help="the new policy; shows it if not")
    _add_reason(policy)
    policy.set_defaults(run=_run_in_folder, action=_policy)
    particulars = actions.add_parser(
        "particulars", help="what receipts print of the utility: name, tax number, address"
    )
    particulars.add_argument("--name")
    particulars.add_argument("--tax-number")
    particulars.add_argument("--address")
    _add_reason(particulars)
    particulars.set_defaults(run=_run_in_folder, action=_particulars)
    branch = actions.add_parser("add-branch", help="add a branch that people and tills belong to")
    branch.add_argument("branch", metavar="CODE", help="lower-case letters, digits and hyphens")
    branch.add_argument("--name", required=True, help="for receipts")
    _add_reason(branch)
    branch.set_defaults(run=_run_in_folder, action=_add_branch)


def _add_reason(parser: argparse.ArgumentParser) -> None:
    add_folder_options(parser)
    parser.add_argument("--reason", default="by the command line", help="recorded with the act")
    parser.add_argument("--json", action="store_true", help="print JSON")


# --- init ---------------------------------------------------------------------------------------


def _init(options: argparse.Namespace) -> int:
    make_folder(options.data)
    asyncio.run(_init_folder(options))
    return EXIT_OK


async def _init_folder(options: argparse.Namespace) -> None:
    from slotmeter.storage.opening import open_database

    if options.admin_key_file is not None and options.admin_key_file.exists():
        raise ConfigError("file_exists", f"{options.admin_key_file} is there already")
    if options.database_url is not None:
        _write_config(options)  # says where the database is
    database = await open_database(config_of(options.data))
    await database.close()
    async with open_folder(options.data) as folder:
        there = await folder.registry.utilities()
        if there:
            raise Conflict(
                "utility_exists",
                f"{options.data} has the utility {there[0].code} already; take another folder",
            )
        config_path = _write_config(options)
        await _make_vault(folder)
        utility = await _make_utility(options, folder)
        await _make_dashboards_key(folder, utility)
        key = await _make_principal(folder, utility, options.admin, kind="person", role="admin")
        if not options.json:
            print(
                f"{options.data} is ready: {utility.name}, {utility.currency}, {config_path.name}"
            )
        missing = _missing_for_nbiot()
        if missing:
            print(
                f"NB-IoT meters are left out: {missing} is not installed; install "
                f"slotmeter[nbiot], then see the end of {config_path}",
                file=sys.stderr,
            )
        show_key(key, options.admin, options.admin_key_file, as_json=options.json)


async def _make_vault(folder: OpenFolder) -> None:
    from slotmeter.security.master_keys import create_master_key

    vault = folder.config.vault
    if vault.master_key == "file":
        create_master_key(folder.path / vault.master_key_file)
    async with folder.vault():
        pass  # opening a database without a vault makes one


def _write_config(options: argparse.Namespace) -> Path:
    path: Path = options.data / CONFIG_FILE
    if path.exists():  # the administrator's own; an interrupted init may have left ours
        return path
    text = CONFIG_TEXT.format(
        path=path,
        database=_database_text(options),
        http_port=options.http_port,
        dashboards="false" if options.no_dashboards else "true",
        dashboards_port=options.dashboards_port,
        key_file=DASHBOARDS_KEY_FILE,
        entry=_entry_text(options),
    )
    path.write_text(text, encoding="utf-8")
    return path


def _missing_for_nbiot() -> str:
    """Return the packages that the medium needs and that are not installed."""
    from slotmeter.services.integrations import find_integrations

    found = find_integrations().integrations.get("nbiot")
    return " and ".join(found.missing) if found is not None else "slotmeter_nbiot"


def _entry_text(options: argparse.Namespace) -> str:
    """Return the table of the first entry; as a comment where its packages are not installed."""
    text = ENTRY_TEXT.format(nbiot_port=options.nbiot_port)
    missing = _missing_for_nbiot()
    if not missing:
        return text
    commented = "".join(f"# {line}\n" for line in text.splitlines())
    return LEFT_OUT_TEXT.format(missing=missing) + commented


def _database_text(options: argparse.Namespace) -> str:
    if options.database_url is None:
        return ""
    lines = ["[database]", f"url = {json.dumps(options.database_url)}"]
    if options.database_password_file is not None:
        file = options.database_password_file.resolve()
        lines.append(f"password_file = {json.dumps(str(file))}")
    return "\n".join([*lines, "", ""])


async def _make_utility(options: argparse.Namespace, folder: OpenFolder) -> UtilityInfo:
    from slotmeter.services.registry import NewUtility

    new = NewUtility(
        code=options.code,
        name=options.utility_name,
        currency=options.currency,
        time_zone=options.time_zone,
        tax_number=options.tax_number,
        address=options.address,
    )
    return await folder.registry.add_utility(folder.origin, new, reason="init")


async def _make_principal(
    folder: OpenFolder, utility: UtilityInfo, name: str, *, kind: str, role: str
) -> NewKey:
    await folder.principals.add_principal(
        folder.origin,
        utility.id,
        name=name,
        kind=kind,
        roles=[role],
        branch_code="head-office",
        reason="init",
    )
    return await folder.principals.add_key(
        folder.origin, utility.id, name=name, label="first key", reason="init"
    )


async def _make_dashboards_key(folder: OpenFolder, utility: UtilityInfo) -> None:
    key = await _make_principal(folder, utility, DASHBOARDS_NAME, kind="service", role="viewer")
    path = folder.path / DASHBOARDS_KEY_FILE
    path.unlink(missing_ok=True)  # of an init that did not get as far as making a utility
    write_secret(path, key.text)


# --- the other commands -------------------------------------------------------------------------


def _run_in_folder(options: argparse.Namespace) -> int:
    asyncio.run(_act(options))
    return EXIT_OK


async def _act(options: argparse.Namespace) -> None:
    async with open_folder(options.data) as folder:
        await options.action(options, folder, await folder.utility(options))


async def _policy(options: argparse.Namespace, folder: OpenFolder, utility: UtilityInfo) -> None:
    from slotmeter.services.protection import parse_policy

    if options.file is None:
        print(json.dumps(json.loads(utility.policy or "{}"), indent=2))
        return
    document = _document(options.file)
    parse_policy(document)
    await folder.registry.set_policy(folder.origin, utility, document, reason=options.reason)
    if options.json:
        print(json.dumps({"utility": utility.code, "policy": document}))
    else:
        print(f"{utility.code} has a new policy")


async def _particulars(
    options: argparse.Namespace, folder: OpenFolder, utility: UtilityInfo
) -> None:
    await folder.registry.set_particulars(
        folder.origin,
        utility,
        name=options.name,
        tax_number=options.tax_number,
        address=options.address,
        reason=options.reason,
    )
    if options.json:
        print(json.dumps({"utility": utility.code}))
    else:
        print(f"{utility.code}: receipts print it from now on")


async def _add_branch(
    options: argparse.Namespace, folder: OpenFolder, utility: UtilityInfo
) -> None:
    branch_id = await folder.principals.add_branch(
        folder.origin, utility.id, code=options.branch, name=options.name, reason=options.reason
    )
    if options.json:
        print(json.dumps({"id": branch_id, "branch": options.branch}))
    else:
        print(f"added branch {options.branch}")


def _bytes_of(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(DOCUMENT_BYTES_MAX + 1)
    except OSError as error:
        raise ConfigError("file_unreadable", f"{path} cannot be read: {error.strerror}") from error
    if len(content) > DOCUMENT_BYTES_MAX:
        raise Refused("file_too_large", f"{path} is larger than {DOCUMENT_BYTES_MAX} bytes")
    return content


def _document(path: Path) -> Mapping[str, object]:
    """Read a YAML or JSON document with named values."""
    import yaml

    content = _bytes_of(path)
    try:
        document = yaml.safe_load(content)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        where = getattr(error, "problem_mark", None)
        line = f" in line {where.line + 1}" if where is not None else ""
        raise Refused("file_not_yaml", f"{path} cannot be read as YAML{line}") from error
    if not isinstance(document, Mapping):
        raise Refused("file_not_yaml", f"{path} needs named values, as in `title: Domestic`")
    return cast("Mapping[str, object]", document)
