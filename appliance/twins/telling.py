"""Says to devices what became of their twins: the delta, and the documents before and after.

Said unasked and at most once each: a delta that gets lost is said again with the next change, and whenever the device begins to listen. What a
device has not subscribed to is not said to it again until it subscribes to something.

Must not know: the broker, SQL.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import trio

from appliance.core import logs
from appliance.core.clock import Clock
from appliance.core.errors import HomeportError, StorageError, Unavailable
from appliance.core.limits_twins import (
    TWIN_TELLING_BATCH_COUNT_MAX,
    TWIN_TELLING_COUNT_MAX,
    TWIN_UNTOLD_COUNT_MAX,
)
from appliance.management.twin_messages import delta_message, documents_message
from appliance.twins.listening import Heard, Listening, beginning
from storage.catalog import AsyncCatalog
from storage.catalog.twins import TwinChanged

DELTA: Final = "update/delta"
DOCUMENTS: Final = "update/documents"
RETRY_S: Final = 1.0
"""After the catalog could not be read for who listens."""

_log = logs.get(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class TellingStatistics:
    """Since the start.

    Attributes:
        waiting: Messages that wait now, and devices whose deltas are to be read.
        told_total: Copies that were sent. dropped_total: Messages that were not, because too many waited or the broker was away.
    """

    waiting: int
    told_total: int
    dropped_total: int


class Telling:
    """See the module's docstring. Used from one event loop; nothing is said but while `run` runs."""

    def __init__(self, catalog: AsyncCatalog, listening: Listening, *, clock: Clock) -> None:
        self._catalog = catalog
        self._listening = listening
        self._clock = clock
        self._messages: deque[tuple[str, str, str, bytes]] = deque()
        self._new: dict[str, None] = {}
        self._deaf: dict[str, set[tuple[str, str]]] = {}
        """By device, what it has not subscribed to: names of twins, and DELTA or DOCUMENTS."""
        self._has_work = trio.Event()
        self._told = 0
        self._dropped = 0

    def tell(self, changed: TwinChanged, *, client_token: str | None = None) -> None:
        """Have a change said to its device, if that listens. Doesn't wait."""
        device_id, name = changed.after.device_id, changed.after.name
        if device_id not in self._listening or not changed.after.twin.is_there:
            return
        now_s = self._clock.now_ms() // 1000
        deaf = self._deaf.get(device_id, ())
        if (name, DELTA) not in deaf:
            delta = delta_message(changed.after.twin, now_s=now_s, client_token=client_token)
            if delta is not None:
                self._put(device_id, name, DELTA, delta)
        if (name, DOCUMENTS) not in deaf:
            documents = documents_message(
                changed.before.twin, changed.after.twin, now_s=now_s, client_token=client_token
            )
            self._put(device_id, name, DOCUMENTS, documents)

    def look(self, device_ids: Iterable[str]) -> None:
        """What these devices are wanted to be was changed on another node of the site: say their deltas to those that listen here."""
        for device_id in device_ids:
            if device_id in self._listening:
                self._new[device_id] = None
                self._has_work.set()

    def note(self, events: Sequence[Heard]) -> None:
        """Hear of who begins to listen, or does so no more (Listeners.subscribe)."""
        for event in events:
            self._deaf.pop(event.principal, None)
        for device_id in beginning(events):
            self._new[device_id] = None
        if self._new:
            self._has_work.set()

    async def run(self) -> None:
        """Say what is to be said. Runs until cancelled."""
        end = self._listening.subscribe(self.note)
        try:
            while True:
                await self._has_work.wait()
                self._has_work = trio.Event()
                await self._tell_new()
                await self._send_all()
                if self._new or self._messages:
                    self._has_work.set()
        finally:
            end()

    async def _tell_new(self) -> None:
        """Put the deltas of those who have begun to listen among what is to be said."""
        device_ids = list(self._new)[:TWIN_TELLING_BATCH_COUNT_MAX]
        if not device_ids:
            return
        try:
            kept = await self._catalog.read(lambda reader: reader.wanted_twins(device_ids), pool="devices")
        except (Unavailable, StorageError) as error:
            _log.warning("deltas can't be read; they are in a moment", reason=error.message)
            await trio.sleep(RETRY_S)
            return
        for device_id in device_ids:
            self._new.pop(device_id, None)
        now_s = self._clock.now_ms() // 1000
        for each in kept:
            delta = delta_message(each.twin, now_s=now_s)
            if delta is not None:
                self._put(each.device_id, each.name, DELTA, delta)

    async def _send_all(self) -> None:
        by_device: dict[str, list[tuple[str, str, bytes]]] = {}
        while self._messages:
            device_id, name, kind, payload = self._messages.popleft()
            by_device.setdefault(device_id, []).append((name, kind, payload))
        left = deque(by_device.items())
        async with trio.open_nursery() as nursery:
            for _ in range(min(len(left), TWIN_TELLING_COUNT_MAX)):
                nursery.start_soon(self._send_some, left)

    async def _send_some(self, left: deque[tuple[str, list[tuple[str, str, bytes]]]]) -> None:
        while left:
            device_id, messages = left.popleft()
            for name, kind, payload in messages:
                await self._send(device_id, name, kind, payload)

    async def _send(self, device_id: str, name: str, kind: str, payload: bytes) -> None:
        below = f"shadow/name/{name}" if name else "shadow"
        try:
            copies = await self._listening.push(device_id, [(f"{below}/{kind}", payload)])
        except HomeportError:
            self._dropped += 1
            return
        self._told += copies
        if not copies and device_id in self._listening:
            self._deaf.setdefault(device_id, set()).add((name, kind))

    def _put(self, device_id: str, name: str, kind: str, payload: bytes) -> None:
        if len(self._messages) >= TWIN_UNTOLD_COUNT_MAX:
            self._messages.popleft()
            self._dropped += 1
        self._messages.append((device_id, name, kind, payload))
        self._has_work.set()

    def statistics(self) -> TellingStatistics:
        return TellingStatistics(
            waiting=len(self._messages) + len(self._new), told_total=self._told, dropped_total=self._dropped
        )
