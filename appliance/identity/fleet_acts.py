"""What was done to the fleet by who can't write the audit: left as files below data_dir/fleet/acts until the node has noted them.

A box is let in by the replicator, and joins by a command while its node may be stopped; the audit lies in the catalog, which the node alone
writes. An act is left before what it tells of is answered, and removed only when it is in the audit: after a crash in between it is there twice,
never not at all.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec

from appliance.core.errors import ConfigError
from appliance.core.limits_replication import FLEET_ACT_COUNT_MAX, FLEET_ACT_DETAIL_LENGTH_MAX
from appliance.identity import files

ACTS: Final = "acts"
JOIN: Final = "peer.join"
"""What the audit calls it, on the box that joined and on the one that let it in."""
DECOMMISSION: Final = "peer.decommission"


class FleetAct(msgspec.Struct, frozen=True, kw_only=True):
    """An entry of the audit that is to be."""

    action: Literal["peer.join"] = JOIN
    node_id: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{32}\Z")]
    detail: Annotated[str, msgspec.Meta(max_length=FLEET_ACT_DETAIL_LENGTH_MAX)]


def encode_act(act: FleetAct) -> bytes:
    """As its file holds it."""
    return msgspec.json.encode(act)


def leave_act(fleet_folder: Path, act: FleetAct) -> None:
    """Leave one for the node. Blocks for some ms; nothing is left beyond so many that nobody has noted.

    Raises:
        StorageError: it can't be written; then what it tells of must not be done.
    """
    folder = fleet_folder / ACTS
    folder.mkdir(mode=0o700, exist_ok=True)
    if sum(1 for _ in folder.glob("*.json")) < FLEET_ACT_COUNT_MAX:
        files.create(folder / f"{secrets.token_hex(8)}.json", encode_act(act))


def acts_left(fleet_folder: Path) -> Iterator[tuple[Path, FleetAct | None]]:
    """Those that wait, with their files; None for what is none of ours. Blocks for some ms."""
    for path in sorted((fleet_folder / ACTS).glob("*.json")):
        try:
            data = files.read_secret(path)
            act = None if data is None else msgspec.json.decode(data, type=FleetAct)
        except (msgspec.DecodeError, ConfigError):
            act = None
        yield path, act
