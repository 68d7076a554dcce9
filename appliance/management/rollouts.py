"""One rollout: an artifact, its devices, and the waves in which they get it. Its states and what moves it. Pure.

TRANSITIONS is closed; the drawing in docs/ROLLOUTS.md is made from it by `as_mermaid`. When gates open and stop rules fire is decided in
rollout_machine.py.

Must not know: time, tables, devices.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class RolloutState(StrEnum):
    """Where a rollout is. RUNNING and SOAKING are of its current wave."""

    DRAFT = "draft"
    AWAITING_APPROVAL = "awaiting_approval"
    READY = "ready"
    RUNNING = "running"
    SOAKING = "soaking"
    PAUSED = "paused"
    STOPPING = "stopping"
    STOPPED = "stopped"
    ROLLING_BACK = "rolling_back"
    ROLLED_BACK = "rolled_back"
    COMPLETED = "completed"


class RolloutEvent(StrEnum):
    """What moves a rollout."""

    SUBMIT = "submit"
    """By who made it, where a second person has to approve."""
    SUBMIT_WITHOUT_APPROVAL = "submit_without_approval"
    APPROVE = "approve"
    REFUSE = "refuse"
    """Somebody sends it back: the second person, or whoever sees something to be changed before it starts."""
    START = "start"
    WAVE_DONE = "wave_done"
    """Every device of the wave has ended or needs a hand."""
    GATE_OPEN = "gate_open"
    """Soaked, healthy, and there is a next wave."""
    ALL_DONE = "all_done"
    PAUSE = "pause"
    STOP_RULE = "stop_rule"
    """Too many failures, and the answer to that is to pause."""
    RESUME = "resume"
    RESUME_SOAKING = "resume_soaking"
    ROLL_BACK = "roll_back"
    BACK = "back"
    """Every device that was to go back has ended or needs a hand."""
    ABORT = "abort"
    QUIET = "quiet"
    """Nothing of it is in the middle of anything."""


_S, _E = RolloutState, RolloutEvent

TRANSITIONS: Final[dict[tuple[RolloutState, RolloutEvent], RolloutState]] = {
    (_S.DRAFT, _E.SUBMIT): _S.AWAITING_APPROVAL,
    (_S.DRAFT, _E.SUBMIT_WITHOUT_APPROVAL): _S.READY,
    (_S.DRAFT, _E.ABORT): _S.STOPPED,
    (_S.AWAITING_APPROVAL, _E.APPROVE): _S.READY,
    (_S.AWAITING_APPROVAL, _E.REFUSE): _S.DRAFT,
    (_S.READY, _E.REFUSE): _S.DRAFT,
    (_S.AWAITING_APPROVAL, _E.ABORT): _S.STOPPED,
    (_S.READY, _E.START): _S.RUNNING,
    (_S.READY, _E.ABORT): _S.STOPPED,
    (_S.RUNNING, _E.WAVE_DONE): _S.SOAKING,
    (_S.SOAKING, _E.GATE_OPEN): _S.RUNNING,
    (_S.SOAKING, _E.ALL_DONE): _S.COMPLETED,
    (_S.RUNNING, _E.PAUSE): _S.PAUSED,
    (_S.SOAKING, _E.PAUSE): _S.PAUSED,
    (_S.RUNNING, _E.STOP_RULE): _S.PAUSED,
    (_S.SOAKING, _E.STOP_RULE): _S.PAUSED,
    (_S.PAUSED, _E.RESUME): _S.RUNNING,
    (_S.PAUSED, _E.RESUME_SOAKING): _S.SOAKING,
    **{(state, _E.ROLL_BACK): _S.ROLLING_BACK for state in (_S.RUNNING, _S.SOAKING, _S.PAUSED, _S.STOPPED, _S.COMPLETED)},
    (_S.ROLLING_BACK, _E.BACK): _S.ROLLED_BACK,
    **{(state, _E.ABORT): _S.STOPPING for state in (_S.RUNNING, _S.SOAKING, _S.PAUSED)},
    (_S.STOPPING, _E.QUIET): _S.STOPPED,
}  # fmt: skip

ENDED: Final = frozenset({_S.STOPPED, _S.ROLLED_BACK, _S.COMPLETED})
LIVE: Final = frozenset({_S.RUNNING, _S.SOAKING, _S.PAUSED, _S.STOPPING, _S.ROLLING_BACK})
"""It has executions that may move."""


def target(state: RolloutState, event: RolloutEvent) -> RolloutState | None:
    """Where an event moves a rollout; None where it moves it nowhere."""
    return TRANSITIONS.get((state, event))


def as_mermaid() -> str:
    """TRANSITIONS as a Mermaid state diagram."""
    arrows = [f"    {a} --> {b}: {event}" for (a, event), b in TRANSITIONS.items()]
    return "\n".join(["stateDiagram-v2", "    [*] --> draft", *arrows]) + "\n"
