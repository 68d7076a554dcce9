"""What a box remembers while it may not write as its node, in data_dir/fleet; a box that may has none of these files.

    doubt.json       why it can't know that it is the newest body of its node, and how its claim of an epoch stands
    bodies.json      by what its own claims of epochs in the cloud tier are known
    behind.json      from where on its catalog has not got what its own stream of the catalog has

The replicator writes them, but for the second one's end: the node removes it once the catalog has all of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final, Literal, TypeVar

import msgspec
from msgspec import Meta

from appliance.core.errors import StorageError
from storage.fleet.roster_file import fleet_folder
from storage.log.disk import OsDisk
from storage.log.manifest import replace_file

DOUBT: Final = "doubt.json"
BEHIND: Final = "behind.json"
BODIES: Final = "bodies.json"
BYTES_MAX: Final = 4096
BODY_COUNT_MAX: Final = 32
"""Claims that are remembered, the newest: of 32 digits each."""
Reason = Literal["moved", "cloned", "ahead", "copied", "forked"]
Count = Annotated[int, Meta(ge=0, le=2**53)]
Content = TypeVar("Content", bound=msgspec.Struct)


class Doubt(msgspec.Struct, frozen=True, kw_only=True):
    """Why a box must not write before it has a new epoch.

    Attributes:
        reason: moved: it is a copy of the folder, or in another machine. ahead: others hold more of its streams than it has.
            cloned: others have a link with another body of it, or know one that came later. copied: its log was put in place by a restore. forked: two bodies have written as this node.
        epoch, voters_count, needed_count: The epoch that it asks for, who promised it, and how many have to; 0 before it asked.
    """

    reason: Reason
    since_ms: Count
    epoch: Count = 0
    voters_count: Count = 0
    needed_count: Count = 0


class Behind(msgspec.Struct, frozen=True, kw_only=True):
    """Records of the own stream of the catalog, from this one on, are not in the catalog."""

    from_seq: Count


def read_doubt(data_dir: Path) -> Doubt | None:
    """The doubt that there is; None where there is none. What can't be read is a doubt as well."""
    try:
        return _read(data_dir, DOUBT, Doubt)
    except (OSError, msgspec.MsgspecError):
        return Doubt(reason="ahead", since_ms=0)


def write_doubt(data_dir: Path, doubt: Doubt) -> None:
    """Have it known over restarts. Raises StorageError."""
    _write(data_dir, DOUBT, doubt)


def remove_doubt(data_dir: Path) -> None:
    """It has an epoch of its own now. Raises StorageError."""
    _remove(data_dir, DOUBT)


class Bodies(msgspec.Struct, frozen=True, kw_only=True):
    """What this box has put into claims, the newest last."""

    bodies: Annotated[
        tuple[Annotated[str, Meta(pattern=r"^[0-9a-f]{32}\Z")], ...], Meta(max_length=BODY_COUNT_MAX)
    ]


def read_bodies(data_dir: Path) -> tuple[str, ...]:
    """By what this box's claims are known; none where that can't be read: then its own are taken for another's, and a person decides."""
    try:
        found = _read(data_dir, BODIES, Bodies)
    except (OSError, msgspec.MsgspecError):
        return ()
    return () if found is None else found.bodies


def write_bodies(data_dir: Path, bodies: Sequence[str]) -> None:
    """Raises StorageError."""
    _write(data_dir, BODIES, Bodies(bodies=tuple(bodies)))


def read_behind(data_dir: Path) -> Behind | None:
    """Where the catalog is behind its stream; None where it is not. What can't be read means all of it."""
    try:
        return _read(data_dir, BEHIND, Behind)
    except (OSError, msgspec.MsgspecError):
        return Behind(from_seq=1)


def write_behind(data_dir: Path, behind: Behind) -> None:
    """Raises StorageError."""
    _write(data_dir, BEHIND, behind)


def remove_behind(data_dir: Path) -> None:
    """Raises StorageError."""
    _remove(data_dir, BEHIND)


def _read(data_dir: Path, name: str, kind: type[Content]) -> Content | None:
    try:
        with (fleet_folder(data_dir) / name).open("rb") as file:
            return msgspec.json.decode(file.read(BYTES_MAX), type=kind)
    except FileNotFoundError:
        return None


def _write(data_dir: Path, name: str, content: msgspec.Struct) -> None:
    path = fleet_folder(data_dir) / name
    try:
        replace_file(OsDisk(), path.parent, name, f".{name}.new", msgspec.json.encode(content))
    except OSError as error:
        raise _unwritable(path, error) from error


def _remove(data_dir: Path, name: str) -> None:
    path = fleet_folder(data_dir) / name
    try:
        path.unlink(missing_ok=True)
        OsDisk().fsync_directory(path.parent)
    except OSError as error:
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError) -> StorageError:
    return StorageError(
        f"{path} can't be written: {error.strerror}.",
        hint="Look at the disk's free space and at the folder's owner and mode.",
        code="epoch_file_unwritable",
    )
