"""Numbers of what devices ask and of those that listen, for metrics and support."""

from __future__ import annotations

from typing import Any, Protocol

from appliance.device_requests.listeners import Listeners
from appliance.device_requests.router import Router


class Answering(Protocol):
    """Requests under way (broker.link.BrokerLink)."""

    def answering_counts(self) -> dict[str, int]: ...


def request_numbers(router: Router, listeners: Listeners, link: Answering) -> dict[str, Any]:
    """Requests that are being answered or wait for it by service, refusals by code, devices that listen."""
    return {
        "answering": link.answering_counts(),
        "refused": router.statistics(),
        "listening": len(listeners),
    }
