"""``slotmeter sell`` against a real server: one sale, whatever the line does."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path

import pytest

from slotmeter.cli import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_OK, EXIT_UNUSABLE, main, sell
from slotmeter.testing.api_town import ApiTown

Sell = Callable[..., Coroutine[None, None, tuple[int, str, str]]]


@pytest.fixture
async def meter(api: ApiTown) -> str:
    return (await api.utility.add_meter()).number


@pytest.fixture
async def till(api: ApiTown, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Sell:
    """Run the command beside the server; returns exit code, output and errors."""
    key_file = tmp_path / "till.key"
    key_file.write_text(await api.join("till", "vendor") + "\n")

    async def command(*arguments: str) -> tuple[int, str, str]:
        words = ["sell", *arguments, "--key-file", str(key_file)]
        if "--api" not in arguments:
            words += ["--api", api.url]
        code = await asyncio.to_thread(main, words)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return command


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sell, "PAUSE_S_FIRST", 0.0)


async def test_a_sale_prints_its_receipt_with_the_token(till: Sell, meter: str) -> None:
    code, out, _ = await till(meter, "100.00")

    assert code == EXIT_OK
    assert meter in out
    assert "100.00" in out


async def test_with_json_the_sale_is_an_object(till: Sell, meter: str) -> None:
    _, out, _ = await till(meter, "100", "--json", "--sale-id", "mine")

    sale = json.loads(out)
    assert (sale["sale_id"], sale["meter"], sale["tendered"]) == ("mine", meter, "100.00")
    assert len(sale["token"]) == 20


async def test_the_same_id_again_sells_nothing_more(till: Sell, meter: str, api: ApiTown) -> None:
    _, first, _ = await till(meter, "100", "--json", "--sale-id", "mine")

    code, second, _ = await till(meter, "100", "--json", "--sale-id", "mine")

    assert code == EXIT_OK
    assert json.loads(second)["token"] == json.loads(first)["token"]
    assert api.sql("SELECT count(*) FROM sale") == [(1,)]


async def test_the_same_id_for_another_amount_is_refused(till: Sell, meter: str) -> None:
    await till(meter, "100", "--sale-id", "mine")

    code, out, err = await till(meter, "200", "--sale-id", "mine")

    assert code == EXIT_FAILED
    assert out == ""
    assert "(sale_id_reused)" in err


@pytest.mark.parametrize(
    ("amount", "code"),
    [("9.99", "below_minimum"), ("50000.01", "above_maximum"), ("0", "amount_not_positive")],
)
async def test_a_refusal_gives_the_servers_reason(
    till: Sell, meter: str, amount: str, code: str
) -> None:
    exit_code, _, err = await till(meter, amount)

    assert exit_code == EXIT_FAILED
    assert f"({code})" in err


@pytest.mark.parametrize("amount", ["ten", "-5", "1,50", "1.", "1e3", ""])
async def test_an_amount_that_is_none_is_wrong_usage(till: Sell, meter: str, amount: str) -> None:
    code, _, err = await till(meter, amount)

    assert code == EXIT_UNUSABLE
    assert "usage:" in err


async def test_a_wrong_check_digit_is_told_without_asking_a_server(
    till: Sell, meter: str, free_port: int
) -> None:
    wrong = meter[:-1] + str((int(meter[-1]) + 1) % 10)

    code, _, err = await till(wrong, "100", "--api", f"http://127.0.0.1:{free_port}")

    assert code == EXIT_UNUSABLE
    assert "(wrong_check_digit)" in err


async def test_a_key_that_nobody_has_is_told(till: Sell, meter: str, tmp_path: Path) -> None:
    (tmp_path / "till.key").write_text("smk_" + "x" * 43)

    code, _, err = await till(meter, "100")

    assert code == EXIT_FAILED
    assert "(key_unknown)" in err


async def test_a_key_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    arguments = ["sell", "07000000003", "100", "--key-file", str(tmp_path / "none")]

    assert await asyncio.to_thread(main, arguments) == EXIT_UNUSABLE


async def test_without_a_server_nothing_was_sold_and_that_is_said_at_once(
    till: Sell, meter: str, free_port: int
) -> None:
    code, _, err = await till(meter, "100", "--api", f"http://127.0.0.1:{free_port}")

    assert code == EXIT_FAILED
    assert "nothing was sold" in err
    assert "(no_server)" in err
    assert "asking again" not in err


async def test_when_answers_are_lost_the_id_to_repeat_is_told(till: Sell, meter: str) -> None:
    """The server takes each request and closes the connection."""

    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        arguments = ("--api", f"http://127.0.0.1:{port}", "--sale-id", "mine")
        code, _, err = await till(meter, "100", *arguments)

    assert code == EXIT_FAILED
    assert "--sale-id mine" in err
    assert err.count("asking again") == sell.TRIES - 1


async def test_ctrl_c_ends_the_command_with_one_sentence(tmp_path: Path, meter: str) -> None:
    """The server takes the request and never answers."""
    (tmp_path / "key").write_text("smk_" + "x" * 43)
    asked = asyncio.Event()

    async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        asked.set()
        await reader.read(-1)
        writer.close()

    async with await asyncio.start_server(never, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        arguments = ("sell", meter, "100", "--key-file", str(tmp_path / "key"), "--api", url)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "slotmeter", *arguments),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            # Whoever runs the tests in the background of a shell has them ignore Ctrl-C.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        await asyncio.wait_for(asked.wait(), 30)
        process.send_signal(signal.SIGINT)
        out, err = await asyncio.wait_for(process.communicate(), 30)

    assert process.returncode == EXIT_INTERRUPTED
    assert out == b""
    assert err.decode().count("\n") == 1
    assert b"Ctrl-C" in err


async def test_a_lost_answer_is_asked_for_again_under_the_same_id(
    till: Sell, meter: str, api: ApiTown
) -> None:
    """A relay that drops the first answer stands between till and server."""
    passed = 0

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal passed
        passed += 1
        host, _, port = api.url.removeprefix("http://").partition(":")
        request = await reader.readuntil(b"\r\n\r\n")
        length = int(request.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
        request += await reader.readexactly(length)
        server_reader, server_writer = await asyncio.open_connection(host, int(port))
        server_writer.write(request.replace(b"Accept:", b"Connection: close\r\nAccept:"))
        answer = await server_reader.read(-1)
        server_writer.close()
        if passed > 1:
            writer.write(answer)
            await writer.drain()
        writer.close()

    async with await asyncio.start_server(relay, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        code, out, err = await till(meter, "100", "--json", "--api", f"http://127.0.0.1:{port}")

    assert code == EXIT_OK
    assert "asking again" in err
    assert len(json.loads(out)["token"]) == 20
    assert api.sql("SELECT count(*) FROM sale") == [(1,)]


async def test_free_units_are_collected_for_nothing(till: Sell, api: ApiTown) -> None:
    await api.utility.add_tariff(
        {
            "tariff": "generous",
            "title": "Generous",
            "commodity": "electricity",
            "currency": "KES",
            "energy": {"price": "20"},
            "free_units": {"basic": {"label": "Basic", "units": "50", "registered": False}},
        }
    )
    meter = await api.utility.add_meter(tariff="generous")

    code, out, _ = await till(meter.number, "0", "--claim-free", "--json")
    again, _, err = await till(meter.number, "0", "--claim-free")
    bought, text, _ = await till(meter.number, "100", "--json")

    sale = json.loads(out)
    assert (code, again, bought) == (EXIT_OK, EXIT_FAILED, EXIT_OK)
    assert "no_free_units_due" in err
    assert (sale["token"], [token["purpose"] for token in sale["tokens"]]) == (None, ["free"])
    assert [token["purpose"] for token in json.loads(text)["tokens"]] == ["credit"]
