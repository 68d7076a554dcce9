"""A connection that subscribes: it hands what comes to its deliveries, and sends what they answer."""

from __future__ import annotations

import time

from device_fw_sim.load import wire
from device_fw_sim.load.connection import LoadConnection, Stage
from device_fw_sim.load.deliveries import Deliveries


class Subscriber(LoadConnection):
    """See the module's docstring.

    Args:
        topic_filter: Its only subscription.
        qos: Asked for; another one granted is an error.
    """

    __slots__ = ("_qos", "_topic_filter", "deliveries")

    def __init__(
        self,
        index: int,
        *,
        topic_filter: str,
        qos: int,
        version: int,
        greeting: bytes,
        deliveries: Deliveries,
    ) -> None:
        super().__init__(index, name="subscriber", version=version, greeting=greeting)
        self.deliveries = deliveries
        self._topic_filter = topic_filter
        self._qos = qos

    def _accepted(self) -> None:
        self.stage = Stage.AWAITING_SUBACK
        self.write(wire.subscribe(self._topic_filter, self._qos, self._version))

    def _read_suback(self) -> None:
        self.on_readable()
        code = self.deliveries.subscribed_code
        if code is None or self.stage is Stage.LOST:
            return
        if code != self._qos:
            self.lose(f"SUBACK with code 0x{code:02x} for {self._topic_filter} with QoS {self._qos}")
            return
        self.stage = Stage.RUNNING

    def on_readable(self) -> int:
        """Read, account for deliveries and answer them; no acknowledgement is among them."""
        data = self.receive()
        if data:
            deliveries = self.deliveries
            answers = deliveries.receive_bytes(data, time.perf_counter_ns())
            if deliveries.problem is not None:
                self.lose(deliveries.problem)
            elif answers:
                self.write(answers)
        return 0
