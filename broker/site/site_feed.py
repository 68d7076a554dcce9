"""The site's other nodes as this broker sees them: one follower each, begun and ended as the roster changes, and where devices
find their brokers.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import structlog
import trio

from appliance.core.clock import Clock
from appliance.core.errors import HomeportError
from storage.log.columns import Kind

from ..open_block import PendingRecord
from ..router import Router
from ..state.broker_state import FLAG_RETAIN
from ..state.retained import RetainedMessages
from .brokers_topic import TOPIC, brokers_payload, server_reference
from .follower import Follower, Plane

LOOK_INTERVAL_S: Final = 2.0
QOS_1: Final = 0x02
_NOBODY: Final = ("", "")
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteView:
    """Who else the site has now.

    Attributes:
        own_brokers: Where devices reach this broker, as URLs.
        others: Where they reach those of the other nodes, by node id (32 hexadecimal digits), in the order of their names.
    """

    own_brokers: Sequence[str] = ()
    others: Mapping[str, Sequence[str]] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteNodes:
    """How the site is looked at.

    Args:
        look: Asked every two seconds, in a thread; raises HomeportError where it can't be known, and then what was known counts.
        directory_of: The folder of the copy of a node's log.
    """

    look: Callable[[], SiteView]
    directory_of: Callable[[str], Path]


class SiteFeed:
    """See the module's docstring."""

    def __init__(
        self,
        site: SiteNodes,
        *,
        plane: Plane,
        router: Router,
        retained: RetainedMessages,
        clock: Clock,
        is_held: Callable[[], bool],
    ) -> None:
        self._site = site
        self._plane = plane
        self._router = router
        self._retained = retained
        self._clock = clock
        self._is_held = is_held
        self._view = SiteView()
        self._said: bytes | None = None
        self._error = ""
        self._followed: dict[str, tuple[Follower, trio.CancelScope]] = {}

    def statistics(self) -> dict[str, dict[str, Any]]:
        """Of each node that is followed, `FollowerStatistics`."""
        return {
            node_id: dataclasses.asdict(follower.statistics())
            for node_id, (follower, _) in self._followed.items()
        }

    def server_reference(self) -> str:
        """Where a client of MQTT 5 finds the other brokers; "" where there are none."""
        return server_reference(self._other_brokers())

    async def run(self) -> None:
        """Follow them until cancelled."""
        async with trio.open_nursery() as nursery:
            while True:
                if await self._look():
                    self._say_brokers()
                    self._follow_others(nursery)
                await trio.sleep(LOOK_INTERVAL_S)

    async def _look(self) -> bool:
        try:
            self._view = await trio.to_thread.run_sync(self._site.look)
        except HomeportError as error:
            if self._error != error.message:
                _log.error("who else the site has can't be known now", error=error.message, hint=error.hint)
            self._error = error.message
            return False
        self._error = ""
        return True

    def _is_subscribed(self, topic: bytes) -> bool:
        sessions, groups = self._router.receivers(topic)
        return bool(sessions or groups)

    def _other_brokers(self) -> list[str]:
        return [url for urls in self._view.others.values() for url in urls]

    def _say_brokers(self) -> None:
        """Publish the list where it is another one than what is kept."""
        payload = brokers_payload(self._view.own_brokers, self._other_brokers())
        kept = self._retained.get(TOPIC)
        if payload == (kept.payload if kept is not None else b"") or payload == self._said:
            return
        self._said = payload
        self._plane.record(
            PendingRecord(
                Kind.SERVER_PUBLISH, _NOBODY, topic=TOPIC, payload=payload, flags=QOS_1 | FLAG_RETAIN
            )
        )
        self._plane.wake()

    def _follow_others(self, nursery: trio.Nursery) -> None:
        wanted = self._view.others.keys()
        for node_id in self._followed.keys() - wanted:
            self._followed.pop(node_id)[1].cancel()
        for node_id in sorted(wanted - self._followed.keys()):
            follower = Follower(
                self._site.directory_of(node_id),
                node_id=node_id,
                plane=self._plane,
                is_subscribed=self._is_subscribed,
                retained=self._retained,
                clock=self._clock,
                is_held=self._is_held,
            )
            scope = trio.CancelScope()
            self._followed[node_id] = (follower, scope)
            nursery.start_soon(self._follow, follower, scope)

    async def _follow(self, follower: Follower, scope: trio.CancelScope) -> None:
        with scope:
            await follower.run()
