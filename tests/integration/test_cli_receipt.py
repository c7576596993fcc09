"""``slotmeter receipt`` against a real server: printed once as the original, and explained."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from pathlib import Path

import pytest

from slotmeter.cli import EXIT_FAILED, EXIT_OK, EXIT_UNUSABLE, main
from slotmeter.testing.api_town import ApiTown
from slotmeter.testing.sample_receipts import full_receipt

Print = Callable[..., Coroutine[None, None, tuple[int, str, str]]]


@pytest.fixture
async def till(api: ApiTown, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Print:
    """Run the command beside the server for a receipt with everything on it."""
    key_file = tmp_path / "till.key"
    key_file.write_text(await api.join("till", "vendor"))
    meter = await api.utility.add_meter()
    body = {"sale_id": "s1", "meter": meter.number, "tendered": "116.00"}
    await api.post("/api/v1/sales", "till", json=body)
    api.sql(
        "UPDATE sale SET receipt_number = 'R00000123', receipt = ?",
        json.dumps(full_receipt().to_dict()),
    )

    async def command(*arguments: str) -> tuple[int, str, str]:
        words = ["receipt", *arguments, "--key-file", str(key_file), "--api", api.url]
        code = await asyncio.to_thread(main, words)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return command


async def test_the_second_time_it_is_a_copy(till: Print) -> None:
    first = await till("R00000123")
    second = await till("R00000123")

    assert (first[0], second[0]) == (EXIT_OK, EXIT_OK)
    assert "REPRINT" not in first[1]
    assert "*** REPRINT ***" in second[1]


async def test_paper_of_58_mm_has_32_columns(till: Print) -> None:
    _, out, _ = await till("R00000123", "--format", "text58", "--language", "es", "--ascii")

    assert max(map(len, out.splitlines())) == 32
    assert out.isascii()
    assert "FACTURA FISCAL" in out


async def test_a_message_says_on_the_side_what_it_costs_to_send(till: Print) -> None:
    _, out, err = await till("R00000123", "--format", "message")

    assert out.startswith("Token 1 of 4: 0000 1111 2222 3333 4444.")
    assert f"{len(out) - 1} characters in gsm7, messages: 2" in err


async def test_a_page_is_a_page(till: Print) -> None:
    _, out, _ = await till("R00000123", "--format", "html", "--language", "fr")

    assert out.startswith('<!doctype html><html lang="fr">')


async def test_the_document_is_data_and_no_print(till: Print, api: ApiTown) -> None:
    _, out, _ = await till("R00000123", "--format", "json")

    assert json.loads(out) == full_receipt().document()
    assert api.sql("SELECT count(*) FROM receipt_print") == [(0,)]


async def test_an_explanation_is_one_sentence_a_line(till: Print, api: ApiTown) -> None:
    _, out, _ = await till("R00000123", "--explain", "--language", "pt")

    assert out.splitlines()[0] == (
        "Em 2026-11-21 12:30:00 EAT pagou KES 2000.00 para o contador 07000000013."
    )
    assert len(out.splitlines()) == 18
    assert api.sql("SELECT count(*) FROM receipt_print") == [(0,)]


async def test_an_unknown_number_is_told(till: Print) -> None:
    code, out, err = await till("R99999999")

    assert (code, out) == (EXIT_FAILED, "")
    assert "(receipt_unknown)" in err


async def test_a_language_that_is_not_spoken_is_wrong_usage(till: Print) -> None:
    code, _, err = await till("R00000123", "--language", "de")

    assert code == EXIT_UNUSABLE
    assert "usage:" in err


async def test_without_a_server_it_says_so(
    tmp_path: Path, free_port: int, capsys: pytest.CaptureFixture[str]
) -> None:
    key_file = tmp_path / "till.key"
    key_file.write_text("smk_x")
    words = ["receipt", "R1", "--key-file", str(key_file)]

    code = await asyncio.to_thread(main, [*words, "--api", f"http://127.0.0.1:{free_port}"])

    assert code == EXIT_FAILED
    assert "(no_answer)" in capsys.readouterr().err
