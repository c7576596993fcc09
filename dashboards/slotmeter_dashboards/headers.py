"""What every answer of the console carries: rules for the browser, and compression.

The content security policy lets a page reach nothing but the console itself: a chart or a script
that wanted to call out could not.
"""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import FastAPI
from starlette.datastructures import MutableHeaders
from starlette.middleware.gzip import GZipMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["add_headers", "policy"]

COMPRESS_BYTES_MIN = 1_000
COMPRESS_LEVEL = 4


def policy(script_hashes: Sequence[str]) -> str:
    """Return the content security policy; inline scripts only those with a known hash."""
    scripts = " ".join(["'self'", *script_hashes])
    return "; ".join(
        [
            "default-src 'self'",
            f"script-src {scripts}",
            "style-src 'self' 'unsafe-inline'",
            "img-src 'self' data: blob:",
            "font-src 'self'",
            "connect-src 'self'",
            "object-src 'none'",
            "base-uri 'self'",
            "form-action 'self'",
            "frame-ancestors 'self'",
        ]
    )


class _Headers:
    """Adds the rules to each answer."""

    def __init__(self, app: ASGIApp, rules: str) -> None:
        self.app = app
        self.rules = rules

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_rules(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["Content-Security-Policy"] = self.rules
                headers["X-Content-Type-Options"] = "nosniff"
                headers["Referrer-Policy"] = "same-origin"
                headers.setdefault("Cache-Control", "no-cache")
            await send(message)

        await self.app(scope, receive, send_with_rules)


def add_headers(server: FastAPI, script_hashes: Sequence[str]) -> None:
    """Put both around the whole application."""
    server.add_middleware(
        GZipMiddleware, minimum_size=COMPRESS_BYTES_MIN, compresslevel=COMPRESS_LEVEL
    )
    server.add_middleware(_Headers, rules=policy(script_hashes))
