"""The descriptors of a run, and the ramp that connects them all."""

from __future__ import annotations

import itertools
import resource
import select
import socket
import ssl
import time
from collections.abc import Sequence

from device_fw_sim import limits
from device_fw_sim.errors import OptionsError, SimError
from device_fw_sim.load.connection import READ, WRITE, LoadConnection, Stage
from device_fw_sim.load.histogram import LatencyHistogram
from device_fw_sim.load.options import LoadOptions

_EVENT_COUNT_MAX = 1_024
_CONNECT_DEADLINE_S = 60.0


class PollSet:
    """An epoll set that knows which connection a descriptor is, and what each waits for."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self.by_fd: dict[int, LoadConnection] = {}
        self.interest: dict[int, int] = {}

    def add(self, connection: LoadConnection) -> None:
        """Watch a connection that has begun to connect."""
        self.by_fd[connection.fd] = connection
        self.interest[connection.fd] = WRITE
        self._epoll.register(connection.fd, WRITE)

    def update(self, connection: LoadConnection) -> None:
        """Make the kernel's idea of a connection's interest ours; a lost one is no longer watched."""
        if connection.stage is Stage.LOST:
            if self.interest.pop(connection.fd, None) is not None:
                self._epoll.unregister(connection.fd)
        elif self.interest[connection.fd] != connection.interest:
            self.interest[connection.fd] = connection.interest
            self._epoll.modify(connection.fd, connection.interest)

    def poll(self, timeout_s: float) -> list[tuple[int, int]]:
        """(descriptor, events) that are ready, up to 1,024 of them."""
        return self._epoll.poll(timeout_s, _EVENT_COUNT_MAX)

    def close(self) -> None:
        """Close every socket."""
        for connection in self.by_fd.values():
            connection.close()
        self._epoll.close()


def connect_all(
    connections: Sequence[LoadConnection],
    poll_set: PollSet,
    options: LoadOptions,
    context: ssl.SSLContext | None,
    latencies: LatencyHistogram,
) -> float:
    """Bring every connection to RUNNING, at most 128 on their way at once.

    Args:
        latencies: Where the time of each goes, from connect() to RUNNING.
    Returns:
        Seconds that it took.
    Raises:
        SimError: One was refused or lost, or nothing moved for a minute.
    """
    family, address = _resolve(options.host, options.port)
    started = time.perf_counter()
    deadline = started + _CONNECT_DEADLINE_S
    waiting = iter(connections)
    opened = running = 0
    while running < len(connections):
        allowed = len(connections)
        if options.connects_per_s is not None:
            allowed = min(allowed, int((time.perf_counter() - started) * options.connects_per_s) + 1)
        count = max(min(allowed - opened, limits.CONNECTING_COUNT_MAX - (opened - running)), 0)
        for connection in itertools.islice(waiting, count):
            connection.open(address, family)
            opened += 1
            _require(connection)
            poll_set.add(connection)
        for fd, _event in poll_set.poll(0.01):
            connection = poll_set.by_fd[fd]
            if _advanced(connection, context, options.host):
                running += 1
                latencies.add_ns(time.perf_counter_ns() - connection.opened_ns)
                deadline = time.perf_counter() + _CONNECT_DEADLINE_S
            poll_set.update(connection)
        if time.perf_counter() > deadline:
            raise SimError(
                f"Only {running} of {len(connections)} connections were served.",
                hint="Look at the broker's limits on connections and connects per second.",
            )
    return time.perf_counter() - started


def _advanced(connection: LoadConnection, context: ssl.SSLContext | None, host: str) -> bool:
    if connection.stage is Stage.RUNNING:
        return False
    connection.interest = READ
    connection.advance(context, host)
    _require(connection)
    return connection.running


def _require(connection: LoadConnection) -> None:
    if connection.stage is Stage.LOST:
        raise SimError(
            f"The load run could not start: {connection.problem}.",
            hint="Check host, port, credentials and the broker's limits.",
        )


def _resolve(host: str, port: int) -> tuple[socket.AddressFamily, tuple[str, int]]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except socket.gaierror as error:
        raise SimError(f"{host} can't be resolved: {error}.", hint="Check the broker's host name.") from error
    return found[0], (str(found[4][0]), port)


def raise_file_limit(connection_count: int) -> None:
    """Raise this process's soft limit of open files as far as it goes.

    Raises:
        OptionsError: The hard limit is too low.
    """
    needed = connection_count + limits.DESCRIPTOR_RESERVE_COUNT
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < needed:
        if hard != resource.RLIM_INFINITY and hard < needed:
            raise OptionsError(
                f"{connection_count} connections need {needed} open files, the limit is {hard}.",
                hint="Raise it with `ulimit -Hn`, or as LimitNOFILE of the unit.",
            )
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed if hard == resource.RLIM_INFINITY else hard, hard))
