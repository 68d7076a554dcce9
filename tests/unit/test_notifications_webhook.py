"""Webhooks, to a server that nobody here wrote with h11: key, signature, TLS, redirects, answers without an end."""

from __future__ import annotations

import hashlib
import hmac
import ssl
from pathlib import Path

import pytest
import trio

from appliance.management.notification_targets import Webhook
from appliance.notifications.destinations import Destinations
from appliance.notifications.http_post import tls_context
from appliance.notifications.sent import Sent
from appliance.notifications.webhook import WebhookSender, signature
from tests.pki_kit import Authority
from tests.webhook_receiver import WebhookReceiver

DESTINATIONS = Destinations(own_ports=(), own_addresses=tuple)


async def send(url: str, *, secret: bytes = b"", ca_pem: str = "", body: bytes = b'{"key":"k1"}') -> Sent:
    sender = WebhookSender(DESTINATIONS, now_s=lambda: 1_772_000_000, user_agent="Homeport/test")
    with trio.fail_after(60):
        return await sender.send(Webhook(url=url, ca_pem=ca_pem), secret=secret, key="k1", body=body)


async def test_a_signed_post_with_its_key() -> None:
    with WebhookReceiver() as receiver:
        sent = await send(receiver.url, secret=b"s3cret")
        assert sent.is_sent, sent.words
        assert sent.words.startswith("HTTP 204 after ")
        (request,) = receiver.requests
        assert request.target == "/alarms?from=box"
        assert request.body == b'{"key":"k1"}'
        headers = request.headers
        assert headers["host"] == f"localhost:{receiver.port}"
        assert headers["idempotency-key"] == "k1"
        assert headers["content-type"] == "application/json"
        digest = hmac.new(b"s3cret", b'1772000000.{"key":"k1"}', hashlib.sha256).hexdigest()
        assert (
            headers["homeport-signature"]
            == f"t=1772000000,v1={digest}"
            == signature(b"s3cret", request.body, 1_772_000_000)
        )
        await send(receiver.url)
        assert "homeport-signature" not in receiver.requests[1].headers


def test_the_snippet_of_the_docs_verifies_what_is_sent() -> None:
    text = (Path(__file__).parents[2] / "docs" / "NOTIFICATIONS.md").read_text()
    snippet = text.partition("```python\n")[2].partition("```")[0]
    scope: dict[str, object] = {}
    exec(snippet, scope)
    verify = scope["is_from_homeport"]
    assert callable(verify)
    body, now_s = b'{"key":"k1"}', 1_772_000_000
    header = signature(b"s3cret", body, now_s)
    assert verify(b"s3cret", header, body, now_s)
    assert not verify(b"other", header, body, now_s)
    assert not verify(b"s3cret", header, body + b" ", now_s)
    assert not verify(b"s3cret", header, body, now_s + 3_600)
    for nonsense in ("", "t=1", "v1=ff", "t=x,v1=y", "t=1772000000,v1="):
        assert not verify(b"s3cret", nonsense, body, now_s)


async def test_tls_is_verified_against_the_targets_authority(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(authority.issue("localhost", server=True))
    with WebhookReceiver(context=context) as receiver:
        sent = await send(receiver.url, ca_pem=authority.path.read_text())
        assert sent.is_sent, sent.words
        sent = await send(receiver.url)
        assert not sent.is_sent
        assert "not trusted" in sent.words
        sent = await send(receiver.url, ca_pem="-----BEGIN CERTIFICATE-----\nAA\n-----END CERTIFICATE-----\n")
        assert "authorities can't be read" in sent.words
        assert len(receiver.requests) == 1
    assert tls_context("").verify_mode is ssl.CERT_REQUIRED


@pytest.mark.parametrize(
    ("answer", "says", "is_answer"),
    [
        (b"HTTP/1.1 301 Moved\r\nLocation: http://169.254.169.254/\r\n\r\n", "not followed", True),
        (b"HTTP/1.1 500 Oh\r\nContent-Length: 5\r\n\r\nno\x1b!!", "HTTP 500: no !!", True),
        (b"HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n", "HTTP 400", True),
        (b"HTTP/1.1 200 OK\r\n" + b"X: " + b"y" * 20_000, "connection failed", False),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "connection failed", False),
        (b"", "connection failed", False),
    ],
)
async def test_what_is_no_yes(answer: bytes, says: str, is_answer: bool) -> None:
    with WebhookReceiver(answers=[answer]) as receiver:
        sent = await send(receiver.url)
        assert not sent.is_sent
        assert says in sent.words
        assert sent.is_answer is is_answer
        assert sent.words.isprintable()
        assert len(receiver.requests) == 1


async def test_an_answer_without_an_end_is_not_read_to_it() -> None:
    endless = b"HTTP/1.1 503 Busy\r\nRetry-After: 90\r\nContent-Length: 999999999\r\n\r\n" + b"x" * 100_000
    with WebhookReceiver(answers=[endless]) as receiver:
        sent = await send(receiver.url)
        assert len(sent.words) <= 300
        assert sent.retry_after_s == 90
    dated = b"HTTP/1.1 503 Busy\r\nRetry-After: Fri, 27 Nov 2026 10:00:00 GMT\r\nContent-Length: 0\r\n\r\n"
    with WebhookReceiver(answers=[dated]) as receiver:
        assert (await send(receiver.url)).retry_after_s is None


async def test_who_is_not_there_or_may_not_be_told() -> None:
    with WebhookReceiver() as receiver:
        url = receiver.url
    sent = await send(url)
    assert (sent.is_sent, sent.is_answer) == (False, False)
    assert "could be connected to" in sent.words
    assert "may not be told" in (await send("http://169.254.169.254/latest/meta-data")).words
    assert "no address" in (await send("http://no-such-host.invalid/")).words


async def test_a_large_body_arrives_whole() -> None:
    with WebhookReceiver() as receiver:
        body = b'"' + b"x" * 120_000 + b'"'
        assert (await send(receiver.url, body=body)).is_sent
        assert receiver.requests[0].body == body


async def test_who_answers_no_tls_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("appliance.notifications.http_post.NOTIFICATION_CONNECT_TIMEOUT_S", 0.2)
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port: int = listeners[0].socket.getsockname()[1]
    async with trio.open_nursery() as nursery:

        async def silent(stream: trio.SocketStream) -> None:
            await trio.sleep_forever()

        nursery.start_soon(trio.serve_listeners, silent, listeners)
        sent = await send(f"https://localhost:{port}/")
        assert "does not speak TLS" in sent.words
        nursery.cancel_scope.cancel()
