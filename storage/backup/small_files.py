"""Files of the data folder that are replaced as a whole: keys, certificates, the broker's checkpoint, cursors of bridges.

Only plain files are taken; what is being written (a name that begins with a dot), and the root's secret, are not: the
kit has that, and a backup would keep it long after the box has forgotten it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

FOLDERS: Final = ("identity", "broker", "cursors")
LEFT_OUT: Final = frozenset({"identity/ca/root.secret"})
PRIVATE: Final = 0o600
PUBLIC: Final = 0o644
SEALED: Final = 0o400
DEPTH_MAX: Final = 4


def small_files(data_dir: Path) -> Iterator[tuple[Path, str]]:
    """Each file's path, and its name below data_dir; in an order that is always the same."""
    for folder in FOLDERS:
        yield from _files(data_dir / folder, folder, DEPTH_MAX)


def _files(folder: Path, name: str, depth: int) -> Iterator[tuple[Path, str]]:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in entries:
        below = f"{name}/{entry.name}"
        if entry.name.startswith(".") or below in LEFT_OUT:
            continue
        if entry.is_dir(follow_symlinks=False) and depth:
            yield from _files(folder / entry.name, below, depth - 1)
        elif entry.is_file(follow_symlinks=False):
            yield folder / entry.name, below


def mode_of(about: os.stat_result) -> int:
    """The mode that a file gets when it is restored: private, unless everybody may read it or nobody may write it."""
    mode = stat.S_IMODE(about.st_mode)
    if not mode & 0o222:
        return SEALED
    return PUBLIC if mode & 0o004 else PRIVATE
