"""Memberships talking over a virtual network, for tests: time stands still but when it is asked to run."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import msgspec

from replication.effects import Send
from replication.membership.claims import Condition
from replication.membership.events import Became, MembershipEffect
from replication.membership.membership import Membership
from replication.membership.messages import MembershipMessage

WIRE = msgspec.msgpack.Decoder(MembershipMessage)


def node_id(number: int) -> str:
    """A node id that says its number; the first digit differs, so that tables have several parts."""
    return f"{number % 16:x}{number:031x}"


@dataclass(order=True)
class _Due:
    at_ms: int
    number: int
    run: Callable[[], None] = field(compare=False)


class Fleet:
    """Nodes 0..n-1, each linked with each, if not told otherwise.

    Args:
        count: How many.
        seed: Of all randomness.
        passes: (from, to) -> whether a message arrives.
        latency_ms: One way.
    """

    def __init__(
        self,
        count: int,
        *,
        seed: int = 1,
        passes: Callable[[int, int], bool] = lambda _a, _b: True,
        latency_ms: int = 20,
        links: Iterable[tuple[int, int]] | None = None,
    ) -> None:
        self.now_ms = 1_000
        self.random = random.Random(seed)
        self.passes = passes
        self.latency_ms = latency_ms
        self.stalled: dict[int, list[tuple[int, MembershipMessage]]] = {}
        self.became: list[tuple[int, int, Condition]] = []
        self.message_count = 0
        self._due: list[_Due] = []
        self._number = 0
        self._numbers = {node_id(number): number for number in range(count)}
        self._is_ticking: dict[int, int] = {}
        self.nodes = [self.start(number) for number in range(count)]
        self.links: set[tuple[int, int]] = set()
        chosen = links if links is not None else ((a, b) for a in range(count) for b in range(a))
        for a, b in chosen:
            self.connect(a, b)

    def start(self, number: int) -> Membership:
        """A membership that knows the roster and nothing else."""
        made = Membership(node_id(number), random.Random(self.random.getrandbits(64)), self.now_ms)
        for other in self._numbers:
            made.admit(other, self.now_ms)
        return made

    def restart(self, number: int) -> None:
        """A process ended and began anew: its links with it."""
        others = [a if b == number else b for a, b in self.links if number in (a, b)]
        for other in others:
            self.disconnect(number, other)
        self.nodes[number] = self.start(number)
        for other in others:
            self.connect(number, other)

    def connect(self, a: int, b: int) -> None:
        """A link comes up."""
        self.links.add((max(a, b), min(a, b)))
        self.take(a, self.nodes[a].link_up(node_id(b), self.now_ms))
        self.take(b, self.nodes[b].link_up(node_id(a), self.now_ms))

    def disconnect(self, a: int, b: int) -> None:
        """A link ends, and both ends notice."""
        self.links.discard((max(a, b), min(a, b)))
        self.take(a, self.nodes[a].link_down(node_id(b), self.now_ms))
        self.take(b, self.nodes[b].link_down(node_id(a), self.now_ms))

    def take(self, number: int, effects: list[MembershipEffect]) -> None:
        """Do what a node asked for."""
        for effect in effects:
            if isinstance(effect, Became):
                self.became.append((number, self._numbers[effect.node], effect.condition))
            else:
                self._send(number, effect)
        self._schedule_tick(number)

    def stall(self, number: int) -> None:
        """The process stands still: it is given nothing, and what is sent to it waits."""
        self.stalled[number] = []

    def go_on(self, number: int) -> None:
        """It runs again, and finds what was sent to it."""
        waiting = self.stalled.pop(number)
        for sender, message in waiting:
            self.take(number, self.nodes[number].receive(node_id(sender), message, self.now_ms))
        self._schedule_tick(number)

    def run(self, for_ms: int) -> None:
        """Let time pass."""
        until_ms = self.now_ms + for_ms
        while self._due and self._due[0].at_ms <= until_ms:
            due = heapq.heappop(self._due)
            self.now_ms = due.at_ms
            due.run()
        self.now_ms = until_ms

    def seen(self, number: int) -> list[Condition | None]:
        """How everybody sees a node."""
        return [node.condition(node_id(number)) for node in self.nodes]

    def _at(self, at_ms: int, run: Callable[[], None]) -> None:
        self._number += 1
        heapq.heappush(self._due, _Due(at_ms, self._number, run))

    def _send(self, sender: int, tell: Send) -> None:
        target = self._numbers[tell.peer]
        self.message_count += 1
        if not self.passes(sender, target):
            return
        message = WIRE.decode(msgspec.msgpack.encode(tell.message))
        self._at(self.now_ms + self.latency_ms, lambda: self._deliver(sender, target, message))

    def _deliver(self, sender: int, target: int, message: MembershipMessage) -> None:
        if target in self.stalled:
            self.stalled[target].append((sender, message))
        elif (max(sender, target), min(sender, target)) in self.links:
            self.take(target, self.nodes[target].receive(node_id(sender), message, self.now_ms))

    def _schedule_tick(self, number: int) -> None:
        at_ms = self.nodes[number].next_at_ms()
        if at_ms is None or (self._is_ticking.get(number, at_ms + 1) <= at_ms):
            return
        self._is_ticking[number] = at_ms
        self._at(at_ms, lambda: self._tick(number, at_ms))

    def _tick(self, number: int, planned_ms: int) -> None:
        if self._is_ticking.get(number) != planned_ms:
            return
        del self._is_ticking[number]
        if number in self.stalled:
            return
        due_ms = self.nodes[number].next_at_ms()
        if due_ms is not None and due_ms <= self.now_ms:
            self.take(number, self.nodes[number].tick(self.now_ms))
        else:
            self._schedule_tick(number)
