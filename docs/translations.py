"""Keeps the translations: finds the texts in the code, and compiles what people wrote.

``python docs/translations.py`` (or ``make translations``) adds new texts to each ``slotmeter.po``,
empty, takes away those that the code no longer has, and compiles the ``.mo`` files that the program
reads. ``--check`` changes nothing and says what is missing, fuzzy, stale or not compiled; the tests
run it.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

from babel.messages.catalog import Catalog, Message
from babel.messages.extract import extract_from_dir
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

from slotmeter import i18n

ROOT = Path(__file__).resolve().parents[1]
CODE = ROOT / "platform" / "slotmeter"
LOCALES = CODE / "i18n" / "locales"
LANGUAGES = tuple(language for language in i18n.LANGUAGES if language != i18n.DEFAULT)
KEYWORDS = {"gettext": None, "pgettext": ((1, "c"), 2), "mark": None}
PLACEHOLDER = re.compile(r"\{\w*\}")
HEADER = (
    ("Content-Type", "text/plain; charset=utf-8"),
    ("Content-Transfer-Encoding", "8bit"),
)


class Undated(Catalog):
    """A catalogue whose header holds no dates, so that equal texts give equal files."""

    @property
    def mime_headers(self) -> list[tuple[str, str]]:
        """The header, which every catalogue here shares."""
        return list(HEADER)


def in_the_code() -> Catalog:
    """Find every text that the code marks for translation, with the files that have it."""
    catalog = Catalog()
    found = extract_from_dir(
        CODE, method_map=[("**.py", "python")], keywords=KEYWORDS, comment_tags=()
    )
    for file, _line, text, _comments, context in found:
        catalog.add(text, locations=[(file, 0)], context=context)
    return catalog


def file_of(locales: Path, language: str, ending: str) -> Path:
    """Return where a catalogue lies."""
    return locales / language / "LC_MESSAGES" / f"slotmeter.{ending}"


def as_written(locales: Path, language: str) -> Catalog:
    """Read what people wrote; nothing for a language that has no file yet."""
    path = file_of(locales, language, "po")
    if not path.exists():
        return Catalog(locale=language)
    with path.open("rb") as file:
        return read_po(file, locale=language)


def texts(catalog: Catalog) -> Iterator[Message]:
    """Walk through the texts without the header, in the order of the file."""
    named = [message for message in catalog if message.id]
    yield from sorted(named, key=lambda message: (message.context or "", str(message.id)))


def brought_up(written: Catalog, code: Catalog, language: str) -> Catalog:
    """Return what people wrote for the texts that the code has now."""
    fresh = Catalog(locale=language)
    for message in texts(code):
        known = written.get(message.id, context=message.context)
        fresh.add(
            message.id,
            string="" if known is None else known.string,
            locations=sorted(set(message.locations)),
            flags={"fuzzy"} if known is not None and known.fuzzy else (),
            context=message.context,
        )
    return fresh


def po_bytes(catalog: Catalog) -> bytes:
    """Write a catalogue so that equal content gives equal bytes: no dates, files without lines."""
    out = BytesIO()
    bare = Catalog(locale=catalog.locale, header_comment="", fuzzy=False)
    for message in texts(catalog):
        flags = {"fuzzy"} if message.fuzzy else ()
        places = message.locations
        bare.add(message.id, message.string, places, flags=flags, context=message.context)
    write_po(out, bare, width=0, omit_header=True, include_lineno=False)
    lines = "".join(f'"{name}: {value}\\n"\n' for name, value in HEADER)
    body = re.sub(rb"^#,.*(?:brace|python)-format$", _without_formats, out.getvalue(), flags=re.M)
    body = re.sub(rb"^#, *\n", b"", body, flags=re.M)
    return f'msgid ""\nmsgstr ""\n{lines}\n'.encode() + body.lstrip(b"\n")


def _without_formats(found: re.Match[bytes]) -> bytes:
    return b"#, fuzzy" if b"fuzzy" in found[0] else b"#, "


def mo_bytes(po: bytes, language: str) -> bytes:
    """Compile a written catalogue; fuzzy texts are left out."""
    out = BytesIO()
    catalog = read_po(BytesIO(po), locale=language)
    bare = Undated(locale=language)
    for message in texts(catalog):
        if message.string and not message.fuzzy:
            bare.add(message.id, message.string, context=message.context)
    write_mo(out, bare)
    return out.getvalue()


def faults(locales: Path, code: Catalog, language: str) -> Iterator[str]:
    """Say what is wrong with one language."""
    written = as_written(locales, language)
    for message in texts(code):
        known = written.get(message.id, context=message.context)
        if known is None or not known.string:
            yield f"{language}: not translated: {message.id}"
        elif known.fuzzy:
            yield f"{language}: fuzzy, look at it: {message.id}"
        elif _placeholders(message.id) != _placeholders(known.string):
            yield f"{language}: other placeholders: {message.id}"
    for message in texts(written):
        if code.get(message.id, context=message.context) is None:
            yield f"{language}: the code has it no longer: {message.id}"
    po, mo = (file_of(locales, language, ending) for ending in ("po", "mo"))
    if po.exists() and po.read_bytes() != po_bytes(brought_up(written, code, language)):
        yield f"{language}: {po.name} is not as `make translations` writes it"
    if not mo.exists() or mo.read_bytes() != mo_bytes(po.read_bytes(), language):
        yield f"{language}: {mo.name} is not compiled from {po.name}"


def _placeholders(text: object) -> list[str]:
    return sorted(PLACEHOLDER.findall(str(text)))


def main() -> int:
    """Bring the catalogues up to the code, or say where they are not."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="change nothing; say what is wrong")
    parser.add_argument("--locales", type=Path, default=LOCALES, metavar="DIR")
    options = parser.parse_args()
    code = in_the_code()
    if not options.check:
        for language in LANGUAGES:
            po = po_bytes(brought_up(as_written(options.locales, language), code, language))
            path = file_of(options.locales, language, "po")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(po)
            file_of(options.locales, language, "mo").write_bytes(mo_bytes(po, language))
    found = [fault for language in LANGUAGES for fault in faults(options.locales, code, language)]
    for fault in found:
        print(fault, file=sys.stderr)
    print(f"{len(list(texts(code)))} texts in {len(LANGUAGES)} languages beside English")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
