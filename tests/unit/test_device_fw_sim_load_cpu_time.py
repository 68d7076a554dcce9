"""The kernel's count of our own process grows as we work, and agrees with the C library's."""

from __future__ import annotations

import os
import time

import pytest

from device_fw_sim.errors import OptionsError
from device_fw_sim.load.cpu_time import cpu_time_s


def test_it_is_what_the_process_has_used() -> None:
    before = time.process_time()
    measured = cpu_time_s(os.getpid())
    assert before - 0.05 <= measured <= time.process_time() + 0.05


def test_no_such_process() -> None:
    with pytest.raises(OptionsError, match="can't be watched"):
        cpu_time_s(1 << 30)
