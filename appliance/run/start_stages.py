"""Where the time of a process's start goes: how many ms each stage took, from the process's birth on.

A process says them once, when it is ready (child.py). The first stage, "imported", is the interpreter's start and its
modules; it is counted from the process's birth as the kernel knows it, to 10 ms.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

_START_FIELD: Final = 19
"""Of /proc/PID/stat after the name in brackets: field 22, in clock ticks since the machine's boot. Source: proc(5)."""


class StartStages:
    """See the module's docstring.

    Args:
        born_ms: When it began, on the scale of `now_ms`.
        now_ms: The time, ms.
    """

    def __init__(self, born_ms: int, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms
        self._born_ms = self._last_ms = born_ms
        self._took_ms: dict[str, int] = {}

    @classmethod
    def of_this_process(cls) -> StartStages:
        """From the process's birth; from now on where the kernel doesn't tell it."""
        try:
            born_ms = birth_ms(Path("/proc/self/stat").read_text())
        except (OSError, ValueError, IndexError):
            born_ms = _since_boot_ms()
        return cls(born_ms, _since_boot_ms)

    def reached(self, stage: str) -> None:
        """The stage ends now; a stage that is reached again takes the time in between as well."""
        now_ms = self._now_ms()
        self._took_ms[stage] = self._took_ms.get(stage, 0) + now_ms - self._last_ms
        self._last_ms = now_ms

    @property
    def total_ms(self) -> int:
        """From the birth to the last stage reached."""
        return self._last_ms - self._born_ms

    def took_ms(self) -> dict[str, int]:
        """By stage, in the order in which they were reached."""
        return dict(self._took_ms)


def birth_ms(stat: str) -> int:
    """When a process began, ms since the machine's boot.

    Args:
        stat: Its /proc/PID/stat.
    Raises:
        ValueError, IndexError: it isn't one.
    """
    # The name may hold spaces and brackets: what follows its last one is fields 3 and on.
    fields = stat[stat.rindex(")") + 1 :].split()
    return int(fields[_START_FIELD]) * 1_000 // os.sysconf("SC_CLK_TCK")


def _since_boot_ms() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000
