"""What is in the archive, as its folders say: one entry per finished generation, kept in memory and read again when it changes.

Small: 300 bytes a file, so two years of one file a day are 0.2 MB.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from storage.archive.layout import MANIFEST_NAME, day_folder, generation_folder, generations
from storage.archive.manifest import ArchiveDamaged, Manifest, read_manifest, sync_folder


@dataclass(frozen=True, slots=True)
class Generation:
    """A generation with a manifest; `problem` says why it can't be used, "" when it can."""

    day: int
    generation: int
    manifest: Manifest | None
    problem: str = ""


def read_archive(root: Path) -> list[Generation]:
    """All generations that were finished, by day and generation. Folders without a manifest are left out."""
    found = []
    for day, generation, folder in generations(root):
        try:
            found.append(Generation(day, generation, read_manifest(folder, day, generation)))
        except FileNotFoundError:
            continue
        except ArchiveDamaged as error:
            found.append(Generation(day, generation, None, error.message))
    return found


def read_generation(root: Path, day: int, generation: int) -> Generation:
    """One generation that is to be there; one that is not has a problem too."""
    try:
        return Generation(
            day, generation, read_manifest(generation_folder(root, day, generation), day, generation)
        )
    except FileNotFoundError:
        return Generation(day, generation, None, "the manifest is missing")
    except ArchiveDamaged as error:
        return Generation(day, generation, None, error.message)


def newest_of_days(root: Path) -> dict[int, Generation]:
    """The newest usable generation of each day; of a day without one, the newest that is there."""
    newest: dict[int, Generation] = {}
    for each in read_archive(root):
        before = newest.get(each.day)
        if before is None or each.manifest is not None or before.manifest is None:
            newest[each.day] = each
    return newest


def next_generation(root: Path, day: int, before: int | None) -> int:
    """The number after a generation, None for none, that is free to be written.

    One that was finished and can't be read any more was passed over, and may be all there is of its readings: it stays.
    """
    generation = (before or 0) + 1
    while read_generation(root, day, generation).manifest is None and _has_manifest(root, day, generation):
        generation += 1
    return generation


def _has_manifest(root: Path, day: int, generation: int) -> bool:
    return (generation_folder(root, day, generation) / MANIFEST_NAME).exists()


def rubbish(root: Path) -> list[Path]:
    """Folders of generations that were never finished."""
    return [folder for _, _, folder in generations(root) if not (folder / MANIFEST_NAME).exists()]


def remove_generation(root: Path, day: int, generation: int) -> None:
    """Remove a generation, its manifest first, so that half of it is rubbish and nothing else. Raises OSError."""
    folder = generation_folder(root, day, generation)
    (folder / MANIFEST_NAME).unlink(missing_ok=True)
    if folder.exists():
        sync_folder(folder)
        shutil.rmtree(folder)
    remove_empty(root, day)


def remove_empty(root: Path, day: int) -> None:
    """Remove the day's and the year's folder when nothing is left in them."""
    folder = day_folder(root, day)
    for each in (folder, folder.parent):
        if each.exists() and not any(each.iterdir()):
            each.rmdir()
            sync_folder(each.parent)


def tidy(
    root: Path,
    generation_of: Mapping[int, int | None],
    is_expired: Callable[[int], bool] = lambda _: False,
) -> int:
    """Remove what a crash left: unfinished generations, and those of days of which the store has another generation.

    Args:
        generation_of: Day → the generation that the store knows of, None for none: it has the day as a whole.
        is_expired: Whether a day is to be nowhere any more: of those that are not named, these go and others stay.
    Returns:
        Generations removed.
    """
    removed = 0
    for day, generation, folder in list(generations(root)):
        if (folder / MANIFEST_NAME).exists():
            if day in generation_of:
                is_rubbish = generation_of[day] != generation and _is_readable(folder, day, generation)
            else:
                is_rubbish = is_expired(day)
        else:
            is_rubbish = True
        if is_rubbish:
            remove_generation(root, day, generation)
            removed += 1
    return removed


def _is_readable(folder: Path, day: int, generation: int) -> bool:
    """Whether a finished generation can be used: one that can't was passed over, and may be all there is of its readings."""
    try:
        read_manifest(folder, day, generation)
    except ArchiveDamaged:
        return False
    return True
