"""The OpenAPI 3.1 document, made from the same table as the handlers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from slotmeter.api.call import Nothing
from slotmeter.api.models import Problem
from slotmeter.api.problems import PROBLEM_TYPE
from slotmeter.api.routes import ROUTES, Route

__all__ = ["openapi_document"]

_REF: Final = "#/components/schemas/{model}"
_PATH_NAME: Final = re.compile(r"\{(\w+)\}")
_ABOUT: Final = """\
Sell electricity, water and gas in advance, and watch the meters that deliver them.

Money is text in major units ("100.50"), quantities are text in the unit that is sold, times are
ISO 8601 UTC. A sale is made once for each `sale_id` of a key's owner: send the same request again
whenever you are not sure. Every answer of 400 or more is `application/problem+json` with a stable
`code`.
"""

Schemas = Mapping[tuple[Any, JsonSchemaMode], dict[str, Any]]


def openapi_document(version: str) -> dict[str, Any]:
    """Build the document; a pure function of the route table."""
    refs, definitions = models_json_schema(_models(), ref_template=_REF)
    paths: dict[str, dict[str, Any]] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, refs)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Slotmeter",
            "version": version,
            "description": _ABOUT,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": definitions.get("$defs", {}),
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer", "bearerFormat": "smk_..."}
            },
        },
    }


def _models() -> list[tuple[Any, JsonSchemaMode]]:
    found: set[tuple[type[BaseModel], JsonSchemaMode]] = {(Problem, "serialization")}
    for route in ROUTES:
        found |= {(model, "serialization") for model in route.answers.values()}
        if route.body is not Nothing:
            found.add((route.body, "validation"))
    return sorted(found, key=lambda entry: entry[0].__name__)


def _operation(route: Route, refs: Schemas) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": route.name,
        "summary": route.summary,
        "tags": [route.tag],
        "parameters": [*_path_parameters(route), *_query_parameters(route)],
        "responses": _responses(route, refs),
        "security": [] if route.rights is None else [{"key": []}],
    }
    if route.rights is not None:
        needed = " or ".join(f"`{right.value}`" for right in sorted(route.rights))
        operation["description"] = f"Needs the right {needed}."
    if route.body is not Nothing:
        operation["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": refs[(route.body, "validation")]}},
        }
    return operation


def _path_parameters(route: Route) -> Iterator[dict[str, Any]]:
    for name in _PATH_NAME.findall(route.path):
        yield {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


def _query_parameters(route: Route) -> Iterator[dict[str, Any]]:
    schema = route.query.model_json_schema(ref_template=_REF)
    for name, each in schema.get("properties", {}).items():
        parameter: dict[str, Any] = {
            "name": name,
            "in": "query",
            "required": name in schema.get("required", ()),
            "schema": {key: value for key, value in each.items() if key != "description"},
        }
        if "description" in each:
            parameter["description"] = each["description"]
        yield parameter
    if "text/event-stream" in route.also:
        yield {
            "name": "Last-Event-ID",
            "in": "header",
            "required": False,
            "schema": {"type": "string"},
            "description": "Goes on after this event.",
        }


def _responses(route: Route, refs: Schemas) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    for status in sorted(route.statuses | ({200} if route.also else set())):
        content: dict[str, Any] = {}
        if status >= HTTPStatus.BAD_REQUEST:
            content[PROBLEM_TYPE] = {"schema": refs[(Problem, "serialization")]}
        elif status in route.answers:
            schema = refs[(route.answers[status], "serialization")]
            content["application/json"] = {"schema": schema}
        if status == HTTPStatus.OK:
            content |= {media: {"schema": {"type": "string"}} for media in route.also}
        responses[str(status)] = {
            "description": HTTPStatus(status).phrase,
            "headers": {"X-Request-Id": {"schema": {"type": "string"}}},
            "content": content,
        }
    return responses
