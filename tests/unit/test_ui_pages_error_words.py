"""Every code of a failure has a sentence and a next step."""

from __future__ import annotations

from appliance.management.execution_report import NEVER_RETRIED
from appliance.management.execution_states import ERRORS
from appliance.updates import rollout_planner
from device_fw_sim.verify import Refusal
from ui.pages.error_words import REASONS, error_next, error_text


def test_a_reason_is_two_sentences() -> None:
    for reason in REASONS.values():
        assert reason.says.endswith(".")
        assert reason.next.endswith(".")


def test_what_the_device_says_stands_behind_it_and_hides_nothing() -> None:
    assert error_text("") == ""
    assert error_text("self_test") == REASONS["self_test"].says
    assert error_text("self_test", "pump\u202e stuck").endswith("It says: pump\\u202e stuck.")
    assert error_text("e42", "oops") == "It says “e42”. It says: oops."
    assert error_text("rollout", "Smoke in hall 2.") == "Its rollout sends it back. Why: Smoke in hall 2."
    assert error_next("e42") == ""
    assert error_next("epoch").startswith("Build")


def test_no_code_of_ours_is_without_words() -> None:
    """Those of the box, those that are never retried, and those that a simulated device refuses an image with."""
    ours = {rollout_planner.ERROR, *ERRORS.values(), *NEVER_RETRIED, *(refusal.value for refusal in Refusal)}
    assert not ours - set(REASONS)
