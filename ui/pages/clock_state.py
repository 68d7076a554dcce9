"""Whether the machine's clock is kept in step by something (chrony, systemd-timesyncd, ntpd, PTP): asks the kernel.

Source: adjtimex(2): a call with modes 0 changes nothing; TIME_ERROR or STA_UNSYNC mean "not synchronized".
"""

from __future__ import annotations

import ctypes
import functools
import struct
from collections.abc import Callable
from typing import Final

TIMEX_BYTES: Final = 512
"""struct timex has 208 bytes on 64-bit Linux; a larger buffer holds it on any."""
STATUS_OFFSET: Final = struct.calcsize("@I4xllll" if struct.calcsize("l") == 8 else "@Illll")
STA_UNSYNC: Final = 0x0040
TIME_ERROR: Final = 5

Adjtimex = Callable[[ctypes.Array[ctypes.c_char]], int]


@functools.cache
def _system_adjtimex() -> Adjtimex | None:
    libc = ctypes.CDLL(None, use_errno=True)
    call = getattr(libc, "adjtimex", None)
    return None if call is None else lambda buffer: int(call(buffer))


def clock_state(adjtimex: Adjtimex | None = None) -> str:
    """ "synchronized", "unsynchronized", or "unknown" where the kernel isn't asked or doesn't say.

    Args:
        adjtimex: The system call, given a zeroed buffer; the C library's when None.
    """
    call = adjtimex or _system_adjtimex()
    if call is None:
        return "unknown"
    buffer = ctypes.create_string_buffer(TIMEX_BYTES)
    result = call(buffer)
    if result < 0:
        return "unknown"
    (status,) = struct.unpack_from("i", buffer.raw, STATUS_OFFSET)
    return "unsynchronized" if result == TIME_ERROR or status & STA_UNSYNC else "synchronized"
