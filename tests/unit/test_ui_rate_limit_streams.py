"""Places for live streams, per subject."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from ui.problem import Retryable
from ui.rate_limit import Subject
from ui.rate_limit_streams import StreamPlaces

ANNE, BEN = Subject("user", "anne"), Subject("user", "ben")


def test_one_has_so_many_and_others_have_theirs() -> None:
    places = StreamPlaces(count_max=2)
    with ExitStack() as held:
        for _ in range(2):
            held.enter_context(places.hold(ANNE))
        with pytest.raises(Retryable) as refused, places.hold(ANNE):
            pytest.fail("a third one")
        assert (refused.value.code, bool(refused.value.hint)) == ("too_many_streams", True)
        held.enter_context(places.hold(BEN))
        numbers = places.statistics()
        assert (numbers.open, numbers.most, numbers.refused_total) == (3, 2, 1)
    with places.hold(ANNE):
        assert places.statistics().open == 1
    assert places.statistics().open == 0


def test_a_stream_that_fails_gives_its_place_back() -> None:
    places = StreamPlaces(count_max=1)
    with pytest.raises(ZeroDivisionError), places.hold(ANNE):
        raise ZeroDivisionError
    assert places.statistics().open == 0
