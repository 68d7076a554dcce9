"""One page's stream: frames of the hub, rendered and sent until the page goes, the link is dead or the node stops.

Events: `hello` first (the server's time and version), then HTML fragments without a name, `sample` for charts, and a
`beat` with the server's time at the end of every frame, at least every `HUB_BEAT_INTERVAL_MS`, so that the page
notices a dead link by itself and ages stay right on a laptop that slept.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Final

import trio
from starlette.types import Receive, Scope, Send

from appliance.core.limits import HUB_SEND_TIMEOUT_MS, STREAM_SESSION_CHECK_MS
from ui.live import sse
from ui.live.hub import Frame, Hub

Render = Callable[[Frame], Awaitable[list[bytes]]]
"""A frame, heartbeats too → encoded events; an empty list when nothing on the page differs."""

StillAllowed = Callable[[], Awaitable[bool]]

_HEADERS: Final = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
]


class LiveStream:
    """An ASGI response.

    Args:
        hub: Where changes come from.
        keys: What the page shows (see Hub.watch).
        render: Makes the events of a frame.
        stopping: When set, the stream ends, so that it never holds up a shutdown.
        version: Of the program; a page rendered by another version loads itself again.
        still_allowed: Asked now and then; False ends the stream (signed out elsewhere).
    """

    def __init__(
        self,
        hub: Hub,
        keys: Iterable[str] | None,
        render: Render,
        *,
        stopping: trio.Event,
        version: str,
        still_allowed: StillAllowed | None = None,
        allowed_interval_ms: int = STREAM_SESSION_CHECK_MS,
    ) -> None:
        self._hub = hub
        self._keys = keys
        self._render = render
        self._stopping = stopping
        self._version = version
        self._still_allowed = still_allowed
        self._allowed_interval_s = allowed_interval_ms / 1_000

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._hub.watch(self._keys) as watcher:
            # Before anything can cancel it: header fields that were compressed and never sent would break the connection for all
            # other pages on it.
            await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._cancel_on_disconnect, receive, nursery.cancel_scope)
                nursery.start_soon(self._cancel_on_stopping, nursery.cancel_scope)
                check_at = trio.current_time() + self._allowed_interval_s
                while True:
                    frame = await watcher.next_frame()
                    if trio.current_time() >= check_at:
                        if self._still_allowed is not None and not await self._still_allowed():
                            break
                        check_at = trio.current_time() + self._allowed_interval_s
                    events = await self._events(frame)
                    with trio.move_on_after(HUB_SEND_TIMEOUT_MS / 1_000) as sending:
                        await send({"type": "http.response.body", "body": events, "more_body": True})
                    if sending.cancelled_caught:
                        break  # a page that takes nothing for so long is not being looked at
                nursery.cancel_scope.cancel()
        with trio.move_on_after(1) as ending:
            ending.shield = True  # so that a stopping server still closes the stream properly
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _events(self, frame: Frame) -> bytes:
        events = await self._render(frame)
        now_ms = self._hub.clock.now_ms()
        if frame.is_first:
            hello = {
                "now_ms": now_ms,
                "version": self._version,
                "beat_interval_ms": self._hub.beat_interval_ms,
            }
            events.insert(0, sse.json_event("hello", hello, seq=frame.seq))
        else:
            events.append(sse.json_event("beat", {"now_ms": now_ms}, seq=frame.seq))
        return b"".join(events)

    async def _cancel_on_disconnect(self, receive: Receive, scope: trio.CancelScope) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        scope.cancel()

    async def _cancel_on_stopping(self, scope: trio.CancelScope) -> None:
        await self._stopping.wait()
        scope.cancel()
