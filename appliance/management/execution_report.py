"""What a device reports about its job: status and details, read and bounded. Pure.

Source: AWS IoT Jobs, UpdateJobExecution (`statusDetails` has texts only; here numbers are understood as well); the members are those of
docs/DEVICE_CONTRACT.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from appliance.core.errors import UsageError
from appliance.core.limits_executions import (
    BOOT_ID_LENGTH_MAX,
    REPORT_BYTES_MAX,
    REPORT_ERROR_LENGTH_MAX,
    REPORT_LOG_LENGTH_MAX,
    REPORT_SEQ_MAX,
    REPORT_TEXT_LENGTH_MAX,
    STEP_TIMEOUT_MINUTES_MAX,
)
from appliance.management.executions import State
from appliance.management.firmware_report import FirmwareReport, number_of, parse_details, text_of


class ReportStatus(StrEnum):
    """What a device may say of its job; those that only the box gives are refused."""

    IN_PROGRESS = "IN_PROGRESS"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    REJECTED = "REJECTED"


ROLLING_BACK: Final = "rolling_back"
STATE_OF_PHASE: Final[dict[str, State]] = {
    "downloading": State.DOWNLOADING,
    "downloaded": State.DOWNLOADED,
    "verified": State.VERIFIED,
    "wait_window": State.WAIT_WINDOW,
    "installing": State.INSTALLING,
    "installed": State.INSTALLING,
    "rebooting": State.REBOOTING,
    "testing": State.TESTING,
    "confirmed": State.TESTING,
    ROLLING_BACK: State.ROLLING_BACK,
}
"""Phases of a device that are states of an execution; another one, or none, says only that it works on it."""

NEVER_RETRIED: Final = frozenset(
    {
        "bad_signature",
        "wrong_manifest",
        "incompatible",
        "epoch",
        "not_yet_valid",
        "expired",
        "counter_reused",
        "fence",
        "bad_document",
        "known_bad",
        "no_such_image",
        "self_test",
        "refused",
    }
)
"""Codes of `err` that are the same whenever it is tried."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One report.

    Attributes:
        phase: One of STATE_OF_PHASE, or another word, or "".
        attempt, seq: With device and execution they make a report itself; None where a device does not count.
        running: What it says that it runs.
        expected_version, execution_number: As in AWS IoT Jobs, None for not said.
        err, err_msg, log_tail: Of a failure, bounded.
    """

    status: ReportStatus
    phase: str = ""
    pct: int | None = None
    bytes_done: int | None = None
    attempt: int | None = None
    seq: int | None = None
    boot_id: str = ""
    running: FirmwareReport | None = None
    self_test: str = ""
    err: str = ""
    err_msg: str = ""
    log_tail: str = ""
    fence: int | None = None
    expected_version: int | None = None
    execution_number: int | None = None
    step_timeout_minutes: int | None = None

    @property
    def is_of_rollback(self) -> bool:
        """Whether it is about a way back that was asked for; a device that fell back by itself fails with phase rolled_back."""
        return self.phase == ROLLING_BACK or (
            self.phase == "rolled_back" and self.status is ReportStatus.SUCCEEDED
        )


def parse_report(device_id: str, fields: Mapping[str, object], at_ms: int) -> Report:
    """A report from an update's payload.

    Args:
        at_ms: When it arrived, UTC ms.
    Raises:
        UsageError: `report_invalid`.
    """
    status = fields.get("status")
    try:
        known = ReportStatus(status) if isinstance(status, str) else None
    except ValueError:
        known = None
    if known is None:
        raise UsageError(
            "A report needs a status: IN_PROGRESS, SUCCEEDED, FAILED or REJECTED.",
            hint="Put it into member “status” of the payload.",
            code="report_invalid",
        )
    details = fields.get("statusDetails", {})
    if not isinstance(details, Mapping):
        raise UsageError(
            "statusDetails is an object.",
            hint="Send {} or leave it out when there is nothing to say.",
            code="report_invalid",
        )
    for name in ("expectedVersion", "executionNumber"):
        if fields.get(name) is not None and number_of(fields[name], REPORT_SEQ_MAX) is None:
            raise UsageError(
                f"{name} is a whole number.",
                hint="Send what the job's description said, or leave it out.",
                code="report_invalid",
            )
    running = parse_details(device_id, details, at_ms)
    return Report(
        status=known,
        phase=text_of(details.get("phase"), REPORT_ERROR_LENGTH_MAX),
        pct=number_of(details.get("pct"), 100),
        bytes_done=number_of(details.get("bytes"), REPORT_BYTES_MAX),
        attempt=number_of(details.get("attempt"), 10_000),
        seq=number_of(details.get("seq"), REPORT_SEQ_MAX),
        boot_id=text_of(details.get("boot_id"), BOOT_ID_LENGTH_MAX),
        running=running,
        self_test=text_of(details.get("self_test"), REPORT_ERROR_LENGTH_MAX),
        err=text_of(details.get("err"), REPORT_ERROR_LENGTH_MAX),
        err_msg=_cut(details.get("err_msg"), REPORT_TEXT_LENGTH_MAX),
        log_tail=_cut(details.get("log_tail"), REPORT_LOG_LENGTH_MAX),
        fence=number_of(details.get("fence"), REPORT_SEQ_MAX),
        expected_version=number_of(fields.get("expectedVersion"), REPORT_SEQ_MAX),
        execution_number=number_of(fields.get("executionNumber"), REPORT_SEQ_MAX),
        step_timeout_minutes=step_timeout_of(fields),
    )


def step_timeout_of(fields: Mapping[str, object]) -> int | None:
    """`stepTimeoutInMinutes` of a request, None for none (AWS has -1 for that too).

    Raises:
        UsageError: `report_invalid`: above STEP_TIMEOUT_MINUTES_MAX, or no number.
    """
    said = fields.get("stepTimeoutInMinutes")
    if said is None or said == -1:
        return None
    minutes = number_of(said, STEP_TIMEOUT_MINUTES_MAX)
    if not minutes:
        raise UsageError(
            f"stepTimeoutInMinutes is a number from 1 to {STEP_TIMEOUT_MINUTES_MAX}.",
            hint="Leave it out, or ask for less.",
            code="report_invalid",
        )
    return minutes


def _cut(said: object, length_max: int) -> str:
    """The last characters of a text; "" for anything else.

    JSON can name half of a surrogate pair, which a log that was cut in its middle ends with, and which is no text that anything could keep.
    """
    return said[-length_max:].encode(errors="replace").decode() if isinstance(said, str) else ""
