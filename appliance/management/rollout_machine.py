"""What a rollout does next: from how its executions stand, and the time, to the one event that moves it. Pure.

`decide` says which event of rollouts.py is due and why; MOVES says, for each state of a rollout, which event of executions.py each of its
executions gets as long as the rollout is there. Both depend on nothing but what the catalog holds, so a node that was killed does the same
again and nothing twice.

Must not know: tables, devices, where health and time zones come from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from appliance.management.executions import Event, State
from appliance.management.gates import Health, reason_to_wait_health, reason_to_wait_success
from appliance.management.rollout_plan import Plan
from appliance.management.rollouts import RolloutEvent, RolloutState
from appliance.management.stop_rule import reason_to_stop
from appliance.management.wave_counts import Counts, Standing

_R, _S, _E = RolloutState, State, Event

_NOT_WRITTEN_YET: Final = (
    _S.QUEUED, _S.NOTIFIED, _S.DOWNLOADING, _S.DOWNLOADED, _S.VERIFIED, _S.WAIT_WINDOW, _S.PAUSED,
)  # fmt: skip
_GO_ON: Final = {_S.PAUSED: _E.RESUME_QUEUED}
"""The event for PAUSED depends on where it came from: RESUME."""
RESUME: Final[dict[str, Event]] = {
    _S.QUEUED: _E.RESUME_QUEUED,
    _S.NOTIFIED: _E.RESUME_NOTIFIED,
    _S.DOWNLOADING: _E.RESUME_DOWNLOADING,
}
MOVES: Final[dict[RolloutState, Mapping[State, Event]]] = {
    _R.RUNNING: _GO_ON,
    _R.SOAKING: _GO_ON,
    _R.PAUSED: dict.fromkeys((_S.QUEUED, _S.NOTIFIED, _S.DOWNLOADING), _E.PAUSE),
    _R.STOPPING: dict.fromkeys((*_NOT_WRITTEN_YET, _S.FAILED), _E.CANCEL),
    _R.ROLLING_BACK: dict.fromkeys((*_NOT_WRITTEN_YET, _S.FAILED), _E.CANCEL),
}
"""What each execution of a rollout gets, by their states. FAILED is meant while it would be tried again by itself."""
GO_BACK: Final = dict.fromkeys((_S.SUCCEEDED, _S.TESTING, _S.UNCONFIRMED, _S.LOST), _E.ROLL_BACK)
"""Beside that, what those get in ROLLING_BACK whose wave goes back; LOST as well, or it would come back to stay on what all others left."""
_ADMITS: Final = frozenset({_R.RUNNING, _R.SOAKING})
FAR_MS: Final = 1 << 60
"""A window that never closes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A rollout, as far as it matters here.

    Attributes:
        wave_count: Waves that have devices.
        waited_ms: How long devices of the wave might have started by now.
        accepted: Failures that somebody looked at and went on all the same.
        rollback_from: Waves from this one on go back, in ROLLING_BACK.
    """

    state: RolloutState
    plan: Plan
    wave: int
    wave_count: int
    waited_ms: int
    soak_until_at_ms: int
    accepted: int = 0
    rollback_from: int = 0

    @property
    def is_last_wave(self) -> bool:
        return self.wave >= self.wave_count - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What is due: an event (None for nothing), why, and what goes with it.

    Attributes:
        wave: The current one from now on. soak_until_at_ms: Set by WAVE_DONE.
        rollback_from: Set by ROLL_BACK.
    """

    event: RolloutEvent | None = None
    reason: str = ""
    wave: int | None = None
    soak_until_at_ms: int | None = None
    rollback_from: int | None = None


NOTHING: Final = Decision()


def decide(
    view: View,
    standings: Sequence[Standing],
    now_ms: int,
    *,
    health: Callable[[], Iterable[tuple[Health, Health]]],
) -> Decision:
    """The event that is due now; after it was applied, ask again.

    Args:
        health: Before and now, of the devices of the waves so far that succeeded; asked for when a soak is over.
    """
    if view.state is _R.RUNNING:
        return _stopped(view, standings) or _running(view, standings, now_ms)
    if view.state is _R.SOAKING:
        return _stopped(view, standings) or _soaking(view, standings, now_ms, health)
    if view.state is _R.STOPPING and all(each.is_settled for each in standings):
        return Decision(event=RolloutEvent.QUIET)
    if view.state is _R.ROLLING_BACK and all(_is_back(view, each) for each in standings):
        return Decision(event=RolloutEvent.BACK)
    return NOTHING


def _stopped(view: View, standings: Sequence[Standing]) -> Decision | None:
    why = reason_to_stop(
        view.plan.stop, Counts.of(standings), accepted=view.accepted, is_first_wave=view.wave == 0
    )
    if not why:
        return None
    if view.plan.on_stop == "pause":
        return Decision(event=RolloutEvent.STOP_RULE, reason=why)
    rollback_from = view.wave if view.plan.on_stop == "rollback_wave" else 0
    return Decision(event=RolloutEvent.ROLL_BACK, reason=why, rollback_from=rollback_from)


def is_overdue(view: View) -> bool:
    """Whether the wave's deadline is over: it goes on without devices that stay away, but for the last one."""
    return (
        view.state is _R.RUNNING
        and not view.is_last_wave
        and view.waited_ms >= view.plan.wave_deadline_s * 1000
    )


def _running(view: View, standings: Sequence[Standing], now_ms: int) -> Decision:
    so_far = [each for each in standings if each.wave <= view.wave]
    holding = [each for each in so_far if not each.is_settled]
    if is_overdue(view):
        holding = [each for each in holding if each.has_tried and each.state is not State.NOTIFIED]
        if not holding and not Counts.of(so_far).started:
            return Decision(
                event=RolloutEvent.STOP_RULE,
                reason="No device of the wave was there before its deadline, so nothing is known about it.",
            )
    if holding:
        return NOTHING
    return Decision(event=RolloutEvent.WAVE_DONE, soak_until_at_ms=now_ms + view.plan.gate.soak_s * 1000)


def _soaking(
    view: View,
    standings: Sequence[Standing],
    now_ms: int,
    health: Callable[[], Iterable[tuple[Health, Health]]],
) -> Decision:
    so_far = [each for each in standings if each.wave <= view.wave]
    is_busy = any(not each.is_settled and (each.has_tried or view.is_last_wave) for each in so_far)
    if now_ms < view.soak_until_at_ms or is_busy:
        return NOTHING
    gate = view.plan.gate
    why = reason_to_wait_success(gate, Counts.of(so_far), accepted=view.accepted)
    why = why or reason_to_wait_health(gate, health())
    if view.is_last_wave:
        # There is nothing left to hold back: it is complete, and says what is not as it should be.
        return Decision(event=RolloutEvent.ALL_DONE, reason=why)
    if why:
        return Decision(event=RolloutEvent.STOP_RULE, reason=why)
    return Decision(event=RolloutEvent.GATE_OPEN, wave=view.wave + 1)


def _is_back(view: View, standing: Standing) -> bool:
    goes_back = standing.wave >= view.rollback_from
    return standing.is_settled and not (goes_back and standing.runs_it)


def places(view: View, standings: Sequence[Standing], *, is_window_open: bool) -> int:
    """How many more executions of the waves so far may start now."""
    if view.state not in _ADMITS or not is_window_open:
        return 0
    return max(0, view.plan.concurrency_max - Counts.of(standings).updating)
