"""One of the streams in the order of a site beside the own one: where it is, and how it stands."""

from __future__ import annotations

from pathlib import Path

from appliance.core.errors import StorageError, Unavailable
from storage.log.disk import Disk
from storage.site.taking import Taking


class OtherStream:
    """See the module.

    Attributes:
        branch: "" for the stream itself, else "fork-" and 8 digits.
        waiting: Records that weren't taken yet, as of this turn. stopped: Why it does not go on, and in which epoch.
    """

    def __init__(self, number: int, node_id: str, branch: str, directory: Path, disk: Disk) -> None:
        self.number = number
        self.node_id = node_id
        self.branch = branch
        self.directory = directory
        self.taking = Taking(directory, disk)
        self.is_named = False
        self.stopped = ""
        self.stopped_epoch = 0
        self.waiting = 0

    def first_seq(self) -> int:
        """The oldest record that is kept; 0 where that can't be read now."""
        try:
            return self.taking.reader.first_seq()
        except (StorageError, Unavailable, OSError):
            return 0
