"""The believed time on disk (appliance/core/believed_time.py): read when a process starts, written by the node.

A file that is missing or can't be read means that nothing is believed yet: the clock is, as on a new box.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, Self

import msgspec
import trio

from appliance.core import logs
from appliance.core.believed_time import BelievedTime, ClockDoubt, is_known_wrong
from appliance.core.clock import Clock
from appliance.core.errors import HomeportError, StorageError
from appliance.core.limits import CLOCK_SAVE_MS
from appliance.identity import files

LOOK_S: Final = 10.0
TIME_MS_MAX: Final = 2**47

_log = logs.get(__name__)


class _Kept(msgspec.Struct, forbid_unknown_fields=True):
    believed_ms: int


def read_believed_ms(path: Path) -> int | None:
    """What was believed last, UTC ms; None where nothing was. Raises StorageError: it is there and can't be read."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageError(
            f"{path} can't be read: {error}.",
            hint="Look at its owner, its mode and the disk.",
            code="clock_file",
        ) from error
    try:
        believed_ms = msgspec.json.decode(data, type=_Kept).believed_ms
    except ValueError as error:
        _log.warning("the believed time can't be read and begins anew", file=str(path), error=str(error))
        return None
    return None if is_known_wrong(believed_ms) or believed_ms >= TIME_MS_MAX else believed_ms


def open_believed_time(path: Path, clock: Clock) -> BelievedTime:
    """The believed time as it goes on from the file. Raises StorageError."""
    return BelievedTime(clock, last_ms=read_believed_ms(path))


def write_believed_ms(path: Path, believed_ms: int) -> None:
    """Durably. Raises StorageError."""
    files.replace(path, msgspec.json.encode(_Kept(believed_ms=believed_ms)) + b"\n")


class ClockFile:
    """Writes what is believed, as long as the node runs.

    Args:
        believed: Looked at here every LOOK_S.
    """

    @classmethod
    def opened(cls, path: Path, clock: Clock) -> Self:
        """With the believed time as it goes on from the file. Raises StorageError."""
        return cls(path, open_believed_time(path, clock), clock)

    def __init__(self, path: Path, believed: BelievedTime, clock: Clock) -> None:
        self._path = path
        self.believed = believed
        self._clock = clock
        self._doubt = ClockDoubt.NONE
        self._saved_mono_ms: int | None = None

    async def run(self) -> None:
        """Until cancelled, and write once more then. A disk that fails is told of and tried again."""
        try:
            while True:
                await self.look()
                await trio.sleep(LOOK_S)
        finally:
            with trio.CancelScope(shield=True):
                self.believed.look()
                await self._write()

    async def look(self) -> None:
        """Look at the clock, and write what is believed if it is time."""
        self.believed.look()
        has_turned = self.believed.doubt is not self._doubt
        if has_turned:
            self._doubt = self.believed.doubt
            _log.warning(
                "the clock is doubted" if self._doubt else "the clock is believed",
                doubt=self._doubt.value,
                off_by_ms=self.believed.off_by_ms,
            )
        saved_mono_ms = self._saved_mono_ms
        if has_turned or saved_mono_ms is None or self._clock.mono_ms() - saved_mono_ms >= CLOCK_SAVE_MS:
            await self._write()

    async def _write(self) -> None:
        believed_ms, mono_ms = self.believed.believed_ms, self._clock.mono_ms()
        if believed_ms is None:
            return
        try:
            await trio.to_thread.run_sync(write_believed_ms, self._path, believed_ms)
        except HomeportError as error:
            _log.error("the believed time could not be written", error=error.message, hint=error.hint)
            return
        self._saved_mono_ms = mono_ms
