"""Whether this box's clock can be right."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from appliance.core.believed_time import ClockDoubt
from appliance.core.clock import Clock
from appliance.core.clock_state import clock_state
from appliance.core.clock_words import clock_doubt_text
from appliance.core.config import Config
from appliance.run import layout
from appliance.run.clock_file import open_believed_time
from appliance.run.doctor_check import Check, Result

CLOCK_BACK_MS: Final = 60_000
HINT: Final = "Set the clock, and see that a time service such as systemd-timesyncd runs."


def check_clock(config: Config, clock: Clock, state_of: Callable[[], str] = clock_state) -> Check:
    """The clock can be right: not before this program existed, near where it was, not before what was written already, and synchronized.

    Args:
        state_of: Asks the kernel, as clock_state does.
    Raises:
        StorageError: what was believed last can't be read.
    """
    now_ms = clock.now_ms()
    believed = open_believed_time(layout.clock_file(config), clock)
    believed.look()
    if believed.doubt is not ClockDoubt.NONE:
        text = clock_doubt_text(believed.doubt, now_ms, believed.off_by_ms)
        return Check(name="clock", result=Result.FAILED, detail=text, hint=HINT)
    newest_ms = _newest_written_ms(config)
    if now_ms < newest_ms - CLOCK_BACK_MS:
        detail = (
            f"The clock is {(newest_ms - now_ms) // 1000} s behind the newest file in {config.node.data_dir}."
        )
        return Check(name="clock", result=Result.FAILED, detail=detail, hint=HINT)
    state = state_of()
    if state != "synchronized":
        detail = "The clock is plausible, but the kernel doesn't know it to be synchronized."
        return Check(name="clock", result=Result.WARNING, detail=detail, hint=HINT)
    return Check(name="clock", result=Result.OK, detail="The clock is plausible and synchronized.")


def _newest_written_ms(config: Config) -> int:
    folder = config.node.data_dir
    if not folder.is_dir():
        return 0
    files = (path for pattern in ("*", "*/*", "*/*/*") for path in folder.glob(pattern) if path.is_file())
    return max((path.stat().st_mtime_ns // 1_000_000 for path in files), default=0)
