"""The loop of a load run: ramp up, warm up, measure, drain. One thread, one epoll set, no framework."""

from __future__ import annotations

import gc
import select
import time
from collections.abc import Callable
from functools import cache, partial

from device_fw_sim import limits
from device_fw_sim.errors import LoadFailed, OptionsError
from device_fw_sim.load import payloads, wire
from device_fw_sim.load.connection import WRITE, LoadConnection, Stage
from device_fw_sim.load.histogram import LatencyHistogram
from device_fw_sim.load.options import LoadOptions
from device_fw_sim.load.pacer import Pacer, send_backlog
from device_fw_sim.load.ramp import PollSet, connect_all, raise_file_limit
from device_fw_sim.load.report import LoadReport

_FAILURE_COUNT_MAX = 10
_UNBOUNDED = 1 << 62
_PACE_S = 0.002
"""Grain of an open loop: at 100,000 msg/s 200 messages fall due in it."""


def run_load(options: LoadOptions, *, should_stop: Callable[[], bool] = lambda: False) -> LoadReport:
    """Connect, publish for the given time, wait for the last acknowledgement and report. Blocks.

    Args:
        options: What to do.
        should_stop: Asked about every 10 ms; True ends the run early, with its drain.
    Returns:
        The report; `ok` is False only with `tolerate_loss`.
    Raises:
        OptionsError: The file limit is too low for so many connections, or the rings too large.
        SimError: The broker can't be reached, or refuses.
        LoadFailed: An acknowledgement is missing, wrong or refused.
    """
    raise_file_limit(options.connections)
    was_enabled = gc.isenabled()
    gc.disable()  # No cycles are made here, and a full collection over 10,000 connections is a pause that gets measured.
    run = _Run(options, should_stop)
    try:
        run.connect_all()
        run.work()
        run.drain()
        report = run.report()
    finally:
        run.close()
        if was_enabled:
            gc.enable()
    if report.failures and not options.tolerate_loss:
        raise LoadFailed(report)
    return report


