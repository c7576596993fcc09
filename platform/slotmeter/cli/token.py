"""``slotmeter token``: explain 20 digits, or make a token that manages a meter."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from slotmeter.cli import token_make

if TYPE_CHECKING:
    from slotmeter.vending.sts import BlockCipher, TableSet
    from slotmeter.vending.sts.explain import Explanation

__all__ = ["register"]

EXIT_OK = 0
EXIT_WRONG_CRC = 1
KEY_FILE_BYTES_MAX = 4096
TABLES_FILE_BYTES_MAX = 100_000
_SEPARATORS = "-\u2010\u2011\u2012\u2013"

_DECODE = """\
Explain a token field by field. Class 1 tokens (tests and displays) are in clear. Class 0 (credit)
and class 2 (management) are encrypted with the meter's own key, which --decoder-key-file gives.
"""

_EXAMPLES = """\
examples:
  slotmeter token decode 5649 3153 7254 5031 3471
  slotmeter token decode 23716100501183194197 --decoder-key-file meter.key --base-date 1993

exit codes: 0 explained, 1 the CRC is wrong, 2 not a token or wrong usage
"""


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``token`` and what is below it."""
    parser = subparsers.add_parser("token", help="explain a token, or make one for a meter")
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    decode = actions.add_parser(
        "decode",
        help="explain 20 digits field by field",
        description=_DECODE,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    decode.add_argument(
        "digits", nargs="+", metavar="DIGITS", help="20 digits; blanks and dashes do not count"
    )
    decode.add_argument(
        "--decoder-key-file",
        type=Path,
        metavar="FILE",
        help="file with the meter's decoder key in hex: 16 digits for EA07, 32 for EA11",
    )
    decode.add_argument(
        "--ea",
        choices=("7", "07", "11"),
        help="encryption algorithm; by default what the length of the key says",
    )
    decode.add_argument(
        "--base-date",
        type=int,
        choices=(1993, 2014, 2035),
        help="base date of the key; without it every possible time of a token is named",
    )
    decode.add_argument(
        "--tables",
        default="production",
        metavar="NAME_OR_FILE",
        help="STA tables: production (default), sample, or a file with a site's own",
    )
    decode.add_argument("--json", action="store_true", help="write JSON for scripts")
    decode.set_defaults(run=_decode)
    token_make.register(actions)


def _decode(options: argparse.Namespace) -> int:
    from slotmeter.vending.sts.explain import explain

    typed = "".join(options.digits)
    digits = "".join(c for c in typed if not c.isspace() and c not in _SEPARATORS)
    cipher, ea = None, 7
    if options.decoder_key_file is not None:
        cipher, ea = _cipher(options)
    explanation = explain(digits, cipher, base_date=options.base_date, ea=ea)
    if options.json:
        print(json.dumps(explanation.to_dict()))
    else:
        print(_as_text(explanation))
        if cipher is None and explanation.token_class in (0, 2):
            print("Give --decoder-key-file FILE to read it.")
    return EXIT_WRONG_CRC if explanation.crc_right is False else EXIT_OK


def _read(path: Path, bytes_max: int, what: str) -> str:
    from slotmeter.errors import Refused

    try:
        with path.open("rb") as file:
            content = file.read(bytes_max + 1)
        text = content.decode("utf-8")
    except OSError as error:
        raise Refused(
            "file_unreadable", f"the {what} {path} cannot be read: {error.strerror}"
        ) from error
    except UnicodeDecodeError as error:
        raise Refused("file_unreadable", f"the {what} {path} is not text") from error
    if len(content) > bytes_max:
        raise Refused("file_too_large", f"the {what} {path} has more than {bytes_max} bytes")
    return text


def _cipher(options: argparse.Namespace) -> tuple[BlockCipher, int]:
    from slotmeter.errors import Refused
    from slotmeter.vending.sts import DecoderKey, cipher_for

    path = options.decoder_key_file
    text = "".join(_read(path, KEY_FILE_BYTES_MAX, "decoder key file").split())
    wanted = {"7": (8,), "07": (8,), "11": (16,), None: (8, 16)}[options.ea]
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) not in wanted:
        sizes = " or ".join(str(2 * size) for size in wanted)
        raise Refused(
            "bad_decoder_key", f"the decoder key file {path} must hold {sizes} hex digits"
        )
    if path.stat().st_mode & 0o077:
        print(f"slotmeter: others can read {path}: run chmod 600 {path}", file=sys.stderr)
    ea = 7 if len(key) == 8 else 11
    return cipher_for(DecoderKey(key, ea), _tables(options.tables)), ea


def _tables(name: str) -> TableSet:
    from slotmeter.vending.sts import TABLE_SETS, parse_table_set

    if name in TABLE_SETS:
        return TABLE_SETS[name]
    return parse_table_set(_read(Path(name), TABLES_FILE_BYTES_MAX, "table file"))


def _as_text(explanation: Explanation) -> str:
    digits = explanation.digits
    grouped = " ".join(digits[i : i + 4] for i in range(0, len(digits), 4))
    lines = [
        f"digits   {grouped}",
        f"66 bits  {int(digits):017X}",
        f"token    {(explanation.name or 'not known').replace('_', ' ')}",
        "",
        f"{'field':<14}{'bits':>5}  {'hex':<17} meaning",
    ]
    for field in explanation.fields:
        raw = "-" if field.raw is None else f"{field.raw:0{-(-field.bits // 4)}X}"
        lines.append(f"{field.name:<14}{field.bits:>5}  {raw:<17} {field.meaning}")
    if explanation.remarks:
        lines += ["", *explanation.remarks]
    return "\n".join(lines)
