"""The roster as `data_dir/fleet/roster.json`: replaced as a whole, so that whoever reads has the one before or the new one.

One process writes it, the replicator (or the verb that makes the folder); broker and node look every 2 s whether the
file is another one. A box without the folder belongs to no fleet.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from appliance.core.errors import StorageError
from appliance.core.limits_replication import ROSTER_BYTES_MAX
from appliance.management.fleet import Roster, decode_roster
from storage.log.disk import OsDisk
from storage.log.manifest import replace_file

FOLDER: Final = "fleet"
ROSTER: Final = "roster.json"


def fleet_folder(data_dir: Path) -> Path:
    """Where all that belongs to the fleet lies; it is there once the box belongs to one."""
    return data_dir / FOLDER


def roster_path(data_dir: Path) -> Path:
    """The roster's file."""
    return fleet_folder(data_dir) / ROSTER


def read_roster(data_dir: Path) -> Roster | None:
    """The roster; None where this box belongs to no fleet.

    Raises:
        UsageError: `roster_invalid`, `roster_entry_invalid`. StorageError: `roster_unreadable`.
    """
    try:
        with roster_path(data_dir).open("rb") as file:
            data = file.read(ROSTER_BYTES_MAX + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageError(
            f"{roster_path(data_dir)} can't be read: {error.strerror}.",
            hint="Look at the file's owner and mode, and at the disk.",
            code="roster_unreadable",
        ) from error
    return decode_roster(data)


def write_roster(data_dir: Path, roster: Roster) -> None:
    """Put a roster in place of the old one, durably.

    Raises:
        StorageError: `roster_unwritable`; the one before is still there.
    """
    path = roster_path(data_dir)
    try:
        replace_file(OsDisk(), path.parent, ROSTER, f".{ROSTER}.new", roster.encode())
    except OSError as error:
        raise StorageError(
            f"{path} can't be written: {error.strerror}.",
            hint="Look at the disk's free space and at the folder's owner and mode.",
            code="roster_unwritable",
        ) from error


class RosterWatch:
    """The roster as it is now, read again only when the file is another one. Looking costs a stat.

    A file that can't be read is said once, by the error that `look` raises; until it can, the one before counts.
    """

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._seen: tuple[int, int, int] | None = None
        self.roster: Roster | None = None
        """None while this box belongs to no fleet."""

    def look(self) -> bool:
        """Read the file if it is another one. Blocks for a stat, and some ms where it is.

        Returns:
            Whether `roster` is another one now.
        Raises:
            UsageError, StorageError: as `read_roster`; not again for the same file.
        """
        try:
            found = roster_path(self._data_dir).stat()
        except OSError:
            was, self.roster, self._seen = self.roster, None, None
            return was is not None
        # Each write makes another inode; two in one tick of the file system's clock are told apart by it.
        seen = (found.st_ino, found.st_mtime_ns, found.st_size)
        if seen == self._seen:
            return False
        self._seen = seen
        self.roster = read_roster(self._data_dir)
        return True
