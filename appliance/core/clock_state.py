"""Whether the machine's clock is kept in step by something (chrony, systemd-timesyncd, ntpd, PTP): asks the kernel.

Source: adjtimex(2): a call with modes 0 changes nothing; TIME_ERROR or STA_UNSYNC mean "not synchronized". It gives the time, too, by
which a program sees that it goes by another clock than the kernel's.
"""

from __future__ import annotations

import ctypes
import functools
import struct
from collections.abc import Callable
from typing import Final

TIMEX_BYTES: Final = 512
"""struct timex has 208 bytes on 64-bit Linux; a larger buffer holds it on any."""
_IS_64_BIT: Final = struct.calcsize("l") == 8
STATUS_OFFSET: Final = struct.calcsize("@I4xllll" if _IS_64_BIT else "@Illll")
SECONDS_OFFSET: Final = struct.calcsize("@I4xlllli4xlll" if _IS_64_BIT else "@Illllilll")
"""Of timex.time.tv_sec, a long."""
STA_UNSYNC: Final = 0x0040
TIME_ERROR: Final = 5
OTHER_CLOCK_S: Final = 60
"""Between two readings of one clock less time passes."""

Adjtimex = Callable[[ctypes.Array[ctypes.c_char]], int]


@functools.cache
def _system_adjtimex() -> Adjtimex | None:
    libc = ctypes.CDLL(None, use_errno=True)
    call = getattr(libc, "adjtimex", None)
    return None if call is None else lambda buffer: int(call(buffer))


def clock_state(adjtimex: Adjtimex | None = None, *, now_ms: int | None = None) -> str:
    """ "synchronized", "unsynchronized", or "unknown" where the kernel isn't asked or doesn't say.

    Args:
        adjtimex: The system call, given a zeroed buffer; the C library's when None.
        now_ms: What this program takes for the time, UTC ms: one that goes by another clock than the kernel's knows nothing of its being
            in step, and the answer is "unknown". None to leave that open.
    """
    call = adjtimex or _system_adjtimex()
    if call is None:
        return "unknown"
    buffer = ctypes.create_string_buffer(TIMEX_BYTES)
    result = call(buffer)
    if result < 0:
        return "unknown"
    (status,) = struct.unpack_from("i", buffer.raw, STATUS_OFFSET)
    (seconds,) = struct.unpack_from("l", buffer.raw, SECONDS_OFFSET)
    if now_ms is not None and abs(seconds - now_ms // 1_000) > OTHER_CLOCK_S:
        return "unknown"
    return "unsynchronized" if result == TIME_ERROR or status & STA_UNSYNC else "synchronized"
