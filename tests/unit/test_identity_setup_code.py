"""The setup code: once, for 15 minutes, and not by guessing."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.core.clock import ManualClock
from appliance.core.errors import NotAuthorized
from appliance.core.limits import SETUP_CODE_ATTEMPT_COUNT_MAX, SETUP_CODE_WINDOW_MS
from appliance.identity import SetupCode, SetupState
from appliance.identity.crockford import ALPHABET
from appliance.identity.setup_code import LENGTH


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def _refusal(setup: SetupCode, offered: str) -> str:
    with pytest.raises(NotAuthorized) as refused, setup.claiming(offered):
        raise AssertionError("it was taken")
    assert refused.value.hint
    return refused.value.code


def test_it_has_at_least_40_bits_and_no_letters_that_look_alike() -> None:
    assert LENGTH * math.log2(len(ALPHABET)) >= 50
    assert not set("ILOU") & set(ALPHABET)


def test_it_is_used_once(clock: ManualClock) -> None:
    setup = SetupCode(clock=clock)
    code = setup.issue()
    assert (setup.state, setup.remaining_ms) == (SetupState.VALID, SETUP_CODE_WINDOW_MS)
    with setup.claiming(code):
        assert setup.state is SetupState.CLAIMING
        assert _refusal(setup, code) == "setup_code_used"
    assert (setup.state, setup.remaining_ms) == (SetupState.USED, 0)
    assert _refusal(setup, code) == "setup_code_used"


def test_a_claim_that_fails_leaves_it_valid(clock: ManualClock) -> None:
    setup = SetupCode(clock=clock)
    code = setup.issue()
    with pytest.raises(ZeroDivisionError), setup.claiming(code):
        raise ZeroDivisionError
    with setup.claiming(code):
        pass


@given(st.data())
def test_it_may_be_typed_in_any_form(data: st.DataObject) -> None:
    setup = SetupCode(clock=ManualClock(), choose=lambda alphabet: data.draw(st.sampled_from(alphabet)))
    code = setup.issue()
    typed = "".join(
        data.draw(st.sampled_from([c, c.lower(), f" {c}", *({"0": "oO", "1": "iIlL"}.get(c, ""))]))
        for c in code
    )
    with setup.claiming(typed):
        pass


def test_its_time_ends_whatever_the_wall_clock_does(clock: ManualClock) -> None:
    setup = SetupCode(clock=clock)
    code = setup.issue()
    clock.advance(SETUP_CODE_WINDOW_MS - 1)
    clock.set_wall(0)
    assert setup.remaining_ms == 1
    clock.advance(1)
    assert setup.state is SetupState.EXPIRED
    assert _refusal(setup, code) == "setup_code_expired"


def test_guessing_ends_it(clock: ManualClock) -> None:
    setup = SetupCode(clock=clock, choose=lambda alphabet: "Z")
    code = setup.issue()
    for _ in range(SETUP_CODE_ATTEMPT_COUNT_MAX):
        assert _refusal(setup, "0000000000") == "setup_code_wrong"
    assert setup.state is SetupState.LOCKED
    assert _refusal(setup, code) == "setup_code_locked"
    with setup.claiming(setup.issue()):
        pass


def test_a_new_code_ends_the_one_before(clock: ManualClock) -> None:
    setup = SetupCode(clock=clock)
    first = setup.issue()
    second = setup.issue()
    assert _refusal(setup, first) == "setup_code_wrong"
    with setup.claiming(second):
        pass


def test_a_failing_claim_does_not_bring_an_old_code_back(clock: ManualClock) -> None:
    setup = SetupCode(clock=clock)
    first = setup.issue()

    def fail() -> None:
        with setup.claiming(first):
            setup.issue()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert setup.state is SetupState.VALID
    assert _refusal(setup, first) == "setup_code_wrong"


def test_without_a_code_nothing_fits(clock: ManualClock) -> None:
    setup = SetupCode(clock=clock)
    assert _refusal(setup, "") == "setup_code_missing"
    setup.issue()
    assert _refusal(setup, "") == "setup_code_wrong"
    assert _refusal(setup, "Z" * 1_000_000) == "setup_code_wrong"


def test_the_code_is_kept_nowhere(clock: ManualClock) -> None:
    setup = SetupCode(clock=clock)
    code = setup.issue().replace("-", "")
    assert code not in repr(vars(setup))


def test_a_code_that_was_ended_is_none_even_for_a_claim_under_way(clock: ManualClock) -> None:
    setup = SetupCode(clock=clock)
    first = setup.issue()

    def overtaken() -> None:
        with setup.claiming(first):
            setup.end()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        overtaken()
    assert _refusal(setup, first) == "setup_code_missing"
    setup.issue()
    assert setup.state is SetupState.VALID
