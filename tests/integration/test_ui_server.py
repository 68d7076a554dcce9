"""The app behind the real server: TLS with the box's own certificate, HTTP/2, and the Unix socket beside it."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import httpx
import pytest
import trio
from hypercorn.config import Config
from hypercorn.trio import serve
from starlette.types import ASGIApp, Receive, Scope, Send

from appliance.run.local_api import LocalApi
from tests.node_kit import PASSWORD, Node, running_node
from ui.auth import LocalTrust


@asynccontextmanager
async def _served(app: ASGIApp, bind: str, certificate: Path | None = None) -> AsyncIterator[str]:
    """Serve an app and give its address."""
    config = Config()
    config.bind = [bind]
    config.accesslog = config.errorlog = None
    config.include_server_header = False
    config.graceful_timeout = 1.0
    if certificate is not None:
        config.certfile = config.keyfile = str(certificate)
    stop = trio.Event()
    async with trio.open_nursery() as nursery:
        binds = await nursery.start(partial(serve, app, config, shutdown_trigger=stop.wait))  # type: ignore[arg-type]
        try:
            yield binds[0]
        finally:
            stop.set()


@asynccontextmanager
async def _browser(node: Node, url: str, *, http2: bool = True) -> AsyncIterator[httpx.AsyncClient]:
    """A client that trusts this box's certificate and nobody else's."""
    context = ssl.create_default_context(cafile=str(node.services.tls.certificate_path))
    async with httpx.AsyncClient(http2=http2, verify=context, base_url=url) as client:
        yield client


async def test_claim_sign_in_and_use_over_tls_and_http2(tmp_path: Path) -> None:
    async with (
        running_node(tmp_path, with_pages=True) as node,
        _served(node.app, "127.0.0.1:0", node.services.tls.path) as url,
        _browser(node, url) as client,
    ):
        assert url.startswith("https://")
        answer = await client.get("/health/live")
        assert (answer.status_code, answer.http_version) == (200, "HTTP/2")
        assert "server" not in answer.headers
        assert (await client.get("/api/v1/status")).status_code == 401
        code = node.services.setup_code.issue()
        answer = await client.post("/api/v1/setup", json={"code": code, "password": PASSWORD})
        assert answer.status_code == 201
        assert "__Host-homeport" in client.cookies
        client.headers["x-csrf-token"] = answer.json()["csrf_token"]
        answer = await client.post("/api/v1/devices", json={"device_id": "Kessel 1/2"})
        assert answer.json()["code"] == "device_id_invalid"
        answer = await client.post("/api/v1/devices", json={"device_id": "Kessel 1"})
        assert answer.status_code == 201
        assert (await client.get("/api/v1/devices/Kessel%201")).json()["device_id"] == "Kessel 1"


async def test_many_requests_share_one_connection(tmp_path: Path) -> None:
    async with (
        running_node(tmp_path) as node,
        _served(node.app, "127.0.0.1:0", node.services.tls.path) as url,
        _browser(node, url) as client,
    ):
        statuses: list[int] = []

        async def ask() -> None:
            statuses.append((await client.get("/api/v1/setup")).status_code)

        async with trio.open_nursery() as nursery:
            for _ in range(50):
                nursery.start_soon(ask)
        assert statuses == [200] * 50


async def test_http_1_works_too_and_a_large_body_is_refused(tmp_path: Path) -> None:
    async with (
        running_node(tmp_path) as node,
        _served(node.app, "127.0.0.1:0", node.services.tls.path) as url,
        _browser(node, url, http2=False) as client,
    ):
        answer = await client.get("/health/live")
        assert (answer.status_code, answer.http_version) == (200, "HTTP/1.1")
        answer = await client.post(
            "/api/v1/session", content=b" " * 2_000_000, headers={"content-type": "application/json"}
        )
        assert answer.status_code == 413


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (b"Transfer-Encoding: gzip", 501),
        (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", 501),
        (b"Content-Length: 1\r\nContent-Length: 2", 400),
        (b"Content-Length: many", 400),
        (b"no header", 400),
        (b"X: " + b"x" * 70_000, 431),
    ],
)
async def test_what_the_connection_can_not_be_read_by_is_refused_before_the_app(
    headers: bytes, status: int
) -> None:
    """docs/API.md: by the server itself, without a body, and the connection is closed. [RFC9112-6.1, -6.3]"""
    asked: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        asked.append(scope["path"])

    async with _served(app, "127.0.0.1:0") as url:
        host, port = url.removeprefix("http://").split(":")
        stream = await trio.open_tcp_stream(host, int(port))
        request = b"POST /api/v1/devices HTTP/1.1\r\nHost: box\r\n" + headers + b"\r\n\r\n"
        answer = b""
        with trio.fail_after(30):
            await stream.send_all(request)
            async for part in stream:
                answer += part
        await stream.aclose()
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert body == b""
    assert asked == []


async def test_a_browser_that_trusts_another_box_does_not_connect(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    async with (
        running_node(tmp_path) as node,
        running_node(tmp_path / "other") as other,
        _served(node.app, "127.0.0.1:0", node.services.tls.path) as url,
        _browser(other, url) as client,
    ):
        with pytest.raises(httpx.ConnectError) as refused:
            await client.get("/health/live")
        assert any(isinstance(cause, ssl.SSLCertVerificationError) for cause in _causes(refused.value))


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


async def test_the_command_line_is_admin_over_the_unix_socket_and_only_there(tmp_path: Path) -> None:
    path = tmp_path / "node.sock"
    async with (
        running_node(tmp_path) as node,
        _served(LocalTrust(node.app), f"unix:{path}"),
        _served(node.app, "127.0.0.1:0", node.services.tls.path) as url,
        _browser(node, url) as stranger,
    ):
        api = LocalApi(path)
        made = await trio.to_thread.run_sync(api.post, "/api/v1/devices", {"device_id": "d"})
        assert made["token"].startswith("hpd_")
        status = await trio.to_thread.run_sync(api.get, "/api/v1/status")
        assert status["devices"]["state"]["active"] == 1
        assert (await stranger.get("/api/v1/devices/d")).status_code == 401
        assert (await stranger.get("/health/metrics")).status_code == 200, "loopback may read metrics"
