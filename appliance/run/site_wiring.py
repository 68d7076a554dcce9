"""The site's logs as the node reads them: one order for the process, a reader for each cursor."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from appliance.core import logs
from appliance.core.clock import Clock
from appliance.core.config import Config
from appliance.core.errors import HomeportError
from appliance.identity import SiteKeys
from appliance.pipeline.site_cursor import NAME, SiteCursor
from appliance.run import layout
from storage.fleet.roster_file import RosterWatch
from storage.log.names import CURSORS
from storage.site import SiteOrder, SiteReader
from storage.telemetry.database import archive_folder, set_aside

SUFFIX_DIGITS: Final = 8
STATE: Final = "state"
"""Folder of the copies of the store's state, in the archive's."""
_log = logs.get(__name__)


@dataclass(frozen=True, slots=True)
class Site:
    """What the node process reads its site's logs by."""

    order: SiteOrder
    cursor: SiteCursor
    nodes: Callable[[], list[str]]
    node_id: str

    def reader(self, *, takes_turns: bool = False) -> SiteReader:
        """A reader of its own for one cursor; the pipeline's takes turns."""
        return SiteReader(self.order, takes_turns=takes_turns)

    def suffix(self) -> str:
        """What tells this node's own alarms from those of the site's others; "" where there are none. Looks at a file."""
        return f" {self.node_id[:SUFFIX_DIGITS]}" if len(self.nodes()) > 1 else ""

    def close(self) -> None:
        self.cursor.close()
        self.order.close()


class _Nodes:
    """The nodes of this site, as the roster has them; one that can't be read changes nothing."""

    def __init__(self, config: Config, node_id: str) -> None:
        self._watch = RosterWatch(config.node.data_dir)
        self._node_id = node_id

    def __call__(self) -> list[str]:
        try:
            self._watch.look()
        except HomeportError as error:
            _log.error("the fleet's roster can't be read", error=error.message, hint=error.hint)
        roster = self._watch.roster
        if roster is None or (own := roster.get(self._node_id)) is None:
            return []
        # Of one that was decommissioned the readings stay: they were taken by this site.
        return [each.node_id for each in roster if each.site_id == own.site_id]


def open_site(config: Config, keys: SiteKeys, clock: Clock) -> Site:
    """Before the store is opened: where the order was lost, the store is set aside, to be built anew. Blocks.

    Raises:
        LogDamaged, OSError: the order's file can't be used or read.
    """
    data_dir = config.node.data_dir
    needed = layout.site_order(config) / "needed"
    copies = data_dir / "replicas"
    order = SiteOrder(
        layout.site_order(config),
        own_log=layout.telemetry_log(config),
        own_id=keys.node_id.hex(),
        replicas=copies,
        nodes=_Nodes(config, keys.node_id.hex()),
        clock=clock,
        was_used=needed.exists() or any(copies.glob(f"*/telemetry/{CURSORS}/{NAME}")),
    )
    if order.was_lost:
        store = data_dir / "telemetry.duckdb"
        _log.error(
            "the order in which the site's logs were read is lost: the store is built anew",
            hint="Nothing of the logs is lost; look at the disk.",
        )
        if store.exists():
            set_aside(store, clock.now_ms())
        for old in (archive_folder(store) / STATE).glob("*.state"):
            old.unlink(missing_ok=True)
    cursor = SiteCursor(order, layout.pipeline_cursor(config), needed)
    return Site(order, cursor, _Nodes(config, keys.node_id.hex()), keys.node_id.hex())
