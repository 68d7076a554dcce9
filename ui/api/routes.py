"""All endpoints of the API, and the document that describes them."""

from __future__ import annotations

from functools import cache

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from ui.api import bridges, broker, devices, node, telemetry
from ui.api.openapi import document
from ui.auth import services_of

ENDPOINTS = (*node.ENDPOINTS, *devices.ENDPOINTS, *telemetry.ENDPOINTS, *broker.ENDPOINTS, *bridges.ENDPOINTS)


@cache
def _document(version: str) -> bytes:
    return msgspec.json.format(msgspec.json.encode(document(ENDPOINTS, version=version)), indent=2)


async def openapi(request: Request) -> Response:
    """The API's description, open to all: it holds nothing of this box."""
    return Response(
        _document(services_of(request).version),
        media_type="application/json",
        headers={"cache-control": "public, max-age=300"},
    )


def routes() -> list[BaseRoute]:
    """Everything below /api."""
    return [
        Route("/v1/openapi.json", openapi, methods=["GET"]),
        *(endpoint.route() for endpoint in ENDPOINTS),
    ]
