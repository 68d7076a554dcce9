"""The frame of a child process: configuration, logs, the event loop, and how it ends."""

from __future__ import annotations

import gc
import os
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

import trio

from appliance.core import logs
from appliance.core.config import Config, load
from appliance.core.errors import ConfigError, HomeportError
from appliance.run.child import ChildLink
from appliance.run.start_stages import StartStages

GC_THRESHOLDS: Final = (50_000, 20, 50)
"""Allocations of container objects between two looks at the young ones, and how many of those before an older
generation is looked at. Batches make many short-lived tuples and no cycles, and the default of 700 looks again after
a few hundred messages."""
EXIT_FAILED: Final = 1
EXIT_CONFIG: Final = 78
"""EX_CONFIG of sysexits.h."""

_log = logs.get(__name__)


def run_process(name: str, serve: Callable[[Config, ChildLink], Awaitable[None]]) -> int:
    """Load the configuration named by $HOMEPORT_CONFIG and run a process to its end.

    Args:
        name: "broker" or "node", for the log.
        serve: The process; returns when it was told to stop.
    Returns:
        The exit code: 0 after a drain, 78 for a configuration that can't be used, 1 for every other known error,
        which is logged with its hint. An unknown error is a mistake of ours and ends with its traceback.
    """
    exit_code = 0
    stages = StartStages.of_this_process()
    stages.reached("imported")
    try:
        config = load(None, os.environ)
        gc.freeze()  # what was imported stays
        gc.set_threshold(*GC_THRESHOLDS)
        logs.set_up(process=name, level=config.logging.level, format=config.logging.format)
        stages.reached("configured")
        trio.run(partial(serve, config, ChildLink.from_environment(stages=stages)))
    except* HomeportError as group:
        for error in _leaves(group):
            _log.error(f"the {name} ends", error=error.message, hint=error.hint, code=error.code)
            exit_code = max(exit_code, EXIT_CONFIG if isinstance(error, ConfigError) else EXIT_FAILED)
    return exit_code


def _leaves(group: BaseExceptionGroup[HomeportError]) -> list[HomeportError]:
    found: list[HomeportError] = []
    for error in group.exceptions:
        found += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found
