"""Files of the archive as a backup has them: of each day the newest generation that is whole, and the state's snapshots.

A generation never changes, and has its manifest only once it is whole; what was replaced by a newer one while it was
copied is taken again by that.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from appliance.core.errors import StorageError
from appliance.core.limits import BACKUP_WALK_COUNT_MAX

ARCHIVE: Final = "archive"
STATE: Final = "state"
DAY_MANIFEST: Final = "manifest.json"

Copy = Callable[[Path, str], None]
"""Copies a file under a name below data_dir; raises FileNotFoundError where it is gone."""


def state_files(data_dir: Path, copy: Copy) -> None:
    """Have the snapshots of the state copied. One that is removed meanwhile is one that nobody needs any more."""
    folder = data_dir / ARCHIVE / STATE
    for path in _sorted(folder):
        if path.suffix == ".state":
            try:
                copy(path, f"{ARCHIVE}/{STATE}/{path.name}")
            except FileNotFoundError:
                continue


def day_files(data_dir: Path, copy: Copy, discard: Callable[[str], None]) -> None:
    """Have each day's newest generation copied.

    Args:
        discard: Forgets what was copied under a name.
    Raises:
        StorageError: `archive_restless`: a day changed again and again while it was copied.
    """
    for year in _sorted(data_dir / ARCHIVE):
        if year.name.isdigit():
            for day in _sorted(year):
                _day(day, f"{ARCHIVE}/{year.name}/{day.name}", copy, discard)


def _day(day: Path, name: str, copy: Copy, discard: Callable[[str], None]) -> None:
    for _ in range(BACKUP_WALK_COUNT_MAX):
        whole = [each for each in _sorted(day) if (each / DAY_MANIFEST).is_file()]
        if not whole:
            return  # its time is over, or it is being made for the first time: the log has it
        newest = whole[-1]
        copied = []
        try:
            for path in _sorted(newest):
                if path.name.startswith("."):
                    continue
                below = f"{name}/{newest.name}/{path.name}"
                copied.append(below)
                copy(path, below)
        except FileNotFoundError:
            for below in copied:
                discard(below)
            continue
        return
    raise StorageError(
        f"The archive of {day.name} was replaced again and again while it was copied.",
        hint="Start the backup again in a while.",
        code="archive_restless",
    )


def _sorted(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
