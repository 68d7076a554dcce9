"""What goes first on a link: nothing that keeps nodes together ever waits for a backlog."""

from __future__ import annotations

import pytest

from appliance.core.limits_replication import WIRE_MESSAGE_BYTES_MAX
from replication.scheduling import ByteBucket, LinkQueue, Priority

KIB = 1024


def everything(queue: LinkQueue[str], now_ms: int) -> list[str]:
    out = []
    while (item := queue.take(now_ms)) is not None:
        out.append(item)
    return out


def test_what_goes_first() -> None:
    queue: LinkQueue[str] = LinkQueue(0)
    for priority in reversed(Priority):
        queue.put(f"{priority.name} 1", 10, priority)
        queue.put(f"{priority.name} 2", 10, priority)
    assert len(queue) == 8
    assert queue.waiting_bytes == 80
    assert queue.wait_ms(0) == 0
    assert everything(queue, 0) == [f"{priority.name} {n}" for priority in Priority for n in (1, 2)]
    assert queue.wait_ms(0) is None
    assert queue.waiting_bytes == 0


def test_a_backlog_keeps_to_its_budget_and_the_live_tail_passes_it() -> None:
    queue: LinkQueue[str] = LinkQueue(0, bytes_per_s=64 * KIB, bytes_max=100 * 64 * KIB)
    for _ in range(30):
        assert queue.put("backlog", 64 * KIB, Priority.BACKLOG)
    assert everything(queue, 0) == ["backlog"] * 4
    wait_ms = queue.wait_ms(0)
    assert wait_ms == 1001
    queue.put("live", 64 * KIB, Priority.LIVE)
    assert queue.wait_ms(0) == 0
    assert everything(queue, 0) == ["live"]
    assert everything(queue, 999) == []
    assert everything(queue, 1001) == ["backlog"]
    # A minute of which nothing was used gives no more than the burst.
    assert everything(queue, 61_001) == ["backlog"] * 4


def test_repair_goes_before_a_backlog_from_the_same_budget() -> None:
    queue: LinkQueue[str] = LinkQueue(0, bytes_per_s=KIB)
    queue.put("backlog", KIB, Priority.BACKLOG)
    queue.put("repair", KIB, Priority.REPAIR)
    assert queue.take(0) == "repair"


def test_each_priority_has_room_of_its_own_and_says_when_it_is_full() -> None:
    queue: LinkQueue[str] = LinkQueue(0, bytes_max=100)
    assert queue.put("large", 1000, Priority.BACKLOG)  # one always finds room, or it could never go
    assert not queue.put("more", 1, Priority.BACKLOG)
    assert queue.put("live", 60, Priority.LIVE)
    assert not queue.put("live", 60, Priority.LIVE)
    assert queue.refused_count == 2
    queue.clear()
    assert len(queue) == 0
    assert queue.put("more", 1, Priority.BACKLOG)


@pytest.mark.parametrize("now_ms", [0, 10, 500])
def test_a_bucket_without_a_rate_never_waits(now_ms: int) -> None:
    bucket = ByteBucket(0, 0)
    bucket.take(10**9, now_ms)
    assert bucket.wait_ms(10**9, now_ms) == 0


def test_a_message_larger_than_the_burst_passes_a_full_bucket() -> None:
    bucket = ByteBucket(1000, 0, burst_bytes=1)
    assert bucket.wait_ms(10 * WIRE_MESSAGE_BYTES_MAX, 0) == 0
    bucket.take(2 * WIRE_MESSAGE_BYTES_MAX, 0)
    assert bucket.wait_ms(1, 0) == int((1 + WIRE_MESSAGE_BYTES_MAX) * 1000 / 1000) + 1
    assert bucket.wait_ms(1, -5000) > 0  # a clock that stands still gives nothing
