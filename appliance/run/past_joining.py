"""The log's past, which came from peers meanwhile, is put in its place: at a start, before any process has the log open.

What is made of the log begins anew with it: the store, the order of the site's logs, the broker's state. Each step is done if it was not; until the last one
the next start does what is left.
"""

from __future__ import annotations

import json
import shutil
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from appliance.core import logs
from appliance.core.config import Config
from appliance.core.errors import HomeportError
from appliance.run import layout
from appliance.run.first_run import lock
from storage.log.disk import OsDisk
from storage.replicas.past import join_past, past_wanted

HOLDER: Final = "homeport run"
READY: Final = "ready"
"""In the folder of the past: it is whole."""
COPY: Final = "telemetry"
_log = logs.get(__name__)


def join_pending_past(config: Config) -> bool:
    """Put it in place if it is whole; what fails is said, and left for the next start: devices come first.

    Returns:
        Whether it is in its place now.
    Raises:
        Conflict: something uses the data folder.
    """
    ready = layout.past(config) / READY
    if not ready.exists():
        return False
    with ExitStack() as held:
        held.enter_context(lock(layout.node_lock(config), holder=HOLDER))
        try:
            return _join(config, ready)
        except (HomeportError, OSError, ValueError, KeyError, TypeError) as error:
            _log.error("the log's past is not put in its place", error=str(error))
            return False


def _join(config: Config, ready: Path) -> bool:
    disk, directory = OsDisk(), layout.telemetry_log(config)
    told: dict[str, Any] = json.loads(ready.read_bytes())
    wanted = past_wanted(disk, directory)
    if wanted is not None:
        if (wanted.epoch, wanted.next_seq, wanted.hash.hex()) != (
            told["epoch"],
            told["next_seq"],
            told["hash"],
        ):
            # The folder is another restore's.
            shutil.rmtree(ready.parent)
            return False
        count = join_past(disk, directory, ready.parent / COPY)
        _log.info("the log's past is in its place", segments=count, records=wanted.next_seq - 1)
    store = config.node.data_dir / "telemetry.duckdb"
    for path in (
        store,
        store.with_name(store.name + ".wal"),
        layout.site_order(config) / "order",
        layout.pipeline_cursor(config),
        layout.broker_checkpoint(config),
        *(config.node.data_dir / "archive" / "state").glob("*.state"),
    ):
        path.unlink(missing_ok=True)
    ready.unlink()
    shutil.rmtree(ready.parent, ignore_errors=True)
    return wanted is not None
