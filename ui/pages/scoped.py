"""What whoever looks at a page may see of the devices."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.requests import Request

from appliance.core.errors import Unavailable
from appliance.management.permissions import Scope
from storage.catalog import AsyncCatalog
from ui import auth


async def scope_of(request: Request) -> Scope:
    """The groups that whoever asks is limited to; None for the whole site.

    Raises:
        NotAuthorized: `sign_in_required`: nobody is signed in, who would have no scope at all.
    """
    return (await auth.require(request)).scope


async def still_sees(catalog: AsyncCatalog, scope: Scope, device_ids: Sequence[str]) -> bool:
    """Whether all these devices, which a page shows, are within a scope still: they leave groups while it is open."""
    if scope is None:
        return True
    try:
        seen = await catalog.read(lambda reader: reader.count_devices(ids=device_ids, scope=scope))
    except Unavailable:
        return True  # What was so last holds meanwhile, as it does for who is signed in: pages stay live.
    return seen == len(device_ids)
