"""Programs that go by another clock than the machine's, set while they run: libfaketime of Debian's package faketime.

The wall clock alone is false; monotonic time and the times of files are the machine's.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

IN_1970: Final = 3_600
IN_2099: Final = 4_070_908_800
"""Seconds since 1970."""
HEEDED_S: Final = 2.5
"""So long after it was written each program has read it: once a second, and not each time that it looks at its clock, which took it as much
time as everything else it does."""


def _library() -> str:
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    assert found, "the Debian package faketime is missing: apt-get install faketime"
    return str(found[0])


class FalseTime:
    """The clock of the programs that were started within `starting`.

    Args:
        folder: For the file that says how far it is off.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / "off_by"
        self._off_by_s = 0
        self._write(0)

    def set(self, at_s: int) -> None:
        """It says that second since 1970 when this returns, in all of them."""
        self._write(at_s - int(time.time()))
        time.sleep(HEEDED_S)

    def put_right(self) -> None:
        self._write(0)
        time.sleep(HEEDED_S)

    def now_ms(self) -> int:
        """What it says, to the second."""
        return (int(time.time()) + self._off_by_s) * 1_000

    @contextmanager
    def starting(self) -> Iterator[None]:
        """What is started in here, and what that starts, goes by it."""
        environ = {
            "LD_PRELOAD": _library(),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
        }
        os.environ.update(environ)
        try:
            yield
        finally:
            for name in environ:
                del os.environ[name]

    def _write(self, off_by_s: int) -> None:
        beside = self._file.with_suffix(".new")
        beside.write_text(f"{off_by_s:+d}\n")
        beside.replace(self._file)
        self._off_by_s = off_by_s
