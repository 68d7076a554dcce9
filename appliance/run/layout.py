"""Where things lie in data_dir and run_dir: the one place that names the files which several processes open."""

from __future__ import annotations

from pathlib import Path

from appliance.core.config import Config
from storage.backup.switch import DRILL
from storage.log.names import CURSORS


def telemetry_log(config: Config) -> Path:
    """Folder of the telemetry stream; the broker writes it, everyone else reads."""
    return config.node.data_dir / "log" / "telemetry"


def catalog_log(config: Config) -> Path:
    """Folder of the catalog's stream on a box with peers; the node writes it, everyone else reads."""
    return config.node.data_dir / "log" / "catalog"


def replica(config: Config, node_id: str, stream: str) -> Path:
    """Folder of the copy of another node's stream; the replicator writes it, everyone else reads."""
    return config.node.data_dir / "replicas" / node_id / stream


def site_order(config: Config) -> Path:
    """Folder of the order in which the node reads its own log and the copies of its site; only the node uses it."""
    return config.node.data_dir / "site"


def pipeline_cursor(config: Config) -> Path:
    """How far the pipeline has read the log: the node writes it, the broker keeps what comes after it."""
    return telemetry_log(config) / CURSORS / "pipeline"


def broker_checkpoint(config: Config) -> Path:
    """The broker's state as of one place in the log; only the broker reads and writes it."""
    return config.node.data_dir / "broker" / "checkpoint"


def catalog(config: Config) -> Path:
    """The catalog's file; whoever holds `node_lock` writes it, the broker reads."""
    return config.node.data_dir / "catalog.db"


def devices_ca(config: Config) -> Path:
    """The site's authority for certificates of devices, as PEM; the node writes it, the broker trusts it."""
    return config.node.data_dir / "identity" / "ca" / "devices.pem"


def devices_crl(config: Config) -> Path:
    """The revocation list of that authority, as PEM."""
    return config.node.data_dir / "identity" / "ca" / "crl.pem"


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


def fleet(config: Config) -> Path:
    """Folder that is there once this box belongs to a fleet."""
    return config.node.data_dir / "fleet"


def replicator_socket(config: Config) -> Path:
    """The replicator's control socket, for the node and the command line."""
    return config.node.run_dir / "replicator.sock"


def replicator_lock(config: Config) -> Path:
    """Held by whoever writes the fleet's folder and the copies: the replicator, or a command while it is stopped."""
    return config.node.data_dir / "replicator.lock"


def reading_socket(config: Config) -> Path:
    """Where the replicator asks the node what cloud nodes read."""
    return config.node.run_dir / "reading.sock"


def guest_socket(config: Config) -> Path:
    """Where other processes of this box ask peers over the replicator's links."""
    return config.node.run_dir / "guests.sock"


def past(config: Config) -> Path:
    """The log's past, as it comes from peers to a box that was restored without it; put in its place at a start."""
    return config.node.data_dir / "past"


def tier_key_generation(data_dir: Path) -> Path:
    """Which generation of the tier's key seals: a number, no secret. The replicator writes it; the catalog is the record."""
    return data_dir / "tier" / "key-generation"


def drill_folder(config: Config) -> Path:
    """The scratch copy of a drill; nothing in it is of any use once that has ended."""
    return config.node.data_dir / DRILL


def drill_lock(config: Config) -> Path:
    """Held while a drill runs."""
    return config.node.run_dir / "drill.lock"


def drill_reports(config: Config) -> Path:
    """What the newest drills found; the node writes it."""
    return config.node.data_dir / "drills.json"


def clock_file(config: Config) -> Path:
    """The time that was believed last; the node writes it."""
    return config.node.data_dir / "clock.json"
