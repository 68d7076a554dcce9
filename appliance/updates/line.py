"""Who fetches now, and who waits in line: so many devices at once as a budget serves well, the others behind them, each in its place.

Theory of operation. A thousand devices that all get a little of a budget end all at its end, hold what is on its way to all of them at once, and whoever is
slow among them asks again for what it has not seen yet. So a device that has a place keeps it until its download is over (`leave`), its
connection is (`away`), or it has asked for nothing for LINE_IDLE_MS while others wait. Whoever has none waits, in the order of numbers that are given at
the first request. A number is kept for LINE_KEPT_MS when a request ends without a place, and when a place is lost: asked again, a device is where it
was, and one that has begun comes before those that have not.

Must not know: bytes, requests.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import trio

from appliance.core.clock import Clock
from appliance.core.errors import Unavailable
from appliance.core.limits_delivery import (
    LINE_IDLE_MS,
    LINE_KEPT_MS,
    LINE_LOOK_MS,
    LINE_NUMBER_COUNT_MAX,
    LINE_PLACE_BYTES_S,
    LINE_PLACE_COUNT_MAX,
    LINE_PLACE_COUNT_MIN,
    LINE_WAITING_COUNT_MAX,
)

_MS = 1000


def place_count(rate_bytes_s: int) -> int:
    """How many are served at once by so many bytes a second; 0 is no bound."""
    if not rate_bytes_s:
        return LINE_PLACE_COUNT_MAX
    return max(LINE_PLACE_COUNT_MIN, min(LINE_PLACE_COUNT_MAX, rate_bytes_s // LINE_PLACE_BYTES_S))


@dataclass(slots=True)
class _Place:
    """Of a device that is served.

    Attributes:
        number: Under which it has waited for it.
        busy_count: Its requests that hold it now.
        used_mono_ms: When one ended last.
    """

    number: int
    busy_count: int
    used_mono_ms: int


class Line:
    """See the module's docstring. Used from one event loop.

    Args:
        rate_bytes_s: Of the budget that it is for; it may be changed while it is used.
    """

    def __init__(self, clock: Clock, rate_bytes_s: int = 0) -> None:
        self.rate_bytes_s = rate_bytes_s
        self._clock = clock
        self._places: OrderedDict[str, _Place] = OrderedDict()
        """The one unused for longest first, among those that are not busy."""
        self._numbers: OrderedDict[str, tuple[int, int]] = OrderedDict()
        """Number and when the device was here last, of who has none; the one seen longest ago first."""
        self._last_number = 0
        self._waiting: list[tuple[int, str]] = []
        self._called: dict[str, trio.Event] = {}
        """Of those that wait at this moment; who has gone may still be in `_waiting`."""

    @property
    def served_count(self) -> int:
        """Devices that have a place."""
        return len(self._places)

    @property
    def waiting_count(self) -> int:
        """Devices that wait for one now."""
        return len(self._called)

    @asynccontextmanager
    async def place(self, device_id: str) -> AsyncIterator[None]:
        """Wait for a place, and hold it; afterwards the device keeps it for its next request.

        One request of a device at a time.

        Raises:
            Unavailable: `delivery_full`: more wait than there is room for. Its number is kept.
        """
        await self._enter(device_id)
        place = self._places[device_id]
        place.busy_count += 1
        try:
            yield
        finally:
            place.busy_count -= 1
            place.used_mono_ms = self._clock.mono_ms()
            if device_id in self._places:
                self._places.move_to_end(device_id)

    def leave(self, device_id: str) -> None:
        """Its download is over: the next one's turn."""
        place = self._places.get(device_id)
        if place is not None and not place.busy_count:
            del self._places[device_id]
            self._call()

    def away(self, device_id: str) -> None:
        """It has no connection any more: its place is for others, and the next one for it."""
        place = self._places.get(device_id)
        if place is not None and not place.busy_count:
            self._take_away(device_id, place)
            self._call()

    async def _enter(self, device_id: str) -> None:
        assert device_id not in self._called
        if device_id in self._places:
            return
        number = self._number_of(device_id)
        self._forget_numbers()
        if len(self._called) >= LINE_WAITING_COUNT_MAX:
            raise Unavailable(
                "Very many devices fetch their update at this moment.",
                hint="Ask again; the place in line is kept.",
                code="delivery_full",
            )
        called = self._called[device_id] = trio.Event()
        heapq.heappush(self._waiting, (number, device_id))
        if len(self._waiting) > 2 * LINE_WAITING_COUNT_MAX:
            # Who has come and gone, again and again, without getting to the front.
            self._waiting = [(self._numbers[each][0], each) for each in self._called if each in self._numbers]
            heapq.heapify(self._waiting)
        try:
            self._call()
            while not called.is_set():
                with trio.move_on_after(self._free_in_ms() / _MS):
                    await called.wait()
                self._call()
        finally:
            self._called.pop(device_id, None)

    def _call(self) -> None:
        """Give free places to those who wait, the longest first."""
        while self._waiting:
            number, device_id = self._waiting[0]
            called = self._called.get(device_id)
            if called is None or called.is_set() or self._numbers.get(device_id, (0, 0))[0] != number:
                heapq.heappop(self._waiting)
                continue
            if not self._has_free():
                return
            heapq.heappop(self._waiting)
            del self._numbers[device_id]
            self._places[device_id] = _Place(number, 0, self._clock.mono_ms())
            called.set()

    def _has_free(self) -> bool:
        """Whether there is a free place; one that is not used is taken away."""
        if len(self._places) < place_count(self.rate_bytes_s):
            return True
        idle_since_ms = self._clock.mono_ms() - LINE_IDLE_MS
        for device_id, place in self._places.items():
            if place.busy_count:
                continue
            if place.used_mono_ms > idle_since_ms:
                return False
            self._take_away(device_id, place)
            return True
        return False

    def _free_in_ms(self) -> int:
        """When the next place may become free by time alone; those that are in use are looked at again."""
        now_ms = self._clock.mono_ms()
        idle_at_ms = (
            each.used_mono_ms + LINE_IDLE_MS for each in self._places.values() if not each.busy_count
        )
        return max(next(idle_at_ms, now_ms + LINE_IDLE_MS) - now_ms, LINE_LOOK_MS)

    def _take_away(self, device_id: str, place: _Place) -> None:
        del self._places[device_id]
        self._numbers[device_id] = (place.number, self._clock.mono_ms())

    def _number_of(self, device_id: str) -> int:
        """The device's number: the one that it has, or the next one."""
        now_ms = self._clock.mono_ms()
        number, _ = self._numbers.get(device_id, (0, 0))
        if not number:
            number = self._last_number = self._last_number + 1
        self._numbers[device_id] = (number, now_ms)
        self._numbers.move_to_end(device_id)
        return number

    def _forget_numbers(self) -> None:
        """Those of devices that did not come again, the one that was here longest ago first."""
        forgotten_ms = self._clock.mono_ms() - LINE_KEPT_MS
        while self._numbers:
            first, (_, seen_mono_ms) = next(iter(self._numbers.items()))
            is_kept = seen_mono_ms > forgotten_ms and len(self._numbers) <= LINE_NUMBER_COUNT_MAX
            if is_kept or first in self._called:
                break
            del self._numbers[first]
