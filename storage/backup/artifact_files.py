"""Images of artifacts as a backup has them: every whole one, under the digest that is its name.

They never change, so that a night's backup reads the new ones only. One that is removed meanwhile is one that no artifact names any
more; the catalog was copied before, so each image that it names was there then.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from storage.artifacts.layout import BLOBS, FOLDER, is_sha256
from storage.backup.archive_files import Copy

ARTIFACTS: Final = f"{FOLDER}/{BLOBS}"


def artifact_files(data_dir: Path, copy: Copy) -> None:
    """Have the images copied. Unfinished uploads are not: whoever sends one sends it again."""
    for folder in _sorted(data_dir / FOLDER / BLOBS):
        for path in _sorted(folder):
            if is_sha256(path.name):
                try:
                    copy(path, f"{ARTIFACTS}/{folder.name}/{path.name}")
                except FileNotFoundError:
                    continue


def digest_of_name(name: str) -> str:
    """The SHA-256 that a file of a backup must have by its name, "" for one that is no image."""
    last = name.rpartition("/")[2]
    return last if name.startswith(f"{ARTIFACTS}/") and is_sha256(last) else ""


def _sorted(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
