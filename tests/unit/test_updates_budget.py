"""Budgets on a virtual clock: rates hold, nobody is refused, all that wait get the same."""

from __future__ import annotations

import ipaddress
from collections import Counter

import pytest
import trio
from trio.testing import MockClock

from appliance.core.errors import Unavailable
from appliance.core.limits import KIB
from appliance.core.limits_delivery import BUDGET_ROLLOUT_COUNT_MAX, BUDGET_TURN_MS, BUDGET_WAIT_MS
from appliance.updates.budget import Budgets, Claim, Pace

LOCAL = (ipaddress.ip_network("192.168.0.0/16"), ipaddress.ip_network("fd00::/8"))
BLOCK = 4 * KIB


class TrioClock:
    """The event loop's own time, which a test's autojump moves."""

    def now_ms(self) -> int:
        return self.mono_ms()

    def mono_ms(self) -> int:
        return int(trio.current_time() * 1000)


def claim(device: str, *, rollout: str = "r", rate: int = 0, address: str = "192.168.1.7") -> Claim:
    return Claim(device_id=device, rollout_id=rollout, rollout_bytes_s=rate, address=address)


async def fetch(budgets: Budgets, who: Claim, size: int, want: int = 64 * KIB) -> None:
    while size > 0:
        size -= await budgets.take(who, min(size, want), min(size, BLOCK))


async def test_without_a_bound_nobody_waits(autojump_clock: MockClock) -> None:
    budgets = Budgets(clock=TrioClock())
    began = trio.current_time()
    assert await budgets.take(claim("a"), 512 * KIB, BLOCK) == 512 * KIB
    assert trio.current_time() == began
    assert budgets.statistics().granted_bytes == 512 * KIB


async def test_a_rollouts_budget_holds_over_its_devices(autojump_clock: MockClock) -> None:
    budgets = Budgets(clock=TrioClock())
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(fetch, budgets, claim(f"d{number}", rate=100 * KIB), 100 * KIB)
    assert 19 <= trio.current_time() - began <= 21


async def test_rollouts_dont_wait_for_each_other(autojump_clock: MockClock) -> None:
    budgets = Budgets(clock=TrioClock(), total_bytes_s=1024 * KIB)
    ended = {}

    async def run(name: str, rate: int) -> None:
        await fetch(budgets, claim(name, rollout=name, rate=rate), 100 * KIB)
        ended[name] = trio.current_time()

    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run, "slow", 5 * KIB)
        nursery.start_soon(run, "fast", 0)
    assert ended["fast"] - began < 1
    assert ended["slow"] - began > 15


async def test_all_that_wait_get_the_same(autojump_clock: MockClock) -> None:
    budgets = Budgets(clock=TrioClock(), total_bytes_s=200 * KIB)
    got: Counter[str] = Counter()

    async def greedy(name: str) -> None:
        while True:
            granted = await budgets.take(claim(name), 128 * KIB, BLOCK)
            got[name] += granted

    with trio.move_on_after(60):
        async with trio.open_nursery() as nursery:
            for number in range(10):
                nursery.start_soon(greedy, f"d{number}")
            for _ in range(3):  # one that asks four times at once gets no more
                nursery.start_soon(greedy, "d0")
    assert max(got.values()) <= min(got.values()) + 2 * 128 * KIB
    assert 59 * 200 * KIB <= sum(got.values()) <= 62 * 200 * KIB


async def test_with_many_devices_turns_get_smaller_not_slower(autojump_clock: MockClock) -> None:
    budgets = Budgets(clock=TrioClock(), total_bytes_s=1024 * KIB)
    waits = []

    async def once(name: str) -> None:
        began = trio.current_time()
        await budgets.take(claim(name), 512 * KIB, BLOCK)
        waits.append(trio.current_time() - began)

    async with trio.open_nursery() as nursery:
        for number in range(1000):
            nursery.start_soon(once, f"d{number}")
    assert len(waits) == 1000
    assert max(waits) <= BUDGET_WAIT_MS / 1000
    assert budgets.statistics().given_up == 0


