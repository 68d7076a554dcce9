"""The job that a device has taken, as it lies on flash, and the reports of it that wait for their answers. Pure.

One report is under way at a time. It has a `seq` that is on flash before the report leaves, so that no two reports of a device
ever share one, whatever power is cut; sent again, it is the same report with the same seq. The box answers with the version
that the next one has to expect.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from device_fw_sim.acts import Request
from device_fw_sim.flash import Flash
from device_fw_sim.limits import REPORT_COUNT_MAX, REQUEST_TIMEOUT_MS, RESEND_COUNT_MAX
from device_fw_sim.phases import TRANSITIONS, Phase

RECORD: Final = "job"
IN_PROGRESS, SUCCEEDED, FAILED, REJECTED = "IN_PROGRESS", "SUCCEEDED", "FAILED", "REJECTED"


class Job(msgspec.Struct):
    """One job.

    Attributes:
        number: executionNumber.
        version: What the next report has to expect.
        attempt: Of the document.
        seq: Of the last report.
        final: The last report, once it is decided.
        reason: Why the device went back to the other slot by itself.
    """

    id: str
    number: int
    version: int
    document: dict[str, Any]
    phase: Phase
    attempt: int = 1
    seq: int = 0
    final: dict[str, Any] | None = None
    reason: str = ""

    @property
    def op(self) -> str:
        """What is to be done."""
        return str(self.document.get("op", ""))

    def enter(self, phase: Phase) -> None:
        """Go on to the next phase."""
        assert phase is self.phase or phase in TRANSITIONS[self.phase], (
            f"{self.phase} does not lead to {phase}"
        )
        self.phase = phase


def load(flash: Flash) -> Job | None:
    """The job that lies on flash."""
    record = flash.get(RECORD)
    return msgspec.convert(record, Job) if record is not None and "id" in record else None


def last_seq(flash: Flash) -> int:
    """Of the last report of whatever job: the next one's is higher, also where a job comes again."""
    record = flash.get(RECORD)
    return 0 if record is None else int(record["seq"])


def save(flash: Flash, job: Job) -> None:
    """Keep a job over a power cut. Raises FlashError."""
    flash.put(RECORD, msgspec.to_builtins(job))


def forget(flash: Flash) -> None:
    """There is no job any more; its seq stays. Raises FlashError."""
    flash.put(RECORD, {"seq": last_seq(flash)})


@dataclass(slots=True)
class Report:
    """One report: what `statusDetails` says beside seq and attempt."""

    status: str
    details: dict[str, Any]
    seq: int
    token: str
    is_gate: bool = False
    """Whether the device waits for the box to accept it."""


class Reporter:
    """Reports of one job, one at a time.

    Args:
        flash: Keeps the job's seq.
        job: The job.
        boot_id: Of this boot.
    """

    def __init__(self, flash: Flash, job: Job, boot_id: str) -> None:
        self._flash, self._job, self._boot_id = flash, job, boot_id
        self._waiting: deque[Report] = deque(maxlen=REPORT_COUNT_MAX)
        self.under_way: Report | None = None
        self._sent_mono_ms: int | None = None
        self._resend_count = 0

    def add(self, status: str, phase: str, *, is_gate: bool = False, **details: Any) -> None:
        """Report when it is its turn; a progress that waits is replaced by the newer one."""
        job = self._job
        if self._waiting and not self._waiting[-1].is_gate and self._waiting[-1].details["phase"] == phase:
            self._waiting.pop()
        job.seq += 1
        save(self._flash, job)
        full = {"phase": phase, "attempt": job.attempt, "seq": job.seq, "boot_id": self._boot_id, **details}
        self._waiting.append(Report(status, full, job.seq, f"{self._boot_id}-{job.seq}", is_gate))

    def next_deadline_ms(self) -> int | None:
        """When what is under way is sent again."""
        if self.under_way is None or self._sent_mono_ms is None:
            return None
        return self._sent_mono_ms + (REQUEST_TIMEOUT_MS << min(self._resend_count, 2))

    def due(self, now_ms: int) -> Request | None:
        """The report to be sent now: a new one, or one that was not answered; None for nothing."""
        if self.under_way is None:
            if not self._waiting:
                return None
            self.under_way = self._waiting.popleft()
            self._resend_count = 0
        elif self._sent_mono_ms is not None:
            deadline = self.next_deadline_ms()
            if deadline is None or deadline > now_ms:
                return None
            self._resend_count = min(self._resend_count + 1, RESEND_COUNT_MAX)
        self._sent_mono_ms = now_ms
        return self._request(self.under_way)

    def answered(self, message: Mapping[str, Any], *, is_accepted: bool) -> Report | None:
        """Take an answer.

        Returns:
            The report that is settled by it, None when it is none of ours or is sent once more (the box's version was another one).
        """
        report = self.under_way
        if report is None or message.get("clientToken") != report.token:
            return None
        state = message.get("executionState")
        version = state.get("versionNumber") if isinstance(state, dict) else None
        if isinstance(version, int):
            self._job.version = version
            save(self._flash, self._job)
        if (
            not is_accepted
            and message.get("code") == "VersionMismatch"
            and self._resend_count < RESEND_COUNT_MAX
        ):
            self._resend_count += 1
            self._sent_mono_ms = None
            return None
        self.under_way = self._sent_mono_ms = None
        return report

    def again(self) -> None:
        """Send what is under way once more as soon as possible."""
        self._sent_mono_ms = None

    def _request(self, report: Report) -> Request:
        message = {
            "status": report.status,
            "expectedVersion": self._job.version,
            "executionNumber": self._job.number,
            "clientToken": report.token,
            "statusDetails": report.details,
        }
        payload = json.dumps(message, separators=(",", ":")).encode()
        return Request(topic=f"jobs/{self._job.id}/update", payload=payload)
