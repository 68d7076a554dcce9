"""Columns of one length, one slot for each thing that is watched: grown, thinned out, and written down as bytes.

A subclass names its columns in COLUMNS and annotates them as attributes. A column is the beginning of an array with room behind it, so that
slots can be added one rule at a time; what is read and written per reading are plain arrays.

Must not know: what the columns mean.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from appliance.core.arrays import I64, Mask
from appliance.core.errors import StorageError

NEVER: Final = 2**62
"""Later than any time, ms; room above it for a delay."""


class Table:
    """Columns of one length."""

    COLUMNS: ClassVar[Mapping[str, tuple[str, float]]] = {}
    """Name → (dtype, what a new slot has)."""

    def __init__(self) -> None:
        self.count = 0
        self._rooms: dict[str, NDArray[Any]] = {}
        for name, (dtype, _) in self.COLUMNS.items():
            setattr(self, name, np.empty(0, dtype))

    def add(self, count: int, **given: Any) -> I64:
        """Append slots; a column that is not given starts with what COLUMNS says. Returns their numbers."""
        before, self.count = self.count, self.count + count
        for name, (dtype, initial) in self.COLUMNS.items():
            column, room = getattr(self, name), self._rooms.get(name)
            if room is None or column.base is not room or len(room) < self.count:
                room = self._rooms[name] = np.empty(self.count + self.count // 2, dtype)
                room[:before] = column
            room[before : self.count] = given.get(name, initial)
            setattr(self, name, room[: self.count])
        return np.arange(before, self.count)

    def keep(self, mask: Mask) -> None:
        """Let go of the slots where the mask is False; the others close up, in their order."""
        for name in self.COLUMNS:
            setattr(self, name, getattr(self, name)[mask])
        self.count = int(np.count_nonzero(mask))

    def columns(self) -> dict[str, bytes]:
        """All columns as bytes, by name."""
        return {name: getattr(self, name).tobytes() for name in self.COLUMNS}

    def restore(self, count: int, columns: Mapping[str, bytes]) -> None:
        """Take over what `columns` gave.

        Raises:
            StorageError: `rule_state_damaged`: a column is missing, or is not as long as the others.
        """
        arrays: dict[str, NDArray[Any]] = {}
        for name, (dtype, _) in self.COLUMNS.items():
            data = columns.get(name)
            if data is None or len(data) != count * np.dtype(dtype).itemsize:
                raise damaged(f"column {name} of {type(self).__name__}")
            arrays[name] = np.frombuffer(data, dtype).copy()
        for name, array in arrays.items():
            setattr(self, name, array)
        self.count = count


def damaged(what: str) -> StorageError:
    """That a saved state can't be used."""
    return StorageError(
        f"The saved state of the rules can't be read ({what}).",
        hint="Nothing needs to be done: it is built anew from the log.",
        code="rule_state_damaged",
    )
