"""One route as a value, and short ways to write one: what every table of routes is made of."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final

from aiohttp import web
from pydantic import BaseModel

from slotmeter.api.call import Answer, Call, Nothing
from slotmeter.ports import Right

__all__ = ["API", "DOCUMENT_PATH", "OK", "Handler", "Route", "get", "post", "put"]

API: Final = "/api/v1"
DOCUMENT_PATH: Final = f"{API}/openapi.json"

Handler = Callable[[Call[Any, Any]], Awaitable[Answer | web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Route:
    """One method of one path.

    Args:
        name: unique; the operation's id and its name in metrics.
        tag: the chapter it stands under.
        rights: the caller needs one of these; None leaves the route open to all.
        answers: what it gives by status, below 400.
        body: the model of the JSON body; ``Nothing`` for none.
        query: the model of the parameters; ``Nothing`` for none.
        also: other media types that it answers with 200.
        problems: statuses of problems beside those that follow from the above.
        timed: bound by the time for one request.
    """

    method: str
    path: str
    name: str
    tag: str
    handler: Handler
    rights: frozenset[Right] | None
    answers: Mapping[int, type[BaseModel]]
    body: type[BaseModel] = Nothing
    query: type[BaseModel] = Nothing
    also: tuple[str, ...] = ()
    problems: tuple[int, ...] = ()
    timed: bool = field(default=True)

    @property
    def summary(self) -> str:
        """The first sentence of the handler."""
        return (self.handler.__doc__ or "").partition("\n")[0]

    @property
    def statuses(self) -> frozenset[int]:
        """Every status that this route answers."""
        found = {*self.answers, *self.problems, 500, 503}
        if self.rights is not None:
            found |= {401, 403, 429}
        if self.body is not Nothing:
            found |= {400, 408, 413, 422}
        if self.query is not Nothing:
            found |= {422}
        if "{" in self.path:
            found |= {404}
        return frozenset(found)


OK: Final = HTTPStatus.OK


def get(
    path: str,
    handler: Handler,
    tag: str,
    rights: frozenset[Right],
    answer: type[BaseModel],
    **more: Any,
) -> Route:
    """Return a GET of a path under ``API``, named as its handler is."""
    return Route(
        "GET", f"{API}{path}", handler.__name__, tag, handler, rights, {OK: answer}, **more
    )


def post(
    path: str,
    handler: Handler,
    tag: str,
    right: Right | frozenset[Right],
    answers: Mapping[int, type[BaseModel]],
    **more: Any,
) -> Route:
    """Return a POST to a path under ``API``, named as its handler is."""
    return _acting("POST", path, handler, tag, right, answers, **more)


def put(
    path: str,
    handler: Handler,
    tag: str,
    right: Right,
    answers: Mapping[int, type[BaseModel]],
    **more: Any,
) -> Route:
    """Return a PUT to a path under ``API``, named as its handler is."""
    return _acting("PUT", path, handler, tag, right, answers, **more)


def _acting(
    method: str,
    path: str,
    handler: Handler,
    tag: str,
    right: Right | frozenset[Right],
    answers: Mapping[int, type[BaseModel]],
    **more: Any,
) -> Route:
    rights = right if isinstance(right, frozenset) else frozenset({right})
    return Route(method, f"{API}{path}", handler.__name__, tag, handler, rights, answers, **more)
