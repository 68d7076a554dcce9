"""CPU time of a process of this machine, as the kernel counts it."""

from __future__ import annotations

import os
from pathlib import Path

from device_fw_sim.errors import OptionsError


def cpu_time_s(pid: int) -> float:
    """User and system time of a process with all its threads, seconds, to the kernel's tick (10 ms as a rule).

    Raises:
        OptionsError: There is no such process.
    Source: proc_pid_stat(5), fields 14 and 15.
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError as error:
        raise OptionsError(
            f"The process {pid} can't be watched: {error}.", hint="Give the id of a running process."
        ) from error
    # The name in parentheses may hold anything, parentheses and spaces included.
    ticks = text.rpartition(")")[2].split()[11:13]
    return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")
