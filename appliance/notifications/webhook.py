"""A webhook: POST of JSON over HTTP or HTTPS, signed, with the idempotency key. One request, one connection.

    Idempotency-Key: 5f2c…                                 the same at each attempt
    traceparent: 00-0af7…-b7ad…-01                         where the reading that decided is traced (docs/TRACING.md)
    Homeport-Signature: t=1772000000,v1=9d0e…              HMAC-SHA256(secret, "1772000000." + body), where the target has a secret

Any answer of 2xx counts as told. Redirects are not followed (http_post.py).

Source: RFC 9110; draft-ietf-httpapi-idempotency-key-header; W3C Trace Context.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from typing import Final

import trio

from appliance.core.errors import HomeportError
from appliance.management.notification_targets import Webhook
from appliance.notifications.destinations import Destinations
from appliance.notifications.http_post import FAILURES, Answer, failure_words, post
from appliance.notifications.sent import Sent, line

SIGNATURE_HEADER: Final = "Homeport-Signature"
KEY_HEADER: Final = "Idempotency-Key"
TRACE_HEADER: Final = "traceparent"


def signature(secret: bytes, body: bytes, at_s: int) -> str:
    """The signature's header: of the time and the body, so that an old request can't be sent again as a new one."""
    digest = hmac.new(secret, f"{at_s}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={at_s},v1={digest}"


class WebhookSender:
    """See the module's docstring.

    Args:
        now_s: Wall time, seconds.
        user_agent: Who asks.
    """

    def __init__(self, destinations: Destinations, *, now_s: Callable[[], int], user_agent: str) -> None:
        self._destinations = destinations
        self._now_s = now_s
        self._user_agent = user_agent

    async def send(
        self, settings: Webhook, *, secret: bytes, key: str, body: bytes, traceparent: str = ""
    ) -> Sent:
        """One attempt; the caller bounds its time. What fails is in the outcome.

        Args:
            traceparent: Of a traced notification, "" for one that isn't.
        """
        began_s = trio.current_time()
        try:
            answer = await self._post(settings, secret, key, body, traceparent)
        except HomeportError as error:
            return Sent(is_sent=False, words=line(str(error)))
        except FAILURES as error:
            return Sent(is_sent=False, words=failure_words(error))
        ms = round((trio.current_time() - began_s) * 1000)
        if 200 <= answer.status < 300:
            return Sent(is_sent=True, words=f"HTTP {answer.status} after {ms} ms.", is_answer=True)
        words = f"HTTP {answer.status}"
        if 300 <= answer.status < 400:
            words += ": it names another address, which is not followed; write that one as the target's URL"
        elif answer.body:
            words += f": {answer.body.decode('utf-8', 'replace')}"
        return Sent(is_sent=False, words=line(words), is_answer=True, retry_after_s=answer.retry_after_s)

    async def _post(
        self, settings: Webhook, secret: bytes, key: str, body: bytes, traceparent: str
    ) -> Answer:
        headers = [
            ("User-Agent", self._user_agent),
            ("Content-Type", "application/json"),
            (KEY_HEADER, key),
        ]
        if secret:
            headers.append((SIGNATURE_HEADER, signature(secret, body, self._now_s())))
        if traceparent:
            headers.append((TRACE_HEADER, traceparent))
        return await post(self._destinations, settings.url, headers, body, ca_pem=settings.ca_pem)
