"""The two doors of the node, HTTPS for all and a Unix socket for this machine: what they have in common."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

from hypercorn.config import Config as ServerConfig

GRACEFUL_TIMEOUT_S: Final = 2.0
"""How long requests that are under way may take while the node drains; live streams end at once."""
KEEP_ALIVE_TIMEOUT_S: Final = 30.0
REQUEST_BACKLOG: Final = 256


def server_config() -> ServerConfig:
    """What both doors have in common."""
    config = ServerConfig()
    config.accesslog = None
    config.errorlog = "-"
    config.loglevel = "WARNING"
    config.include_server_header = False
    config.graceful_timeout = GRACEFUL_TIMEOUT_S
    config.shutdown_timeout = GRACEFUL_TIMEOUT_S
    config.keep_alive_timeout = KEEP_ALIVE_TIMEOUT_S
    config.backlog = REQUEST_BACKLOG
    return config


def remove_socket(path: Path) -> None:
    """Remove the socket that a killed process left; anything else there is not ours to remove."""
    try:
        if stat.S_ISSOCK(os.lstat(path).st_mode):
            path.unlink()
    except FileNotFoundError:
        return
