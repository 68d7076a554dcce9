"""How long an answer is waited for: by what was measured on the link, and what its other end says of its own."""

from __future__ import annotations

from appliance.core.limits_replication import ANSWER_WAIT_MS_MAX
from replication.membership.round_trips import RoundTrips


def measured(*times_ms: int) -> RoundTrips:
    trips = RoundTrips()
    trips.link_up("a", 0)
    for nonce, took_ms in enumerate(times_ms):
        trips.sent("a", nonce, 0)
        trips.answered("a", nonce, 0, took_ms)
    return trips


def test_half_as_long_again_as_the_longest_of_late() -> None:
    assert measured(4_000).wait_ms("a", 0) == 6_000
    assert measured(100, 4_000).wait_ms("a", 0) == 6_000
    assert measured(4_000, 0).wait_ms("a", 0) == 5_250, "a faster one counts for an eighth"
    assert (measured(4_000, *[0] * 60).wait_ms("a", 0) or 0) < 20, "and in the end it is trusted again"


def test_nothing_is_waited_for_longer_than_the_bound() -> None:
    trips = measured(10**6)
    assert trips.wait_ms("a", 0) == ANSWER_WAIT_MS_MAX
    trips.answered("a", 99, 10**9, 0)
    assert trips.relayed_ms("a", 0) == 2 * ANSWER_WAIT_MS_MAX
    assert trips.slowest_ms("b") == ANSWER_WAIT_MS_MAX


def test_of_a_new_link_nothing_is_known_and_one_that_never_answers_is_no_new_one_for_ever() -> None:
    trips = RoundTrips()
    trips.link_up("a", 1_000)
    assert trips.wait_ms("a", 1_000) is None
    assert trips.relayed_ms("a", 1_000) == 0
    assert trips.slowest_ms("b") == 0
    assert trips.wait_ms("a", 1_000 + ANSWER_WAIT_MS_MAX) == ANSWER_WAIT_MS_MAX
    trips.link_down("a")
    trips.sent("a", 1, 0)
    trips.answered("a", 1, 0, 5)
    trips.link_up("a", 2_000)
    assert trips.wait_ms("a", 2_000) is None


def test_only_the_answer_to_the_probe_that_is_timed_is_measured() -> None:
    trips = measured()
    trips.sent("a", 1, 0)
    trips.sent("a", 2, 3_000)
    trips.answered("a", 2, 700, 3_100)
    assert trips.wait_ms("a", 3_100) is None, "the first one is timed"
    trips.answered("a", 1, 0, 4_000)
    assert trips.wait_ms("a", 4_000) == 6_000
    trips.sent("a", 3, 5_000)
    trips.stood_still()
    trips.answered("a", 3, 0, 25_000)
    assert trips.wait_ms("a", 25_000) == 6_000, "it was this node that took so long"


def test_a_probe_that_got_lost_is_not_timed_for_ever() -> None:
    trips = measured()
    trips.sent("a", 1, 0)
    trips.sent("a", 2, ANSWER_WAIT_MS_MAX)
    trips.answered("a", 2, 0, ANSWER_WAIT_MS_MAX + 100)
    assert trips.wait_ms("a", ANSWER_WAIT_MS_MAX + 100) == 150


def test_a_relay_tells_of_its_slowest_link_but_the_askers_own() -> None:
    trips = measured(4_000)
    trips.link_up("b", 0)
    trips.sent("b", 7, 0)
    trips.answered("b", 7, 3_000, 200)
    assert trips.slowest_ms("a") == 300
    assert trips.slowest_ms("b") == 6_000
    assert trips.relayed_ms("b", 200) == 300 + 3_000
