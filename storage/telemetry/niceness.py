"""Threads that give way to others: where heavy work may wait, so that readings don't.

On Linux each thread has a niceness of its own, and hands it on to the threads it starts.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

_T = TypeVar("_T")
NICENESS_MAX: Final = 19


def give_way(by: int) -> None:
    """Make the calling thread nicer than it is. Only root could take that back: never call it in a thread that others use too."""
    thread = threading.get_native_id()
    niceness = os.getpriority(os.PRIO_PROCESS, thread) + by
    os.setpriority(os.PRIO_PROCESS, thread, min(niceness, NICENESS_MAX))


def nicely(call: Callable[[], _T], by: int) -> _T:
    """Call something in a thread that gives way, and wait for it: threads that it starts give way from then on. Raises as it does."""

    def in_thread() -> _T:
        give_way(by)
        return call()

    with ThreadPoolExecutor(max_workers=1) as one:
        return one.submit(in_thread).result()
