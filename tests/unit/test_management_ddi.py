"""hawkBit's protocol: what each state offers, what feedback says, what attributes mean."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.core.errors import UsageError
from appliance.core.limits_delivery import DDI_ATTRIBUTE_COUNT_MAX, DDI_DETAIL_LENGTH_MAX
from appliance.management.ddi import (
    Offer,
    Outcome,
    action_id,
    feedback_of,
    firmware_of,
    offer,
    sleep_text,
)
from appliance.management.executions import ENDED, State


def offered(state: State, **more: bool) -> Offer:
    known = {"is_admitted": True, "began": True, "is_open": True, "may_install": True, **more}
    return offer(state, **known)


def test_what_is_on_its_way_is_offered_until_it_is_installed() -> None:
    for state in (State.QUEUED, State.NOTIFIED, State.DOWNLOADING, State.WAIT_WINDOW, State.INSTALLING):
        assert offered(state) is Offer.INSTALL, state
    for state in (State.REBOOTING, State.UNCONFIRMED):
        assert offered(state) is Offer.SKIP, state
    for state in (State.TESTING, State.PAUSED, State.FAILED, State.MANUAL, State.LOST):
        assert offered(state) is Offer.NOTHING, state


def test_nothing_before_its_wave_or_outside_of_its_window() -> None:
    assert offered(State.QUEUED, is_admitted=False) is Offer.NOTHING
    assert offered(State.DOWNLOADING, may_install=False) is Offer.NOTHING
    # What has begun to be written is brought to its end.
    assert offered(State.INSTALLING, may_install=False) is Offer.INSTALL


def test_the_way_back_is_an_installation_too() -> None:
    assert offered(State.ROLLBACK_PENDING) is offered(State.ROLLING_BACK) is Offer.ROLL_BACK


def test_what_was_called_off_is_said_to_who_had_begun() -> None:
    assert offered(State.CANCELED, is_open=False) is Offer.CANCEL
    assert offered(State.CANCELED, is_open=False, began=False) is Offer.NOTHING
    for state in ENDED - {State.CANCELED, State.SUPERSEDED, State.REMOVED, State.TIMED_OUT}:
        assert offered(state, is_open=False) is Offer.NOTHING, state


@given(st.text(max_size=40), st.integers(0, 9))
def test_an_actions_number_fits_into_what_clients_take(execution_id: str, attempt: int) -> None:
    assert 1 <= action_id(execution_id, attempt) < 2**31
    assert action_id(execution_id, attempt) == action_id(execution_id, attempt)
    assert action_id(execution_id, attempt) != action_id(execution_id, attempt + 1)


def status(execution: str, finished: str = "none", **more: Any) -> dict[str, Any]:
    return {
        "id": "7",
        "status": {
            "execution": execution,
            "result": {"finished": finished, **more},
            "details": ["a", 5, "b\n"],
        },
    }


@pytest.mark.parametrize(
    ("fields", "outcome"),
    [
        (status("closed", "success"), Outcome.INSTALLED), (status("CLOSED", "none"), Outcome.INSTALLED),
        (status("closed", "failure"), Outcome.FAILED), (status("rejected"), Outcome.REFUSED), (status("canceled"), Outcome.CANCELED),
        (status("downloaded"), Outcome.DOWNLOADED), (status("download"), Outcome.WORKING), (status("resumed"), Outcome.WORKING),
        (status("proceeding", progress={"cnt": 0, "of": 1}), Outcome.WORKING),
        (status("proceeding", progress={"cnt": 5, "of": 0}), Outcome.WORKING),
        (status("proceeding", progress={"cnt": "5", "of": 5}), Outcome.WORKING),
        (status("proceeding", progress=5), Outcome.WORKING),
        (status("proceeding", progress={"cnt": 1, "of": 1}), Outcome.INSTALLED),
        ({"status": {"execution": "proceeding"}}, Outcome.WORKING), ({"status": {"execution": "closed", "result": 5}}, Outcome.INSTALLED),
    ],
)  # fmt: skip
def test_what_feedback_says(fields: dict[str, Any], outcome: Outcome) -> None:
    assert feedback_of(fields).outcome is outcome


def test_what_a_client_says_besides_is_bounded() -> None:
    assert feedback_of(status("closed", "failure")).text == "a b "
    long = {"status": {"execution": "closed", "details": ["x" * 5000, "the end"]}}
    assert len(feedback_of(long).text) == DDI_DETAIL_LENGTH_MAX
    assert feedback_of(long).text.endswith("the end")
    assert feedback_of({"status": {"execution": "closed", "details": "x"}}).text == ""
    skipped = {"status": {"execution": "closed", "details": ["Skipped Update."]}}
    assert feedback_of(skipped).is_of_skipping
    assert not feedback_of(long).is_of_skipping


@pytest.mark.parametrize(
    "fields", [{}, {"status": 5}, {"status": {}}, {"status": {"execution": 5}}, status("dancing")]
)
def test_what_is_no_feedback(fields: dict[str, Any]) -> None:
    with pytest.raises(UsageError) as caught:
        feedback_of(fields)
    assert caught.value.code == "feedback_invalid"


def test_a_refusal_can_be_sent_whatever_it_is_about() -> None:
    with pytest.raises(UsageError) as caught:
        feedback_of(status("\ud800"))
    assert "“ ” is no execution" in caught.value.message


def test_what_attributes_mean() -> None:
    assert firmware_of({"serial": "5"}) == {}
    assert firmware_of({"sw_version": "2.0.0", "colour": "red"}) == {"version": "2.0.0", "confirmed": True}
    assert firmware_of(
        {"version": "1", "fw_version": "2", "hwrevision": "B", "boot_id": "b1", "slot": "A", "confirmed": "false", "epoch": 3}
    ) == {"version": "2", "hw": "B", "boot_id": "b1", "slot": "A", "epoch": 3, "confirmed": "false"}  # fmt: skip
    assert firmware_of({"fw_digest": "ab" * 32}) == {"digest": "ab" * 32, "confirmed": True}
    assert firmware_of({**{f"a{n}": n for n in range(DDI_ATTRIBUTE_COUNT_MAX)}, "version": "2"}) == {}


def test_a_polling_interval() -> None:
    assert sleep_text(30) == "00:00:30"
    assert sleep_text(3_725) == "01:02:05"
