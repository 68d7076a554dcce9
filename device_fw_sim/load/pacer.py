"""Open loop: messages fall due by the clock, not by what comes back."""

from __future__ import annotations

import time

from device_fw_sim.load.connection import Stage
from device_fw_sim.load.publisher import Publisher


class Pacer:
    """Open loop: message k falls due at its time whatever the broker does, and latency counts from then."""

    def __init__(
        self, connections: list[Publisher], rate: float, burst: int, messages_max: int | None
    ) -> None:
        self._connections = connections
        self._burst = burst
        self._interval_ns = burst / rate * 1e9
        self._units_max = None if messages_max is None else messages_max // burst
        self._started_ns = time.perf_counter_ns()
        self._done = 0

    def due(self) -> list[Publisher]:
        """Give what fell due to its connections; the connections touched."""
        # The first is due at the start, the next an interval later.
        units = int((time.perf_counter_ns() - self._started_ns) / self._interval_ns) + 1
        if self._units_max is not None:
            units = min(units, self._units_max)
        touched = []
        for unit in range(self._done, units):
            connection = self._connections[unit % len(self._connections)]
            if connection.backlog == 0:
                connection.due_ns = self._started_ns + int(unit * self._interval_ns)
            connection.backlog += self._burst
            connection.due_step_ns = self._interval_ns * len(self._connections) / self._burst
            send_backlog(connection)
            touched.append(connection)
        self._done = units
        return touched


def send_backlog(connection: Publisher) -> None:
    """Send what is due and fits the window."""
    count = min(connection.room(), connection.backlog)
    if count and connection.stage is Stage.RUNNING:
        connection.publish(count)
        connection.backlog -= count
        connection.due_ns += int(count * connection.due_step_ns)
