"""Who is there: SWIM with Lifeguard over links, without a socket, a clock or randomness of its own.

Guarantees: nodes that have talked hold the same view; "dead" is a view and removes nothing; time in which this node itself
stood still counts against nobody; what is kept and what is sent is bounded by the roster, not by what is received.
It must not know sockets, files, clocks, and what a link is made of.

A probe goes over the link; without an answer, or without a link, up to three peers are asked to probe. A node that nobody
answers for is suspect; a suspicion that it doesn't refute in time (a shorter one, the more others confirm it) makes it dead.
Claims travel with probes and answers, as rumours twice a second while there are any, and by comparing tables once a minute and
when a link comes up, so two halves that called each other dead learn better by themselves.

Sources: Das, Gupta, Motivala, SWIM (DSN 2002); Dadgar, Phillips, Currey, Lifeguard (2018): local health, suspicions that
shorten, and telling a suspect of it ("buddy system").
"""

from __future__ import annotations

from appliance.core.limits_replication import CLAIMS_CARRIED_MAX, CLAIMS_TOLD_MAX, SYNC_PEERS_MAX
from replication.effects import Send
from replication.randomness import Randomness
from replication.scheduling import Priority

from .beliefs import Beliefs
from .claims import Claim, Condition
from .events import MembershipEffect, MembershipStatistics, MemberView
from .local_health import LocalHealth
from .messages import (
    MembershipMessage,
    Probe,
    ProbeAnswer,
    ProbeFor,
    ProbeMissed,
    Rumours,
    TableDigest,
)
from .probing import NONCE_BITS, RelayDesk, Relayed, Turns, UnderWay
from .round_trips import RoundTrips
from .table import Member, differing
from .timings import WAN, Timings


