"""Gates: enough successes, and devices compared with themselves."""

from __future__ import annotations

import pytest

from appliance.management.gates import Gate, Health, reason_to_wait_health, reason_to_wait_success
from appliance.management.wave_counts import Counts

GATE = Gate()
WELL, STALE, FLAPPING = Health(is_fresh=True, is_steady=True), Health(is_fresh=False, is_steady=True), Health(
    is_fresh=True, is_steady=False
)  # fmt: skip


@pytest.mark.parametrize(
    ("started", "succeeded", "accepted", "opens"),
    [(0, 0, 0, True), (20, 19, 0, True), (20, 18, 0, False), (100, 95, 0, True), (100, 94, 0, False), (3, 2, 1, True)],
)  # fmt: skip
def test_success_is_at_least_95_percent_of_those_started(
    started: int, succeeded: int, accepted: int, opens: bool
) -> None:
    counts = Counts(started=started, succeeded=succeeded)
    assert (not reason_to_wait_success(GATE, counts, accepted=accepted)) is opens


def test_health_is_compared_with_the_same_devices_before() -> None:
    assert reason_to_wait_health(GATE, []) == ""
    assert reason_to_wait_health(GATE, [(WELL, WELL), (STALE, STALE), (FLAPPING, WELL)]) == ""
    assert "1 of 2 updated devices send fresh readings, 2 did before" in reason_to_wait_health(
        GATE, [(WELL, WELL), (WELL, STALE)]
    )
    assert "keep their connection" in reason_to_wait_health(GATE, [(WELL, FLAPPING)])


def test_it_can_be_left_out() -> None:
    assert reason_to_wait_health(Gate(health=False), [(WELL, STALE)]) == ""


def test_of_many_one_in_twenty_may_be_worse() -> None:
    well = [(WELL, WELL)]
    assert reason_to_wait_health(GATE, [*well * 19, (WELL, STALE)]) == ""
    assert reason_to_wait_health(GATE, [*well * 18, (WELL, STALE)]) != ""
    assert reason_to_wait_health(GATE, [*well * 18, (WELL, STALE), (WELL, STALE)]) != ""
