"""The node's watch of itself, put together: the rules that come with Homeport, and the numbers that they are about."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

import trio

from appliance.alarms.built_in_rules import bring_built_in
from appliance.alarms.node_watch import Book, NodeWatcher
from appliance.alarms.rule_desk import RuleChanges
from appliance.core import logs
from appliance.core.errors import HomeportError
from appliance.management.audit import Act
from storage.catalog import AsyncCatalog
from ui.node_facts import box_facts, node_facts
from ui.services import Services

RETRY_S: Final = 30.0
_BY_NODE: Final = Act(action="rule.bring")
_log = logs.get(__name__)


async def bring(catalog: AsyncCatalog, changes: RuleChanges) -> int:
    """Make the rules that come with Homeport and aren't there; returns how many. Raises as the catalog and `changing`."""
    async with changes.changing() as position:
        return await catalog.write(lambda writer: bring_built_in(writer, position), by=_BY_NODE)


async def look_after_node(services: Services, book: Book, suffix: Callable[[], str] = lambda: "") -> None:
    """Bring the rules, then watch until cancelled; what fails is tried again.

    Args:
        suffix: As NodeWatcher.
    """
    while True:
        try:
            made = await bring(services.catalog, services.rules)
            break
        except HomeportError as error:
            _log.warning("the rules that come with Homeport are not there yet", reason=error.message)
            await trio.sleep(RETRY_S)
    if made:
        _log.info("rules were made", count=made)
    watcher = NodeWatcher(
        services.catalog,
        book,
        partial(node_facts, services),
        clock=services.clock,
        suffix=suffix,
        boxes=partial(box_facts, services),
    )
    await watcher.run()
