"""When each generation was last read back, and what was wrong: a small file in the archive's folder.

A generation is verified when it is made; later checks are noted here. Lost, it costs nothing but checking again.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import msgspec

from storage.archive.checking import Fault
from storage.archive.manifest import sync_folder

NAME: Final = "checked.json"


class CheckedDay(msgspec.Struct, frozen=True, kw_only=True):
    """The last check of a day's generation. faults: (file, problem)."""

    generation: int
    at_ms: int
    faults: tuple[tuple[str, str], ...] = ()


_decoder: Final = msgspec.json.Decoder(dict[int, CheckedDay])


class Checked:
    """The checks below one folder. One thread at a time."""

    def __init__(self, root: Path) -> None:
        self._path = root / NAME
        self.days: dict[int, CheckedDay] = {}

    def load(self) -> None:
        """Read the file; one that is not there, or none of ours, is as if nothing had been checked."""
        try:
            self.days = _decoder.decode(self._path.read_bytes())
        except (FileNotFoundError, msgspec.MsgspecError):
            self.days = {}

    def note(self, day: int, generation: int, at_ms: int, faults: list[Fault]) -> None:
        """A generation was checked. Raises OSError."""
        found = tuple((fault.file, fault.problem) for fault in faults)
        self.days[day] = CheckedDay(generation=generation, at_ms=at_ms, faults=found)
        self._save()

    def forget(self, day: int) -> None:
        """A day has another generation, or none. Raises OSError."""
        if self.days.pop(day, None) is not None:
            self._save()

    def _save(self) -> None:
        fresh = self._path.with_name(f"{NAME}.new")
        with fresh.open("wb") as file:
            file.write(msgspec.json.encode(self.days))
            file.flush()
            os.fsync(file.fileno())
        fresh.rename(self._path)
        sync_folder(self._path.parent)
