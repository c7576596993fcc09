"""``slotmeter driver new``: a driver to start from, in a pack of its own or in one that exists."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from slotmeter.cli import EXIT_OK
from slotmeter.errors import Refused

if TYPE_CHECKING:
    from slotmeter.cli import Subparsers

__all__ = ["register_new"]

_DESCRIPTION = """\
Write a driver that keeps the contract, to be changed line by line into the one wanted. It reads an
invented frame; put the offsets, units and an example of your meter's protocol sheet in its place.

Without --into a new pack is written: a folder that pip installs. With --into the driver is added to
the folder of a package that is there already.
"""

_NEXT = """\
wrote {written}
next: change {module}, then: slotmeter driver check {checked}
how to: docs/how-to/add-a-driver.md
"""

READABLE_FOLDER: Final = 0o755
READABLE_FILE: Final = 0o644

KEY_HELP: Final = "what the driver is called: maker and model in small letters, as acme_w1"


def register_new(actions: Subparsers) -> None:
    """Add ``new`` to the actions of ``slotmeter driver``."""
    parser = actions.add_parser(
        "new",
        help="write a driver to start from",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("key", metavar="KEY", help=KEY_HELP)
    parser.add_argument("--maker", help="who makes the meter (default: from KEY)")
    parser.add_argument("--model", help="the maker's name for it (default: from KEY)")
    parser.add_argument(
        "--commodity",
        choices=("electricity", "water", "gas"),
        default="electricity",
        help="what it meters (default: electricity)",
    )
    parser.add_argument(
        "--medium", default="ip", help="key of the medium that carries it (default: ip)"
    )
    places = parser.add_mutually_exclusive_group()
    places.add_argument("--folder", type=Path, help="where the new pack goes (default: by KEY)")
    places.add_argument("--into", type=Path, help="folder of a package that holds drivers")
    parser.set_defaults(run=_new)


def _new(options: argparse.Namespace) -> int:
    from slotmeter.cli.driver_template import NewDriver, module_text, pack_texts
    from slotmeter.devices.drivers import valid_key
    from slotmeter.units import Commodity

    for name in ("key", "medium"):
        if not valid_key(value := getattr(options, name)):
            raise Refused(
                f"{name}_malformed",
                f"expected small letters, digits and _, not starting with a digit, got {value!r}",
                field=name,
            )
    first, _, rest = options.key.partition("_")
    wanted = NewDriver(
        key=options.key,
        maker=options.maker or first.capitalize(),
        model=options.model or (rest or first).upper(),
        medium=options.medium,
        commodity=Commodity(options.commodity),
    )
    for name in ("maker", "model"):
        text = getattr(wanted, name)
        if not (text.isprintable() and text.strip() and not set(text) & set("\"'\\")):
            raise Refused(f"{name}_malformed", "expected a name without quotes", field=name)
    if options.into is None:
        folder: Path = options.folder or Path(f"{first}-drivers")
        texts = pack_texts(wanted)
        module, checked = folder / wanted.package / f"{wanted.key}.py", folder
    else:
        folder = checked = options.into
        if not (folder / "__init__.py").is_file():
            raise Refused("package_missing", f"expected a folder with an __init__.py, got {folder}")
        texts = {f"{wanted.key}.py": module_text(wanted)}
        module = folder / f"{wanted.key}.py"
    _write(folder, texts)
    print(_NEXT.format(written=folder, module=module, checked=checked), end="")
    return EXIT_OK


def _write(folder: Path, texts: Mapping[str, str]) -> None:
    """Write all files, or none if one of them is there."""
    there = [str(folder / name) for name in texts if (folder / name).exists()]
    if there:
        raise Refused("file_exists", f"nothing was written, since there is {', '.join(there)}")
    for name, text in texts.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.parent.chmod(
            READABLE_FOLDER
        )  # other commands write secrets, and so for the owner only
        path.write_text(text, encoding="utf-8")
        path.chmod(READABLE_FILE)
