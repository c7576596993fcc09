"""A secret that is planted in a config entry is found nowhere but where it was planted."""

from __future__ import annotations

import asyncio
import base64
import logging
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from slotmeter.cli import main
from slotmeter.config import Config, DashboardsConfig, HttpConfig
from slotmeter.runtime import Runtime

PLANTED = ("Kolkrabe-4711-Zimtstern", "Feldlerche-0815-Wacholder", "Zaunkoenig-1234-Holunder")
REASON = {"reason": "a test"}
FORMS = [
    form
    for text in PLANTED
    for form in (text.encode(), base64.b64encode(text.encode()), text.encode().hex().encode())
]


def found_in(content: bytes) -> list[bytes]:
    return [form for form in FORMS if form in content]


def command(folder: Path, key_file: Path, *words: str) -> int:
    whose = ["--data", str(folder), "--key-file", str(key_file), "--reason", "a test"]
    return main(["entry", *words, *whose])


async def use(url: str, key: str, port: int) -> bytes:
    """Make an entry with a secret, change and retry it, and remove another; return all answers."""
    said = b""
    headers = {"Authorization": f"Bearer {key}"}
    secrets: dict[str, Any] = {"secrets": {"mqtt_password": PLANTED[0]}}
    options = {"mqtt_host": "127.0.0.1", "mqtt_port": port, "mqtt_tls": False, "mqtt_user": "p"}
    made = {"key": "town", "medium": "ip", "options": options, **REASON}
    calls: list[tuple[str, str, dict[str, Any] | None]] = [
        ("POST", "/api/v1/entries", made | secrets),
        ("POST", "/api/v1/entries", made | secrets | {"key": "gone"}),
        ("POST", "/api/v1/entries", made | secrets),  # it is there already
        ("PATCH", "/api/v1/entries/town", {"secrets": {"mqtt_password": PLANTED[1]}, **REASON}),
        ("PATCH", "/api/v1/entries/town", {"secrets": {"mqtt_pasword": PLANTED[1]}, **REASON}),
        ("POST", "/api/v1/entries", made | {"key": "x", "options": {"mqtt_password": PLANTED[0]}}),
        ("POST", "/api/v1/entries/town/retry", dict(REASON)),
        ("DELETE", "/api/v1/entries/gone?reason=test", None),
        ("GET", "/api/v1/entries", None),
        ("GET", "/api/v1/entries/town", None),
        ("GET", "/api/v1/entries/town/log", None),
        ("GET", "/metrics", None),
        ("GET", "/readyz", None),
    ]
    async with aiohttp.ClientSession(headers=headers) as session:
        for method, path, body in calls:
            async with session.request(method, f"{url}{path}", json=body) as reply:
                said += f"{method} {path} {reply.status} ".encode() + await reply.read()
    return said


@pytest.mark.timeout(300)
async def test_a_planted_secret_is_in_no_answer_log_act_output_or_file(
    tmp_path: Path,
    free_port: int,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    key_file, folder = tmp_path / "admin.key", tmp_path / "data"
    made = ["init", "--data", str(folder), "--utility-name", "Town"]
    assert await asyncio.to_thread(main, [*made, "--admin-key-file", str(key_file)]) == 0
    typed = tmp_path / "typed"
    typed.touch(0o600)
    typed.write_text(PLANTED[2])
    parts = {"http": HttpConfig(port=0), "dashboards": DashboardsConfig(enabled=False)}

    with caplog.at_level(logging.DEBUG):
        runtime = await Runtime.started(Config.default(folder).model_copy(update=parts))
        try:
            said = await use(runtime.listeners[0].address, key_file.read_text().strip(), free_port)
            change = ("change", "town", "--secret", f"mqtt_password={typed}")
            assert await asyncio.to_thread(command, folder, key_file, *change) == 0
            lines = ["entry", "list", "--data", str(folder), "--json"]
            assert await asyncio.to_thread(main, lines) == 0
        finally:
            await runtime.stop()
    printed = capfd.readouterr()

    assert b'"retrying"' in said
    assert b'"mqtt_password"' in said  # its name is no secret
    assert found_in(said) == []
    assert "mqtt_password" in printed.out
    assert found_in((printed.out + printed.err + caplog.text).encode()) == []
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert b"entry.change" in b"".join(path.read_bytes() for path in files)
    assert {path: found for path in files if (found := found_in(path.read_bytes()))} == {}
