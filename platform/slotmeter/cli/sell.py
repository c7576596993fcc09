"""``slotmeter sell``: one purchase through the HTTP API, as a till does it.

The till makes the ``sale_id`` and repeats the same request until it has an answer. However often an
answer is lost, the customer pays once and gets one token.
"""

from __future__ import annotations

import argparse
import http.client
import json
import re
import secrets
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import SplitResult, urlsplit

from slotmeter.cli import EXIT_OK
from slotmeter.errors import ConfigError, SlotmeterError, Unavailable
from slotmeter.i18n import LANGUAGES

if TYPE_CHECKING:
    from slotmeter.cli import Subparsers

__all__ = ["DEFAULT_API", "Api", "answer_of", "api_url", "read_key", "register", "sell"]

T = TypeVar("T")

DEFAULT_API = "http://127.0.0.1:8480"
TIMEOUT_S = 30.0
HEARD_WITHIN_S = 0.2
TRIES = 6
PAUSE_S_FIRST = 0.5
PAUSE_S_MAX = 8.0
ANSWER_BYTES_MAX = 1 << 20
AMOUNT = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,4})?")
TRY_AGAIN = frozenset({429, 502, 503, 504})
"""Answers that say nothing about the sale itself; the same request may come through later."""


def register(subparsers: Subparsers) -> None:
    """Add ``sell``."""
    parser = subparsers.add_parser(
        "sell",
        help="sell for an amount of money, through the API",
        description="Sell through the HTTP API and print the receipt. A lost answer is asked for "
        "again under the same sale_id, so that nothing is sold twice.",
    )
    parser.add_argument("meter", metavar="METER", help="the meter's number")
    parser.add_argument(
        "amount", metavar="AMOUNT", type=_amount, help="money, as 100.00; 0 with --claim-free"
    )
    parser.add_argument("--api", default=DEFAULT_API, type=api_url, metavar="URL", help=DEFAULT_API)
    parser.add_argument(
        "--key-file", type=Path, required=True, metavar="FILE", help="file with the API key"
    )
    parser.add_argument(
        "--sale-id", metavar="ID", help="your own name of this sale; the same ID is one sale"
    )
    parser.add_argument(
        "--channel", choices=("till", "web", "phone", "bank"), default="till", help="till"
    )
    parser.add_argument("--language", choices=LANGUAGES, help="of the receipt")
    parser.add_argument(
        "--claim-free", action="store_true", help="only the free units that are due, for 0"
    )
    parser.add_argument("--json", action="store_true", help="print the sale as JSON")
    parser.set_defaults(run=_run)


def _amount(text: str) -> str:
    if not AMOUNT.fullmatch(text):
        raise argparse.ArgumentTypeError(
            f"expected an amount of money such as 100 or 100.00, got {text!r}"
        )
    return text


def api_url(text: str) -> SplitResult:
    """Read the address of a server."""
    url = urlsplit(text)
    if url.scheme not in ("http", "https") or not url.hostname:
        raise argparse.ArgumentTypeError(f"expected http://HOST:PORT, got {text!r}")
    return url


def read_key(path: Path) -> str:
    """Return the API key that a file holds.

    Raises:
        ConfigError: ``key_file_unreadable``.
    """
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError("key_file_unreadable", f"{path} cannot be read: {error}") from error


@dataclass(frozen=True, slots=True)
class Api:
    """A server's HTTP API.

    Args:
        url: scheme, host and port.
        key: the API key; sent, never shown.
    """

    url: SplitResult
    key: str

    def __repr__(self) -> str:
        """Show the address without the key."""
        return f"Api({self.url.geturl()})"

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> tuple[int, bytes]:
        """Make one request and return its status and its body.

        Raises:
            OSError: no answer came; whether the request was done is unknown.
            KeyboardInterrupt: likewise.
        """
        return _interruptible(lambda: self._call(method, path, body))

    def _call(self, method: str, path: str, body: dict[str, Any] | None) -> tuple[int, bytes]:
        secure = self.url.scheme == "https"
        kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        connection = kind(self.url.hostname or "", self.url.port, timeout=TIMEOUT_S)
        headers = {"Authorization": f"Bearer {self.key}", "Accept": "*/*"}
        payload = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            payload = json.dumps(body).encode()
        try:
            connection.request(method, f"/api/v1{path}", payload, headers)
            answer = connection.getresponse()
            return answer.status, answer.read(ANSWER_BYTES_MAX)
        except http.client.HTTPException as error:
            raise OSError(f"the answer broke off: {type(error).__name__}") from error
        finally:
            connection.close()


