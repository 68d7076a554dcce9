"""Which history of a stream counts where two are kept: the one of the highest epoch, in whatever folder it is.

Names of folders don't move (storage/replicas/branching.py): who met the other body first has its history under the stream's own name, and the
fence's holder goes on in a branch. So whoever follows a stream looks which of them has the highest epoch.
"""

from __future__ import annotations

import re
from pathlib import Path

from appliance.core.errors import StorageError, Unavailable
from storage.log.reader import LogReader

_BRANCH = re.compile(r"\.fork-[0-9a-f]{8}\Z")


def newest_history(directory: Path, *, with_whole: bool = True) -> Path | None:
    """The folder of a stream's history that goes on furthest; None where there is none.

    Args:
        directory: Of the stream itself; branches lie beside it.
        with_whole: Whether that one counts: it is no copy where the stream is the own one.
    Raises:
        OSError: the folder they lie in can't be read.
    """
    try:
        names = sorted(path.name for path in directory.parent.iterdir() if path.is_dir())
    except FileNotFoundError:
        names = []
    found = [
        directory.with_name(name)
        for name in names
        if _BRANCH.fullmatch(name.removeprefix(directory.name)) or (with_whole and name == directory.name)
    ]
    return max(found, key=_place, default=None)


def _place(directory: Path) -> tuple[int, int, bool]:
    """(epoch, next sequence); among equals the stream's own name."""
    reader = LogReader(directory)
    try:
        head = reader.head()
    except (StorageError, Unavailable):
        return (0, 0, False)
    finally:
        reader.close()
    return (head.epoch, head.next_seq, _BRANCH.search(directory.name) is None)
