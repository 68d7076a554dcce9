"""Runs the scrubber beside the node, in a thread of its own at the lowest priority, and keeps its figures.

In the node and not in the broker: verifying is work in the interpreter, which must not stand in the way of
acknowledgements; and the node may die or lag without anybody noticing.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Final

from appliance.core import logs
from appliance.core.clock import Clock
from appliance.core.config import Config
from appliance.run import layout
from storage.log.scrub import Scrubber
from storage.log.scrub_state import ScrubState, read_scrub_state

NICENESS: Final = 19
PAUSE_S_MAX: Final = 60.0
"""Segments come and go: at least so often it is looked at what is due."""
RETRY_S: Final = 60.0
HOUR_MS: Final = 3_600_000

_log = logs.get(__name__)


class Scrubbing:
    """See the module. `close` ends it within one read.

    Attributes:
        state: As of the last segment.
        failures_total: Steps that failed: the directory or the state could not be read or written.
    """

    def __init__(self, directory: Path, clock: Clock, *, interval_ms: int) -> None:
        self._directory = directory
        self._ending = threading.Event()
        self._scrubber = Scrubber(directory, clock, interval_ms=interval_ms, pause=self._ending.wait)
        self.state = ScrubState()
        self.failures_total = 0
        self._thread = threading.Thread(target=self._work, name="log-scrub", daemon=True)
        self._thread.start()

    def statistics(self) -> dict[str, int]:
        """Numbers for metrics."""
        now, last = self.state.now, self.state.last
        return {
            "pass_bytes": now.bytes,
            "pass_segments": now.segment_count,
            "last_ended_at_ms": last.ended_at_ms,
            "last_bytes": last.bytes,
            "damaged_ranges": self.state.damaged_total,
            "failures_total": self.failures_total,
        }

    def close(self) -> None:
        """End the thread; the segment that is being read is begun again next time."""
        self._ending.set()
        self._thread.join()

    def _work(self) -> None:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
        told = 0
        while not self._ending.is_set():
            try:
                pause_s = self._scrubber.step() if self._directory.is_dir() else PAUSE_S_MAX
                self.state = read_scrub_state(self._directory)
            except OSError as error:
                self.failures_total += 1
                _log.error(
                    "scrubbing the log failed", error=str(error), hint="It is tried again; look at the disk."
                )
                pause_s = RETRY_S
            found = self.state.now.damaged_total
            if found > told:
                first = self.state.now.damaged[0]
                _log.error("the log is damaged", ranges=found, segment=first.segment, first_seq=first.first_seq,
                           next_seq=first.next_seq, reason=first.reason, hint="Run 'homeport log verify'.")  # fmt: skip
            told = found
            self._ending.wait(min(pause_s, PAUSE_S_MAX))


def scrubbing_of(config: Config, clock: Clock) -> Scrubbing | None:
    """That of this box's own log, begun; None where the configuration wants none."""
    hours = config.log.scrub_hours
    return Scrubbing(layout.telemetry_log(config), clock, interval_ms=hours * HOUR_MS) if hours else None
