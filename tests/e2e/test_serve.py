"""``slotmeter serve`` as users run it: a process, its one line, its signals and its exit codes."""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from slotmeter.cli import main

pytestmark = pytest.mark.e2e

PATIENCE_S = 60


@pytest.fixture
def folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """A data folder whose server takes free ports and shows no pages."""
    made = tmp_path / "data"
    at_any = ("--http-port", "0", "--nbiot-port", "0", "--dashboards-port", "0")
    init = ("init", "--data", str(made), "--utility-name", "Town", "--no-dashboards", *at_any)
    assert main([*init, "--admin-key-file", str(tmp_path / "admin.key")]) == 0
    capsys.readouterr()
    return made


@pytest.fixture
def serve(folder: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Call it with further arguments for a server process; what still runs at the end is killed."""
    running: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "slotmeter", "serve", "--data", str(folder), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        running.append(process)
        return process

    yield start
    for process in running:
        process.kill()
        process.communicate()


def ready(process: subprocess.Popen[str]) -> dict[str, Any]:
    """The line of a server that was started with ``--json``."""
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, process.communicate()[1]
    said: dict[str, Any] = json.loads(line)
    return said


def api_of(said: dict[str, Any]) -> str:
    return next(str(one["address"]) for one in said["listeners"] if one["what"] == "api")


def test_a_server_says_where_it_listens_and_ends_with_0_when_told_to(
    serve: Callable[..., subprocess.Popen[str]],
) -> None:
    process = serve("--json")
    said = ready(process)
    with urllib.request.urlopen(f"{api_of(said)}/readyz", timeout=PATIENCE_S) as answer:  # noqa: S310  loopback
        assert answer.status == 200

    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=PATIENCE_S)

    assert (said["event"], said["pid"]) == ("ready", process.pid)
    assert {one["what"] for one in said["listeners"]} == {"api", "nbiot"}
    assert process.returncode == 0
    assert all(json.loads(line)["level"] == "info" for line in errors.splitlines())


def test_a_request_in_work_is_answered_before_the_server_ends(
    serve: Callable[..., subprocess.Popen[str]], folder: Path, tmp_path: Path
) -> None:
    process = serve("--json")
    host, port = api_of(ready(process)).removeprefix("http://").split(":")
    key = (tmp_path / "admin.key").read_text().strip().encode()
    body = b'{"kind":"read_now","reason":"test"}'
    head = b"POST /api/v1/meters/1/commands HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer "
    with (
        closing(sqlite3.connect(folder / "slotmeter.db", isolation_level=None)) as other_writer,
        closing(socket.create_connection((host, int(port)), timeout=PATIENCE_S)) as client,
    ):
        other_writer.execute("BEGIN IMMEDIATE")
        client.sendall(head + key + b"\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        wait_until_a_unit_waits(f"http://{host}:{port}")
        process.send_signal(signal.SIGTERM)
        wait_until_nobody_listens(host, int(port))
        other_writer.execute("COMMIT")
        answer = client.recv(65_536)

    assert answer.startswith(b"HTTP/1.1 404 ")
    assert b"meter_unknown" in answer
    assert process.wait(PATIENCE_S) == 0


def test_a_second_signal_ends_the_server_at_once(
    serve: Callable[..., subprocess.Popen[str]], folder: Path, tmp_path: Path
) -> None:
    process = serve("--json")
    url = api_of(ready(process))
    host, port = url.removeprefix("http://").split(":")
    key = (tmp_path / "admin.key").read_text().strip().encode()
    head = b"POST /api/v1/meters/1/commands HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer "
    body = b'{"kind":"read_now","reason":"test"}'
    with (
        closing(sqlite3.connect(folder / "slotmeter.db", isolation_level=None)) as other_writer,
        closing(socket.create_connection((host, int(port)), timeout=PATIENCE_S)) as client,
    ):
        other_writer.execute("BEGIN IMMEDIATE")
        client.sendall(head + key + b"\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        wait_until_a_unit_waits(url)
        process.send_signal(signal.SIGTERM)
        wait_until_nobody_listens(host, int(port))
        process.send_signal(signal.SIGTERM)

        assert process.wait(PATIENCE_S) == 130


def wait_until_a_unit_waits(url: str) -> None:
    end_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < end_s:
        with urllib.request.urlopen(f"{url}/metrics", timeout=PATIENCE_S) as answer:  # noqa: S310  loopback
            if b"slotmeter_database_units_waiting 0.0" not in answer.read():
                return
        time.sleep(0.02)
    raise AssertionError("nothing waits for the database")


def wait_until_nobody_listens(host: str, port: int) -> None:
    end_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < end_s:
        try:
            socket.create_connection((host, port), timeout=1).close()
        except OSError:
            return
        time.sleep(0.02)
    raise AssertionError(f"{host}:{port} still listens")


def test_a_second_server_on_the_folder_ends_with_1_and_one_sentence(
    serve: Callable[..., subprocess.Popen[str]],
) -> None:
    ready(serve("--json"))

    second = serve()
    _, errors = second.communicate(timeout=PATIENCE_S)

    assert second.returncode == 1
    assert "data_folder_in_use" in errors
    assert len(errors.splitlines()) == 1


def test_a_port_in_use_ends_with_1_and_names_it(
    serve: Callable[..., subprocess.Popen[str]], free_port: int
) -> None:
    with socket.create_server(("127.0.0.1", free_port)):
        process = serve("--http-port", str(free_port))
        _, errors = process.communicate(timeout=PATIENCE_S)

    assert process.returncode == 1
    assert f"127.0.0.1:{free_port} is in use" in errors
    assert "Traceback" not in errors


def test_a_setting_that_does_not_exist_ends_with_2(
    serve: Callable[..., subprocess.Popen[str]], folder: Path
) -> None:
    (folder / "slotmeter.toml").write_text("[http]\nprot = 1\n")

    process = serve()
    _, errors = process.communicate(timeout=PATIENCE_S)

    assert process.returncode == 2
    assert "http.prot" in errors


def test_the_pages_run_beside_the_server_and_do_not_outlive_it(
    serve: Callable[..., subprocess.Popen[str]], folder: Path
) -> None:
    config = folder / "slotmeter.toml"
    config.write_text(config.read_text().replace("enabled = false", "enabled = true"))
    process = serve("--json")
    said = ready(process)
    pages = next(one["address"] for one in said["listeners"] if one["what"] == "dashboards")
    child = child_of(process.pid)

    os.kill(process.pid, signal.SIGKILL)
    process.wait(PATIENCE_S)
    end_s = time.monotonic() + PATIENCE_S
    while Path(f"/proc/{child}").exists() and time.monotonic() < end_s:
        time.sleep(0.05)

    assert pages.startswith("http://127.0.0.1:")
    assert not Path(f"/proc/{child}").exists()


def child_of(pid: int) -> int:
    """The process that another one started, as Linux lists it."""
    end_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < end_s:
        for task in Path(f"/proc/{pid}/task").iterdir():
            children = (task / "children").read_text().split()
            if children:
                return int(children[0])
        time.sleep(0.05)
    raise AssertionError(f"process {pid} started no other")
