"""Work that waits its turn; tests/unit/test_pipeline_store_work.py and _keeper.py have what is made of it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio
import trio.testing

from appliance.core.errors import LimitExceeded
from appliance.pipeline.waiting_work import WaitingWork


class Errands(WaitingWork[Callable[[], int]]):
    count_max = 2

    def refusal(self) -> LimitExceeded:
        return LimitExceeded("too many", hint="Come again.", code="errands")


async def test_in_order_bounded_and_only_what_is_still_wanted() -> None:
    woken: list[int] = []
    errands = Errands(lambda: woken.append(len(errands)))
    first = errands.put("one", lambda: 1)
    with trio.CancelScope() as gone:
        gone.cancel()
        await first.wait()
    second = errands.put("two", lambda: 2)
    with pytest.raises(LimitExceeded) as caught:
        errands.put("three", lambda: 3)
    assert caught.value.code == "errands"
    assert woken == [1, 2]
    taken = errands.take()
    assert taken is second
    assert (taken.words, taken.call()) == ("two", 2)
    assert errands.take() is None


async def test_the_answer_or_the_error_is_the_askers() -> None:
    errands = Errands(lambda: None)
    good, bad = errands.put("good", lambda: 1), errands.put("bad", lambda: 1)
    good.answer, bad.error = 7, ValueError("no")
    good.done.set()
    bad.done.set()
    assert await good.wait() == 7
    with pytest.raises(ValueError, match="no"):
        await bad.wait()
