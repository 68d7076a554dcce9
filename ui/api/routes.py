"""All endpoints of the API, and the document that describes them."""

from __future__ import annotations

from functools import cache

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from ui.api import (
    account,
    alarms,
    archive,
    artifact_keys,
    artifact_uploads,
    artifacts,
    audit,
    authority,
    backups,
    bridges,
    broker,
    bulk,
    certificates,
    claims,
    commands,
    conflicts,
    device_tokens,
    devices,
    drills,
    erasures,
    executions,
    groups,
    imports,
    known_bad,
    letters,
    lost,
    maintenances,
    mappings,
    node,
    notification_targets,
    notifications,
    on_call_lists,
    query,
    retention,
    rollouts,
    rule_tries,
    rules,
    sessions,
    settings,
    site_reading,
    sites,
    tags,
    telemetry,
    telemetry_exports,
    telemetry_site,
    tokens,
    traces,
    twins,
    users,
    work_queue,
)
from ui.api.openapi import document
from ui.auth import services_of

ENDPOINTS = (
    *node.ENDPOINTS,
    *imports.ENDPOINTS,
    *bulk.ENDPOINTS,
    *twins.ENDPOINTS,
    *commands.ENDPOINTS,
    *devices.ENDPOINTS,
    *device_tokens.ENDPOINTS,
    *claims.ENDPOINTS,
    *certificates.ENDPOINTS,
    *authority.ENDPOINTS,
    *groups.ENDPOINTS,
    *tags.ENDPOINTS,
    *telemetry.ENDPOINTS,
    *query.ENDPOINTS,
    *mappings.ENDPOINTS,
    *notification_targets.ENDPOINTS,
    *on_call_lists.ENDPOINTS,
    *notifications.ENDPOINTS,
    *letters.ENDPOINTS,
    *rule_tries.ENDPOINTS,
    *rules.ENDPOINTS,
    *telemetry_site.ENDPOINTS,
    *telemetry_exports.ENDPOINTS,
    *archive.ENDPOINTS,
    *retention.ENDPOINTS,
    *artifacts.ENDPOINTS,
    *artifact_uploads.ENDPOINTS,
    *artifact_keys.ENDPOINTS,
    *erasures.ENDPOINTS,
    *rollouts.ENDPOINTS,
    *executions.ENDPOINTS,
    *work_queue.ENDPOINTS,
    *known_bad.ENDPOINTS,
    *alarms.ENDPOINTS,
    *traces.ENDPOINTS,
    *maintenances.ENDPOINTS,
    *broker.ENDPOINTS,
    *bridges.ENDPOINTS,
    *sites.ENDPOINTS,
    *site_reading.ENDPOINTS,
    *lost.ENDPOINTS,
    *drills.ENDPOINTS,
    *conflicts.ENDPOINTS,
    *backups.ENDPOINTS,
    *settings.ENDPOINTS,
    *users.ENDPOINTS,
    *account.ENDPOINTS,
    *sessions.ENDPOINTS,
    *tokens.ENDPOINTS,
    *audit.ENDPOINTS,
)


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
