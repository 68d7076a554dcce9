"""What this room needs of who listens: named here, so that it knows nothing of the broker (device_requests/listeners.py is it)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol


class Heard(Protocol):
    """A device that begins to listen, or does so no more."""

    @property
    def principal(self) -> str: ...
    @property
    def what(self) -> str:
        """ "listening" or "gone"."""


class Listening(Protocol):
    """Who listens now, and a way to say something to them."""

    def __contains__(self, device_id: object) -> bool: ...
    def subscribe(self, callback: Callable[[Sequence[Heard]], None]) -> Callable[[], None]: ...
    async def push(self, device_id: str, native: Sequence[tuple[str, bytes]]) -> int:
        """Copies that were sent. Raises Unavailable: it may have been said or not. LimitExceeded: it was not."""


def beginning(events: Sequence[Heard]) -> list[str]:
    """Ids of the devices that begin to listen, each once, without those that have gone again."""
    found: dict[str, None] = {}
    for event in events:
        if event.what == "listening":
            found[event.principal] = None
        else:
            found.pop(event.principal, None)
    return list(found)
