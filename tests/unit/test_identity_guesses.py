"""Wrong claim tokens: how many a network has, and when it has them back."""

from __future__ import annotations

import pytest

from appliance.core.clock import ManualClock
from appliance.core.errors import NotAuthorized
from appliance.core.limits import CLAIM_GUESS_COUNT_MAX, CLAIM_GUESS_REFILL_MS
from appliance.identity import guesses as module
from appliance.identity.guesses import ClaimGuesses


def is_refused(guesses: ClaimGuesses, address: str) -> bool:
    try:
        guesses.check(address)
    except NotAuthorized as error:
        assert error.code == "claim_guesses"
        return True
    return False


def guess(guesses: ClaimGuesses, address: str, count: int) -> None:
    for _ in range(count):
        assert not is_refused(guesses, address)
        guesses.wrong(address)


def test_a_network_that_guesses_has_to_wait_and_others_do_not() -> None:
    clock = ManualClock()
    guesses = ClaimGuesses(clock)
    guess(guesses, "192.0.2.1", CLAIM_GUESS_COUNT_MAX)
    assert is_refused(guesses, "192.0.2.1")
    assert is_refused(guesses, "::ffff:192.0.2.1")
    assert not is_refused(guesses, "192.0.2.2")
    assert guesses.refused_total == 2
    clock.advance(CLAIM_GUESS_REFILL_MS)
    guess(guesses, "192.0.2.1", 1)
    assert is_refused(guesses, "192.0.2.1")
    clock.advance(CLAIM_GUESS_COUNT_MAX * CLAIM_GUESS_REFILL_MS)
    guess(guesses, "192.0.2.1", CLAIM_GUESS_COUNT_MAX)


def test_a_host_has_one_network_of_ipv6() -> None:
    guesses = ClaimGuesses(ManualClock())
    guess(guesses, "2001:db8::1", CLAIM_GUESS_COUNT_MAX)
    assert is_refused(guesses, "2001:db8::ffff%eth0")
    assert not is_refused(guesses, "2001:db8:0:1::1")
    guess(guesses, "local", 1)


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CLAIM_GUESS_NETWORK_COUNT_MAX", 2)
    guesses = ClaimGuesses(ManualClock())
    guess(guesses, "192.0.2.1", CLAIM_GUESS_COUNT_MAX)
    for last in (2, 3):
        guess(guesses, f"192.0.2.{last}", 1)
    assert not is_refused(guesses, "192.0.2.1")
    assert len(guesses._full_at_mono_ms) == 2
