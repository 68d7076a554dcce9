"""A restore that was decided and interrupted: finished before anything starts. It imports little, as the supervisor does."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Final

from appliance.core import logs
from appliance.core.config import Config
from appliance.run import layout
from appliance.run.first_run import lock
from storage.backup import switch

HOLDER: Final = "homeport restore"
_log = logs.get(__name__)


def finish_pending(config: Config, *, is_locked: bool = False) -> str | None:
    """Finish a restore that was decided and interrupted, and remove what one left that was not decided; gives the backup's name, None where there is nothing to do.

    Args:
        is_locked: The caller holds the node's lock.
    Raises:
        Conflict: something uses the data folder. StorageError: it can't be finished.
    """
    plan = switch.pending(config.node.data_dir)
    if plan is None:
        switch.discard(config.node.data_dir)
        return None
    with ExitStack() as held:
        if not is_locked:
            held.enter_context(lock(layout.node_lock(config), holder=HOLDER))
        switch.finish(config.node.data_dir, plan)
    _log.warning("a restore that was interrupted is finished", backup=plan.backup_id, aside=plan.aside)
    return plan.backup_id
