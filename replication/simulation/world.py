"""A fleet with its faults, made from one seed, run until it has healed and judged.

faults come and go ──▶ all is healed; writing goes on for 30 s ──▶ converged, or the deadline: 2 × 60 s + bytes / bandwidth
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from replication.gossip.fleet_view import FleetView, PeerInfo
from replication.gossip.telling import FULL_DIGEST_INTERVAL_MS

from .body import Body
from .catalog import CatalogState
from .disk import Disk
from .judge import Judge
from .network import Network, Quality
from .scheduler import Scheduler

FAULTS_MS: Final = (50_000, 50_000, 50_000, 150_000)
"""How long faults come and go, one of them: most worlds are short, so that there are many."""
WRITING_AFTER_MS: Final = 20_000
CONVERGED_WITHIN_MS: Final = 2 * 60_000
CHECK_MS: Final = 5_000
WRITE_INTERVAL_MS: Final = 4_000


def node_id(number: int) -> str:
    """The id of the n-th node; it shows which one in its first digits."""
    return f"{number:03x}{number:029x}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a seed.

    Args:
        breaches: What didn't hold; empty where all did.
        trace_hash: Of everything that happened: equal for equal seeds.
        converged_ms: Between the end of the last fault and all being everywhere.
        tail: The last lines of the trace.
    """

    seed: int
    node_count: int
    faults: tuple[str, ...]
    breaches: tuple[str, ...]
    trace_hash: str
    converged_ms: int | None
    simulated_ms: int
    call_total: int
    acknowledged_total: int
    safe_total: int
    wire_bytes: int
    tail: tuple[str, ...]


class World:
    """See the module's docstring.

    Args:
        seed: Of everything that is not told.
        node_count: How many nodes.
        pairs: Which of them have a way to each other, by number; all with all if not told.
        roster: Their sites and regions; from the seed if not told.
    """

    def __init__(
        self,
        seed: int,
        node_count: int,
        pairs: Sequence[tuple[int, int]] | None = None,
        *,
        roster: Sequence[PeerInfo] | None = None,
    ) -> None:
        self.seed = seed
        self.source = random.Random(seed)
        self.scheduler = Scheduler()
        self.network = Network(self.scheduler, self.source)
        self.judge = self.make_judge()
        self.faults: list[str] = []
        self.is_chaotic = False
        self.faults_ms = self.source.choice(FAULTS_MS)
        self.check_ms = CHECK_MS
        site_count = self.source.randrange(1, max(2, node_count // 2 + 1))
        region_count = self.source.randrange(1, 3)
        self.roster = list(roster or ()) or [
            PeerInfo(
                node_id=node_id(number),
                site_id=f"site{number % site_count}",
                region=f"region{number % site_count % region_count}",
            )
            for number in range(node_count)
        ]
        self.fleet = FleetView("", self.roster)
        for number in range(node_count):
            self.add_body(f"n{number}", Disk(node_id=node_id(number), instance=f"{number}"))
        self.bodies = list(self.judge.bodies.values())
        if pairs is None:
            pairs = [(at, other) for at in range(node_count) for other in range(at)]
        for at, number in pairs:
            one, other = self.bodies[at], self.bodies[number]
            self.network.join(one, other, self.quality(one, other))

    def make_judge(self) -> Judge:
        """Who judges this world."""
        return Judge(self.scheduler)

    def add_body(self, name: str, disk: Disk) -> Body:
        """A box of this world."""
        body = Body(
            name,
            disk,
            self.roster,
            self.scheduler,
            self.network,
            self.source,
            self.judge,
            write_interval_ms=WRITE_INTERVAL_MS,
        )
        self.judge.bodies[name] = body
        return body

    def give_catalogs(self) -> None:
        """The nodes of each site have one catalog, which all of them change."""
        for body in self.bodies:
            body.disk.catalog = CatalogState()

    def quality(self, one: Body, other: Body) -> Quality:
        """A way within a site is fast; one between sites has a latency."""
        is_far = self.fleet.is_apart(one.node_id, other.node_id, "site")
        return Quality(latency_ms=self.source.randrange(10, 120) if is_far else 1)

    def after(self, delay_ms: int, call: Callable[[], None]) -> None:
        self.scheduler.after(delay_ms, call)

    def fault(self, text: str, *bodies: Body) -> None:
        """Write down a fault, and that its nodes are not calm while there are faults."""
        self.scheduler.note(f"FAULT {text}")
        self.faults.append(f"{self.scheduler.now_ms / 1000:.1f} s: {text}")
        for body in bodies:
            self.judge.disturbed_until_ms[body.node_id] = self.faults_ms

    def run(self) -> Outcome:
        """Let it all happen."""
        for body in list(self.judge.bodies.values()):
            body.start()
        self.scheduler.run_until(self.faults_ms)
        self.heal()
        writing_until_ms = self.scheduler.now_ms + WRITING_AFTER_MS
        self.scheduler.run_until(writing_until_ms)
        for body in self.judge.bodies.values():
            body.write_interval_ms = 0
        deadline_ms = self.deadline_ms()
        missing = self.judge.missing(self.fleet)
        while missing and self.scheduler.now_ms < deadline_ms:
            self.scheduler.run_until(min(deadline_ms, self.scheduler.now_ms + self.check_ms))
            missing = self.judge.missing(self.fleet)
        for each in missing[:5]:
            self.judge.breach(f"not converged: {each}")
        self.judge.final()
        self.close()
        return Outcome(
            seed=self.seed,
            node_count=len(self.roster),
            faults=tuple(self.faults),
            breaches=tuple(self.judge.breaches),
            trace_hash=self.scheduler.trace_hash(),
            converged_ms=None if missing else self.scheduler.now_ms - self.faults_ms,
            simulated_ms=self.scheduler.now_ms,
            call_total=self.scheduler.call_total,
            acknowledged_total=self.judge.acknowledged_total,
            safe_total=self.judge.safe_total,
            wire_bytes=self.network.bytes_total,
            tail=tuple(self.scheduler.tail()),
        )

    def close(self) -> None:
        """Ends what is under way."""
        for body in self.judge.bodies.values():
            body.close()

    def deadline_ms(self) -> int:
        """When everything must be everywhere."""
        deadline_ms = self.faults_ms + CONVERGED_WITHIN_MS + self.transfer_ms()
        if self.is_chaotic:
            # A message that vanished from a link that stands is told again by the next full digest, of which each peer has its turn.
            deadline_ms += FULL_DIGEST_INTERVAL_MS * (len(self.roster) - 1)
        return deadline_ms

    def transfer_ms(self) -> int:
        """How long the slowest way takes for all that was written."""
        slowest = min(
            (way.quality.bytes_per_s for way in self.network.ways() if way.quality.bytes_per_s), default=0
        )
        if not slowest:
            return 0
        frames_bytes = sum(
            len(frame.body) + 250
            for body in self.judge.bodies.values()
            for log in body.disk.logs.values()
            for frame in log.frames
        )
        return frames_bytes * 1000 // slowest

    def heal(self) -> None:
        """Everything works again."""
        self.scheduler.note("HEALED")
        for way in self.network.ways():
            way.cut_from.clear()
            quality = way.quality
            quality.loss = quality.dropped = quality.repeated = quality.disordered = 0.0
        for body in list(self.judge.bodies.values()):
            body.go_on()
            body.slow_disk_factor = 1
            body.is_full = False
            body.ensure_up()
