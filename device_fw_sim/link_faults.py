"""Planted faults between the update agent and its connection: requests that leave late, twice or again. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from device_fw_sim.acts import Request
from device_fw_sim.faults import FaultKind
from device_fw_sim.limits import HELD_COUNT_MAX, LATE_MS_MAX, SLOW_LINK_MS_MAX
from device_fw_sim.randomness import Randomness


class LinkFaults:
    """Requests of one device on their way out.

    Args:
        source: Randomness, for how late is late.
    """

    def __init__(self, source: Randomness) -> None:
        self._source = source
        self._held: list[tuple[int, Request]] = []
        self._last_report: Request | None = None

    def next_deadline_ms(self) -> int | None:
        """Monotonic ms when something that was held back leaves."""
        return min((at for at, _ in self._held), default=None)

    def passed(self, requests: Iterable[Request], active: frozenset[FaultKind], now_ms: int) -> list[Request]:
        """What leaves now.

        Args:
            requests: Those that the device makes now, in order.
            active: Faults that hold.
            now_ms: Monotonic.
        """
        leaving: list[Request] = []
        for request in requests:
            is_report = request.topic.startswith("jobs/") and request.topic.endswith("/update")
            again = self._again(request, active) if is_report else []
            delay_ms = self._delay_ms(active, is_report=is_report)
            for each in (request, *again):
                if delay_ms:
                    self._held.append((now_ms + delay_ms, each))
                else:
                    leaving.append(each)
        late = sorted((each for each in self._held if each[0] <= now_ms), key=lambda each: each[0])
        # Beyond the bound the oldest leaves at once.
        over = self._held[: max(0, len(self._held) - HELD_COUNT_MAX)]
        gone = late if not over else [*late, *(each for each in over if each not in late)]
        self._held = [each for each in self._held if each not in gone]
        return [*(each for _, each in gone), *leaving]

    def connection_lost(self) -> None:
        """What was held back is lost with the connection, but reports: those come when nobody expects them any more."""
        self._held = [each for each in self._held if each[1].topic.endswith("/update")]

    def _again(self, request: Request, active: frozenset[FaultKind]) -> list[Request]:
        before, self._last_report = self._last_report, request
        again = [request] if FaultKind.REPORT_TWICE in active else []
        if FaultKind.REPORT_OUT_OF_ORDER in active and before is not None:
            again.append(before)
        return again

    def _delay_ms(self, active: frozenset[FaultKind], *, is_report: bool) -> int:
        delay_ms = self._source.randint(1, SLOW_LINK_MS_MAX) if FaultKind.SLOW_LINK in active else 0
        if is_report and FaultKind.REPORT_LATE in active:
            delay_ms += self._source.randint(1, LATE_MS_MAX)
        return delay_ms
