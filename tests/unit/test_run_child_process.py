"""When a process is taken to hang: by its heartbeats, and not for time in which the supervisor itself stood still."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from appliance.run.child_process import ChildProcess, ChildSpec, State, Timing


class StandingClock:
    """trio's time, and what passed while this process stood still."""

    def __init__(self) -> None:
        self.stood_ms = 0

    def mono_ms(self) -> int:
        return int(trio.current_time() * 1000) + self.stood_ms

    def now_ms(self) -> int:
        return self.mono_ms()


class Watched(ChildProcess):
    """One that is ready, and whose end is only counted."""

    def __init__(self, clock: StandingClock, timing: Timing) -> None:
        super().__init__(
            ChildSpec(name="node", argv=("node",)),
            environ={},
            clock=clock,
            timing=timing,
            changed=lambda: None,
            announce=lambda _: None,
        )
        self.state = State.READY
        self.killed_at_s: float | None = None
        self._beaten = True
        self._fresh_until_mono_ms = clock.mono_ms() + timing.stale_ms

    def kill(self) -> bool:
        self.killed_at_s = trio.current_time()
        return True


@pytest.mark.parametrize("stood_ms", [0, 60_000])
async def test_time_in_which_the_supervisor_stood_still_counts_against_no_process(
    autojump_clock: MockClock, stood_ms: int
) -> None:
    """All of a box is stopped for a minute: when it goes on, what the others sent is still on its way."""
    clock, timing = StandingClock(), Timing()
    child = Watched(clock, timing)
    began_s = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(child._kill_if_it_hangs)
        await trio.sleep(5.5)
        clock.stood_ms += stood_ms
    assert child.killed_at_s is not None
    silent_ms = (child.killed_at_s - began_s) * 1000
    assert timing.lost_ms <= silent_ms <= timing.lost_ms + 2_000, "and one that hangs is killed in time"
