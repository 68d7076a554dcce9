"""An execution's states and reasons for people: a word, a sentence, what happens next by itself or what to do.

Every state of management/executions.py has its row; the codes of errors and of reasons for a person's help have theirs in REASONS, and one
that is not there is shown as it is. Pages and commands speak by this table, so that both say the same.

Must not know: catalog, requests.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from appliance.management.executions import Event, Source, State
from ui.pages.looks import UNKNOWN, Look

_S, _E = State, Event


@dataclass(frozen=True, slots=True)
class Words:
    """A state.

    Attributes:
        look: Its word, icon and tone.
        says: What is so, a sentence.
        next: What happens by itself, or what somebody has to do; "" where nothing more comes.
    """

    look: Look
    says: str
    next: str = ""


WORDS: Final[dict[State, Words]] = {
    _S.QUEUED: Words(
        Look("waiting", "waiting", "idle"),
        "Its turn has not come, or it is away.",
        "It is told as soon as its wave is open and it is connected.",
    ),
    _S.NOTIFIED: Words(
        Look("told", "info", "idle"),
        "It knows of the update and has not begun.",
        "It is told again after 15 minutes, three times, and then waits for its turn once more.",
    ),
    _S.DOWNLOADING: Words(
        Look("downloading", "down", "idle"),
        "It fetches the artifact.",
        "It goes on where it was after a cut; ten minutes without a block while it is connected are a failed attempt.",
    ),
    _S.DOWNLOADED: Words(
        Look("downloaded", "down", "idle"),
        "It has all bytes, and their digest is right.",
        "It checks signature, hardware and security epoch.",
    ),
    _S.VERIFIED: Words(
        Look("checked", "ok", "idle"),
        "Signature, hardware and security epoch are right.",
        "It installs, or waits for its maintenance window.",
    ),
    _S.WAIT_WINDOW: Words(
        Look("waits for its window", "late", "idle"),
        "Everything is on the device; it waits for the maintenance window.",
        "It installs when the window opens.",
    ),
    _S.INSTALLING: Words(
        Look("installing", "write", "idle"),
        "It writes its other slot. The one that runs is not touched.",
        "It reboots; after 30 minutes without a word the attempt has failed.",
    ),
    _S.REBOOTING: Words(
        Look("rebooting", "turn", "warn"),
        "It starts from its other slot.",
        "It has to be back within ten minutes.",
    ),
    _S.TESTING: Words(
        Look("testing", "stale", "warn"),
        "It runs the new version and is watched: fresh readings, a steady connection, its own self-test.",
        "It is confirmed when all is well, and goes back by itself when it isn't.",
    ),
    _S.UNCONFIRMED: Words(
        Look("silent after the reboot", "lost", "bad"),
        "It rebooted and has not come back.",
        "See whether it has power and network. After 24 hours it counts as lost.",
    ),
    _S.SUCCEEDED: Words(
        Look("succeeded", "ok", "good"),
        "It runs the new version, confirmed by its own report.",
        "It is watched for seven days.",
    ),
    _S.FAILED: Words(
        Look("failed", "bad", "bad"),
        "A step failed; it runs what it ran before.",
        "It tries again by itself while attempts are left.",
    ),
    _S.ROLLBACK_PENDING: Words(
        Look("is to go back", "back", "warn"),
        "It is to go back to the version before and has not acknowledged that.",
        "It is told again each time that it connects.",
    ),
    _S.ROLLING_BACK: Words(
        Look("going back", "back", "warn"),
        "It goes back to the version before.",
        "Without an end after 15 minutes the next attempt begins.",
    ),
    _S.ROLLED_BACK: Words(
        Look("rolled back", "back", "warn"),
        "It runs the version that it had before.",
        "This artifact is not offered to it again.",
    ),
    _S.ROLLBACK_FAILED: Words(
        Look("could not go back", "bad", "bad"),
        "All attempts to go back are used up.",
        "Connect to the device or go there: retry the rollback, or mark it recovered once it reports its version.",
    ),
    _S.MANUAL: Words(
        Look("needs a hand", "hand", "bad"),
        "It can't go on by itself.",
        "Find out what it runs, then retry, mark it recovered, or replace it.",
    ),
    _S.LOST: Words(
        Look("lost", "lost", "bad"),
        "It has been silent for 24 hours since a reboot.",
        "Go and see. When it comes back it goes on by itself; otherwise replace it.",
    ),
    _S.REGRESSED: Words(
        Look("fell back later", "back", "bad"),
        "It had the new version and runs the old one again.",
        "Retry the update, or accept that it stays on the old version.",
    ),
    _S.PAUSED: Words(
        Look("paused", "pause", "idle"),
        "Its rollout is paused; nothing of it was written to the device.",
        "It goes on where it was when the rollout is resumed.",
    ),
    _S.REJECTED: Words(
        Look("refused", "rejected", "bad"),
        "The device refuses this artifact and would refuse it again.",
        "Look at the reason: the signature, the hardware or the security epoch is wrong.",
    ),
    _S.TIMED_OUT: Words(
        Look("out of time", "late", "bad"),
        "The time for it ended before anything was written; it is as it was.",
        "Retry it when the device can be reached.",
    ),
    _S.CANCELED: Words(Look("canceled", "offline", "idle"), "It was called off; the device is as it was."),
    _S.SUPERSEDED: Words(
        Look("superseded", "info", "idle"), "A newer rollout took its place before it began."
    ),
    _S.REMOVED: Words(Look("removed", "decommissioned", "idle"), "The device was taken out of service."),
    _S.NOOP: Words(Look("had it already", "ok", "good"), "It ran this version before it was told."),
}

EXECUTION: Final[dict[str, Look]] = {str(state): words.look for state, words in WORDS.items()}
"""The looks alone, by state."""

SOURCES: Final[dict[Source, str]] = {
    Source.REPORT: "said by the device",
    Source.TIMER: "by the clock",
    Source.RECONCILE: "seen from what it runs",
    Source.OPERATOR: "by a person or the rollout",
}

EVENTS: Final[dict[Event, str]] = {
    _E.TAKEN: "took the job",
    _E.STARTED: "began to download",
    _E.DOWNLOADED: "has all bytes",
    _E.VERIFIED: "checked the artifact",
    _E.WAITING: "waits for its window",
    _E.INSTALLING: "began to install",
    _E.REBOOTING: "reboots",
    _E.BOOTED: "started the new version",
    _E.STEP_FAILED: "a step failed",
    _E.REFUSED: "refused the artifact",
    _E.SELF_TEST_FAILED: "its self-test failed",
    _E.ROLLBACK_TAKEN: "acknowledged the rollback",
    _E.ROLLBACK_STEP_FAILED: "the rollback failed",
    _E.NOT_TAKEN: "did not begin",
    _E.STALLED: "the download stood still",
    _E.STEP_OVERDUE: "the step took too long",
    _E.WINDOW_MISSED: "missed its window",
    _E.REBOOT_OVERDUE: "did not come back from the reboot",
    _E.SILENT_FOR_A_DAY: "silent for 24 hours",
    _E.RETRY_DUE: "tries again",
    _E.SLOT_TOUCHED: "its other slot has to be put in order",
    _E.HEALTH_FAILED: "is not well with it",
    _E.HEALTH_PASSED: "is well with it",
    _E.ROLLBACK_OVERDUE: "the rollback took too long",
    _E.ROLLBACK_ATTEMPTS_USED_UP: "no attempt to go back is left",
    _E.ESCALATED: "handed to a person",
    _E.DEADLINE: "its time is over",
    _E.RUNS_TARGET: "runs the new version",
    _E.TRIES_TARGET: "tries the new version",
    _E.RUNS_OLD: "runs the version before",
    _E.RUNS_OTHER: "runs another version",
    _E.GOES_IN_CIRCLES: "goes in circles",
    _E.CANCEL: "called off",
    _E.SUPERSEDE: "superseded by a newer rollout",
    _E.REMOVE: "taken out of service",
    _E.PAUSE: "paused",
    _E.RESUME_QUEUED: "resumed",
    _E.RESUME_NOTIFIED: "resumed",
    _E.RESUME_DOWNLOADING: "resumed",
    _E.ROLL_BACK: "sent back",
    _E.RETRY: "tried again by hand",
    _E.RETRY_ROLLBACK: "sent back again by hand",
    _E.MARK_RECOVERED_OLD: "marked recovered on the version before",
    _E.MARK_RECOVERED_TARGET: "marked recovered on the new version",
    _E.ACCEPT: "accepted on the version before",
    _E.IGNORE: "ignored with a reason",
}


def words_of(state: str) -> Words:
    """A state's words; one that a newer release wrote is shown by its name."""
    try:
        return WORDS[State(state)]
    except ValueError:
        return Words(Look(state.replace("_", " "), UNKNOWN.icon, UNKNOWN.tone), "")


def source_text(source: str) -> str:
    """Where a move came from."""
    try:
        return SOURCES[Source(source)]
    except ValueError:
        return source


def event_text(event: str) -> str:
    """What moved it, or what was noted and moved nothing (`late_report` → "late report")."""
    try:
        return EVENTS[Event(event)]
    except ValueError:
        return event.replace("_", " ")
