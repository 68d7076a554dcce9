"""Cursors of bridges that are configured no more: put aside, so that they hold the log back no longer."""

from __future__ import annotations

import os

from appliance.core import logs
from appliance.core.config import Config
from appliance.run import layout

SUFFIX = ".removed"

_log = logs.get(__name__)


def put_aside_removed(config: Config) -> list[str]:
    """Rename the cursors of bridges that aren't in the configuration; returns the bridges' names.

    A bridge that was only left out by mistake goes on where it stopped once its file has its name again.

    Raises:
        OSError: the folder can't be written.
    """
    names = {bridge.name for bridge in config.bridge}
    removed = []
    for path in sorted(layout.cursors(config).glob("bridge-*.json")):
        name = path.name.removeprefix("bridge-").removesuffix(".json")
        if name not in names:
            os.replace(path, path.with_name(path.name + SUFFIX))
            removed.append(name)
            _log.warning(
                "a bridge is configured no more: its cursor is put aside",
                bridge=name,
                file=path.name + SUFFIX,
                hint="Take the suffix off before a start to have it go on where it stopped.",
            )
    return removed
