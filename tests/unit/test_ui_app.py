"""What holds for every address: errors as problem details, headers, trace ids, bounds on bodies."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import trio
import trio.testing
from starlette.types import Message, Receive, Scope, Send

from appliance.core.errors import LimitExceeded
from appliance.core.limits import CATALOG_READER_COUNT, REQUEST_BODY_BYTES_MAX
from appliance.tracing.desk import TracingDesk
from appliance.tracing.sampling import PerSecond
from storage.catalog import Catalog
from tests.acts import ACT
from tests.node_kit import running_node
from ui.middleware import CONTENT_SECURITY_POLICY, BodyLimit


@pytest.mark.parametrize(
    "path", ["/api/v1/nothing", "/api/", "/api/v2/devices", "/health/nothing", "/api/v1/devices/"]
)
async def test_an_address_without_anything_is_a_problem(tmp_path: Path, path: str) -> None:
    async with running_node(tmp_path, with_pages=True) as node, node.client(local=True) as client:
        answer = await client.get(path)
        assert (answer.status_code, answer.json()["code"]) == (404, "no_such_address")


async def test_a_method_that_is_not_taken_says_which_are(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node, node.client(local=True) as client:
        answer = await client.put("/api/v1/status")
        assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
        assert "GET" in answer.headers["allow"]


@pytest.mark.parametrize("path", ["/health/live", "/api/v1/status", "/api/v1/nothing", "/"])
async def test_every_answer_has_the_strict_headers(tmp_path: Path, path: str) -> None:
    async with running_node(tmp_path, with_pages=True) as node, node.client() as client:
        headers = (await client.get(path)).headers
        assert headers["content-security-policy"] == CONTENT_SECURITY_POLICY
        assert "unsafe" not in CONTENT_SECURITY_POLICY
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "same-origin"
        assert headers["cache-control"] == "no-store"
        assert "strict-transport-security" not in headers
        assert "server" not in headers


async def test_the_trace_id_is_the_callers_or_a_new_one(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, node.client() as client:
        mine = "0af7651916cd43dd8448eb211c80319c"
        answer = await client.get("/health/live", headers={"traceparent": f"00-{mine}-b7ad6b7169203331-01"})
        assert answer.headers["x-trace-id"] == mine
        for bad in ("", "nonsense", f"00-{'0' * 32}-b7ad6b7169203331-01", "00-" + "a" * 5000):
            answer = await client.get("/health/live", headers={"traceparent": bad})
            assert answer.headers["x-trace-id"] != mine
            assert len(answer.headers["x-trace-id"]) == 32


async def test_a_request_is_a_span_of_the_callers_trace(tmp_path: Path) -> None:
    trace_id, caller = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    tracing = TracingDesk(requests=PerSecond(1, lambda: 0))
    async with running_node(tmp_path) as whole:
        node = whole.with_services(tracing=tracing)
        async with node.client() as client:
            parent = {"traceparent": f"00-{trace_id}-{caller}-01", "tracestate": "a=1"}
            answer = await client.get("/health/live?secret=1", headers=parent)
            again = await client.get("/health/live", headers=parent)
            unsampled = await client.get(
                "/health/live", headers={"traceparent": f"00-{trace_id}-{caller}-00"}
            )
    found = tracing.recorder.book.trace(trace_id)
    assert found is not None
    (span,) = found.spans
    assert (span.parent_id, span.name, span.state, span.error) == (caller, "GET", "a=1", "")
    assert answer.headers["traceresponse"] == f"00-{trace_id}-{span.span_id}-01"
    assert again.headers["traceresponse"].endswith("-00"), "more than one in a second are not traced"
    assert unsampled.headers["traceresponse"].endswith("-00")
    assert span.attributes["url.path"] == "/health/live", "what stands behind the ? may be anybody's secret"
    assert span.attributes["http.response.status_code"] == 200


async def test_an_error_nobody_foresaw_tells_nothing_and_has_a_trace_id(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with running_node(tmp_path) as node:

        async def broken(*_: object, **__: object) -> object:
            raise ZeroDivisionError("the secret of the house")

        node.telemetry.query = broken  # type: ignore[method-assign,assignment]
        await node.catalog.write(lambda catalog: catalog.add_device("d"), by=ACT)
        with caplog.at_level(logging.ERROR):
            async with node.client(local=True) as client:
                answer = await client.get("/api/v1/devices/d/telemetry?metric=t&from=0&to=9")
        assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
        assert "secret" not in answer.text
        assert answer.json()["trace_id"] == answer.headers["x-trace-id"]
        assert "content-security-policy" in answer.headers


@pytest.mark.parametrize(
    ("content", "content_type", "status", "code"),
    [
        (b"{", "application/json", 400, "body_invalid"),
        (b"", "application/json", 400, "body_invalid"),
        (b"\xff\xfe", "application/json", 400, "body_invalid"),
        (b"[" * 100_000, "application/json", 422, "body_unusable"),
        (b'{"device_id":' + b'{"a":' * 50_000, "application/json", 422, "body_unusable"),
        (b"[]", "application/json", 422, "body_unusable"),
        (b'{"device_id": 5}', "application/json", 422, "body_unusable"),
        (b'{"device_id": "d", "x": 1}', "application/json; charset=utf-8", 422, "body_unusable"),
        (b'{"device_id": "d"}', "text/plain", 415, "body_type"),
        (b"device_id=d", "application/x-www-form-urlencoded", 415, "body_type"),
    ],
)
async def test_a_body_that_can_not_be_used(
    tmp_path: Path, content: bytes, content_type: str, status: int, code: str
) -> None:
    async with running_node(tmp_path) as node, node.client(local=True) as client:
        answer = await client.post("/api/v1/devices", content=content, headers={"content-type": content_type})
        assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text


async def test_a_body_that_says_it_is_too_large_is_not_read(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, node.client(local=True) as client:
        body = b" " * (REQUEST_BODY_BYTES_MAX + 1)
        answer = await client.post(
            "/api/v1/devices", content=body, headers={"content-type": "application/json"}
        )
        assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")


async def test_a_body_without_a_length_is_cut_at_the_limit() -> None:
    taken_bytes = 0

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal taken_bytes
        while True:
            taken_bytes += len((await receive())["body"])

    async def receive() -> Message:
        await trio.lowlevel.checkpoint()
        return {"type": "http.request", "body": b" " * 1000, "more_body": True}

    async def send(message: Message) -> None:
        raise AssertionError("the app's errors are answered further in")

    with pytest.raises(LimitExceeded) as refused:
        await BodyLimit(app, bytes_max=10_500)({"type": "http", "headers": []}, receive, send)
    assert refused.value.code == "body_too_large"
    assert taken_bytes == 10_000


async def test_a_body_that_does_not_come_ends_the_request(autojump_clock: trio.testing.MockClock) -> None:
    answers: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive()).get("more_body"):
            pass

    async def receive() -> Message:
        await trio.sleep(20)
        return {"type": "http.request", "body": b"x", "more_body": True}

    async def send(message: Message) -> None:
        answers.append(message)

    limited = BodyLimit(app, timeout_ms=30_000)
    with pytest.raises(LimitExceeded, match="did not arrive within 30 s"):
        await limited({"type": "http", "headers": []}, receive, send)
    assert trio.current_time() >= 30


async def test_a_catalog_without_a_free_connection_answers_503_with_retry_after(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, node.client(local=True) as client:

        def endless(catalog: Catalog) -> None:
            catalog.rows(
                "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
            )

        async with trio.open_nursery() as nursery:
            for _ in range(CATALOG_READER_COUNT):
                nursery.start_soon(node.catalog.read, endless)
            await trio.testing.wait_all_tasks_blocked()
            with trio.fail_after(30):
                answer = await client.get("/api/v1/devices")
            nursery.cancel_scope.cancel()
        assert (answer.status_code, answer.json()["code"]) == (503, "catalog_busy")
        assert int(answer.headers["retry-after"]) >= 1
