"""The hub: latest wins, nobody waits for a page, everything is bounded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from appliance.core.clock import ManualClock
from appliance.core.errors import LimitExceeded
from ui.live.hub import Frame, Hub


def make_hub(**limits: Any) -> Hub:
    return Hub(clock=ManualClock(), **limits)


async def test_the_first_frame_comes_at_once_and_asks_for_everything(autojump_clock: MockClock) -> None:
    hub = make_hub()
    with hub.watch(["a"]) as watcher:
        began = trio.current_time()
        assert await watcher.next_frame() == Frame(seq=0, is_first=True)
        assert trio.current_time() == began


async def test_what_happens_between_two_frames_is_merged_into_one(autojump_clock: MockClock) -> None:
    hub = make_hub(frame_interval_ms=500)
    with hub.watch(["a", "b", "c"]) as watcher:
        await watcher.next_frame()
        for key in ("a", "b", "a", "x"):
            hub.touch([key])
        began = trio.current_time()
        frame = await watcher.next_frame()
        assert frame == Frame(seq=4, keys=("a", "b"))
        assert trio.current_time() - began == pytest.approx(0.5)


async def test_a_page_gets_at_most_two_frames_a_second_however_much_happens(
    autojump_clock: MockClock,
) -> None:
    hub = make_hub(frame_interval_ms=500, beat_interval_ms=1_500)
    frames = 0

    async def churn() -> None:
        while True:
            hub.touch(["a"])
            await trio.sleep(0.01)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(churn)
        with hub.watch(["a"]) as watcher, trio.move_on_after(9.9):
            while True:
                await watcher.next_frame()
                frames += 1
        nursery.cancel_scope.cancel()
    assert frames == 20


async def test_what_is_not_on_the_page_wakes_nobody_but_the_link_is_kept_alive(
    autojump_clock: MockClock,
) -> None:
    hub = make_hub(beat_interval_ms=1_500)
    with hub.watch(["a"]) as watcher:
        await watcher.next_frame()
        hub.touch(["x"])
        began = trio.current_time()
        frame = await watcher.next_frame()
        assert frame.is_beat
        assert not frame.keys
        assert trio.current_time() - began == pytest.approx(1.5)


async def test_a_beat_is_due_even_while_others_change_all_the_time(autojump_clock: MockClock) -> None:
    hub = make_hub(frame_interval_ms=500, beat_interval_ms=1_500)

    async def churn() -> None:
        while True:
            hub.touch(["x"])
            await trio.sleep(0.01)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(churn)
        with hub.watch(["a"]) as watcher:
            await watcher.next_frame()
            began = trio.current_time()
            assert (await watcher.next_frame()).is_beat
            assert trio.current_time() - began <= 2.0
        nursery.cancel_scope.cancel()


async def test_a_watcher_of_everything_hears_of_any_key(autojump_clock: MockClock) -> None:
    hub = make_hub()
    with hub.watch(None) as watcher:
        await watcher.next_frame()
        hub.touch(["whatever"])
        assert await watcher.next_frame() == Frame(seq=1)


async def test_a_slow_page_never_holds_up_who_touches(autojump_clock: MockClock) -> None:
    """`touch` isn't async at all; after a long pause the page gets one frame with what is newest."""
    hub = make_hub()
    with hub.watch(["a"]) as watcher:
        await watcher.next_frame()
        for _ in range(10_000):
            hub.touch(["a"])
        await trio.sleep(60)
        assert await watcher.next_frame() == Frame(seq=10_000, keys=("a",))
        assert (await watcher.next_frame()).is_beat


def test_keys_beyond_the_limit_are_forgotten_and_count_as_changed() -> None:
    hub = make_hub(key_count_max=3)
    hub.touch(["a"])
    seq = hub.seq
    for key in ("b", "c", "d"):
        hub.touch([key])
    assert hub.statistics().key_count == 3
    assert hub.changed_since(("a", "b", "z"), 0) == ("a", "b", "z")
    assert hub.changed_since(("a", "b", "z"), seq) == ("b",)


def test_touching_everything_changes_every_key() -> None:
    hub = make_hub()
    hub.touch(["a"])
    before = hub.seq
    hub.touch_all()
    assert hub.changed_since(("a", "never touched"), before) == ("a", "never touched")
    assert hub.statistics().key_count == 0


@given(st.lists(st.lists(st.sampled_from("abcdefgh"), max_size=4), max_size=40), st.integers(1, 8), st.data())
def test_no_change_is_ever_missed(touches: list[list[str]], key_count_max: int, data: st.DataObject) -> None:
    """Whatever the limit: a key touched after a sequence number counts as changed since then."""
    hub = make_hub(key_count_max=key_count_max)
    last: dict[str, int] = {}
    for keys in touches:
        hub.touch(keys)
        last.update(dict.fromkeys(keys, hub.seq))
    since = data.draw(st.integers(0, hub.seq))
    changed = hub.changed_since(tuple("abcdefgh"), since)
    assert {key for key, seq in last.items() if seq > since} <= set(changed)
    assert hub.statistics().key_count <= key_count_max


def test_too_many_pages_are_refused_and_a_closed_one_makes_room() -> None:
    hub = make_hub(watcher_count_max=1)
    with hub.watch(None):
        with pytest.raises(LimitExceeded) as caught, hub.watch(None):
            pass
        assert caught.value.hint
    with hub.watch(None):
        assert hub.statistics().watcher_count == 1
    assert hub.statistics().watcher_count == 0
    assert hub.statistics().refused_total == 1


@dataclass(frozen=True)
class Changes:
    devices: frozenset[str]
    everything: bool = False


class Source:
    def __init__(self) -> None:
        self.send, self._receive = trio.open_memory_channel[Changes](8)
        self.is_open = False

    @contextmanager
    def subscribe(self) -> Iterator[Source]:
        self.is_open = True
        yield self
        self.is_open = False

    async def wait(self) -> Changes:
        return await self._receive.receive()


async def test_it_follows_its_source_until_cancelled(autojump_clock: MockClock) -> None:
    source = Source()
    hub = Hub(clock=ManualClock(), source=source)
    async with trio.open_nursery() as nursery:
        await nursery.start(hub.run)
        source.send.send_nowait(Changes(frozenset({"a", "b"})))
        await trio.testing.wait_all_tasks_blocked()
        assert hub.changed_since(("a", "b", "c"), 0) == ("a", "b")
        source.send.send_nowait(Changes(frozenset(), everything=True))
        await trio.testing.wait_all_tasks_blocked()
        assert hub.changed_since(("c",), 1) == ("c",)
        nursery.cancel_scope.cancel()
