"""The messages of AWS IoT Jobs."""

from __future__ import annotations

import json

import pytest

from appliance.management.execution import Answer
from appliance.management.executions import ENDED, State
from appliance.updates.job_messages import STATUS, JobMessages, pushed_topic, read
from tests.execution_kit import NOW_MS, an_execution

AWS_STATUSES = {
    "QUEUED",
    "IN_PROGRESS",
    "SUCCEEDED",
    "FAILED",
    "TIMED_OUT",
    "REJECTED",
    "REMOVED",
    "CANCELED",
}


def test_every_state_has_a_status_that_aws_knows() -> None:
    assert set(STATUS) == set(State)
    assert set(STATUS.values()) == AWS_STATUSES
    assert {STATUS[state] for state in ENDED}.isdisjoint({"QUEUED", "IN_PROGRESS"})


def test_nothing_next_is_an_empty_execution() -> None:
    assert json.loads(JobMessages(is_aws=True, now_ms=5_999).notify_next(None, None)) == {
        "timestamp": 5,
        "execution": {},
    }
    assert json.loads(JobMessages(is_aws=False, now_ms=5_999).notify_next(None, None)) == {
        "ts": 5_999,
        "execution": {},
    }


def test_the_list_has_what_there_is() -> None:
    messages = JobMessages(is_aws=True, now_ms=NOW_MS)
    assert json.loads(messages.notify([])) == {"timestamp": NOW_MS // 1_000, "jobs": {}}
    jobs = json.loads(messages.notify([an_execution(), an_execution(State.VERIFIED, execution_id="e2")]))[
        "jobs"
    ]
    assert {status: [each["jobId"] for each in found] for status, found in jobs.items()} == {
        "QUEUED": ["e1"],
        "IN_PROGRESS": ["e2"],
    }


def test_a_refusal_says_where_it_is() -> None:
    asking = read(b'{"clientToken": "t"}')
    said = json.loads(
        JobMessages(is_aws=False, now_ms=1).refusal(asking, an_execution(), Answer.INVALID_STATE_TRANSITION)
    )
    assert (said["code"], said["clientToken"], said["executionState"]["status"]) == (
        "InvalidStateTransition",
        "t",
        "QUEUED",
    )
    assert said["message"]


@pytest.mark.parametrize("token", ['"' + "x" * 65 + '"', "5", '"a\\n"'])
def test_a_token_that_can_t_be_one_is_left_out(token: str) -> None:
    assert read(f'{{"clientToken": {token}}}'.encode()).client_token == ""


def test_switches_are_true_or_false() -> None:
    asking = read(b'{"a": true, "b": "yes"}')
    assert asking.wants("a", default=False)
    assert not asking.wants("b", default=False)
    assert asking.wants("c", default=True)


def test_where_it_is_said() -> None:
    assert pushed_topic("d", "notify-next", is_aws=False) == "dm/d/jobs/notify-next"
    assert pushed_topic("d", "notify", is_aws=True) == "$aws/things/d/jobs/notify"