class _Run:
    def __init__(self, options: LoadOptions, should_stop: Callable[[], bool]) -> None:
        self._options = options
        self._should_stop = should_stop
        self._latencies = LatencyHistogram()
        self._poll_set = PollSet()
        self._connections = self._make_connections()
        self._total = 0
        self._connect_s = 0.0
        self._begun_at = 0.0
        self._measured_s = 0.0
        self._measured = 0
        self._cpu_ratio = 0.0
        self._per_second: list[int] = []

    def _make_connections(self) -> list[LoadConnection]:
        options = self._options
        telemetry = options.payload == "telemetry"
        size = 160 if telemetry else options.payload_bytes
        if options.connections * options.ring_count * (size + 40) * 2 > limits.RING_BYTES_MAX:
            raise OptionsError(
                "The messages of this run take more than 1 GiB of memory.",
                hint="Choose a smaller window or payload.",
            )
        rings = cache(partial(wire.ack_ring, options.ring_count))
        connections = []
        boot = f"load{time.time_ns() // 1_000_000:x}"
        for index in range(options.connections):
            if telemetry:
                bodies = payloads.telemetry_payloads(options.ring_count, boot, options.seed + index)
            else:
                bodies = payloads.json_payloads(options.ring_count, size, options.seed + index)
            ring, packet_bytes = wire.publish_ring(
                options.topic_of(index), bodies, options.qos, options.mqtt_version
            )
            credential = options.credential(index)
            connections.append(
                LoadConnection(
                    index,
                    ring=ring,
                    packet_bytes=packet_bytes,
                    stamped=telemetry,
                    window=options.window,
                    sent_max=_UNBOUNDED
                    if options.messages_max is None
                    else options.messages_max // options.connections,
                    qos=options.qos,
                    version=options.mqtt_version,
                    greeting=wire.connect(
                        options.client_id(index),
                        credential.username if credential else None,
                        credential.password if credential else None,
                        options.mqtt_version,
                        options.keep_alive_s,
                    ),
                    rings=rings,
                    latencies=self._latencies,
                )
            )
        self._packet_bytes = packet_bytes
        return connections

    def connect_all(self) -> None:
        """Bring every connection up; errors as `ramp.connect_all`."""
        context = self._options.tls_context()
        self._connect_s = connect_all(self._connections, self._poll_set, self._options, context)

    # --- Working ---------------------------------------------------------------------------------------

    def work(self) -> None:
        """Keep the windows full, or keep to the rate, for warm-up and measured time."""
        options = self._options
        begin = time.perf_counter()
        measure_from, end = begin + options.warm_up_s, begin + options.warm_up_s + options.duration_s
        pacer = (
            None
            if options.rate is None
            else Pacer(self._connections, options.rate, options.burst, options.messages_max)
        )
        if pacer is None:
            for connection in self._connections:
                self._refill(connection)
                self._poll_set.update(connection)
        measured_at, total_then, cpu_then = begin, 0, time.process_time()
        second_at, second_total, measuring = begin, 0, False
        ping_at = begin
        while (now := time.perf_counter()) < end:
            if not measuring and now >= measure_from:
                measuring = True
                measured_at, total_then, cpu_then = now, self._total, time.process_time()
                second_at, second_total = now, self._total
            if measuring and now >= second_at + 1:
                self._per_second.append(self._total - second_total)
                second_at, second_total = second_at + 1, self._total
            if options.keep_alive_s and now >= ping_at:
                ping_at = now + options.keep_alive_s / 4
                self._ping_quiet(now)
            if pacer is not None:
                for connection in pacer.due():
                    self._poll_set.update(connection)
            self._turn(_PACE_S if pacer is not None else 0.01, refill=pacer is None)
            if self._should_stop() or self._finished() or not self._poll_set.interest:
                break
        self._begun_at = begin
        self._measured_s = max(time.perf_counter() - measured_at, 1e-9)
        self._measured = self._total - total_then
        self._cpu_ratio = (time.process_time() - cpu_then) / self._measured_s

    def _turn(self, timeout_s: float, *, refill: bool) -> None:
        by_fd = self._poll_set.by_fd
        interest = self._poll_set.interest
        for fd, event in self._poll_set.poll(timeout_s):
            connection = by_fd[fd]
            if event & select.EPOLLOUT:
                connection.flush()
            if event & ~select.EPOLLOUT:
                self._total += connection.on_readable()
            if refill:
                if connection.qos:
                    connection.refill()
                else:
                    self._refill(connection)
            elif connection.backlog:
                send_backlog(connection)
            if connection.stage is Stage.LOST or interest[fd] != connection.interest:
                self._poll_set.update(connection)

    def _refill(self, connection: LoadConnection) -> None:
        count = connection.refill()
        if count and not connection.qos:
            # Nothing comes back: the next call follows when the socket has room again.
            self._total += count
            connection.interest = WRITE

    def _finished(self) -> bool:
        if self._options.messages_max is None:
            return False
        return self._total >= self._options.messages_max // len(self._connections) * len(self._connections)

    def _ping_quiet(self, now: float) -> None:
        for connection in self._connections:
            if connection.stage is Stage.RUNNING and connection.room() == connection.window:
                connection.write(wire.PINGREQ)
                self._poll_set.update(connection)

    # --- The end ---------------------------------------------------------------------------------------

    def drain(self) -> None:
        """Wait until every message is acknowledged; with QoS 0, until a PINGREQ behind them is answered."""
        deadline = time.perf_counter() + self._options.drain_s
        pinged: dict[int, int] = {}
        while time.perf_counter() < deadline and self._poll_set.interest:
            waiting = 0
            for fd in list(self._poll_set.interest):
                connection = self._poll_set.by_fd[fd]
                if self._options.qos:
                    waiting += connection.acks.acknowledged < connection.acks.sent
                    continue
                if fd not in pinged and connection.room():
                    pinged[fd] = connection.acks.ping_responses
                    connection.write(wire.PINGREQ)
                if fd in pinged and connection.acks.ping_responses > pinged[fd]:
                    connection.acks.acknowledged = connection.acks.sent
                else:
                    waiting += 1
                self._poll_set.update(connection)
            if not waiting:
                if not self._options.qos:
                    # Sent is not taken: what counts is the time until the broker has answered behind the last message.
                    self._measured_s = time.perf_counter() - self._begun_at
                    self._measured = self._total
                return
            self._turn(0.01, refill=False)

    def report(self) -> LoadReport:
        """Sum the connections up."""
        options, latencies = self._options, self._latencies
        acks = [connection.acks for connection in self._connections]
        sent = sum(each.sent for each in acks)
        acknowledged = sum(each.acknowledged_total for each in acks)
        unexpected = sum(each.unexpected for each in acks)
        out_of_order = sum(each.out_of_order for each in acks)
        refused = sum(each.refused for each in acks)
        problems = [connection.problem for connection in self._connections if connection.problem]
        failures = problems[:_FAILURE_COUNT_MAX]
        for count, what in (
            (sent - acknowledged, "sent and not acknowledged"),
            (unexpected, "acknowledgements of nothing in flight"),
            (out_of_order, "acknowledgements out of order"),
            (refused, "messages refused by reason code"),
        ):
            if count:
                failures.append(f"{count} {what}")
        return LoadReport(
            connections=options.connections,
            window=min(connection.window for connection in self._connections),
            qos=options.qos,
            tls=options.tls,
            mqtt_version=options.mqtt_version,
            payload=options.payload,
            packet_bytes=self._packet_bytes,
            rate_wanted=options.rate,
            burst=options.burst,
            connect_s=round(self._connect_s, 3),
            measured_s=round(self._measured_s, 3),
            measured_acknowledged=self._measured,
            rate=round(self._measured / self._measured_s, 1),
            sent=sent,
            acknowledged=acknowledged,
            missing=sent - acknowledged,
            unexpected=unexpected,
            out_of_order=out_of_order,
            refused=refused,
            behind=sum(connection.backlog for connection in self._connections),
            connections_lost=len(problems),
            latency_sample_count=latencies.count,
            latency_p50_ms=latencies.percentile_ms(50),
            latency_p95_ms=latencies.percentile_ms(95),
            latency_p99_ms=latencies.percentile_ms(99),
            latency_max_ms=latencies.percentile_ms(100),
            generator_cpu_ratio=round(self._cpu_ratio, 3),
            acknowledged_by_connection=(
                tuple(each.acknowledged_total for each in acks) if options.tolerate_loss else ()
            ),
            per_second=tuple(self._per_second),
            failures=tuple(failures),
        )

    def close(self) -> None:
        """Close every socket."""
        self._poll_set.close()
