"""The server as a child process knows its own server from another one on the same port."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from slotmeter.cli import main
from slotmeter.testing.server import PortTaken, Server


class AlwaysReady(BaseHTTPRequestHandler):
    """Another server, which says that it is ready."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Write nothing."""


@pytest.fixture
def taken_port() -> Iterator[int]:
    other = ThreadingHTTPServer(("127.0.0.1", 0), AlwaysReady)
    thread = threading.Thread(target=other.serve_forever, daemon=True)
    thread.start()
    yield other.server_port
    other.shutdown()
    other.server_close()
    thread.join()


@pytest.fixture
def server(tmp_path: Path, taken_port: int, free_ports: Callable[[], int]) -> Iterator[Server]:
    folder = tmp_path / "data"
    at = ("--http-port", str(taken_port), "--nbiot-port", str(free_ports()))
    init = ("init", "--data", str(folder), "--utility-name", "Town", "--no-dashboards", *at)
    assert main([*init, "--admin-key-file", str(tmp_path / "admin.key")]) == 0
    made = Server(folder / "slotmeter.toml", port=taken_port, log=tmp_path / "serve.log")
    yield made
    made.kill()


@pytest.mark.timeout(90)
def test_another_server_on_the_port_is_not_taken_for_ours(server: Server) -> None:
    server.launch()

    assert not server.is_ready()
    with pytest.raises(PortTaken, match="port_in_use"):
        server.wait_until_ready()
