"""Endpoints about what is known bad: images that are not offered again, to a device or to a kind of hardware.

Whoever is limited to some groups finds the marks of their devices; those of hardware concern the whole site.
"""

from __future__ import annotations

from dataclasses import asdict

from appliance.core.errors import NotAuthorized
from appliance.management.permissions import Scope
from storage.catalog import Catalog
from ui.api import execution_structs as structs
from ui.api.endpoint import Call, Endpoint, Reply
from ui.api.executions import updates_of
from ui.auth import actor_of


def check_may_forgive(catalog: Catalog, known_bad_id: str, scope: Scope) -> None:
    """Whether a mark lies within a scope.

    Raises:
        NotFound: `known_bad_unknown`, `device_unknown`. NotAuthorized: `scope_too_narrow`.
    """
    found = catalog.get_known_bad(known_bad_id)
    if found.device_id:
        catalog.get_device(found.device_id, scope=scope)
    elif scope is not None:
        raise NotAuthorized(
            "This mark is of all devices of a kind, and your account is limited to some groups of devices.",
            hint="Ask somebody whose account is for the whole site.",
            code="scope_too_narrow",
        )


async def list_known_bad(call: Call) -> Reply:
    query: structs.KnownBadQuery = call.query
    found = await call.services.catalog.read(
        lambda catalog: catalog.list_known_bad(
            digest=query.digest or None, device_id=query.device_id or None, scope=call.scope
        )
    )
    return Reply(
        content=structs.KnownBadList(known_bad=tuple(structs.KnownBad(**asdict(each)) for each in found))
    )


async def forgive_known_bad(call: Call) -> Reply:
    order: structs.Forgiveness = call.body
    await call.services.catalog.read(
        lambda catalog: check_may_forgive(catalog, order.known_bad_id, call.scope)
    )
    found = await updates_of(call).forgive(
        order.known_bad_id, await actor_of(call.request), reason=order.reason
    )
    return Reply(content=structs.KnownBad(**asdict(found)))


_TAGS = ("executions",)
ENDPOINTS = (
    Endpoint(
        method="GET",
        path="/firmware/known-bad",
        handler=list_known_bad,
        needs="firmware.read",
        summary="List images that are not offered again to a device or to a kind of hardware, the newest first",
        query=structs.KnownBadQuery,
        answer=structs.KnownBadList,
        tags=_TAGS,
    ),
    Endpoint(
        method="POST",
        path="/firmware/forgive",
        handler=forgive_known_bad,
        needs="executions.operate",
        action="known_bad.forgive",
        summary="Let an image that is known bad be offered again",
        body=structs.Forgiveness,
        answer=structs.KnownBad,
        errors=(404,),
        codes={404: ("known_bad_unknown", "device_unknown"), 503: ("updates_busy", "updates_timeout")},
        tags=_TAGS,
    ),
)
