"""What this node believes of the others and says of itself: claims weighed, suspicions timed, rumours to tell. Pure.

Guarantees: what is kept is bounded by the roster; "dead" is a view that its subject can always refute; a node from which
something came while it was suspected is not called dead by whoever heard it.
"""

from __future__ import annotations

from collections.abc import Iterable

from appliance.core.limits_replication import INCARNATION_MAX, INCARNATION_STEP_MAX

from .claims import Claim, Condition, supersedes
from .events import Became
from .local_health import LocalHealth
from .rumour_queue import RumourQueue
from .table import Member, Table
from .timings import Timings, confirmations_wanted, retransmit_count, suspicion_min_ms, suspicion_ms


class Beliefs:
    """See the module's docstring.

    Args:
        own: This node's id.
        timings: All that is timed.
        health: How well this node is; having to say that it lives makes it worse.
    """

    def __init__(self, own: str, timings: Timings, health: LocalHealth) -> None:
        self._own = own
        self._timings = timings
        self._health = health
        self._is_incarnation_learnt = False
        self.table = Table()
        self.rumours = RumourQueue()
        self.suspects: dict[str, Member] = {}
        self.incarnation = 0
        self.suspicion_total = 0
        self.death_total = 0
        self.refutation_total = 0
        self.refused_total = 0

    @property
    def member_count(self) -> int:
        """Nodes of the fleet, this one included."""
        return len(self.table.rows) + 1

    def own_claim(self) -> Claim:
        """What this node says of itself."""
        return Claim(self._own, self.incarnation, Condition.ALIVE, self._own)

    def forget(self, node: str) -> None:
        """A node is no member any more."""
        self.table.forget(node)
        self.rumours.forget(node)
        self.suspects.pop(node, None)

    def take_rumours(self, count_max: int) -> list[Claim]:
        """Claims for one message."""
        return self.rumours.take(count_max, retransmit_count(self._timings, self.member_count))

    def believe(self, claims: Iterable[Claim], now_ms: int) -> list[Became]:
        """Weigh what a peer says."""
        became: list[Became] = []
        for claim in claims:
            row = self.table.rows.get(claim.node)
            if claim.node == self._own:
                self._about_me(claim)
            elif row is None or (
                row.condition is not None and claim.incarnation > row.incarnation + INCARNATION_STEP_MAX
            ):
                self.refused_total += 1
            else:
                became += self._consider(row, claim, now_ms)
        return became

    def suspect(self, row: Member, now_ms: int) -> list[Became]:
        """This node found out that nobody answers for a member."""
        if row.condition not in (Condition.ALIVE, Condition.SUSPECT):
            return []
        became = self._consider(row, Claim(row.node, row.incarnation, Condition.SUSPECT, self._own), now_ms)
        row.missed_count += 1
        return became

    def heard(self, row: Member, now_ms: int) -> list[Became]:
        """Something came from a member over its link."""
        row.heard_ms = now_ms
        self.signed(row, now_ms)
        if row.condition is not None:
            return []
        return self._set(row, Claim(row.node, 0, Condition.ALIVE, row.node), now_ms)

    def signed(self, row: Member, now_ms: int) -> None:
        """There was a sign of life of a member."""
        row.vouched_ms = now_ms
        row.is_lost = False
        row.missed_count = 0

    def expire(self, now_ms: int) -> list[Became]:
        """Suspicions that last long enough make their subjects dead."""
        became: list[Became] = []
        for row in list(self.suspects.values()):
            at_ms = self.dead_at_ms(row)
            if at_ms is not None and at_ms <= now_ms:
                became += self._set(row, Claim(row.node, row.incarnation, Condition.DEAD, self._own), now_ms)
        return became

    def dead_at_ms(self, row: Member) -> int | None:
        """When a suspect's time is over; None: this node has probed it in vain too rarely to call it dead."""
        if row.missed_count < self._timings.missed_count:
            return None
        return row.suspected_ms + suspicion_ms(self._timings, self.member_count, len(row.finders) - 1)

    def _about_me(self, claim: Claim) -> None:
        """Others may know of an incarnation from before this node started; what they say but "alive" is answered."""
        if self._is_incarnation_learnt and claim.incarnation > self.incarnation + INCARNATION_STEP_MAX:
            self.refused_total += 1
            return
        if claim.incarnation < self.incarnation:
            self._tell_again(claim, self.own_claim())
            return
        self._is_incarnation_learnt = True
        self.incarnation = claim.incarnation
        self.table.changed(self._own)
        if claim.condition is Condition.ALIVE:
            return
        self.incarnation = min(claim.incarnation + 1, INCARNATION_MAX)
        self.refutation_total += 1
        self._health.worse()
        self.rumours.add(self.own_claim())

    def _consider(self, row: Member, claim: Claim, now_ms: int) -> list[Became]:
        is_same = (claim.incarnation, claim.condition) == (row.incarnation, row.condition)
        if is_same and row.condition is Condition.SUSPECT:
            wanted = confirmations_wanted(self._timings, self.member_count)
            if claim.by not in row.finders and len(row.finders) <= wanted:
                row.finders.add(claim.by)
                self.rumours.add(claim)
            return []
        if claim.condition is Condition.DEAD and self._was_heard_lately(row, now_ms):
            # It talks to this node: whoever calls it dead is cut off from it. The suspicion makes it say that it lives.
            claim = Claim(claim.node, claim.incarnation, Condition.SUSPECT, claim.by)
        if supersedes(claim, row.incarnation, row.condition):
            return self._set(row, claim, now_ms)
        if claim.incarnation < row.incarnation and (known := row.claim()) is not None:
            self._tell_again(claim, known)
        return []

    def _tell_again(self, stale: Claim, known: Claim) -> None:
        """Somebody missed that a suspicion was refuted: it is told as if it were new. Whoever knows it stays quiet."""
        if stale.condition is not Condition.ALIVE:
            self.rumours.add(known)

    def _was_heard_lately(self, row: Member, now_ms: int) -> bool:
        shortest_ms = suspicion_min_ms(self._timings, self.member_count)
        return row.heard_ms is not None and now_ms - row.heard_ms < shortest_ms

    def _set(self, row: Member, claim: Claim, now_ms: int) -> list[Became]:
        is_change = claim.condition is not row.condition
        row.incarnation, row.condition, row.by = claim.incarnation, claim.condition, claim.by
        self.table.changed(row.node)
        row.finders.clear()
        self.suspects.pop(row.node, None)
        if claim.condition is Condition.SUSPECT:
            row.finders.add(claim.by)
            row.suspected_ms = now_ms
            row.missed_count = 0
            self.suspects[row.node] = row
        elif claim.condition is Condition.ALIVE:
            row.vouched_ms = now_ms
            row.is_lost = False
        self.rumours.add(claim)
        if not is_change:
            return []
        row.since_ms = now_ms
        self.suspicion_total += claim.condition is Condition.SUSPECT
        self.death_total += claim.condition is Condition.DEAD
        return [Became(node=row.node, condition=claim.condition, incarnation=claim.incarnation, by=claim.by)]
