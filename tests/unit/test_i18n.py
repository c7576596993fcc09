"""Languages: which one is chosen, and that no text lacks its translation."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from slotmeter.api.query_models import Language
from slotmeter.i18n import DEFAULT, LANGUAGES, choose, words

ROOT = Path(__file__).parents[2]
LOCALES = ROOT / "platform" / "slotmeter" / "i18n" / "locales"


def check(locales: Path = LOCALES) -> tuple[int, str]:
    """Run the tool of the translations as ``make translations`` does, changing nothing."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "docs" / "translations.py"), "--check", "--locales", locales],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stderr


def test_every_text_is_translated_and_compiled() -> None:
    assert check() == (0, "")


@pytest.mark.parametrize(
    ("before", "after", "complaint"),
    [
        ('msgstr "Compteur"\n', 'msgstr ""\n', "fr: not translated: Meter"),
        ('msgid "Meter"\n', '#, fuzzy\nmsgid "Meter"\n', "fr: fuzzy, look at it: Meter"),
        ('msgid "Meter"\n', 'msgid "Gauge"\n', "fr: the code has it no longer: Gauge"),
        ("Compteur {number}", "Compteur {nombre}", "fr: other placeholders: Meter {number}"),
        ('msgstr "Compteur"\n', 'msgstr "Appareil"\n', "slotmeter.mo is not compiled"),
    ],
)
def test_a_missing_fuzzy_stale_or_uncompiled_text_is_found(
    tmp_path: Path, before: str, after: str, complaint: str
) -> None:
    locales = tmp_path / "locales"
    shutil.copytree(LOCALES, locales)
    catalogue = locales / "fr" / "LC_MESSAGES" / "slotmeter.po"
    written = catalogue.read_text()
    assert before in written
    catalogue.write_text(written.replace(before, after))

    code, complaints = check(locales)

    assert code == 1
    assert complaint in complaints


@pytest.mark.parametrize(
    ("language", "meter"),
    [("en", "Meter"), ("fr", "Compteur"), ("es", "Medidor"), ("pt", "Contador")],
)
def test_a_language_has_its_own_word_for_a_meter(language: str, meter: str) -> None:
    assert words(language).gettext("Meter") == meter


def test_the_api_speaks_every_language_there_is() -> None:
    assert get_args(Language) == LANGUAGES


def test_a_language_that_is_not_here_is_an_error_not_english() -> None:
    with pytest.raises(ValueError, match="expected one of en, fr, es, pt"):
        words("de")


@pytest.mark.parametrize(
    ("wanted", "accepted", "chosen"),
    [
        ("fr", "", "fr"),
        ("pt-BR", "fr", "pt"),
        (None, "fr", "fr"),
        (None, "de, es;q=0.5, fr;q=0.8", "fr"),
        (None, "pt-PT,pt;q=0.9,en;q=0.8", "pt"),
        (None, "es;q=0, fr;q=0.1", "fr"),
        (None, "*", DEFAULT),
        (None, "", DEFAULT),
        (None, "fr;q=nonsense", DEFAULT),
        ("xx", "es", "es"),
    ],
)
def test_the_language_is_the_one_asked_for_or_liked_best(
    wanted: str | None, accepted: str, chosen: str
) -> None:
    assert choose(wanted, accepted) == chosen


def test_a_header_of_any_length_costs_little() -> None:
    assert choose(None, "x," * 1_000_000 + "fr") == DEFAULT


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("code_page", ["cp850", "cp858", "cp1252"])
def test_every_text_prints_with_the_usual_code_pages(language: str, code_page: str) -> None:
    catalogue = LOCALES / language / "LC_MESSAGES" / "slotmeter.po"
    texts = catalogue.read_text() if language != DEFAULT else "m³"

    assert texts.encode(code_page).decode(code_page) == texts
