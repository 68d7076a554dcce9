"""The loop of a load run: ramp up, warm up, measure, drain. One thread, one epoll set, no framework."""

from __future__ import annotations

import gc
import select
import time
from collections.abc import Callable

from device_fw_sim import limits
from device_fw_sim.errors import LoadFailed
from device_fw_sim.load import wire
from device_fw_sim.load.connection import WRITE, Stage
from device_fw_sim.load.cpu_time import cpu_time_s
from device_fw_sim.load.crew import Crew
from device_fw_sim.load.options import LoadOptions
from device_fw_sim.load.pacer import Pacer, send_backlog
from device_fw_sim.load.publisher import Publisher
from device_fw_sim.load.ramp import PollSet, connect_all, raise_file_limit
from device_fw_sim.load.report import LoadReport
from device_fw_sim.load.summary import Measurements, summarize

_PACE_S = 0.002
"""Grain of an open loop: at 100,000 msg/s 200 messages fall due in it."""


def run_load(options: LoadOptions, *, should_stop: Callable[[], bool] = lambda: False) -> LoadReport:
    """Connect, publish for the given time, wait for the last acknowledgement and delivery, and report. Blocks.

    Args:
        options: What to do.
        should_stop: Asked about every 10 ms; True ends the run early, with its drain.
    Returns:
        The report; `ok` is False only with `tolerate_loss`.
    Raises:
        OptionsError: The file limit is too low for so many connections, or the rings too large.
        SimError: The broker can't be reached, or refuses.
        LoadFailed: An acknowledgement is missing, wrong or refused; with QoS 1 or 2 the same for a delivery.
    """
    raise_file_limit(options.connections + options.subscribers)
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
        self._found = Measurements()
        self._crew = Crew(options, self._found.latencies)
        self._publishers = self._crew.publishers
        self._tally = self._crew.tally
        self._poll_set = PollSet()
        self._total = 0
        self._begun_at = 0.0
        self._is_lost = False
        """A connection was lost since all were up: without `tolerate_loss` the run has failed already."""

    def connect_all(self) -> None:
        """Bring everybody up, subscribers first; errors as `ramp.connect_all`."""
        context, found = self._options.tls_context(), self._found
        for group in (self._crew.subscribers, self._publishers):
            found.connect_s += connect_all(
                group, self._poll_set, self._options, context, found.connect_latencies
            )

    # --- Working ---------------------------------------------------------------------------------------

    def work(self) -> None:
        """Keep the windows full, or keep to the rate, for warm-up and measured time."""
        options, found = self._options, self._found
        begin = time.perf_counter()
        measure_from, end = begin + options.warm_up_s, begin + options.warm_up_s + options.duration_s
        pacer = (
            None
            if options.rate is None
            else Pacer(self._publishers, options.rate, options.burst, options.messages_max)
        )
        if pacer is None:
            for publisher in self._publishers:
                self._refill(publisher)
                self._poll_set.update(publisher)
        measured_at, total_then, delivered_then = begin, 0, 0
        cpu_then, watched_then = time.process_time(), self._watched_s()
        second_at, second_total, measuring = begin, 0, False
        ping_at = begin
        while (now := time.perf_counter()) < end:
            if not measuring and now >= measure_from:
                measuring = True
                measured_at, total_then, delivered_then = now, self._total, self._tally.total
                cpu_then, watched_then = time.process_time(), self._watched_s()
                found.begin_deliveries(self._tally)
                second_at, second_total = now, self._total
            if measuring and now >= second_at + 1:
                found.per_second.append(self._total - second_total)
                second_at, second_total = second_at + 1, self._total
            if options.keep_alive_s and now >= ping_at:
                ping_at = now + options.keep_alive_s / 4
                self._ping_quiet()
            if pacer is not None:
                for publisher in pacer.due():
                    self._poll_set.update(publisher)
            self._turn(_PACE_S if pacer is not None else 0.01, refill=pacer is None)
            if self._should_stop() or self._finished() or not self._poll_set.interest:
                break
            if self._is_lost and not options.tolerate_loss:
                break
        self._begun_at = begin
        found.measured_s = found.delivered_s = max(time.perf_counter() - measured_at, 1e-9)
        found.measured = self._total - total_then
        found.measured_delivered = self._tally.total - delivered_then
        found.end_deliveries(self._tally)
        found.cpu_ratio = (time.process_time() - cpu_then) / found.measured_s
        found.watched_cpu_ratio = (self._watched_s() - watched_then) / found.measured_s

    def _turn(self, timeout_s: float, *, refill: bool) -> None:
        by_fd = self._poll_set.by_fd
        interest = self._poll_set.interest
        tally = self._tally
        for fd, event in self._poll_set.poll(timeout_s):
            connection = by_fd[fd]
            if event & select.EPOLLOUT:
                connection.flush()
            if event & ~select.EPOLLOUT:
                self._total += connection.on_readable()
            if isinstance(connection, Publisher):
                self._send(connection, refill=refill)
            if connection.stage is Stage.LOST or interest[fd] != connection.interest:
                self._poll_set.update(connection)
                self._is_lost = self._is_lost or connection.stage is Stage.LOST
        if tally.waited_for:
            # Only now: one send for all that this turn's deliveries make room for.
            for index in tally.waited_for:
                publisher = self._publishers[index]
                self._send(publisher, refill=refill)
                self._poll_set.update(publisher)
            tally.waited_for.clear()
            if len(tally.ages_ns) >= limits.AGE_COUNT_MAX:
                self._found.fold(tally)

    def _send(self, publisher: Publisher, *, refill: bool) -> None:
        if refill:
            self._refill(publisher)
        elif publisher.backlog:
            send_backlog(publisher)

    def _refill(self, publisher: Publisher) -> None:
        count = publisher.refill()
        if count and not publisher.qos:
            self._total += count
            if publisher.waits_for_room:
                # Nothing comes back: the next call follows when the socket has room again.
                publisher.interest = WRITE

    def _watched_s(self) -> float:
        pid = self._options.watched_pid
        return 0.0 if pid is None else cpu_time_s(pid)

    def _finished(self) -> bool:
        if self._options.messages_max is None:
            return False
        return self._total >= self._options.messages_max // len(self._publishers) * len(self._publishers)

    def _ping_quiet(self) -> None:
        for connection in (*self._publishers, *self._crew.subscribers):
            if connection.stage is Stage.RUNNING and connection.is_quiet:
                connection.write(wire.PINGREQ)
                self._poll_set.update(connection)

    # --- The end ---------------------------------------------------------------------------------------

    def drain(self) -> None:
        """Wait until every message is acknowledged (QoS 0: a PINGREQ behind them answered), then until all are delivered."""
        deadline = time.perf_counter() + self._options.drain_s
        pinged: dict[int, int] = {}
        while time.perf_counter() < deadline and self._poll_set.interest:
            waiting = 0
            for publisher in self._publishers:
                if publisher.stage is Stage.LOST:
                    continue
                acks = publisher.acks
                if self._options.qos:
                    waiting += acks.acknowledged < acks.sent
                    continue
                if publisher.index not in pinged and publisher.room_in_socket:
                    pinged[publisher.index] = acks.ping_responses
                    publisher.write(wire.PINGREQ)
                if publisher.index in pinged and acks.ping_responses > pinged[publisher.index]:
                    acks.acknowledged = acks.sent
                else:
                    waiting += 1
                self._poll_set.update(publisher)
            if not waiting:
                if not self._options.qos:
                    # Sent is not taken: what counts is the time until the broker has answered behind the last message.
                    self._found.measured_s = time.perf_counter() - self._begun_at
                    self._found.measured = self._total
                break
            self._turn(0.01, refill=False)
        while self._crew.is_owed() and time.perf_counter() < deadline and self._poll_set.interest:
            self._turn(0.01, refill=False)

    def report(self) -> LoadReport:
        """Sum everybody up."""
        return summarize(self._options, self._crew, self._found)

    def close(self) -> None:
        """Close every socket."""
        self._poll_set.close()
