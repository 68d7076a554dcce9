"""One POST, to a server that nobody here wrote with h11. What else may go wrong is in test_notifications_webhook.py."""

from __future__ import annotations

import ssl

import pytest
import trio

from appliance.core.errors import HomeportError
from appliance.notifications.destinations import Destinations
from appliance.notifications.http_post import FAILURES, failure_words, post
from tests.webhook_receiver import WebhookReceiver

ANYWHERE = Destinations(own_ports=(), own_addresses=tuple)
BUSY = b"HTTP/1.1 429 Slow\r\nRetry-After: 17\r\nContent-Length: 4\r\n\r\nlate"


async def test_headers_go_out_and_the_answer_comes_back() -> None:
    with WebhookReceiver(answers=[BUSY]) as receiver, trio.fail_after(60):
        url = receiver.url.replace("http://", "http://user:secret@")
        answer = await post(ANYWHERE, url, [("X-One", "1")], b"body")
        assert (answer.status, answer.retry_after_s, answer.body) == (429, 17, b"late")
        (request,) = receiver.requests
        assert (request.headers["x-one"], request.headers["connection"], request.body) == (
            "1",
            "close",
            b"body",
        )
        assert request.headers["host"] == f"localhost:{receiver.port}", "without what stands before the @"


async def test_what_fails_is_said_in_words() -> None:
    with WebhookReceiver(answers=[b"SSH-2.0\r\n\r\n"]) as receiver, trio.fail_after(60):
        with pytest.raises(FAILURES) as raised:
            await post(ANYWHERE, receiver.url, [], b"")
        assert failure_words(raised.value).startswith("The connection failed: ")
        url = receiver.url
    with pytest.raises(HomeportError, match="could be connected to"):
        await post(ANYWHERE, url, [], b"")
    assert failure_words(trio.TooSlowError()) == "It does not speak TLS in time."
    untrusted = ssl.SSLCertVerificationError("x")
    untrusted.verify_message = "self-signed"
    assert failure_words(untrusted) == "Its certificate is not trusted: self-signed."
