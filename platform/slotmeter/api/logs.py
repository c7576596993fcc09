"""Log lines: JSON or text, each with the id of its request, and never with a token.

A token is 20 digits, in one run or in groups of four; any such run is masked on its way out,
whoever wrote the line. An API key is masked as well.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Final, TextIO

__all__ = ["REQUEST_ID", "JsonFormatter", "TextFormatter", "mask", "set_up_logging"]

REQUEST_ID: ContextVar[str] = ContextVar("request_id", default="-")
"""The id of the request that this task works on."""

_SECRETS: Final = re.compile(
    r"(?<![0-9])[0-9]{20}(?![0-9])"
    r"|(?<![0-9])(?:[0-9]{4}[ -]){4}[0-9]{4}(?![0-9])"
    r"|smk_[A-Za-z0-9_-]{43}"
)
_STANDARD: Final = frozenset(
    (*vars(logging.makeLogRecord({})), "message", "asctime", "request_id", "taskName")
)


def mask(text: str) -> str:
    """Replace every token and every API key in a text."""
    return _SECRETS.sub("[masked]", text)


def _moment(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class JsonFormatter(logging.Formatter):
    """One JSON object per line."""

    def format(self, record: logging.LogRecord) -> str:
        """Write time, level, logger, request id, message, extra fields and traceback."""
        line: dict[str, object] = {
            "at": _moment(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "request_id": REQUEST_ID.get(),
            "message": record.getMessage(),
        }
        line |= {name: value for name, value in vars(record).items() if name not in _STANDARD}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return mask(json.dumps(line, default=str))


class TextFormatter(logging.Formatter):
    """A line for people."""

    def format(self, record: logging.LogRecord) -> str:
        """Write time, level, logger, request id, message, extra fields and traceback."""
        extra = "".join(
            f" {name}={value}" for name, value in vars(record).items() if name not in _STANDARD
        )
        request_id = REQUEST_ID.get()
        about = "" if request_id == "-" else f" [{request_id}]"
        text = (
            f"{_moment(record)} {record.levelname.lower():7} {record.name}{about} "
            f"{record.getMessage()}{extra}"
        )
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        return mask(text)


def set_up_logging(level: str, style: str, stream: TextIO | None = None) -> None:
    """Send all logs to one stream.

    Args:
        level: debug, info, warning or error.
        style: ``json`` or ``text``.
        stream: standard error if not given.
    """
    handler = logging.StreamHandler(stream if stream is not None else sys.stderr)
    handler.setFormatter(JsonFormatter() if style == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for chatty in ("alembic", "asyncio", "aiohttp.access", "coap-server", "coap"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, root.level))
