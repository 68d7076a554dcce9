"""What API, pages and metrics say of the bridges: each that is configured, with what the bridge process last reported.

A bridge without a report, or with an old one, is "not running": the process that carries it isn't there.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Final

import trio

from appliance.core.bridge_config import BridgeConfig, BridgeTopicConfig
from appliance.core.errors import HomeportError, NotFound
from broker.bridge.statistics import BridgeStatistics
from ui.api.bridge_structs import Bridge, BridgeTopic
from ui.services import Services

NOT_RUNNING: Final = "not_running"
NOT_RUNNING_ERROR: Final = "The bridge process is not there, or has not reported yet."
NOT_RUNNING_HINT: Final = (
    "It starts when everything else is ready; see 'homeport status' and the log of the process."
)


async def reported(services: Services) -> Sequence[BridgeStatistics]:
    """The newest report; none where there is none, or where it can't be read: the bridges then count as not running."""
    if services.bridge_report is None or not services.config.bridge:
        return ()
    try:
        return await trio.to_thread.run_sync(services.bridge_report)
    except HomeportError:
        return ()


async def bridges(services: Services) -> tuple[Bridge, ...]:
    """All bridges, in the order of the configuration."""
    by_name = {statistics.name: statistics for statistics in await reported(services)}
    return tuple(
        _bridge(config, services.config.bridge_topic, by_name.get(config.name))
        for config in services.config.bridge
    )


async def bridge(services: Services, name: str) -> Bridge:
    """One bridge.

    Raises:
        NotFound: none of this name is configured.
    """
    for found in await bridges(services):
        if found.name == name:
            return found
    raise NotFound(
        f"No bridge is named “{name}”.",
        hint="See 'homeport bridge list' for their names.",
        code="no_such_bridge",
    )


def _bridge(
    config: BridgeConfig, topics: Sequence[BridgeTopicConfig], statistics: BridgeStatistics | None
) -> Bridge:
    if statistics is None:
        statistics = BridgeStatistics(
            name=config.name,
            address=str(config.address),
            state=NOT_RUNNING,
            error=NOT_RUNNING_ERROR,
            hint=NOT_RUNNING_HINT,
            code="bridge_not_running",
        )
    fields = dataclasses.asdict(statistics)
    fields["since_ms"] = statistics.since_ms or None
    return Bridge(
        **fields,
        tls=config.tls == "on",
        version=config.version,
        topics=[
            BridgeTopic(
                direction=each.direction,
                topic=each.topic,
                qos=each.qos,
                local_prefix=each.local_prefix,
                remote_prefix=each.remote_prefix,
            )
            for each in topics
            if each.bridge == config.name
        ],
    )
