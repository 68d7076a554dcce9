"""What the port has seen since its start."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from http import HTTPStatus

from appliance.identity.device_rate_limit import DeviceRateStatistics


@dataclass(frozen=True, slots=True, kw_only=True)
class DevicePortStatistics:
    """Numbers since start; `connections` is of now.

    Attributes:
        refused_by_code: Connections that were closed without a request being answered, by why.
        answers: By route and status.
        rate: Requests let in and refused for their rate.
    """

    connections: int
    accepted: int
    refused_by_code: dict[str, int]
    answers: dict[tuple[str, int], int]
    rate: DeviceRateStatistics


class Tally:
    """Counts; used from one event loop."""

    def __init__(self) -> None:
        self.connections = 0
        self.accepted = 0
        self._refused: Counter[str] = Counter()
        self._answers: Counter[tuple[str, int]] = Counter()

    def refused(self, code: str) -> None:
        """A connection was closed, and why."""
        self._refused[code] += 1

    def answered(self, route: str, status: HTTPStatus) -> None:
        """A request was answered."""
        self._answers[route, int(status)] += 1

    def statistics(self, rate: DeviceRateStatistics) -> DevicePortStatistics:
        return DevicePortStatistics(
            connections=self.connections,
            accepted=self.accepted,
            refused_by_code=dict(self._refused),
            answers=dict(self._answers),
            rate=rate,
        )
