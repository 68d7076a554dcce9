"""Who listens now to what is said unasked, and how it is said: natively, and below `$aws/things/` to those who listen there.

The broker says who (broker/listening.py). A subscriber is told of each that begins to listen, so that it says what is due, and of each that
does so no more. Nothing is kept of what is pushed: the catalog is the queue.

Must not know: what is pushed, and why.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Protocol

from appliance.management.request_topics import AWS, AWS_SERVICES, NATIVE, THINGS
from broker.control_messages import SessionEvent

NATIVELY: Final = 1
BY_ALIAS: Final = 2

Callback = Callable[[Sequence[SessionEvent]], None]


class Pusher(Protocol):
    """Says something to a device (broker.link.BrokerLink)."""

    async def push(self, principal: str, messages: Sequence[tuple[str, bytes]]) -> int: ...


class Listeners:
    """See the module's docstring. `link` is set once it is made; used from one event loop."""

    link: Pusher

    def __init__(self) -> None:
        self._how: dict[str, int] = {}
        self._callbacks: dict[object, Callback] = {}

    def __len__(self) -> int:
        """Devices that listen."""
        return len(self._how)

    def __contains__(self, device_id: object) -> bool:
        return device_id in self._how

    def listening(self) -> list[str]:
        """Ids of all devices that listen now."""
        return list(self._how)

    def subscribe(self, callback: Callback) -> Callable[[], None]:
        """Have a callback told of what changes, in order; returns what ends that. It must not wait."""
        key = object()
        self._callbacks[key] = callback

        def end() -> None:
            self._callbacks.pop(key, None)

        return end

    def take(self, events: Sequence[SessionEvent], is_anew: bool) -> None:
        """What the broker's link was told (`BrokerLink.on_sessions`).

        Args:
            is_anew: All that was told before counts no more.
        """
        told: list[SessionEvent] = []
        if is_anew:
            told += [SessionEvent(principal=each, client_id="", what="gone") for each in self._how]
            self._how.clear()
        for event in events:
            if event.what == "gone":
                self._how.pop(event.principal, None)
            else:
                how = BY_ALIAS if event.is_aws else NATIVELY
                self._how[event.principal] = self._how.get(event.principal, 0) | how
            told.append(event)
        if told:
            for callback in tuple(self._callbacks.values()):
                callback(told)

    async def push(self, device_id: str, native: Sequence[tuple[str, bytes]]) -> int:
        """Say something to a device, if it listens.

        Args:
            native: Topics behind `dm/{device}/`, such as `jobs/notify-next`, and payloads.
        Returns:
            Copies sent; 0 where nobody listens.
        Raises:
            Unavailable, LimitExceeded: as `BrokerLink.push`.
        """
        how = self._how.get(device_id, 0)
        messages: list[tuple[str, bytes]] = []
        for suffix, payload in native:
            if how & NATIVELY:
                messages.append((f"{NATIVE}/{device_id}/{suffix}", payload))
            if how & BY_ALIAS and suffix.partition("/")[0] in AWS_SERVICES:
                messages.append((f"{AWS}/{THINGS}/{device_id}/{suffix}", payload))
        return await self.link.push(device_id, messages) if messages else 0
