"""Refused permissions, on their way to the audit: the one place that API and pages call when they refuse."""

from __future__ import annotations

from starlette.requests import Request

from appliance.core.errors import HomeportError
from ui.audit_desk import PERMISSION_CODES
from ui.auth import actor_of, services_of


async def note_refusal(request: Request, error: HomeportError) -> None:
    """Have a refused permission in the audit, if it was refused to somebody who is signed in."""
    if error.code in PERMISSION_CODES:
        await services_of(request).audit.refused(request, await actor_of(request), error)
