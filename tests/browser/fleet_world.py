"""The fleet that the browser's box belongs to: one box linked, one away for long, one refused, one taken out, records that nobody has, two regions of a cloud, and little that is safe."""

from __future__ import annotations

from typing import Final

import msgspec

from appliance.management.replication_state import ForkState
from storage.site.statistics import SiteStatistics, StreamStatistics
from tests.unit.test_ui_pages_lost import LOST, MISSING
from tests.unit.test_ui_replication import AT_CLOUD as CLOUD
from tests.unit.test_ui_replication import AWAY, EU, STATE, US, B, C

LONG: Final = "a-name-of-a-box-that-somebody-made-as-long-as-it-may-be-and-more"
REFUSED: Final = msgspec.structs.replace(
    AWAY,
    node_id="e" * 32,
    name=LONG[:63],
    link="refused",
    problem="Another copy of this node is there <b>or</b> has joined since.",
)
FLEET: Final = msgspec.structs.replace(
    STATE,
    rpo_ms=400_000,
    unsafe_bytes=4_096,
    peers=(*STATE.peers, REFUSED),
    forks=(ForkState(node_id=B, name="telemetry", epoch=1, seq=3, holders=(B, C), found_at_ms=2),),
    missing=(MISSING,),
    lost=(msgspec.structs.replace(LOST, by=LONG),),
    tier=(EU, US),
    problem="The disk is full.",
)
AT_CLOUD: Final = msgspec.structs.replace(
    CLOUD, sites=(*CLOUD.sites, msgspec.structs.replace(CLOUD.sites[0], node_id="e" * 32, name=LONG[:63]))
)
"""A cloud node with boxes of two sites, one of them with the longest name."""
READ: Final = SiteStatistics(
    streams=(
        StreamStatistics(
            node_id=B, branch="", next_seq=7, waiting=0, skipped=0, stopped=f"Copies of {LONG} don't go on."
        ),
    )
)
