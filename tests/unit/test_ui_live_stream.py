"""A page's stream over ASGI: it ends with the page, the session, the node, and a reader that takes nothing."""

from __future__ import annotations

from typing import Any

import trio
from trio.testing import MockClock

from appliance.core.clock import ManualClock
from ui.live import sse
from ui.live.hub import Frame, Hub
from ui.live.stream import LiveStream


class Peer:
    """The server's side of ASGI, with a browser that can leave or stop reading."""

    def __init__(self) -> None:
        self.sent: list[Any] = []
        self.left = trio.Event()
        self.reads = True

    async def receive(self) -> Any:
        if not self.sent:
            return {"type": "http.request", "body": b"", "more_body": False}
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        self.sent.append(message)
        if not self.reads and message.get("body"):
            await trio.sleep_forever()

    @property
    def text(self) -> str:
        return b"".join(m.get("body", b"") for m in self.sent).decode()

    @property
    def has_ended(self) -> bool:
        return bool(self.sent) and self.sent[-1].get("more_body") is False


def make(hub: Hub, **options: Any) -> LiveStream:
    async def render(frame: Frame) -> list[bytes]:
        return (
            []
            if frame.is_beat
            else [sse.event(f"<p>{'first' if frame.is_first else frame.keys}</p>", seq=frame.seq)]
        )

    return LiveStream(hub, ["a"], render, **{"stopping": trio.Event(), "version": "1", **options})


async def test_hello_then_everything_then_changes_and_beats(autojump_clock: MockClock) -> None:
    hub, peer = Hub(clock=ManualClock(now_ms=42)), Peer()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(make(hub), {}, peer.receive, peer.send)
        await trio.sleep(0.1)
        assert peer.text.startswith("id: 0\nevent: hello\n")
        assert '"version":"1"' in peer.text
        assert "<p>first</p>" in peer.text
        hub.touch(["a"])
        await trio.sleep(0.6)
        assert "<p>('a',)</p>" in peer.text
        beats = peer.text.count("event: beat")
        await trio.sleep(3.2)
        assert peer.text.count("event: beat") == beats + 2
        assert '{"now_ms":42}' in peer.text
        peer.left.set()
    assert peer.has_ended
    assert hub.statistics().watcher_count == 0


async def test_it_ends_when_the_node_stops(autojump_clock: MockClock) -> None:
    hub, peer, stopping = Hub(clock=ManualClock()), Peer(), trio.Event()
    with trio.fail_after(1):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(make(hub, stopping=stopping), {}, peer.receive, peer.send)
            await trio.sleep(0.1)
            stopping.set()
    assert peer.has_ended


async def test_it_ends_when_the_session_does(autojump_clock: MockClock) -> None:
    hub, peer = Hub(clock=ManualClock()), Peer()
    asked = 0

    async def still_allowed() -> bool:
        nonlocal asked
        asked += 1
        await trio.lowlevel.checkpoint()
        return asked < 3

    await make(hub, still_allowed=still_allowed)({}, peer.receive, peer.send)
    assert peer.has_ended
    assert asked == 3


async def test_a_page_that_takes_nothing_is_dropped(autojump_clock: MockClock) -> None:
    hub, peer = Hub(clock=ManualClock()), Peer()
    peer.reads = False
    with trio.fail_after(60):
        await make(hub)({}, peer.receive, peer.send)
    assert peer.has_ended
    assert hub.statistics().watcher_count == 0


async def test_a_page_that_left_at_once_gets_its_header_fields_all_the_same(
    autojump_clock: MockClock,
) -> None:
    """Over HTTP/2 they are compressed with what went before: lost ones would break the connection for other pages."""
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        await trio.sleep(0.1)
        sent.append(message["type"])

    with trio.fail_after(20):
        await make(Hub(clock=ManualClock()))({}, receive, send)
    assert sent[0] == "http.response.start"
    assert sent[-1] == "http.response.body"