async def test_who_cant_have_a_turn_in_time_is_told_and_keeps_no_place(autojump_clock: MockClock) -> None:
    budgets = Budgets(clock=TrioClock())
    slow = claim("a", rate=KIB)
    await budgets.take(slow, 128 * KIB, 128 * KIB)
    with pytest.raises(Unavailable) as caught:
        await budgets.take(claim("b", rate=KIB), 128 * KIB, 128 * KIB)
    assert caught.value.code == "budget_turn"
    numbers = budgets.statistics()
    assert (numbers.given_up, numbers.waiting) == (1, 0)
    assert numbers.waited_ms >= BUDGET_WAIT_MS
    await trio.sleep(100)
    began = trio.current_time()
    assert await budgets.take(slow, BLOCK, BLOCK) == BLOCK
    assert trio.current_time() - began < 0.01


async def test_the_uplink_is_for_those_behind_it(autojump_clock: MockClock) -> None:
    budgets = Budgets(clock=TrioClock(), uplink_bytes_s=10 * KIB, local_networks=LOCAL)
    began = trio.current_time()
    await fetch(budgets, claim("near"), 100 * KIB)
    assert trio.current_time() == began
    await fetch(budgets, claim("far", address="203.0.113.9"), 100 * KIB)
    assert 8 <= trio.current_time() - began <= 11
    assert budgets.statistics().uplink_bytes == 100 * KIB


def test_who_is_behind_the_uplink() -> None:
    budgets = Budgets(clock=ManualNever(), local_networks=LOCAL)
    near = ("192.168.3.4", "::ffff:192.168.3.4", "fd12::1", "fd12::1%eth0", "", "unix")
    assert [budgets.is_remote(each) for each in near] == [False] * 6
    assert budgets.is_remote("203.0.113.9")
    assert budgets.is_remote("2001:db8::1")


class ManualNever:
    def now_ms(self) -> int:
        return 0

    def mono_ms(self) -> int:
        return 0


async def test_a_bound_that_is_lifted_lets_those_go_who_wait(autojump_clock: MockClock) -> None:
    budgets = Budgets(clock=TrioClock())
    await budgets.take(claim("a", rate=KIB), 30 * KIB, 30 * KIB)
    began = trio.current_time()
    assert await budgets.take(claim("a"), 512 * KIB, BLOCK) == 512 * KIB
    assert trio.current_time() == began


async def test_a_turn_is_bounded_by_what_flows(autojump_clock: MockClock) -> None:
    pace = Pace(10 * KIB, TrioClock())
    assert await pace.take(512 * KIB, BLOCK) == 10 * KIB * BUDGET_TURN_MS // 1000
    pace.give_back(10 * KIB * BUDGET_TURN_MS // 1000)
    began = trio.current_time()
    assert await pace.take(BLOCK, BLOCK) == BLOCK
    assert trio.current_time() == began


async def test_what_a_later_bucket_doesnt_give_goes_back_to_the_first(autojump_clock: MockClock) -> None:
    budgets = Budgets(clock=TrioClock(), total_bytes_s=10 * KIB)
    began = trio.current_time()
    # The rollout's own bucket would give 100 KiB, the total 10 KiB: only what was sent counts for either.
    assert await budgets.take(claim("a", rate=100 * KIB), 512 * KIB, BLOCK) == 10 * KIB
    await budgets.take(claim("b", rate=100 * KIB), BLOCK, BLOCK)
    assert 0.7 <= trio.current_time() - began <= 1


async def test_who_gives_up_leaves_nothing_taken(autojump_clock: MockClock) -> None:
    budgets = Budgets(clock=TrioClock(), total_bytes_s=KIB)
    await budgets.take(claim("a"), 20 * KIB, 20 * KIB)
    with trio.move_on_after(1):
        await budgets.take(claim("b", rate=KIB), 20 * KIB, 20 * KIB)
    began = trio.current_time()
    await budgets.take(claim("c", rate=KIB), 100, 100)
    # Only the first one's debt is waited for: 20 s, less the quarter of a second that was free and the second that passed.
    assert 18 <= trio.current_time() - began <= 20


async def test_few_rollouts_are_remembered(autojump_clock: MockClock) -> None:
    budgets = Budgets(clock=TrioClock())
    for number in range(BUDGET_ROLLOUT_COUNT_MAX + 5):
        await budgets.take(claim("a", rollout=f"r{number}", rate=KIB), 1, 1)
    assert len(budgets._rollouts) == BUDGET_ROLLOUT_COUNT_MAX
    assert budgets._places == {}