def _interruptible(work: Callable[[], T]) -> T:
    """Do what waits for a server where Ctrl-C is heard at once.

    A signal that comes just before the main thread waits for a socket is heard when the socket has
    something to say, which may be never.
    """
    done: Future[T] = Future()

    def do() -> None:
        try:
            done.set_result(work())
        except BaseException as error:  # noqa: BLE001  raised again where it is waited for
            done.set_exception(error)

    threading.Thread(target=do, daemon=True).start()
    while not wait([done], HEARD_WITHIN_S).done:
        pass
    return done.result()


def sell(api: Api, request: dict[str, Any]) -> dict[str, Any]:
    """Sell, asking again until there is an answer.

    Raises:
        Unavailable: ``no_server``: nobody listens there, so that nothing was asked for; or
            ``no_answer``: the sale may or may not have happened; ask again with its id.
        SlotmeterError: the server refused; the code is the server's.
    """
    pause_s = PAUSE_S_FIRST
    reason = ""
    for attempt in range(1, TRIES + 1):
        if attempt > 1:
            print(f"slotmeter: {reason}; asking again in {pause_s:g} s", file=sys.stderr)
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, PAUSE_S_MAX)
        try:
            status, answer = api.call("POST", "/sales", request)
        except OSError as error:
            if isinstance(error, ConnectionRefusedError) and attempt == 1:
                raise Unavailable(
                    "no_server",
                    f"no server listens at {api.url.netloc}; nothing was sold. "
                    "Is `slotmeter serve` running?",
                ) from error
            reason = f"no answer from {api.url.netloc} ({error.strerror or error})"
            continue
        if status in TRY_AGAIN:
            reason = f"{api.url.netloc} is busy (HTTP {status})"
            continue
        return answer_of(status, answer)
    raise Unavailable(
        "no_answer",
        f"{reason}; whether the sale was made is not known: repeat the command with "
        f"--sale-id {request['sale_id']}, which cannot sell twice",
    )


def answer_of(status: int, answer: bytes) -> dict[str, Any]:
    """Return what an answer says.

    Raises:
        SlotmeterError: the server refused; the code is the server's.
    """
    try:
        document = json.loads(answer)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise SlotmeterError(
            "not_slotmeter", f"expected JSON, got something else (HTTP {status}); is --api right?"
        )
    if status >= 400:
        raise SlotmeterError(
            str(document.get("code", f"http_{status}")),
            str(document.get("detail") or document.get("title") or f"HTTP {status}"),
            field=document.get("field"),
        )
    return document


def _run(options: argparse.Namespace) -> int:
    from slotmeter.vending.sts import check_drn

    check_drn(options.meter)
    api = Api(options.api, read_key(options.key_file))
    sale_id = options.sale_id or f"cli-{secrets.token_hex(12)}"
    request: dict[str, Any] = {
        "sale_id": sale_id,
        "meter": options.meter,
        "tendered": options.amount,
        "channel": options.channel,
    }
    if options.claim_free:
        request["claim_free"] = True
    sale = sell(api, request)
    if options.json:
        print(json.dumps(sale, indent=2, ensure_ascii=False))
        return EXIT_OK
    from slotmeter.cli.receipt import print_receipt

    made = print_receipt(api, sale["receipt_number"], "text80", options.language)
    print(made["text"].rstrip("\n"))
    return EXIT_OK
