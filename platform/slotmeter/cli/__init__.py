"""The command line: arguments in, exit code out.

Each command lives in a module of this package that has ``register(subparsers)``; it adds its parser
and names the function that runs it with ``set_defaults(run=...)``. Only the module of the command
that was asked for is imported, and a module imports what is slow to load inside its functions.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, cast

from slotmeter import __version__
from slotmeter.errors import ConfigError, Refused, SlotmeterError
from slotmeter.security.core_dumps import forbid_core_dumps

if TYPE_CHECKING:
    from argparse import _SubParsersAction

    Subparsers = _SubParsersAction[argparse.ArgumentParser]

__all__ = ["EXIT_FAILED", "EXIT_INTERRUPTED", "EXIT_OK", "EXIT_UNUSABLE", "main"]

EXIT_OK = 0
EXIT_FAILED = 1
"""The thing asked for was tried and did not come out."""
EXIT_UNUSABLE = 2
"""Wrong usage, a setting that cannot work, or input that cannot be used."""
EXIT_INTERRUPTED = 130
"""Ended by Ctrl-C, as shells count it."""

OWNER_ONLY = 0o077
"""What commands write holds customers, tokens and keys: nobody but its owner may read it."""

COMMANDS = {
    "demo": "demo",
    "init": "setup",
    "utility": "setup",
    "tariff": "tariff",
    "class": "customer_class",
    "free-units": "free_units",
    "account": "account",
    "debt": "debt",
    "report": "report",
    "vending-key": "vending_key",
    "supply-group": "vending_key",
    "vault": "vault",
    "key-change": "key_change",
    "key-campaign": "key_campaign",
    "training": "training",
    "user": "user",
    "import": "importing",
    "commission": "commission",
    "quarantine": "quarantine",
    "serve": "serve",
    "sell": "sell",
    "receipt": "receipt",
    "ledger": "ledger",
    "audit": "audit",
    "correct": "correct",
    "float": "float",
    "token": "token",
    "backup": "backup",
    "restore": "backup",
    "doctor": "doctor",
    "conformance": "conformance",
    "driver": "driver",
    "integration": "integration",
    "entry": "entry",
    "device-key": "device_key",
    "area": "area",
    "asset": "asset",
    "node": "node",
    "device": "node",
    "find": "find",
    "generate": "generate",
}
"""Each command and the module of this package that has it, in the order of the help."""

ENDING = """\
exit codes: 0 done, 1 tried and failed, 2 wrong usage or unusable input

a first sale, step by step: docs/tutorial/first-sale.md
"""


class _Command(Protocol):
    def register(self, subparsers: Subparsers) -> None: ...


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code.

    Args:
        argv: the arguments without the program's name; the process's own by default.
    """
    forbid_core_dumps()  # before any file with a key in it is read
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        parser = _parser(arguments)
        options, unknown = parser.parse_known_args(arguments)
        if unknown:
            _asked(parser, arguments).error(f"unrecognized arguments: {' '.join(unknown)}")
    except SystemExit as end:  # argparse has said what is wrong, or has printed the help
        return end.code if isinstance(end.code, int) else EXIT_UNUSABLE
    as_json = bool(getattr(options, "json", False))

    umask = os.umask(OWNER_ONLY)
    try:
        return int(options.run(options))
    except SlotmeterError as error:
        _say(error.code, error.message, error.field, as_json=as_json)
        return EXIT_UNUSABLE if isinstance(error, Refused | ConfigError) else EXIT_FAILED
    except BrokenPipeError:
        # Whoever read our output has gone. Python would complain once more when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILED
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _say("operating_system", f"{where}{error.strerror or error}", None, as_json=as_json)
        return EXIT_FAILED
    except KeyboardInterrupt:
        _say("interrupted", "stopped by Ctrl-C before the work was done", None, as_json=as_json)
        return EXIT_INTERRUPTED
    finally:
        os.umask(umask)


def _parser(arguments: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="slotmeter",
        description="Sell electricity, water and gas in advance, and run the meters.",
        epilog=ENDING,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"slotmeter {__version__}")
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)

    for module in _modules_needed(arguments):
        cast("_Command", importlib.import_module(f"slotmeter.cli.{module}")).register(subparsers)
    return parser


def _asked(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> argparse.ArgumentParser:
    """Return the parser of the command asked for, whose usage shows what it takes."""
    for word in arguments:
        # argparse has no public way from a parser to its commands
        subparsers = next(
            (each for each in parser._actions if isinstance(each.choices, dict)),
            None,
        )
        if subparsers is not None and isinstance(subparsers.choices, dict):
            parser = subparsers.choices.get(word, parser)
    return parser


def _modules_needed(arguments: Sequence[str]) -> list[str]:
    """Return the module of the command asked for; all of them for the help or a typing error."""
    asked = next((word for word in arguments if not word.startswith("-")), None)
    if asked in COMMANDS:
        return [COMMANDS[asked]]
    if "--version" in arguments:
        return []
    return list(dict.fromkeys(COMMANDS.values()))


def _say(code: str, message: str, field: str | None, *, as_json: bool) -> None:
    if as_json:
        print(
            json.dumps({"error": {"code": code, "message": message, "field": field}}),
            file=sys.stderr,
        )
        return
    where = f"{field}: " if field else ""
    print(f"slotmeter: {where}{message} ({code})", file=sys.stderr)
