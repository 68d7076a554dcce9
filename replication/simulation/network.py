"""Links between bodies: latency, bandwidth, loss, cuts, repetition, disorder, and dialing again.

A link goes through the real queue of a link (replication/scheduling.py), so what goes first is what goes first there. What
goes into a link that is cut is lost, and its ends notice it after a while or at once, as TCP does; a link is dialed again
after longer and longer pauses. Messages are encoded and decoded by the real codec, so sizes and bounds are real too.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol

from replication.messages import Message, decode_message, encode_message
from replication.scheduling import LinkQueue, Priority

from .scheduler import Scheduler

NOTICE_MS: Final = (15_000, 45_000)
"""A cut that nobody says a word of is noticed by silence, after so long."""
REDIAL_MS_MAX: Final = 60_000
OVERHEAD_BYTES: Final = 60
"""TLS, WebSocket, TCP and IP of a message."""


@dataclass(slots=True)
class Quality:
    """What a way between two bodies is like.

    Args:
        latency_ms: One way.
        bytes_per_s: Each way; 0 is no limit.
        loss: Share of messages that are sent again after a pause, as TCP does; those behind wait.
        dropped, repeated, disordered: Share of messages that never come, come twice, or come later than those behind: no link
            does so, but the machines promise to bear it.
    """

    latency_ms: int = 5
    bytes_per_s: int = 0
    loss: float = 0.0
    dropped: float = 0.0
    repeated: float = 0.0
    disordered: float = 0.0


class End(Protocol):
    """A body, as its links see it."""

    name: str
    node_id: str

    def link_up(self, peer: str) -> None: ...

    def link_down(self, peer: str) -> None: ...

    def receive(self, peer: str, message: Message) -> None: ...

    def sent(self, peer: str, size_bytes: int) -> None: ...

    def admits(self, other: End) -> bool: ...

    @property
    def is_reachable(self) -> bool: ...


class Pipe:
    """One direction of a link.

    Args:
        passes: Whether what is sent now arrives.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        source: random.Random,
        sender: End,
        receiver: End,
        quality: Quality,
        passes: Callable[[], bool],
    ) -> None:
        self._scheduler = scheduler
        self._source = source
        self._sender = sender
        self._receiver = receiver
        self._quality = quality
        self._passes = passes
        self._queue: LinkQueue[tuple[bytes, int]] = LinkQueue(scheduler.now_ms)
        self._is_busy = False
        self._is_waiting = False
        self._last_arrival_ms = 0
        self._unreported_bytes = 0
        self.is_open = True
        self.bytes_total = 0

    def put(self, message: Message, priority: Priority, size_bytes: int) -> bool:
        """Have a message sent; False where there is no room for it."""
        data = encode_message(message)
        if not self._queue.put((data, size_bytes), len(data) + OVERHEAD_BYTES, priority):
            return False
        self._unreported_bytes += size_bytes
        self._pump()
        return True

    def close(self) -> None:
        """What is on its way or waits is lost."""
        self.is_open = False
        self._queue.clear()
        self._report(self._unreported_bytes)

    def _report(self, size_bytes: int) -> None:
        if size_bytes:
            self._unreported_bytes -= size_bytes
            self._sender.sent(self._receiver.node_id, size_bytes)

    def _report_open(self, size_bytes: int) -> None:
        if self.is_open:
            self._report(size_bytes)

    def _pump(self) -> None:
        while not self._is_busy and self.is_open:
            item = self._queue.take(self._scheduler.now_ms)
            if item is None:
                wait_ms = self._queue.wait_ms(self._scheduler.now_ms)
                if wait_ms is not None and not self._is_waiting:
                    self._is_waiting = True
                    self._scheduler.after(wait_ms, self._waited)
                return
            data, size_bytes = item
            wire_bytes = len(data) + OVERHEAD_BYTES
            self.bytes_total += wire_bytes
            if self._quality.bytes_per_s:
                self._is_busy = True
                took_ms = max(1, wire_bytes * 1000 // self._quality.bytes_per_s)
                self._scheduler.after(took_ms, partial(self._left, data, size_bytes))
                return
            self._leave(data, size_bytes)

    def _waited(self) -> None:
        self._is_waiting = False
        self._pump()

    def _left(self, data: bytes, size_bytes: int) -> None:
        self._is_busy = False
        if self.is_open:
            self._leave(data, size_bytes)
            self._pump()

    def _leave(self, data: bytes, size_bytes: int) -> None:
        if size_bytes:
            self._scheduler.after(0, lambda: self._report_open(size_bytes))
        quality, source = self._quality, self._source
        if not self._passes() or (quality.dropped and source.random() < quality.dropped):
            return
        delay_ms = quality.latency_ms + source.randrange(quality.latency_ms // 4 + 1)
        again_ms = 200
        while quality.loss and source.random() < quality.loss and again_ms < 10_000:
            delay_ms += again_ms
            again_ms *= 2
        at_ms = max(self._last_arrival_ms, self._scheduler.now_ms + delay_ms)
        if quality.disordered and source.random() < quality.disordered:
            self._scheduler.at(at_ms + source.randrange(2_000), lambda: self._arrive(data))
            return
        self._last_arrival_ms = at_ms
        self._scheduler.at(at_ms, lambda: self._arrive(data))
        if quality.repeated and source.random() < quality.repeated:
            self._scheduler.at(at_ms + source.randrange(3_000), lambda: self._arrive(data))

    def _arrive(self, data: bytes) -> None:
        if self.is_open and self._receiver.is_reachable:
            self._receiver.receive(self._sender.node_id, decode_message(data))


class Way:
    """Between two bodies there is a way, whether or not a link stands on it."""

    def __init__(self, one: End, other: End, quality: Quality) -> None:
        self.ends = (one, other)
        self.quality = quality
        self.pipes: dict[str, Pipe] = {}
        self.cut_from: set[str] = set()
        self.attempt = 0
        self.generation = 0
        self.dial_number = 0

    @property
    def is_up(self) -> bool:
        return bool(self.pipes)

    def other(self, name: str) -> End:
        return self.ends[1] if self.ends[0].name == name else self.ends[0]


class Network:
    """All ways, by the names of the two bodies."""

    def __init__(self, scheduler: Scheduler, source: random.Random) -> None:
        self._scheduler = scheduler
        self._source = source
        self._ways: dict[tuple[str, str], Way] = {}
        self._of: dict[str, dict[str, Way]] = {}
        self._to: dict[tuple[str, str], list[Way]] = {}
        self.bytes_before = 0

    def join(self, one: End, other: End, quality: Quality) -> None:
        """There is a way between two bodies; it is dialed."""
        way = Way(one, other, quality)
        self._ways[_key(one.name, other.name)] = way
        self._of.setdefault(one.name, {})[other.name] = way
        self._of.setdefault(other.name, {})[one.name] = way
        self._to.setdefault((one.name, other.node_id), []).append(way)
        self._to.setdefault((other.name, one.node_id), []).append(way)
        self._dial_after(way, self._source.randrange(500))

    def ways(self) -> list[Way]:
        """All of them, in the order in which they were made."""
        return list(self._ways.values())

    def way(self, one: str, other: str) -> Way:
        """The way between two bodies."""
        return self._ways[_key(one, other)]

    def send(self, sender: End, peer: str, message: Message, priority: Priority, size_bytes: int) -> None:
        """A body sends to whichever body of a node it has a link to."""
        for way in self._to.get((sender.name, peer), ()):
            pipe = way.pipes.get(sender.name)
            if pipe is not None:
                if pipe.put(message, priority, size_bytes):
                    return
                break
        if size_bytes:
            self._scheduler.after(0, lambda: sender.sent(peer, size_bytes))

    def cut(self, one: str, other: str, *, is_silent: bool, is_one_way: bool = False) -> None:
        """Nothing gets through from one body to another, nor back if not told otherwise.

        Args:
            is_silent: The ends are not told, and find out by silence.
        """
        way = self.way(one, other)
        way.cut_from.add(one)
        if not is_one_way:
            way.cut_from.add(other)
        if not way.is_up:
            return
        generation = way.generation
        notice_ms = self._source.randrange(*NOTICE_MS) if is_silent else 1

        def notice() -> None:
            if way.generation == generation and way.cut_from:
                self.drop(way)

        self._scheduler.after(notice_ms, notice)

    def heal(self, one: str, other: str) -> None:
        """Everything gets through again; the next time it is dialed."""
        self.way(one, other).cut_from.clear()

    def drop(self, way: Way) -> None:
        """A link ends, and both ends notice it; it is dialed again."""
        if not way.is_up:
            return
        pipes, way.pipes = way.pipes, {}
        way.generation += 1
        for end in way.ends:
            pipe = pipes[end.name]
            self.bytes_before += pipe.bytes_total
            pipe.close()
        for end in way.ends:
            if end.is_reachable:
                end.link_down(way.other(end.name).node_id)
        self._dial_after(way, self._source.randrange(1_000))

    def gone(self, name: str) -> None:
        """A body's process ended: its links with it."""
        for way in self._of.get(name, {}).values():
            self.drop(way)

    def back(self, name: str) -> None:
        """A body's process began: it dials all whom it knows."""
        for way in self._of.get(name, {}).values():
            if not way.is_up:
                way.attempt = 0
                self._dial_after(way, self._source.randrange(500))

    @property
    def bytes_total(self) -> int:
        """Sent on all links so far."""
        return self.bytes_before + sum(
            pipe.bytes_total for way in self._ways.values() for pipe in way.pipes.values()
        )

    def _dial_after(self, way: Way, delay_ms: int) -> None:
        way.dial_number += 1
        number = way.dial_number
        self._scheduler.after(delay_ms, lambda: self._dial(way, number))

    def _dial(self, way: Way, number: int) -> None:
        if way.is_up or number != way.dial_number:
            return
        one, other = way.ends
        is_open = not way.cut_from and one.is_reachable and other.is_reachable
        if not is_open or not (one.admits(other) and other.admits(one)):
            way.attempt += 1
            bound_ms = min(REDIAL_MS_MAX, 1_000 << min(way.attempt, 6))
            self._dial_after(way, bound_ms // 2 + self._source.randrange(bound_ms // 2))
            return
        way.attempt = 0
        for end in way.ends:
            way.pipes[end.name] = self._pipe(way, end)
        for end in way.ends:
            end.link_up(way.other(end.name).node_id)

    def _pipe(self, way: Way, sender: End) -> Pipe:
        return Pipe(
            self._scheduler,
            self._source,
            sender,
            way.other(sender.name),
            way.quality,
            lambda: sender.name not in way.cut_from,
        )


def _key(one: str, other: str) -> tuple[str, str]:
    return (one, other) if one < other else (other, one)
