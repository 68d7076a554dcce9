"""Refusals: the first is written at once, the others with their number, and never more than so many."""

from __future__ import annotations

from appliance.core.clock import ManualClock
from appliance.core.limits import REFUSAL_FOLD_COUNT_MAX, REFUSAL_FOLD_MS
from ui.refusals import Refusal, RefusalFold


def _refusal(address: str = "192.0.2.1", reason: str = "password_wrong") -> Refusal:
    return Refusal(action="session.sign_in", address=address, object_kind="user", reason=reason)


def test_the_first_of_a_kind_is_written_and_the_others_later_as_a_number() -> None:
    clock = ManualClock()
    fold = RefusalFold(clock=clock)
    assert [each.detail for each in fold.take(_refusal())] == ["password_wrong"]
    assert not any(fold.take(_refusal()) for _ in range(40))
    assert [each.detail for each in fold.take(_refusal(reason="code_wrong"))] == ["code_wrong"]
    numbers = fold.statistics()
    assert (numbers.folded_total, dict(numbers.by_reason)) == (40, {"password_wrong": 41, "code_wrong": 1})
    clock.advance(REFUSAL_FOLD_MS)
    later = fold.take(_refusal())
    assert [each.detail for each in later] == [
        "password_wrong, 40 more since the entry before",
        "password_wrong",
    ]
    assert not fold.take(_refusal())


def test_somebody_with_many_addresses_fills_nothing() -> None:
    clock = ManualClock()
    fold = RefusalFold(clock=clock)
    written = sum(len(fold.take(_refusal(f"10.0.{n // 250}.{n % 250}"))) for n in range(5000))
    assert written == REFUSAL_FOLD_COUNT_MAX + 1
    clock.advance(REFUSAL_FOLD_MS)
    (many, new) = fold.take(_refusal("10.9.9.9"))
    assert (many.refusal.reason, many.more_count) == ("many_kinds", 5000 - REFUSAL_FOLD_COUNT_MAX - 1)
    assert new.refusal.address == "10.9.9.9"
