"""broker/ingest.py"""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from appliance.core.errors import RemoteProtocolError
from appliance.core.limits import INGEST_RECORD_COUNT_MAX, INGEST_REQUEST_COUNT_MAX
from broker.ingest import Ingest
from broker.open_block import PendingRecord
from storage.log.columns import Kind


class Plane:
    """Keeps what it is to write, until `commit`."""

    def __init__(self) -> None:
        self.pending: list[PendingRecord] = []
        self.woken = 0

    def record(self, pending: PendingRecord) -> None:
        self.pending.append(pending)

    def wake(self) -> None:
        self.woken += 1

    def commit(self) -> None:
        pending, self.pending = self.pending, []
        for seq, record in enumerate(pending):
            if record.then is not None:
                record.then(seq)


def rig() -> tuple[Ingest, Plane, list[str]]:
    ingest, plane = Ingest(), Plane()
    ingest.plane = plane
    return ingest, plane, []


RECORD: list[Any] = [b"a/b", b"payload", 0b101, 7, b""]


def test_records_are_written_in_order_and_done_when_all_are_on_disk() -> None:
    ingest, plane, done = rig()
    ingest.publish(
        "bridge/up", [RECORD, [b"c", b"", 0, 0, b"\x01\x01"]], lambda seq: done.append(f"both, {seq}")
    )
    assert plane.woken == 1
    first, second = plane.pending
    assert (first.kind, first.client) == (Kind.SERVER_PUBLISH, ("bridge/up", "bridge/up"))
    assert (first.topic, first.payload, first.flags, first.packet_id) == (b"a/b", b"payload", 0b101, 7)
    assert second.properties == b"\x01\x01"
    assert not done
    plane.commit()
    assert done == ["both, 1"]
    assert ingest.messages == 2


def test_settled_is_when_nothing_of_that_bridge_waits() -> None:
    ingest, plane, done = rig()
    ingest.settle("bridge/up", lambda: done.append("nothing waits"))
    ingest.publish("bridge/up", [RECORD], lambda _: done.append("one"))
    ingest.publish("bridge/up", [RECORD], lambda _: done.append("two"))
    ingest.settle("bridge/up", lambda: done.append("settled"))
    ingest.settle("bridge/other", lambda: done.append("other"))
    assert done == ["nothing waits", "other"]
    plane.commit()
    assert done == ["nothing waits", "other", "one", "two", "settled"]


@pytest.mark.parametrize(
    "principal", ["up", "bridge/", "bridge/Up", "bridge/a/b", "d1", "bridge/" + "x" * 33]
)
def test_only_a_bridge_may(principal: str) -> None:
    ingest, plane, _ = rig()
    with pytest.raises(RemoteProtocolError):
        ingest.publish(principal, [RECORD], lambda _: None)
    assert not plane.pending


@pytest.mark.parametrize(
    "record",
    [
        [],
        "record",
        RECORD[:4],
        ["a/b", *RECORD[1:]],
        [b"a/#", *RECORD[1:]],
        [b"", *RECORD[1:]],
        [b"\xff", *RECORD[1:]],
        [b"a", b"", 0b1000, 0, b""],
        [b"a", b"", 0b110, 0, b""],
        [b"a", b"", -1, 0, b""],
        [b"a", b"", 0, 65_536, b""],
        [b"a", b"", 0, -1, b""],
        [b"a", b"", 0, 0, b"\xff"],
        [b"a", bytes(16 * 1024 * 1024), 0, 0, b""],
    ],
    ids=lambda record: repr(record)[:40],
)
def test_what_is_no_message_is_refused_as_a_whole(record: object) -> None:
    ingest, plane, done = rig()
    with pytest.raises(RemoteProtocolError):
        ingest.publish("bridge/up", [RECORD, record], lambda _: done.append("no"))
    assert not plane.pending
    ingest.settle("bridge/up", lambda: done.append("settled"))
    assert done == ["settled"]


def test_bounds() -> None:
    ingest, plane, _ = rig()
    for count in (0, INGEST_RECORD_COUNT_MAX + 1):
        with pytest.raises(RemoteProtocolError):
            ingest.publish("bridge/up", [RECORD] * count, lambda _: None)
    for _ in range(INGEST_REQUEST_COUNT_MAX):
        ingest.publish("bridge/up", [RECORD], lambda _: None)
        ingest.settle("bridge/up", lambda: None)
    with pytest.raises(RemoteProtocolError):
        ingest.publish("bridge/other", [RECORD], lambda _: None)
    with pytest.raises(RemoteProtocolError):
        ingest.settle("bridge/up", lambda: None)
    plane.commit()
    ingest.publish("bridge/other", [RECORD], lambda _: None)


def test_while_the_disk_is_too_full_what_bridges_bring_waits_in_its_order() -> None:
    ingest, plane, done = rig()
    level = {"is_held": True}
    ingest = Ingest(lambda: level["is_held"])
    ingest.plane = plane
    ingest.publish("bridge/up", [RECORD], lambda _: done.append("first"))
    ingest.settle("bridge/up", lambda: done.append("settled"))
    ingest.look_again()
    assert (plane.pending, ingest.held_count, done) == ([], 1, [])
    level["is_held"] = False
    ingest.publish("bridge/up", [[b"second", *RECORD[1:]]], lambda _: done.append("second"))
    assert [record.topic for record in plane.pending] == [b"a/b", b"second"]
    plane.commit()
    assert (done, ingest.held_count) == (["first", "second", "settled"], 0)


async def test_it_goes_on_by_itself_when_there_is_space(autojump_clock: MockClock) -> None:
    _, plane, done = rig()
    level = {"is_held": True}
    ingest = Ingest(lambda: level["is_held"])
    ingest.plane = plane
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ingest.run)
        ingest.publish("bridge/up", [RECORD], lambda _: done.append("done"))
        await trio.sleep(60)
        assert not plane.pending
        level["is_held"] = False
        await trio.sleep(1)
        assert len(plane.pending) == 1
        nursery.cancel_scope.cancel()
