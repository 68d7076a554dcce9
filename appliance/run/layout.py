"""Where things lie in data_dir and run_dir: the one place that names the files which several processes open."""

from __future__ import annotations

from pathlib import Path

from appliance.core.config import Config
from storage.log.names import CURSORS


def telemetry_log(config: Config) -> Path:
    """Folder of the telemetry stream; the broker writes it, everyone else reads."""
    return config.node.data_dir / "log" / "telemetry"


def pipeline_cursor(config: Config) -> Path:
    """How far the pipeline has read the log: the node writes it, the broker keeps what comes after it."""
    return telemetry_log(config) / CURSORS / "pipeline"


def broker_checkpoint(config: Config) -> Path:
    """The broker's state as of one place in the log; only the broker reads and writes it."""
    return config.node.data_dir / "broker" / "checkpoint"


def catalog(config: Config) -> Path:
    """The catalog's file; whoever holds `node_lock` writes it, the broker reads."""
    return config.node.data_dir / "catalog.db"


def node_lock(config: Config) -> Path:
    """Held by whoever may write the catalog: the node, or a command while the node is stopped."""
    return config.node.data_dir / "node.lock"


def supervisor_lock(config: Config) -> Path:
    """Held while `homeport run` runs."""
    return config.node.run_dir / "supervisor.lock"


def node_socket(config: Config) -> Path:
    """The node's API for the command line of this machine."""
    return config.node.run_dir / "node.sock"


def broker_socket(config: Config) -> Path:
    """The broker's control socket, for the node."""
    return config.node.run_dir / "broker.sock"


def cursors(config: Config) -> Path:
    """Folder of the cursors that hold the log back: one JSON file each, with its `next_seq`."""
    return config.node.data_dir / "cursors"


def bridge_cursor(config: Config, name: str) -> Path:
    """What a bridge must remember; only the bridge process writes it."""
    return cursors(config) / f"bridge-{name}.json"


def bridge_report(config: Config) -> Path:
    """How the bridges do, written every second by the bridge process."""
    return config.node.run_dir / "bridges.json"
