"""Threads that give way."""

from __future__ import annotations

import os
import threading

import pytest

from storage.telemetry.niceness import NICENESS_MAX, give_way, nicely


def _niceness() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


def test_a_thread_gives_way_and_those_it_starts() -> None:
    ours = _niceness()
    seen: list[int] = []

    def call() -> str:
        seen.append(_niceness())
        child = threading.Thread(target=lambda: seen.append(_niceness()))
        child.start()
        child.join()
        return "done"

    assert nicely(call, by=3) == "done"
    assert seen == [min(ours + 3, NICENESS_MAX)] * 2
    assert _niceness() == ours


def test_there_is_an_end_to_it() -> None:
    def twice() -> int:
        give_way(50)
        return _niceness()

    assert nicely(twice, by=1) == NICENESS_MAX


def test_an_error_is_raised_to_whoever_waits() -> None:
    with pytest.raises(ZeroDivisionError):
        nicely(lambda: 1 // 0, by=1)
