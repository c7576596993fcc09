"""Errors as ``application/problem+json`` (RFC 9457): the only place that knows HTTP statuses.

Every answer of 400 or more has one shape: ``type``, ``title``, ``status``, a stable ``code``, a
sentence in ``detail``, the ``field`` at fault where there is one, and the ``request_id`` to look
for in the logs. Nothing of the server's inside is ever in it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from aiohttp import web
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from slotmeter.errors import (
    ConfigError,
    Conflict,
    FrameError,
    NotAllowed,
    NotFound,
    NotSignedIn,
    Refused,
    SlotmeterError,
    Unavailable,
)

__all__ = [
    "HTTP_CODES",
    "PROBLEM_TYPE",
    "SERVER_NAME",
    "VALIDATION_CODES",
    "BadRequest",
    "TooMany",
    "http_problem",
    "invalid_problem",
    "problem",
    "refused_problem",
    "status_of",
]

PROBLEM_TYPE: Final = "application/problem+json"
SERVER_NAME: Final = "slotmeter"
FIELDS_NAMED_MAX: Final = 20
RETRY_AFTER_S: Final = 1


class BadRequest(SlotmeterError):
    """The request cannot be read at all."""


class TooMany(SlotmeterError):
    """The caller has too much in work already."""


_STATUSES: Final[Mapping[type[SlotmeterError], HTTPStatus]] = {
    BadRequest: HTTPStatus.BAD_REQUEST,
    NotSignedIn: HTTPStatus.UNAUTHORIZED,
    NotAllowed: HTTPStatus.FORBIDDEN,
    NotFound: HTTPStatus.NOT_FOUND,
    Conflict: HTTPStatus.CONFLICT,
    Refused: HTTPStatus.UNPROCESSABLE_ENTITY,
    TooMany: HTTPStatus.TOO_MANY_REQUESTS,
    Unavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    ConfigError: HTTPStatus.INTERNAL_SERVER_ERROR,
    FrameError: HTTPStatus.INTERNAL_SERVER_ERROR,
}

HTTP_CODES: Final[Mapping[int, tuple[str, str]]] = {
    400: ("bad_http", "the request is not valid HTTP"),
    404: ("no_such_path", "there is nothing at this path; see /api/v1/openapi.json"),
    405: ("method_not_allowed", "this path does not answer this method"),
    408: ("request_too_slow", "the request did not arrive in time"),
    413: ("body_too_large", "the body is larger than this server accepts"),
    414: ("line_too_long", "the address is longer than this server accepts"),
    417: ("expectation_failed", "only 'Expect: 100-continue' is understood"),
    431: ("headers_too_large", "the headers are larger than this server accepts"),
    500: ("internal_error", "something went wrong here; the log has it under the request id"),
    503: ("timed_out", "the request took too long and was given up; the same may be sent again"),
}
"""Code and sentence of problems that HTTP itself raises."""

VALIDATION_CODES: Final[Mapping[str, str]] = {
    "extra_forbidden": "unknown_field",
    "missing": "field_missing",
    "string_type": "not_text",
    "string_too_short": "too_short",
    "string_too_long": "too_long",
    "string_pattern_mismatch": "bad_format",
    "string_unicode": "bad_format",
    "literal_error": "not_one_of",
    "enum": "not_one_of",
    "int_type": "not_an_integer",
    "int_parsing": "not_an_integer",
    "int_parsing_size": "out_of_range",
    "int_from_float": "not_an_integer",
    "bool_type": "not_a_boolean",
    "bool_parsing": "not_a_boolean",
    "greater_than": "out_of_range",
    "greater_than_equal": "out_of_range",
    "less_than": "out_of_range",
    "less_than_equal": "out_of_range",
    "model_type": "not_an_object",
    "dict_type": "not_an_object",
    "model_attributes_type": "not_an_object",
    "datetime_type": "not_a_time",
    "datetime_parsing": "not_a_time",
    "datetime_from_date_parsing": "not_a_time",
    "datetime_object_invalid": "not_a_time",
    "timezone_aware": "not_a_time",
    "date_type": "not_a_date",
    "date_parsing": "not_a_date",
    "date_from_datetime_parsing": "not_a_date",
    "date_from_datetime_inexact": "not_a_date",
}
"""What pydantic calls an error, and our stable code for it; own errors keep their own code."""


def status_of(error: SlotmeterError) -> HTTPStatus:
    """Return the status for an error of the tree, by its nearest class."""
    for kind in type(error).__mro__:
        status = _STATUSES.get(kind)
        if status is not None:
            return status
    return HTTPStatus.INTERNAL_SERVER_ERROR


def problem(
    status: int,
    code: str,
    detail: str,
    *,
    request_id: str,
    field: str | None = None,
    details: Mapping[str, object] | None = None,
) -> web.Response:
    """Make a problem answer."""
    status = int(status)
    body: dict[str, object] = dict(details or {})
    body |= {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "code": code,
        "detail": detail,
        "request_id": request_id,
    }
    if field is not None:
        body["field"] = field
    response = web.Response(
        status=status,
        body=json.dumps(body, default=str).encode(),
        content_type=PROBLEM_TYPE,
    )
    if status == HTTPStatus.UNAUTHORIZED:
        response.headers["WWW-Authenticate"] = 'Bearer realm="slotmeter"'
    if status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
        response.headers["Retry-After"] = str(RETRY_AFTER_S)
    return response


def refused_problem(error: SlotmeterError, request_id: str) -> web.Response:
    """Make the answer for an error of the tree; a 500 says nothing of what it was."""
    status = status_of(error)
    if status is HTTPStatus.INTERNAL_SERVER_ERROR:
        return http_problem(status, request_id)
    return problem(
        status,
        error.code,
        error.message,
        request_id=request_id,
        field=error.field,
        details=error.details,
    )


def http_problem(status: int, request_id: str) -> web.Response:
    """Make the answer for a problem that HTTP itself raises."""
    code, detail = HTTP_CODES.get(status) or (f"http_{status}", HTTPStatus(status).description)
    return problem(status, code, detail, request_id=request_id)


def invalid_problem(error: ValidationError, request_id: str) -> web.Response:
    """Make the answer for a body or query that does not fit its model.

    The first fault gives ``code`` and ``field``; ``errors`` names up to ``FIELDS_NAMED_MAX``.
    """
    faults = [
        _fault(fault)
        for fault in error.errors(include_url=False, include_context=True, include_input=False)
    ]
    first = faults[0]
    if first["code"] == "not_json":
        return problem(
            HTTPStatus.BAD_REQUEST, "not_json", str(first["detail"]), request_id=request_id
        )
    return problem(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        str(first["code"]),
        str(first["detail"]),
        request_id=request_id,
        field=first["field"],
        details={"errors": faults[:FIELDS_NAMED_MAX]},
    )


def _fault(fault: ErrorDetails) -> dict[str, Any]:
    kind = fault["type"]
    field = ".".join(str(part) for part in fault["loc"]) or None
    if kind == "json_invalid":
        return {"code": "not_json", "field": None, "detail": f"the body is not JSON: {_why(fault)}"}
    code = VALIDATION_CODES.get(kind, kind)
    detail = fault["msg"][0].lower() + fault["msg"][1:]
    if kind == "extra_forbidden":
        detail = f"there is no field {field}"
    elif kind == "missing":
        detail = f"the field {field} is needed"
    return {"code": code, "field": field, "detail": detail}


def _why(fault: ErrorDetails) -> str:
    """Return where JSON broke, without repeating what was sent."""
    return str(fault.get("ctx", {}).get("error", "it cannot be parsed"))
