"""Where a day's files lie, and what their names mean.

    archive/2026/2026-11-27/000003/manifest.json           generation 3 of the day; written last
                                  /default-000.parquet     files of the retention class `default`
                                  /vibration-000.parquet

A folder of a generation without a manifest is what a crash left: rubbish. Names that are not like these are somebody
else's and are not touched.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Final

MANIFEST_NAME: Final = "manifest.json"
FILE_NAME: Final = re.compile(r"([a-z0-9][a-z0-9-]{0,31})-([0-9]{3,6})\.parquet")
_FIRST_DAY: Final = date(1970, 1, 1)
_YEAR: Final = re.compile(r"[0-9]{4}")
_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_GENERATION: Final = re.compile(r"[0-9]{6}")


def day_text(day: int) -> str:
    """A day (days since 1970-01-01 UTC) as YYYY-MM-DD."""
    return (_FIRST_DAY + timedelta(days=day)).isoformat()


def day_number(text: str) -> int:
    """The day that `day_text` wrote. Raises ValueError."""
    if _DAY.fullmatch(text) is None:
        raise ValueError(f"not a day: {text[:32]}")
    return (date.fromisoformat(text) - _FIRST_DAY).days


def day_folder(root: Path, day: int) -> Path:
    """The folder of a day's generations."""
    text = day_text(day)
    return root / text[:4] / text


def generation_folder(root: Path, day: int, generation: int) -> Path:
    """The folder of one generation of a day."""
    return day_folder(root, day) / f"{generation:06d}"


def relative_path(day: int, generation: int, name: str) -> str:
    """A file's path below the archive's folder, as the store has it."""
    text = day_text(day)
    return f"{text[:4]}/{text}/{generation:06d}/{name}"


def file_name(class_id: str, number: int) -> str:
    """The name of a class's n-th file."""
    return f"{class_id}-{number:03d}.parquet"


def generations(root: Path) -> Iterator[tuple[int, int, Path]]:
    """Every (day, generation, folder) there is, with or without a manifest, in order."""
    for year in _children(root, _YEAR):
        for folder in _children(year, _DAY):
            try:
                day = day_number(folder.name)
            except ValueError:
                continue  # the 30th of February: not made by us
            for generation in _children(folder, _GENERATION):
                yield day, int(generation.name), generation


def _children(folder: Path, name: re.Pattern[str]) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            found = [e.name for e in entries if name.fullmatch(e.name) and e.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return []
    return [folder / each for each in sorted(found)]
