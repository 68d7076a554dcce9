"""What an execution is made of, and what can happen to it: plain values, as the machine takes and gives them. Pure.

Times are UTC ms, of a clock whose jumps were taken out of all of them (appliance/updates/clock_jump.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from appliance.core.limits_executions import CONFIRM_MS_DEFAULT, REBOOT_MS_DEFAULT
from appliance.management.execution_report import Report
from appliance.management.executions import Event, Source, State
from appliance.management.firmware_report import FirmwareReport


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """One device in one rollout: the columns of its row.

    Attributes:
        number: Of this device in this rollout, from 1.
        is_admitted: QUEUED, and its wave is open.
        version: Grows with each change that its device sees.
        from_version, from_digest: What it ran before, "" while that is not known. Digests are 64 hexadecimal digits.
        slot_touched: Its other slot may have been written to.
        boot_id: In which it last reported. install_boot_id: In which it wrote its other slot; a report from that boot proves none.
        report_seq, report_key: Of the newest report.
        error, error_text: Why it failed or goes back: a code, and words.
        transition_count: In this attempt.
        deadline_at_ms: Of the state. end_by_at_ms: Of the whole, as long as nothing was written.
        push_due_at_ms: When its device is to be told (again) what is wanted; None for nothing.
        watch_until_at_ms: Of a success.
        health: Its own baseline and what was seen since; members that the machine does not know are kept.
        started_at_ms: When it left QUEUED for the first time.
    """

    execution_id: str
    rollout_id: str
    device_id: str
    wave: int
    number: int
    to_version: str
    to_digest: str
    state: State = State.QUEUED
    before_pause: str = ""
    is_admitted: bool = False
    version: int = 1
    attempt: int = 1
    max_attempts: int = 3
    rollback_attempt_count: int = 0
    max_rollback_attempts: int = 3
    needs_manual_intervention: bool = False
    manual_reason: str = ""
    from_version: str = ""
    from_digest: str = ""
    slot_touched: bool = False
    boot_id: str = ""
    install_boot_id: str = ""
    report_seq: int = 0
    report_key: str = ""
    phase: str = ""
    bytes_done: int = 0
    bytes_total: int = 0
    error: str = ""
    error_text: str = ""
    notify_count: int = 0
    transition_count: int = 0
    deadline_at_ms: int | None = None
    end_by_at_ms: int | None = None
    push_due_at_ms: int | None = None
    watch_until_at_ms: int | None = None
    health: Mapping[str, Any] = field(default_factory=dict)
    state_since_ms: int = 0
    started_at_ms: int | None = None
    ended_at_ms: int | None = None
    created_at_ms: int = 0
    updated_at_ms: int = 0

    @property
    def is_over(self) -> bool:
        """Its device has nothing to do for it any more, whatever becomes of it."""
        return self.ended_at_ms is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What its rollout says of an execution.

    Attributes:
        deadline_at_ms: Of the rollout, or None.
        fence: Orders under a lower one are of a node that is none any more.
        may_install: The maintenance window is open. window_ends_at_ms: When the open or next one ends; None without windows.
    """

    confirm_ms: int = CONFIRM_MS_DEFAULT
    reboot_ms: int = REBOOT_MS_DEFAULT
    deadline_at_ms: int | None = None
    fence: int = 0
    may_install: bool = True
    window_ends_at_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthSeen:
    """What was seen of a device, by others than itself.

    Attributes:
        has_readings, has_session: Within the last day it sent readings, had a connection: so much can be asked of it.
        fresh_reading_count: Since the target runs. cut_count: Connections lost since then.
        is_online: It has a connection now.
        has_new_alarm: One of priority 1 or 2 that was not there before.
    """

    has_readings: bool = False
    has_session: bool = False
    fresh_reading_count: int = 0
    cut_count: int = 0
    is_online: bool = False
    has_new_alarm: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What the machine knows besides the execution.

    Attributes:
        is_reachable: The device could be told something now.
        firmware: What it last said that it runs.
        random: From 0 to 1, for jitter.
    """

    terms: Terms = Terms()
    is_reachable: bool = False
    firmware: FirmwareReport | None = None
    health: HealthSeen = HealthSeen()
    random: float = 0.0


# --- What can happen ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Reported:
    """The device said something about this execution."""

    report: Report


@dataclass(frozen=True, slots=True)
class FirmwareSeen:
    """The device said what it runs."""

    report: FirmwareReport


@dataclass(frozen=True, slots=True)
class Taken:
    """The device has the job. With `is_started` it asked for it in order to begin."""

    is_started: bool = False
    step_timeout_minutes: int | None = None


@dataclass(frozen=True, slots=True)
class Told:
    """What is wanted was sent to a connection that listens."""


@dataclass(frozen=True, slots=True)
class Came:
    """The device can be reached again."""


@dataclass(frozen=True, slots=True)
class BlocksTaken:
    """The device got so much of its file."""

    bytes_done: int
    bytes_total: int


@dataclass(frozen=True, slots=True)
class TimeCame:
    """A deadline may have come."""


@dataclass(frozen=True, slots=True)
class Ordered:
    """A person, or the rollout, wants it so.

    Attributes:
        reason: A sentence, kept with the event. actor: Who, by name; "" for the rollout.
        error: Why it goes back, as a code; for ROLL_BACK.
    """

    event: Event
    reason: str = ""
    actor: str = ""
    error: str = "ordered"


@dataclass(frozen=True, slots=True)
class KnownBadSeen:
    """Before it begins: its image is known to be bad for the device."""

    reason: str


Happening = Reported | FirmwareSeen | Taken | Told | Came | BlocksTaken | TimeCame | Ordered | KnownBadSeen


# --- What comes of it --------------------------------------------------------------------------------------


class Note(StrEnum):
    """Reports that moved nothing, as they stand among the events."""

    LATE_REPORT = "late_report"
    """It had ended already."""
    OUT_OF_ORDER = "out_of_order"
    LOWER_FENCE = "lower_fence"
    NO_MOVE = "no_move"
    """From this state there is no way to what was said."""
    TOO_EARLY = "too_early"
    """The maintenance window is closed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """One step of an execution, or with a Note as its event something that was none.

    Attributes:
        detail: What is worth keeping: codes, numbers, sentences; bounded.
    """

    at_ms: int
    source: Source
    event: Event | Note
    from_state: State
    to_state: State
    attempt: int
    actor: str = ""
    detail: Mapping[str, Any] = field(default_factory=dict)


class Answer(StrEnum):
    """What a report is answered with; the values are AWS IoT Jobs' codes."""

    ACCEPTED = "accepted"
    VERSION_MISMATCH = "VersionMismatch"
    INVALID_STATE_TRANSITION = "InvalidStateTransition"
    TERMINAL_STATE_REACHED = "TerminalStateReached"
    RESOURCE_NOT_FOUND = "ResourceNotFound"


class Wish(StrEnum):
    """What is to be done outside because of it."""

    TELL = "tell"
    """What the device has to do next is another thing than before."""
    KNOWN_BAD = "known_bad"
    """This image is not to be offered to this device again."""
    FORGIVE = "forgive"
    """A person wants it tried again in spite of that."""


@dataclass(frozen=True, slots=True)
class Moved:
    """An execution after something happened.

    Attributes:
        answer: For a report. is_double: It was the same as the one before.
    """

    execution: Execution
    moves: tuple[Move, ...] = ()
    wishes: frozenset[Wish] = frozenset()
    answer: Answer = Answer.ACCEPTED
    is_double: bool = False
