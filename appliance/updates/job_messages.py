"""The messages of AWS IoT Jobs, as they are said natively and by the alias. No input or output.

Below `$aws/things/` they are AWS's to the letter: times are seconds, `statusDetails` has texts. Natively they are the same with times in
milliseconds and `ts` for when it is said.
Source: AWS IoT Core, “Jobs device MQTT API”.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from appliance.core.errors import UsageError
from appliance.management.execution import Answer, Execution
from appliance.management.executions import State
from appliance.management.request_topics import DeviceTopic

_S: Final = State
STATUS: Final[dict[State, str]] = {
    _S.QUEUED: "QUEUED",
    _S.NOTIFIED: "QUEUED",
    _S.DOWNLOADING: "IN_PROGRESS",
    _S.DOWNLOADED: "IN_PROGRESS",
    _S.VERIFIED: "IN_PROGRESS",
    _S.WAIT_WINDOW: "IN_PROGRESS",
    _S.INSTALLING: "IN_PROGRESS",
    _S.REBOOTING: "IN_PROGRESS",
    _S.TESTING: "IN_PROGRESS",
    _S.UNCONFIRMED: "IN_PROGRESS",
    _S.SUCCEEDED: "SUCCEEDED",
    _S.NOOP: "SUCCEEDED",
    _S.FAILED: "FAILED",
    # The way back is a job of its own to the device, under the same id.
    _S.ROLLBACK_PENDING: "QUEUED",
    _S.ROLLING_BACK: "IN_PROGRESS",
    _S.ROLLED_BACK: "FAILED",
    _S.ROLLBACK_FAILED: "FAILED",
    _S.MANUAL: "FAILED",
    _S.LOST: "FAILED",
    _S.REGRESSED: "FAILED",
    _S.PAUSED: "QUEUED",
    _S.REJECTED: "REJECTED",
    _S.TIMED_OUT: "TIMED_OUT",
    _S.CANCELED: "CANCELED",
    _S.SUPERSEDED: "CANCELED",
    _S.REMOVED: "REMOVED",
}
"""What a device is told of each state: AWS IoT Jobs has no others."""
CLIENT_TOKEN_LENGTH_MAX: Final = 64
_MESSAGES: Final = {
    Answer.VERSION_MISMATCH: "The job's version is another one than the report expects.",
    Answer.INVALID_STATE_TRANSITION: "This is not to be done now.",
    Answer.TERMINAL_STATE_REACHED: "The job has ended.",
    Answer.RESOURCE_NOT_FOUND: "There is no such execution of this job.",
}


@dataclass(frozen=True, slots=True)
class Asking:
    """A request's payload, read."""

    fields: Mapping[str, Any]
    client_token: str

    def wants(self, name: str, *, default: bool) -> bool:
        """A switch of the request."""
        said = self.fields.get(name, default)
        return said if isinstance(said, bool) else default


def read(payload: bytes) -> Asking:
    """A request's payload: a JSON object, or nothing.

    Raises:
        UsageError: `job_request_invalid`.
    """
    try:
        fields = json.loads(payload) if payload.strip() else {}
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict):
        raise UsageError(
            "A request about jobs is a JSON object.",
            hint="Send {} when there is nothing to say.",
            code="job_request_invalid",
        )
    token = fields.get("clientToken", "")
    is_good = isinstance(token, str) and len(token) <= CLIENT_TOKEN_LENGTH_MAX and token.isprintable()
    return Asking(fields, token if is_good else "")


class JobMessages:
    """Messages in one of the two ways.

    Args:
        is_aws: Below `$aws/things/`.
        now_ms: UTC ms.
    """

    def __init__(self, *, is_aws: bool, now_ms: int) -> None:
        self._is_aws = is_aws
        self._now_ms = now_ms

    def execution(self, execution: Execution, document: Mapping[str, Any] | None) -> dict[str, Any]:
        """JobExecutionData."""
        told: dict[str, Any] = {
            "jobId": execution.execution_id,
            "thingName": execution.device_id,
            "status": STATUS[execution.state],
            "statusDetails": self._details(execution),
            "queuedAt": self._time(execution.created_at_ms),
            "lastUpdatedAt": self._time(execution.updated_at_ms),
            "versionNumber": execution.version,
            "executionNumber": execution.number,
        }
        if execution.started_at_ms is not None:
            told["startedAt"] = self._time(execution.started_at_ms)
        if document is not None:
            told["jobDocument"] = document
        return told

    def state(self, execution: Execution) -> dict[str, Any]:
        """JobExecutionState."""
        return {
            "status": STATUS[execution.state],
            "statusDetails": self._details(execution),
            "versionNumber": execution.version,
        }

    def pending(self, executions: Sequence[Execution]) -> dict[str, Any]:
        """What GetPendingJobExecutions gives."""
        begun, queued = self._by_status(executions)
        return {"inProgressJobs": begun, "queuedJobs": queued}

    def notify(self, executions: Sequence[Execution]) -> bytes:
        """The list of what there is to do, said unasked."""
        begun, queued = self._by_status(executions)
        lists = {"IN_PROGRESS": begun, "QUEUED": queued}
        return self.encode({"jobs": {status: found for status, found in lists.items() if found}})

    def notify_next(self, execution: Execution | None, document: Mapping[str, Any] | None) -> bytes:
        """What there is to do next, said unasked; an empty execution for nothing."""
        return self.encode({"execution": {} if execution is None else self.execution(execution, document)})

    def refusal(self, asking: Asking, execution: Execution, answer: Answer) -> bytes:
        """A rejection with where the execution is."""
        fields = {"code": answer.value, "message": _MESSAGES[answer], "executionState": self.state(execution)}
        return self.encode(fields, asking)

    def encode(self, fields: Mapping[str, Any], asking: Asking | None = None) -> bytes:
        """A message with its time and the client token of what it answers."""
        whole: dict[str, Any] = {"timestamp" if self._is_aws else "ts": self._time(self._now_ms), **fields}
        if asking is not None and asking.client_token:
            whole["clientToken"] = asking.client_token
        return json.dumps(whole, ensure_ascii=False, separators=(",", ":")).encode()

    def _by_status(self, executions: Sequence[Execution]) -> tuple[list[Any], list[Any]]:
        begun = [self._summary(each) for each in executions if STATUS[each.state] == "IN_PROGRESS"]
        queued = [self._summary(each) for each in executions if STATUS[each.state] == "QUEUED"]
        return begun, queued

    def _summary(self, execution: Execution) -> dict[str, Any]:
        left_out = ("thingName", "status", "statusDetails")
        whole = self.execution(execution, None)
        return {name: value for name, value in whole.items() if name not in left_out}

    def _details(self, execution: Execution) -> dict[str, Any]:
        details: dict[str, Any] = {"attempt": execution.attempt}
        if execution.phase:
            details["phase"] = execution.phase
        if execution.bytes_done:
            details["bytes"] = execution.bytes_done
        return {name: str(value) for name, value in details.items()} if self._is_aws else details

    def _time(self, at_ms: int) -> int:
        return at_ms // 1_000 if self._is_aws else at_ms


def pushed_topic(device_id: str, name: str, *, is_aws: bool) -> str:
    """Where something is said unasked: `notify` or `notify-next`."""
    return DeviceTopic(device_id, "jobs", (), is_aws).answer(name)
