"""A site's box and a cloud node in one process: both real apps, with the box's answers handed over as the link would."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec

from appliance.core.errors import Unavailable
from appliance.management.replication_state import ReplicationState, SiteNodeState
from appliance.management.site_reading import key_of
from tests.acts import ACT
from tests.node_kit import NOW_MS, LiveDevice, Node, Points, Value, running_node
from ui.app import create_app
from ui.site_answers import SiteAnswers
from ui.site_reading import SiteReadingDesk

CLOUD, BOX, MATE, SITE = "c0" * 16, "b0" * 16, "b1" * 16, "51" * 16
MILL = SiteNodeState(
    node_id=BOX,
    name="mill",
    site_id=SITE,
    region="",
    link="up",
    heard_at_ms=NOW_MS - 2_000,
    is_fresh=True,
    rpo_ms=900,
    may_read=True,
    devices=2,
    online=1,
    alarms=(1, 0, 2),
)
STATE = ReplicationState(
    at_ms=NOW_MS,
    node_id=CLOUD,
    name="cloud-1",
    site_id="52" * 16,
    region="",
    authority="f" * 64,
    safe_at="node",
    rpo_ms=0,
    rpo_worst_ms=0,
    role="cloud",
    sites=(MILL,),
)


@dataclass
class Site:
    """The site's side, and what the cloud node knows of it.

    Attributes:
        away: Ids of boxes that don't answer. forged: Is answered instead of what the box would.
    """

    box: Node
    state: ReplicationState = STATE
    asked: list[tuple[str, str, str, str, str]] = field(default_factory=list)
    away: set[str] = field(default_factory=set)
    forged: tuple[int, bytes] | None = None

    async def ask(self, *question: str) -> tuple[int, bytes]:
        self.asked.append(question)  # type: ignore[arg-type]
        node_id, *rest = question
        if node_id in self.away:
            raise Unavailable("The box did not answer.", hint="Wait.", code="site_silent")
        if self.forged is not None:
            return self.forged
        return await SiteAnswers(self.box.services, self.box.app).read(CLOUD, "cloud-1", *rest)

    async def known(self) -> ReplicationState:
        return self.state

    def box_is(self, **changes: Any) -> None:
        """The cloud node knows something else of the box."""
        self.state = msgspec.structs.replace(STATE, sites=(msgspec.structs.replace(MILL, **changes),))


async def allow(node: Node, value: object = True) -> None:
    await node.catalog.write(lambda catalog: catalog.set_setting(key_of(CLOUD), value), by=ACT)


async def add_device(node: Node, device_id: str, *, online: bool = True) -> None:
    await node.catalog.write(lambda catalog: catalog.add_device(device_id), by=ACT)
    if online:
        node.live.by_id[device_id] = LiveDevice(device_id=device_id)
    node.live.values[device_id] = {
        "temp_celsius": Value(metric="temp_celsius", value=21.5),
        "words": Value(metric="words", value="<b>\u202ehot"),
    }


@asynccontextmanager
async def site_and_cloud(folder: Path) -> AsyncIterator[tuple[Site, Node]]:
    """A site with two devices that lets the cloud node read it, and the cloud node with its pages."""
    for name in ("box", "cloud"):
        (folder / name).mkdir()
    async with running_node(folder / "box") as box, running_node(folder / "cloud") as plain:
        await allow(box)
        await add_device(box, "d1")
        await add_device(box, "roof ?2", online=False)
        box.telemetry.points = [
            Points(metric="temp_celsius", at_ms=(NOW_MS - 60_000,), value=(21.0,), min=(20.0,), max=(22.0,))
        ]
        site = Site(box)
        desk = SiteReadingDesk(site.ask, site.known, plain.catalog, clock=plain.clock)
        config = replace(plain.services.config, node=replace(plain.services.config.node, role="cloud"))
        services = replace(plain.services, site_reading=desk, replication=site.known, config=config)
        yield site, replace(plain, services=services, app=create_app(services, with_pages=True))
