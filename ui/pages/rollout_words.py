"""A rollout's states for people, and in which words its bar sums up the executions.

A bar has one segment per kind of state rather than one per state: 26 slivers tell nobody anything. Each kind has a word, a class of
app.css with its own colour and hatch, and a list that shows its devices.

Must not know: catalog, requests.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from appliance.management.executions import State
from appliance.management.rollouts import RolloutEvent, RolloutState
from ui.pages.format import count_text
from ui.pages.looks import UNKNOWN, Look

_S, _R, _E = State, RolloutState, RolloutEvent

ROLLOUT: Final[dict[str, Look]] = {
    _R.DRAFT: Look("draft", "never_seen", "idle"),
    _R.AWAITING_APPROVAL: Look("waits for approval", "waiting", "warn"),
    _R.READY: Look("ready to start", "ok", "idle"),
    _R.RUNNING: Look("running", "turn", "good"),
    _R.SOAKING: Look("soaking", "late", "good"),
    _R.PAUSED: Look("paused", "pause", "warn"),
    _R.STOPPING: Look("stopping", "late", "warn"),
    _R.STOPPED: Look("stopped", "offline", "idle"),
    _R.ROLLING_BACK: Look("rolling back", "back", "warn"),
    _R.ROLLED_BACK: Look("rolled back", "back", "warn"),
    _R.COMPLETED: Look("completed", "ok", "good"),
}

EVENTS: Final[dict[str, str]] = {
    _E.SUBMIT: "submitted for approval",
    _E.SUBMIT_WITHOUT_APPROVAL: "submitted",
    _E.APPROVE: "approved",
    _E.REFUSE: "sent back",
    _E.START: "started",
    _E.WAVE_DONE: "the wave is done and watched",
    _E.GATE_OPEN: "the next wave began",
    _E.ALL_DONE: "completed",
    _E.PAUSE: "paused",
    _E.STOP_RULE: "stopped by itself: paused",
    _E.RESUME: "resumed",
    _E.RESUME_SOAKING: "resumed",
    _E.ROLL_BACK: "rolled back",
    _E.BACK: "all are back",
    _E.ABORT: "aborted",
    _E.QUIET: "everybody has finished",
}


@dataclass(frozen=True, slots=True)
class Kind:
    """States that are one segment of a bar. `key` is its class in app.css and its name in a list's address."""

    key: str
    word: str
    states: tuple[State, ...]


KINDS: Final = (
    Kind("done", "on the new version", (_S.SUCCEEDED, _S.NOOP)),
    Kind("testing", "testing", (_S.TESTING,)),
    Kind(
        "moving",
        "on the way",
        (
            _S.NOTIFIED, _S.DOWNLOADING, _S.DOWNLOADED, _S.VERIFIED, _S.WAIT_WINDOW, _S.INSTALLING, _S.REBOOTING,
        ),
    ),
    Kind("back", "going back", (_S.ROLLBACK_PENDING, _S.ROLLING_BACK)),
    Kind("returned", "rolled back", (_S.ROLLED_BACK,)),
    Kind("failed", "failed", (_S.FAILED, _S.REJECTED, _S.TIMED_OUT)),
    Kind("silent", "silent after a reboot", (_S.UNCONFIRMED, _S.LOST)),
    Kind("hand", "in need of a hand", (_S.MANUAL, _S.ROLLBACK_FAILED, _S.REGRESSED)),
    Kind("paused", "paused", (_S.PAUSED,)),
    Kind("waiting", "waiting", (_S.QUEUED,)),
    Kind("out", "left out", (_S.CANCELED, _S.SUPERSEDED, _S.REMOVED)),
)  # fmt: skip
WIDTH_MIN_PERCENT: Final = 1.5
"""Of a segment: 5 px of a phone's 350, 11 px of 750; eleven kinds are 16 % at most."""
KIND_OF: Final[dict[State, Kind]] = {state: kind for kind in KINDS for state in kind.states}


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A part of a bar. `x` and `width` are percentages as SVG takes them."""

    key: str
    word: str
    count: int
    x: str
    width: str
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """All executions of a wave or a rollout: those segments that have any, in order, and the same as a sentence."""

    total: int
    segments: tuple[Segment, ...]
    text: str


def bar_of(counts: Mapping[str, int], url: Callable[[str], str] = lambda kind: "") -> Bar:
    """A bar.

    Args:
        counts: Executions by state; a state of a newer release counts with those that are on the way.
        url: Where the devices of a kind are listed; "" for nowhere.
    """
    by_kind = dict.fromkeys((kind.key for kind in KINDS), 0)
    for state, count in counts.items():
        by_kind[_kind(state)] += count
    total = sum(by_kind.values())
    widths = _widths({key: count for key, count in by_kind.items() if count})
    segments, before = [], 0.0
    for kind in KINDS:
        if width := widths.get(kind.key):
            segments.append(
                Segment(
                    key=kind.key,
                    word=kind.word,
                    count=by_kind[kind.key],
                    x=f"{before:.3f}%",
                    width=f"{width:.3f}%",
                    url=url(kind.key),
                )
            )
            before += width
    text = ", ".join(f"{count_text(each.count)} {each.word}" for each in segments)
    return Bar(total=total, segments=tuple(segments), text=text or "no device")


def states_of(kind: str) -> tuple[State, ...]:
    """The states that a list of this kind shows; () for one that means nothing."""
    return next((each.states for each in KINDS if each.key == kind), ())


def rollout_look(state: str) -> Look:
    """A rollout's look; a state that a newer release wrote is shown by its name."""
    return ROLLOUT.get(state) or Look(state.replace("_", " "), UNKNOWN.icon, UNKNOWN.tone)


def _widths(counts: Mapping[str, int]) -> dict[str, float]:
    """Percentages that add up to 100. One failure among a thousand is a pixel, and has to be seen: nothing is narrower
    than WIDTH_MIN_PERCENT, which all others give something for."""
    total = sum(counts.values())
    shares = {key: count * 100 / total for key, count in counts.items()}
    if min(shares.values(), default=100.0) >= WIDTH_MIN_PERCENT:
        return shares
    room = 1 - WIDTH_MIN_PERCENT * len(shares) / 100
    return {key: WIDTH_MIN_PERCENT + share * room for key, share in shares.items()}


def _kind(state: str) -> str:
    try:
        return KIND_OF[State(state)].key
    except ValueError:
        return "moving"
