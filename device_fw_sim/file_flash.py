"""Flash of a simulated device in a folder: it outlives the process, and a SIGKILL of it at any point.

Two files for each record, of which the newer one that is whole counts and the other one is written, and one file for each area; all are written in
place. Nothing is synced or renamed (which makes ext4 write at once, too), because a device has its flash for itself and a fleet shares one disk: 48
syncs for an image of 16 blocks, one after another for a thousand devices, kept all of them from hearing anything for minutes. When the
machine itself loses its power, what was written last may be gone.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from device_fw_sim.errors import OptionsError
from device_fw_sim.flash import FlashError
from device_fw_sim.limits import INSTALL_STEP_BYTES

_HEAD_FIELD_COUNT: Final = 3


class FileFlash:
    """Flash of one device.

    Args:
        folder: Its own; made if missing, readable by its owner only.
    Raises:
        OptionsError: The folder can't be made.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers: dict[str, int] = {}
        """Of the newest copy of each record."""
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise OptionsError(
                f"{folder} can't be made: {error.strerror}.",
                hint="Choose another folder for the devices' state.",
            ) from error

    def get(self, name: str) -> Any:
        number, data = max(self._copy(name, 0), self._copy(name, 1))
        self._numbers[name] = number
        return msgspec.json.decode(data) if number else None

    def put(self, name: str, value: Any) -> None:
        if name not in self._numbers:
            self.get(name)
        number, data = self._numbers[name] + 1, msgspec.json.encode(value)
        self._write(self._record(name, number % 2), 0, _head(number, data) + data)
        self._numbers[name] = number

    def write(self, area: str, offset: int, data: bytes) -> None:
        self._write(self._area(area), offset, data)

    def pieces(self, area: str) -> Iterator[bytes]:
        try:
            with self._area(area).open("rb") as file:
                while piece := file.read(INSTALL_STEP_BYTES):
                    yield piece
        except FileNotFoundError:
            return

    def erase(self, area: str) -> None:
        try:
            self._area(area).unlink(missing_ok=True)
        except OSError as error:
            raise _failed(error) from error

    def _write(self, path: Path, offset: int, data: bytes) -> None:
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.pwrite(descriptor, data, offset)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise _failed(error) from error

    def _copy(self, name: str, which: int) -> tuple[int, bytes]:
        """One of a record's two copies and its number; 0 where it is not there, or not whole."""
        try:
            head, _, rest = self._record(name, which).read_bytes().partition(b"\n")
        except FileNotFoundError:
            return 0, b""
        fields = head.split(b" ")
        if len(fields) != _HEAD_FIELD_COUNT or not all(each.isdigit() for each in fields):
            return 0, b""
        number, length, _ = map(int, fields)
        # A shorter record leaves the end of an older one behind it.
        data = rest[:length]
        return (number, data) if _head(number, data) == head + b"\n" else (0, b"")

    def _record(self, name: str, which: int) -> Path:
        return self._folder / f"{name}.{which}.record"

    def _area(self, area: str) -> Path:
        return self._folder / f"{area}.img"


def _head(number: int, data: bytes) -> bytes:
    """What stands in front of a record: its number, its length, and a checksum of both and of what is in it."""
    said = b"%d %d" % (number, len(data))
    return b"%s %d\n" % (said, zlib.crc32(said + data))


def _failed(error: OSError) -> FlashError:
    return FlashError(f"The device's state can't be written: {error.strerror}.", hint="Look after the disk.")
