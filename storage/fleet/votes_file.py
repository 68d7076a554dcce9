"""Promises of epochs that this node gave to others, as `data_dir/fleet/votes.json`: on the disk before anybody hears of them.

Only the replicator reads and writes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from appliance.core.errors import StorageError
from appliance.core.limits_replication import ROSTER_NODE_COUNT_MAX
from storage.fleet.roster_file import fleet_folder
from storage.log.disk import OsDisk
from storage.log.manifest import replace_file

VOTES: Final = "votes.json"
VOTES_BYTES_MAX: Final = 256 * ROSTER_NODE_COUNT_MAX

Hex128 = Annotated[str, Meta(pattern=r"^[0-9a-f]{32}\Z")]


class Vote(msgspec.Struct, frozen=True):
    """An epoch that was promised, and to which instance of the node."""

    epoch: Annotated[int, Meta(ge=0, le=2**32 - 1)]
    instance: Hex128


_decode = msgspec.json.Decoder(dict[Hex128, Vote]).decode


def read_votes(data_dir: Path) -> dict[str, Vote]:
    """All promises, by node id; none where none was given.

    Raises:
        StorageError: `votes_unreadable`: what was promised isn't known, so nothing may be promised.
    """
    path = fleet_folder(data_dir) / VOTES
    try:
        with path.open("rb") as file:
            return _decode(file.read(VOTES_BYTES_MAX))
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.DecodeError) as error:
        raise StorageError(
            f"What this node promised to others can't be read from {path}: {error}.",
            hint="Put the file back from a backup. Without it this node gives no voice to a node that claims an epoch.",
            code="votes_unreadable",
        ) from error


def write_votes(data_dir: Path, votes: Mapping[str, Vote]) -> None:
    """Puts promises in place of the ones before, durably.

    Raises:
        StorageError: `votes_unwritable`: nothing new is promised.
    """
    path = fleet_folder(data_dir) / VOTES
    try:
        replace_file(OsDisk(), path.parent, VOTES, f".{VOTES}.new", msgspec.json.encode(dict(votes)))
    except OSError as error:
        raise StorageError(
            f"{path} can't be written: {error.strerror}.",
            hint="Look at the disk's free space and at the folder's owner and mode.",
            code="votes_unwritable",
        ) from error
