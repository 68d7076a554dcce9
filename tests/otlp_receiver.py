"""A collector for tests: takes OTLP over HTTP as JSON and gives back the spans as they came."""

from __future__ import annotations

import json
from typing import Any

from tests.webhook_receiver import WebhookReceiver

TAKEN = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
BUSY = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"
REFUSED = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"


class OtlpReceiver(WebhookReceiver):
    """Serves until left."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1/traces"

    def bodies(self) -> list[dict[str, Any]]:
        """What was sent, decoded."""
        return [json.loads(request.body) for request in list(self.requests)]

    def spans(self, trace_id: str | None = None) -> list[dict[str, Any]]:
        """All spans that came, or those of a trace."""
        found = [
            span
            for body in self.bodies()
            for resource in body["resourceSpans"]
            for scope in resource["scopeSpans"]
            for span in scope["spans"]
        ]
        return [span for span in found if trace_id in (None, span["traceId"])]


def attributes_of(span: dict[str, Any]) -> dict[str, Any]:
    """A span's attributes; 64-bit numbers are texts in OTLP's JSON."""
    return {each["key"]: next(iter(each["value"].values())) for each in span["attributes"]}