class Membership:
    """See the module's docstring. Whoever drives it calls `tick` at `next_at_ms`, which every call may change.

    Args:
        own: This node's id, 32 hexadecimal digits.
        source: Randomness.
        now_ms: Monotonic time.
        timings: All that is timed.
    """

    def __init__(self, own: str, source: Randomness, now_ms: int, timings: Timings = WAN) -> None:
        self._own = own
        self._source = source
        self._timings = timings
        self._health = LocalHealth()
        self._beliefs = Beliefs(own, timings, self._health)
        self._rows = self._beliefs.table.rows
        self._turns = Turns(source)
        self._relay_desk = RelayDesk()
        self._round_trips = RoundTrips()
        self._linked: dict[str, None] = {}
        self._probe: UnderWay | None = None
        self._was_suspect_probed = False
        self._pages: dict[str, list[list[Claim]]] = {}
        self._probe_at_ms = now_ms + source.randrange(timings.probe_interval_ms)
        self._dead_probe_at_ms = now_ms + timings.table_interval_ms
        self._table_at_ms = now_ms + source.randrange(timings.table_interval_ms)
        self._rumours_at_ms = now_ms
        self._promised_ms: int | None = None
        self._effects: list[MembershipEffect] = []
        self._probe_total = 0
        self._probe_failed_total = 0
        self._relayed_total = 0
        self._stall_total = 0
        self._stranger_total = 0

    # --- The roster and the links -----------------------------------------------------------------

    def admit(self, node: str, now_ms: int) -> bool:
        """A node is on the roster, from now on or since long.

        Returns:
            False: it is known already, is this node, or there are MEMBER_COUNT_MAX.
        """
        is_new = node != self._own and self._beliefs.table.admit(node, now_ms)
        if is_new and len(self._rows) == 1:
            self._probe_at_ms = max(self._probe_at_ms, now_ms)
            self._table_at_ms = max(self._table_at_ms, now_ms)
            self._settle(now_ms)
        return is_new

    def forget(self, node: str, now_ms: int) -> None:
        """A node was decommissioned, by a signed word on the roster: the only way in which one goes."""
        self._beliefs.forget(node)
        self._turns.forget(node)
        self._round_trips.link_down(node)
        self._linked.pop(node, None)
        self._pages.pop(node, None)
        if self._probe is not None and self._probe.target == node:
            self._probe = None
        self._settle(now_ms)

    def link_up(self, peer: str, now_ms: int) -> list[MembershipEffect]:
        """There is a link to a peer: it is alive, is told what is said of it, and tables are compared."""
        self._wake(now_ms)
        if (row := self._rows.get(peer)) is not None:
            row.is_linked = True
            self._linked[peer] = None
            self._round_trips.link_up(peer, now_ms)
            self._heard(row, now_ms)
            self._ask(peer, self._nonce(), now_ms)
            self._tell(peer, TableDigest(self._digest(), False))
        return self._settle(now_ms)

    def link_down(self, peer: str, now_ms: int) -> list[MembershipEffect]:
        """The link to a peer ended, which proves nothing: it is probed next, through others."""
        self._wake(now_ms)
        if (row := self._rows.get(peer)) is not None and row.is_linked:
            row.is_linked = False
            row.is_lost = True
            self._linked.pop(peer, None)
            self._round_trips.link_down(peer)
            self._pages.pop(peer, None)
            self._turns.put_first(peer)
        return self._settle(now_ms)

    def heard(self, peer: str, now_ms: int) -> list[MembershipEffect]:
        """Something else than a message of membership came over the link from a peer."""
        self._wake(now_ms)
        if (row := self._rows.get(peer)) is not None:
            self._heard(row, now_ms)
        return self._settle(now_ms)

    # --- Messages ---------------------------------------------------------------------------------

    def receive(self, peer: str, message: MembershipMessage, now_ms: int) -> list[MembershipEffect]:
        """A message came from a peer over its link."""
        self._wake(now_ms)
        row = self._rows.get(peer)
        if row is None:
            self._stranger_total += 1
            return self._settle(now_ms)
        self._heard(row, now_ms)
        match message:
            case Probe(nonce=nonce, claims=claims):
                self._effects += self._beliefs.believe(claims, now_ms)
                self._tell_answer(peer, nonce)
            case ProbeFor(nonce=nonce, target=target):
                self._relay(peer, nonce, target, now_ms)
            case ProbeAnswer(nonce=nonce, claims=claims, wait_ms=wait_ms):
                self._round_trips.answered(peer, nonce, wait_ms, now_ms)
                self._effects += self._beliefs.believe(claims, now_ms)
                self._answered(peer, nonce, now_ms)
            case ProbeMissed(nonce=nonce, was_tried=was_tried):
                if self._probe is not None and self._probe.nonce == nonce:
                    self._probe.missed(peer, was_tried)
            case Rumours(claims=claims):
                self._effects += self._beliefs.believe(claims, now_ms)
            case TableDigest(buckets=theirs, is_answer=is_answer):
                self._compare(peer, theirs, is_answer)
        return self._settle(now_ms)

    def _heard(self, row: Member, now_ms: int) -> None:
        self._effects += self._beliefs.heard(row, now_ms)
        if self._probe is not None and self._probe.target == row.node:
            # Whatever it says shows that it lives, also when this node's probes don't get through to it.
            self._succeed()

    def _relay(self, asker: str, nonce: int, target: str, now_ms: int) -> None:
        own_nonce = self._nonce()
        wait_ms = self._round_trips.wait_ms(target, now_ms) if target in self._linked else None
        ends_ms = now_ms + max(self._timings.relay_timeout_ms, wait_ms or 0)
        relayed = Relayed(asker=asker, nonce=nonce, target=target, ends_ms=ends_ms)
        # On a link that is too new to know how long an answer takes, one that doesn't come shows nothing.
        if wait_ms is None or not self._relay_desk.take(own_nonce, relayed):
            self._tell(asker, ProbeMissed(nonce, False))
            return
        self._relayed_total += 1
        self._ask(target, own_nonce, now_ms)

    def _answered(self, peer: str, nonce: int, now_ms: int) -> None:
        relayed = self._relay_desk.answered(nonce, peer)
        if relayed is not None:
            self._tell_answer(relayed.asker, relayed.nonce)
        elif self._probe is not None and self._probe.nonce == nonce and peer in (self._probe.relays or ()):
            self._beliefs.signed(self._rows[self._probe.target], now_ms)
            self._succeed()

    def _compare(self, peer: str, theirs: bytes, is_answer: bool) -> None:
        ours = self._digest()
        parts = differing(ours, theirs)
        if not parts:
            return
        if not is_answer:
            self._tell(peer, TableDigest(ours, True))
        if peer not in self._pages and len(self._pages) < SYNC_PEERS_MAX:
            pages = self._beliefs.table.claims(self._beliefs.own_claim(), parts)
            if pages:
                self._pages[peer] = pages

    # --- Time -------------------------------------------------------------------------------------

    def next_at_ms(self) -> int | None:
        """When `tick` is to be called at the latest; None: there is nobody else."""
        return self._promised_ms

    def tick(self, now_ms: int) -> list[MembershipEffect]:
        """Do what is due."""
        self._wake(now_ms)
        for relayed in self._relay_desk.expired(now_ms):
            self._tell(relayed.asker, ProbeMissed(relayed.nonce, True))
        self._go_on_probing(now_ms)
        self._effects += self._beliefs.expire(now_ms)
        self._tell_rumours(now_ms)
        if self._table_at_ms <= now_ms:
            self._table_at_ms = now_ms + self._timings.table_interval_ms
            if self._linked:
                self._tell(self._source.choice(list(self._linked)), TableDigest(self._digest(), False))
        return self._settle(now_ms)

    def _wake(self, now_ms: int) -> None:
        """Notice that this node stood still: what it waited for could not be heard meanwhile, so waiting begins again."""
        late_ms = now_ms - self._promised_ms if self._promised_ms is not None else 0
        if late_ms < self._timings.stall_ms:
            return
        self._stall_total += 1
        self._health.worse()
        self._round_trips.stood_still()
        for row in self._beliefs.suspects.values():
            row.suspected_ms += late_ms
        self._relay_desk.shift(late_ms)
        if self._probe is not None:
            self._probe.shift(late_ms)

    def _settle(self, now_ms: int) -> list[MembershipEffect]:
        """Say when something is due next, and hand over the effects."""
        if not self._rows:
            self._promised_ms = None
        else:
            has_news = bool(self._beliefs.rumours or self._pages)
            if has_news and self._rumours_at_ms < now_ms:
                self._rumours_at_ms = now_ms
            due_ms = min(
                self._table_at_ms, self._probe_at_ms if self._probe is None else self._probe.next_at_ms()
            )
            for row in self._beliefs.suspects.values():
                if (dead_ms := self._beliefs.dead_at_ms(row)) is not None:
                    due_ms = min(due_ms, dead_ms)
            if (relayed_ms := self._relay_desk.next_at_ms()) is not None:
                due_ms = min(due_ms, relayed_ms)
            if has_news and self._linked:
                due_ms = min(due_ms, self._rumours_at_ms)
            self._promised_ms = max(due_ms, now_ms)
        effects, self._effects = self._effects, []
        return effects

    def _go_on_probing(self, now_ms: int) -> None:
        if self._probe is None and self._probe_at_ms <= now_ms and self._rows:
            self._begin_probe(now_ms)
        probe = self._probe
        if probe is None:
            return
        if probe.relays is None and probe.relays_at_ms <= now_ms:
            candidates = [peer for peer in self._linked if peer != probe.target]
            chosen = self._source.sample(candidates, min(self._timings.relay_count, len(candidates)))
            probe.relays = set(chosen)
            for peer in chosen:
                probe.ends_ms = max(probe.ends_ms, now_ms + self._round_trips.relayed_ms(peer, now_ms))
                self._tell(peer, ProbeFor(probe.nonce, probe.target))
        if probe.ends_ms <= now_ms:
            self._probe = None
            self._judge(probe, now_ms)
            self._go_on_probing(now_ms)

    def _begin_probe(self, now_ms: int) -> None:
        target, is_suspect = self._next_target(now_ms)
        # A suspect has not long: it is asked in every way at once, however slow this node takes itself to be.
        multiplier = 1 if is_suspect else self._health.multiplier
        self._probe_at_ms = now_ms + self._timings.probe_interval_ms * multiplier
        if target is None:
            return
        is_direct = target in self._linked
        wait_ms = self._round_trips.wait_ms(target, now_ms) or 0 if is_direct else 0
        timeout_ms = self._timings.probe_timeout_ms * multiplier if is_direct and not is_suspect else 0
        self._probe = UnderWay(
            nonce=self._nonce(),
            target=target,
            relays_at_ms=now_ms + (max(timeout_ms, wait_ms) if timeout_ms else 0),
            ends_ms=max(self._probe_at_ms, now_ms + wait_ms),
            is_direct=is_direct,
        )
        if is_direct:
            self._ask(target, self._probe.nonce, now_ms)

    def _next_target(self, now_ms: int) -> tuple[str | None, bool]:
        """Whom to probe, and whether it is a suspect: every second probe goes to one while there are any."""
        if self._beliefs.suspects and not self._was_suspect_probed:
            self._was_suspect_probed = True
            return self._source.choice(list(self._beliefs.suspects)), True
        self._was_suspect_probed = False
        dead = self._beliefs.table.dead
        if dead and self._dead_probe_at_ms <= now_ms:
            self._dead_probe_at_ms = now_ms + self._timings.table_interval_ms
            return self._source.choice(list(dead)), False
        target = self._turns.next(self._rows, dead)
        return target, target in self._beliefs.suspects

    def _succeed(self) -> None:
        self._probe = None
        self._probe_total += 1
        self._health.better()

    def _judge(self, probe: UnderWay, now_ms: int) -> None:
        """No answer came. Relays that said nothing at all speak against this node; so does having none to ask."""
        self._probe_total += 1
        self._probe_failed_total += 1
        row = self._rows[probe.target]
        if row.condition is Condition.DEAD:
            return
        if probe.relays:
            self._health.worse(probe.silent_relay_count)
        elif probe.is_direct:
            self._health.worse()
        # With no link, and nobody who has one, others know better; but if all who did were lost with it, nobody says so.
        is_forgotten = now_ms - row.vouched_ms >= self._timings.unreached_ms
        if probe.is_direct or row.is_lost or probe.tried or is_forgotten:
            self._effects += self._beliefs.suspect(row, now_ms)

    def _tell_rumours(self, now_ms: int) -> None:
        if self._rumours_at_ms > now_ms or not self._linked:
            return
        self._rumours_at_ms = now_ms + self._timings.rumour_interval_ms
        peers = list(self._linked)
        for peer in self._source.sample(peers, min(self._timings.rumour_peer_count, len(peers))):
            if claims := self._beliefs.take_rumours(CLAIMS_TOLD_MAX):
                self._tell(peer, Rumours(tuple(claims)))
        for peer, pages in list(self._pages.items()):
            self._tell(peer, Rumours(tuple(pages.pop(0))))
            if not pages:
                del self._pages[peer]

    # --- Small things -----------------------------------------------------------------------------

    def _tell(self, peer: str, message: MembershipMessage) -> None:
        if peer in self._linked:
            self._effects.append(Send(peer=peer, message=message, priority=Priority.CONTROL))

    def _digest(self) -> bytes:
        return self._beliefs.table.digest(self._beliefs.own_claim())

    def _ask(self, peer: str, nonce: int, now_ms: int) -> None:
        self._round_trips.sent(peer, nonce, now_ms)
        self._tell(peer, Probe(nonce, self._carried(peer)))

    def _tell_answer(self, peer: str, nonce: int) -> None:
        self._tell(peer, ProbeAnswer(nonce, self._carried(peer), self._round_trips.slowest_ms(peer)))

    def _carried(self, peer: str) -> tuple[Claim, ...]:
        """Rumours for a message to a peer; first, what is said of the peer itself, if it isn't that it lives."""
        claim = self._rows[peer].claim()
        first = [claim] if claim is not None and claim.condition is not Condition.ALIVE else []
        return (*first, *self._beliefs.take_rumours(CLAIMS_CARRIED_MAX - len(first)))

    def _nonce(self) -> int:
        return self._source.getrandbits(NONCE_BITS)

    # --- What is shown ----------------------------------------------------------------------------

    def condition(self, node: str) -> Condition | None:
        """How a node is seen; None: nothing was ever heard of it, or it is no member. This node is alive."""
        if node == self._own:
            return Condition.ALIVE
        return row.condition if (row := self._rows.get(node)) is not None else None

    def view(self, now_ms: int) -> list[MemberView]:
        """All members but this node, in the order in which they were admitted."""
        return self._beliefs.table.view(now_ms)

    def statistics(self) -> MembershipStatistics:
        """Counts since the start, and how it is now."""
        beliefs, counts = self._beliefs, self._beliefs.table.counts()
        return MembershipStatistics(
            alive_count=counts[Condition.ALIVE],
            suspect_count=counts[Condition.SUSPECT],
            dead_count=counts[Condition.DEAD],
            unheard_count=counts[None],
            health_score=self._health.score,
            incarnation=beliefs.incarnation,
            probe_total=self._probe_total,
            probe_failed_total=self._probe_failed_total,
            relayed_total=self._relayed_total,
            suspicion_total=beliefs.suspicion_total,
            death_total=beliefs.death_total,
            refutation_total=beliefs.refutation_total,
            stall_total=self._stall_total,
            refused_total=beliefs.refused_total + self._stranger_total,
            rumour_count=len(beliefs.rumours),
        )
