"""The line: so many at once as a budget serves, the others in their order, and nobody's place is lost by asking again."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from appliance.core.errors import Unavailable
from appliance.core.limits_delivery import (
    LINE_IDLE_MS,
    LINE_KEPT_MS,
    LINE_LOOK_MS,
    LINE_PLACE_BYTES_S,
    LINE_PLACE_COUNT_MAX,
    LINE_PLACE_COUNT_MIN,
)
from appliance.updates import line as line_module
from appliance.updates.line import Line, place_count

RATE = LINE_PLACE_COUNT_MIN * LINE_PLACE_BYTES_S


class TrioClock:
    """The event loop's own time, which a test's autojump moves."""

    def now_ms(self) -> int:
        return self.mono_ms()

    def mono_ms(self) -> int:
        return int(trio.current_time() * 1000)


def line() -> Line:
    """One of few places, all of them taken by `a`, `b`, …"""
    return Line(TrioClock(), RATE)


async def ask(there: Line, device_id: str, served: list[str], hold_s: float = 0) -> None:
    async with there.place(device_id):
        served.append(device_id)
        await trio.sleep(hold_s)


def test_so_many_as_the_budget_serves() -> None:
    assert place_count(0) == LINE_PLACE_COUNT_MAX
    assert place_count(1) == LINE_PLACE_COUNT_MIN
    assert place_count(10 * LINE_PLACE_BYTES_S) == 10
    assert place_count(1 << 40) == LINE_PLACE_COUNT_MAX


async def test_who_has_a_place_keeps_it_until_it_leaves(autojump_clock: MockClock) -> None:
    there, served = line(), list[str]()
    for device_id in "abcd":
        await ask(there, device_id, served)
    assert there.served_count == 4
    async with trio.open_nursery() as nursery:
        for device_id in "ef":
            nursery.start_soon(ask, there, device_id, served)
            await wait_all_tasks_blocked()
        await ask(there, "a", served)
        assert (served, there.waiting_count) == ([*"abcd", "a"], 2)
        there.leave("c")
        there.leave("nobody")
        await wait_all_tasks_blocked()
        assert served == [*"abcda", "e"]
        there.leave("d")
    assert served == [*"abcdaef"]
    assert (there.served_count, there.waiting_count) == (4, 0)


async def test_a_place_that_nobody_uses_is_given_to_who_waits(autojump_clock: MockClock) -> None:
    there, served = line(), list[str]()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask, there, "a", served, 3 * LINE_IDLE_MS / 1000)
        for device_id in "bcd":
            nursery.start_soon(ask, there, device_id, served)
        await wait_all_tasks_blocked()
        began = trio.current_time()
        await ask(there, "e", served)
        waited_ms = (trio.current_time() - began) * 1000
        # Not that of `a`, whose request is under way.
        there.leave("a")
        await ask(there, "a", served)
    assert LINE_IDLE_MS <= waited_ms <= LINE_IDLE_MS + 2 * LINE_LOOK_MS
    assert sorted(served[:4]) == [*"abcd"]
    assert served[4:] == ["e", "a"]


async def test_nobody_is_asked_to_leave_while_nobody_waits(autojump_clock: MockClock) -> None:
    there, served = line(), list[str]()
    for device_id in "abcd":
        await ask(there, device_id, served)
    await trio.sleep(10 * LINE_IDLE_MS / 1000)
    assert there.served_count == 4


async def asked_in_turn(there: Line, served: list[str], *device_ids: str) -> None:
    """Have them ask one after the other, and those go that have the places now."""
    async with trio.open_nursery() as nursery:
        for device_id in device_ids:
            nursery.start_soon(ask, there, device_id, served)
            await wait_all_tasks_blocked()
        for device_id in "abcd":
            there.leave(device_id)
            await wait_all_tasks_blocked()


async def full(served: list[str]) -> Line:
    """One whose places `a` to `d` have, which use them no more."""
    there = line()
    for device_id in "abcd":
        await ask(there, device_id, served)
    served.clear()
    return there


async def given_up(there: Line, device_id: str) -> None:
    with trio.move_on_after(1):
        await ask(there, device_id, [])


async def test_who_gives_up_and_asks_again_is_where_it_was(autojump_clock: MockClock) -> None:
    served = list[str]()
    there = await full(served)
    await given_up(there, "early")
    await asked_in_turn(there, served, "later", "early")
    assert served == ["early", "later"]


async def test_who_loses_its_place_comes_before_those_who_have_not_begun(autojump_clock: MockClock) -> None:
    served = list[str]()
    there = await full(served)
    await given_up(there, "new")
    there.away("a")
    there.away("nobody")
    await ask(there, "e", served)
    await asked_in_turn(there, served, "new", "a")
    assert served == ["e", "a", "new"]


async def test_who_is_away_while_its_request_is_under_way_keeps_its_place(autojump_clock: MockClock) -> None:
    there = line()
    async with there.place("a"):
        there.away("a")
        there.leave("a")
        assert there.served_count == 1
    there.away("a")
    assert there.served_count == 0


async def test_a_number_is_not_kept_for_ever(autojump_clock: MockClock) -> None:
    served = list[str]()
    there = await full(served)
    await given_up(there, "early")
    for _ in range(LINE_KEPT_MS // LINE_IDLE_MS + 1):
        for device_id in "abcd":
            await ask(there, device_id, [])
        await trio.sleep(LINE_IDLE_MS / 2000)
        for device_id in "abcd":
            await ask(there, device_id, [])
        await trio.sleep(LINE_IDLE_MS / 2000)
    await asked_in_turn(there, served, "later", "early")
    assert served == ["later", "early"]


async def test_so_many_numbers_are_kept(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line_module, "LINE_NUMBER_COUNT_MAX", 3)
    there = await full([])
    for number in range(10):
        await given_up(there, f"d{number}")
        for device_id in "abcd":
            await ask(there, device_id, [])
    assert list(there._numbers) == ["d7", "d8", "d9"]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask, there, "waits", [])
        await wait_all_tasks_blocked()
        for number in range(5):
            await given_up(there, f"e{number}")
        assert "waits" in there._numbers, "not that of who stands in line"
        nursery.cancel_scope.cancel()


async def test_the_line_is_bounded_and_a_number_is_kept_all_the_same(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line_module, "LINE_WAITING_COUNT_MAX", 2)
    served = list[str]()
    there = await full(served)
    async with trio.open_nursery() as nursery:
        for device_id in "ef":
            nursery.start_soon(ask, there, device_id, [])
        await wait_all_tasks_blocked()
        with pytest.raises(Unavailable) as caught:
            await ask(there, "g", [])
        assert caught.value.code == "delivery_full"
        nursery.cancel_scope.cancel()
    # Who comes and goes again and again leaves no more behind than the line is long.
    for _ in range(20):
        await given_up(there, "g")
        await given_up(there, "h")
        for device_id in "abcd":
            await ask(there, device_id, [])
    assert len(there._waiting) <= 4
    await asked_in_turn(there, served, "h", "g")
    assert served == ["g", "h"]


async def test_a_rate_that_is_raised_makes_room(autojump_clock: MockClock) -> None:
    there, served = line(), list[str]()
    for device_id in "abcd":
        await ask(there, device_id, served)
    there.rate_bytes_s = 0
    await ask(there, "e", served)
    assert there.served_count == 5
