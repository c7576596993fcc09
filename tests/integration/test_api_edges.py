"""What every request passes: keys, rights, ids, limits, and problems for whatever goes wrong."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from typing import Any

import aiohttp
import pytest
from openapi_spec_validator import validate

from slotmeter.api.models import SaleBody
from slotmeter.api.openapi import openapi_document
from slotmeter.api.problems import HTTP_CODES
from slotmeter.api.query_models import RegisterName
from slotmeter.api.routes import ROUTES, Route
from slotmeter.config import LimitsConfig
from slotmeter.devices.entities import REGISTERS
from slotmeter.services.access import Origin
from slotmeter.testing.api_town import ApiTown

OVERVIEW = "/api/v1/overview"
SALES = "/api/v1/sales"
LOCAL = Origin("local:test", "test")
GUARDED = [route for route in ROUTES if route.rights is not None]


def ids(route: Route) -> str:
    return f"{route.method} {route.path}"


def filled(route: Route) -> str:
    """A path of the route, of things that do not exist."""
    return re.sub(r"\{\w+\}", "1", route.path)


async def raw(api: ApiTown, request: bytes) -> tuple[int, dict[str, str], Any]:
    """Send bytes on a connection of their own; return status, headers and JSON of the answer."""
    host, port = api.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(request)
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    return int(status.split()[1]), headers, json.loads(body)


# --- the document -------------------------------------------------------------------------------


def test_the_document_is_valid_openapi() -> None:
    validate(openapi_document("1.2.3"))


async def test_the_document_served_is_the_one_made_from_the_table(api: ApiTown) -> None:
    reply = await api.get("/api/v1/openapi.json")

    assert reply.json["paths"].keys() == {route.path for route in ROUTES}


async def test_the_table_and_the_handlers_are_the_same_routes(api: ApiTown) -> None:
    served = {
        (route.method, route.resource.canonical)
        for route in api.runner.app.router.routes()
        if route.resource is not None and route.method != "HEAD"
    }

    assert served == {
        *((route.method, route.path) for route in ROUTES),
        ("GET", "/api/v1/openapi.json"),
        ("*", "/api/v1/media/{entry}/{tail}"),  # what plugins answer, each for itself
    }


def test_every_register_can_be_asked_for() -> None:
    assert set(RegisterName.__args__) == set(REGISTERS)  # type: ignore[attr-defined]  # Literal's own


# --- keys and rights ----------------------------------------------------------------------------


@pytest.mark.parametrize("route", GUARDED, ids=ids)
async def test_without_a_key_there_is_no_answer_but_401(api: ApiTown, route: Route) -> None:
    reply = await api.call(route.method, filled(route))

    assert (reply.status, reply.code) == (401, "key_missing")
    assert reply.headers["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize("route", GUARDED, ids=ids)
async def test_a_key_without_the_right_gets_403(api: ApiTown, route: Route) -> None:
    await api.utility.add_principal("nobody", "vendor")
    made = await api.principals.add_key(
        LOCAL, api.utility.utility_id, name="nobody", label="none", reason="test", rights=[]
    )
    api.keys["nobody"] = made.text

    reply = await api.call(route.method, filled(route), "nobody")

    assert (reply.status, reply.code) == (403, "right_missing")


async def test_a_key_of_another_server_gets_401(api: ApiTown) -> None:
    reply = await api.get(OVERVIEW, headers={"Authorization": "Bearer smk_" + "A" * 43})

    assert (reply.status, reply.code) == (401, "key_unknown")


async def test_a_key_is_never_in_a_log_line(api: ApiTown, caplog: pytest.LogCaptureFixture) -> None:
    key = await api.join("till", "vendor")
    caplog.set_level(logging.DEBUG)

    await api.get(SALES, "till")

    assert key not in caplog.text


# --- request ids and headers --------------------------------------------------------------------


async def test_a_sane_request_id_is_kept(api: ApiTown) -> None:
    reply = await api.get("/healthz", headers={"X-Request-Id": "till-7:42"})

    assert reply.headers["X-Request-Id"] == "till-7:42"


@pytest.mark.parametrize("given", ["a b", "x" * 65, "<script>", ""])
async def test_another_request_id_is_replaced(api: ApiTown, given: str) -> None:
    reply = await api.get("/healthz", headers={"X-Request-Id": given})

    assert reply.headers["X-Request-Id"] != given
    assert re.fullmatch("[0-9a-f]{8}-[0-9a-f]{8}", reply.headers["X-Request-Id"])


async def test_an_answer_does_not_name_the_software_behind_it(api: ApiTown) -> None:
    reply = await api.get("/healthz")

    assert reply.headers["Server"] == "slotmeter"


# --- what HTTP itself refuses -------------------------------------------------------------------


async def test_a_path_that_does_not_exist_is_a_404_problem(api: ApiTown) -> None:
    reply = await api.get("/api/v2/sales")

    assert (reply.status, reply.code) == (404, "no_such_path")


async def test_a_method_that_does_not_exist_is_a_405_problem(api: ApiTown) -> None:
    reply = await api.call("DELETE", SALES)

    assert (reply.status, reply.code) == (405, "method_not_allowed")
    assert reply.headers["Allow"] == "GET,HEAD,POST"


async def test_what_answers_get_answers_head_without_a_body(api: ApiTown) -> None:
    async with api.session.head(f"{api.url}/healthz") as answer:
        body = await answer.read()

    assert (answer.status, body) == (200, b"")


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: a\r\nBad Header: x\r\n\r\n",
        b"POST /api/v1/sales HTTP/1.1\r\nHost: a\r\nContent-Length: minus\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    ],
)
async def test_bytes_that_are_not_http_get_a_400_problem(
    api: ApiTown, request_bytes: bytes
) -> None:
    status, headers, body = await raw(api, request_bytes)

    assert (status, body["code"]) == (400, "bad_http")
    assert headers["Content-Type"] == "application/problem+json"
    assert headers["Server"] == "slotmeter"


@pytest.mark.parametrize(
    "headers",
    [
        b"X-Long: " + b"x" * 9_000 + b"\r\n",
        b"".join(b"X-%d: 1\r\n" % number for number in range(70)),
    ],
    ids=["one long header", "many headers"],
)
async def test_too_much_of_headers_gets_a_400_problem(api: ApiTown, headers: bytes) -> None:
    status, _, body = await raw(api, b"GET /healthz HTTP/1.1\r\nHost: a\r\n" + headers + b"\r\n")

    assert (status, body["code"]) == (400, "bad_http")


async def test_an_error_of_ours_is_a_500_that_says_nothing_and_a_log_that_says_all(
    api: ApiTown, caplog: pytest.LogCaptureFixture
) -> None:
    await api.join("boss", "admin")
    await api.get(OVERVIEW, "boss")
    await api.utility.add_meter("water")
    api.sql("UPDATE meter SET commodity = 'plutonium'")

    reply = await api.get("/api/v1/meters", "boss", headers={"X-Request-Id": "find-me"})

    assert (reply.status, reply.code) == (500, "internal_error")
    assert b"plutonium" not in reply.content
    assert "plutonium" in caplog.text


async def test_a_caller_who_hangs_up_in_the_middle_of_a_request_is_no_fault_of_ours(
    api: ApiTown, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO, logger="slotmeter.api.server")
    was_said = asyncio.Event()
    monkeypatch.setattr(caplog.handler, "flush", was_said.set)
    key = await api.join("till", "vendor")
    host, port = api.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(
        f"POST {SALES} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {key}\r\n"
        "Expect: 100-continue\r\nContent-Length: 100\r\n\r\n".encode()
    )
    await reader.readline()  # it waits for the body now
    writer.transport.abort()
    async with asyncio.timeout(10):
        await was_said.wait()

    assert [(each.levelname, each.exc_info) for each in caplog.records] == [("INFO", None)]


async def test_expecting_something_unknown_is_a_417_problem(api: ApiTown) -> None:
    reply = await api.get("/api/v1/openapi.json", headers={"Expect": "miracle"})

    assert (reply.status, reply.code) == (417, "expectation_failed")


def test_every_code_of_http_is_one_of_ours_and_a_sentence() -> None:
    assert all(code.islower() and " " in text for code, text in HTTP_CODES.values())


# --- limits ---------------------------------------------------------------------------------------


class TestSmallLimits:
    """With very low limits."""

    @pytest.fixture
    def api_limits(self) -> LimitsConfig:
        return LimitsConfig(
            requests_per_key_max=1,
            request_timeout_s=0.2,
            event_streams_max=1,
            drain_timeout_s=0.5,
            body_bytes_max=1_024,
        )

    async def test_one_request_too_many_of_a_key_is_429(self, api: ApiTown) -> None:
        await api.join("eye", "viewer")
        stream = await api.session.get(
            f"{api.url}/api/v1/events",
            headers={
                "Authorization": f"Bearer {api.keys['eye']}",
                "Accept": "text/event-stream",
            },
        )

        reply = await api.get(OVERVIEW, "eye")
        stream.close()

        assert (reply.status, reply.code) == (429, "too_many_requests")
        assert reply.headers["Retry-After"] == "1"

    async def test_one_stream_too_many_is_503(self, api: ApiTown) -> None:
        accept = {"Accept": "text/event-stream"}
        await api.join("eye", "viewer")
        await api.join("ear", "viewer")
        stream = await api.session.get(
            f"{api.url}/api/v1/events",
            headers={"Authorization": f"Bearer {api.keys['eye']}", **accept},
        )

        reply = await api.get("/api/v1/events", "ear", headers=accept)
        stream.close()

        assert (reply.status, reply.code) == (503, "too_many_streams")

    async def test_a_body_that_does_not_come_is_408(self, api: ApiTown) -> None:
        key = await api.join("till", "vendor")
        host, port = api.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(
            f"POST {SALES} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {key}\r\n"
            "Content-Length: 100\r\n\r\n{".encode()
        )
        status = await reader.readline()
        writer.close()

        assert status.split()[1] == b"408"

    async def test_work_that_takes_too_long_is_given_up_with_503(
        self, api: ApiTown, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await api.join("boss", "admin")

        async def never(*_: object) -> None:
            await asyncio.get_running_loop().create_future()

        monkeypatch.setattr(api.services.queries, "overview", never)
        reply = await api.get(OVERVIEW, "boss")

        assert (reply.status, reply.code) == (503, "timed_out")

    async def test_the_limit_of_a_body_is_the_configured_one(self, api: ApiTown) -> None:
        await api.join("till", "vendor")

        reply = await api.post(SALES, "till", data=b" " * 1_025)

        assert (reply.status, reply.code) == (413, "body_too_large")


# --- health ---------------------------------------------------------------------------------------


async def test_a_server_that_is_not_ready_says_why(api: ApiTown) -> None:
    ready = await api.get("/readyz")
    api.reasons.append("recovery is not finished")
    not_ready = await api.get("/readyz")
    alive = await api.get("/healthz")

    assert (ready.status, not_ready.status, alive.status) == (200, 503, 200)
    assert not_ready.json["reasons"] == ["recovery is not finished"]


async def test_requests_are_counted_by_route_and_status(api: ApiTown) -> None:
    await api.get("/healthz")
    await api.get("/nothing/here")

    text = (await api.get("/metrics")).content.decode()

    assert 'slotmeter_http_requests_total{route="healthz",status="200"} 1.0' in text
    assert 'slotmeter_http_requests_total{route="none",status="404"} 1.0' in text


async def test_a_sale_body_is_validated_from_bytes_without_a_schema_of_its_own(
    api: ApiTown,
) -> None:
    validator = SaleBody.__pydantic_validator__
    await api.join("till", "vendor")
    await api.post(SALES, "till", json={})

    assert SaleBody.__pydantic_validator__ is validator


async def test_a_connection_is_kept_for_the_next_request(api: ApiTown) -> None:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1)) as session:
        for _ in range(3):
            async with session.get(f"{api.url}/healthz") as reply:
                assert reply.status == 200

        assert len(api.runner.server.connections) == 1  # type: ignore[union-attr]  # it runs
