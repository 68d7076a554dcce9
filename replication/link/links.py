"""All links of this node: who is connected, one link for each pair, what is sent and what came.

A link that the peer dialled is as good as one that we did. Where both dialled at once, the one of the smaller node id stays; both
ends find the same by themselves. Somebody who comes as a node that is connected already, from another process, is a
restart if the old link is dead, and else a clone, which is refused.
"""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Final, Protocol, TypeAlias

import structlog
import trio

from appliance.core.clock import Clock
from appliance.core.errors import LimitExceeded, RemoteProtocolError, Unavailable
from appliance.core.limits_replication import (
    LINK_COUNT_MAX,
    LINK_HANDSHAKE_S,
    LINK_LISTEN_RETRY_S,
    LINK_ROSTER_ASK_COST,
)
from appliance.core.settings import Bind
from appliance.management.fleet import NodeEntry
from replication.link.admission import (
    CLONE,
    DECOMMISSIONED,
    DUPLICATE,
    EXPIRED,
    FULL,
    IDENTITY,
    PROTOCOL,
    SILENT,
    SLOW,
    STOPPING,
    UNREACHABLE,
    Refusal,
    refusal,
    trusted_now_ms,
    wins,
)
from replication.link.connection import Link, LinkStatistics, OnLeft, RosterMessage
from replication.link.dialler import Diallers, DialStatistics
from replication.link.greeting import JOIN_PATH, LINK_PATH, Greeted, Greeting, Own, Trust, refuse
from replication.link.listening import Listening, Waiting
from replication.link.messages import Hello, RenewAnswer, RenewAsk, RosterDigest, RosterEntries, Welcome
from replication.link.refusals import Refusals, Turned
from replication.link.roster_exchange import digest_of, messages_of, newer_than, verified
from replication.link.roster_keeper import RosterKeeper
from replication.link.transport import Wire, WireEnded, with_wire
from replication.scheduling import Priority

CHECK_INTERVAL_S: Final = 60
"""How often links are looked at whose certificates may be over."""
log = structlog.get_logger(__name__)

OnRenew: TypeAlias = Callable[[str, RenewAsk], RenewAnswer]
OnRenewed: TypeAlias = Callable[[str, RenewAnswer], None]


class Listener(Protocol):
    """Who uses the links. All are called in the event loop and return at once."""

    def link_up(self, peer: str) -> None: ...

    def link_down(self, peer: str) -> None: ...

    def message(self, peer: str, data: bytes) -> None:
        """Raises RemoteProtocolError for what can't be understood, which ends the link."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinksStatistics:
    """As of now; `refused` counts since start, by reason, those whom we refused."""

    links: tuple[LinkStatistics, ...]
    dials: tuple[DialStatistics, ...]
    refused: dict[str, int]
    newest_refused: tuple[Turned, ...]
    waiting: int
    port: int


class Links:
    """See the module's docstring.

    Args:
        listener: Who uses them; may be set later, before `run`.
        join: Talks to a box that has no certificate yet, and hangs up; None where nobody may join here.
        bytes_per_s: Of each link's repair and backlog; 0 is no bound.
    """

    def __init__(
        self,
        own: Own,
        trust: Trust,
        keeper: RosterKeeper,
        *,
        contexts: tuple[ssl.SSLContext, ssl.SSLContext],
        bind: Bind | None,
        clock: Clock,
        random: Random,
        bytes_per_s: int = 0,
    ) -> None:
        self._own = own
        self._trust = trust
        self._keeper = keeper
        self._server_context, self._client_context = contexts
        self._bind = bind
        self._clock = clock
        self._bytes_per_s = bytes_per_s
        self._refusals = Refusals(clock)
        self._greeting = Greeting(own, trust, keeper, clock=clock)
        self._links: dict[str, Link] = {}
        self._ends: dict[str, int] = {}
        self._listening = Listening(self._serve, self._refusals.note)
        self._diallers = Diallers(self.dial, self.link_of, random)
        self._port = 0
        self.problem = ""
        """Why nobody can connect; "" where they can."""
        self.listener: Listener | None = None
        self.join: Callable[[Wire], Awaitable[None]] | None = None
        self.on_renew: OnRenew | None = None
        self.on_renewed: OnRenewed | None = None
        keeper.subscribe(self._roster_changed)

    @property
    def port(self) -> int:
        """Where it listens; 0 before it does."""
        return self._port

    def peers(self) -> list[str]:
        """Node ids of those who are connected."""
        return list(self._links)

    def link_of(self, peer: str) -> Link | None:
        return self._links.get(peer)

    def send(self, peer: str, data: bytes, priority: Priority, on_left: OnLeft | None = None) -> bool:
        """Have a message go to a peer in its turn.

        Args:
            on_left: Called once it was sent, or its link is gone.
        Returns:
            False where it was not taken: the peer is away, or too much of that priority waits for it.
        """
        link = self._links.get(peer)
        return link is not None and link.send(data, priority, on_left)

    def say(self, peer: str, message: RenewAsk) -> bool:
        """Ask a peer for what belongs to links."""
        link = self._links.get(peer)
        return link is not None and link.say(message)

    def use(self, contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
        """Show another certificate from the next connection on."""
        self._server_context, self._client_context = contexts

    def own_entry_changed(self) -> None:
        """Take our own entry into the roster anew, and tell everybody."""
        self._keeper.merge([self._own.entry()])

    def statistics(self) -> LinksStatistics:
        return LinksStatistics(
            links=tuple(link.statistics() for link in self._links.values()),
            dials=self._diallers.statistics(),
            refused=self._refusals.counts(),
            newest_refused=self._refusals.newest(),
            waiting=self._listening.waiting_count,
            port=self._port,
        )

    async def run(self, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED) -> None:
        """Listen and dial until cancelled; starts with the port, 0 where nobody connects, or another program has it."""
        async with trio.open_nursery() as nursery:
            if self._bind is not None:
                await nursery.start(self._listen, self._bind)
            self._diallers.aim(self._targets())
            nursery.start_soon(self._diallers.run)
            nursery.start_soon(self._look_at_links)
            task_status.started(self._port)

    async def _listen(
        self, bind: Bind, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Have peers connect; where the port is taken, go on without and try again."""
        is_started = False
        while True:
            async with trio.open_nursery() as nursery:
                try:
                    self._port = await nursery.start(self._listening.run, bind)
                    self.problem = ""
                except Unavailable as error:
                    if not self.problem:
                        log.error("peers can't connect", error=error.message, hint=error.hint)
                    self.problem = error.message
                if not is_started:
                    task_status.started()
                    is_started = True
            await trio.sleep(LINK_LISTEN_RETRY_S)

    async def stop(self) -> None:
        """Take leave of all peers."""
        links = list(self._links.values())
        for link in links:
            link.end(refusal(STOPPING))
        for link in links:
            await link.closed.wait()

    def _targets(self) -> Sequence[NodeEntry]:
        """Whom to dial: mates first, then others, those with near ids before far ones, so that a large fleet stays one."""
        own = self._own
        near = sorted(
            self._keeper.roster.peers_of(own.node_id),
            key=lambda node: (
                node.site_id != own.site_id,
                (int(node.node_id, 16) - int(own.node_id, 16)) % (1 << 128),
            ),
        )
        return near[: LINK_COUNT_MAX // 2]

    def _roster_changed(self, changed: list[NodeEntry]) -> None:
        self._diallers.aim(self._targets())
        for link in self._links.values():
            for message in messages_of(changed):
                link.say(message)
        self._cut_off()

    def _cut_off(self) -> None:
        """End links of those who may have none any more."""
        roster = self._keeper.roster
        now_ms = trusted_now_ms(self._clock.now_ms(), roster)
        for peer, link in self._links.items():
            entry = roster.get(peer)
            if entry is not None and entry.decommission is not None:
                link.end(refusal(DECOMMISSIONED))
            elif now_ms > self._ends[peer]:
                link.end(refusal(EXPIRED))

    async def _look_at_links(self) -> None:
        while True:
            await trio.sleep(CHECK_INTERVAL_S)
            self._cut_off()

    async def _serve(self, stream: trio.SocketStream, waiting: Waiting, is_known: Callable[[], None]) -> None:
        try:
            talk = partial(self._answer, waiting, is_known)
            await with_wire(stream, self._server_context, talk, path=None)
        except WireEnded as ended:
            self._refusals.note(waiting.address, "", ended.refusal)

    async def _answer(self, waiting: Waiting, is_known: Callable[[], None], wire: Wire) -> None:
        if wire.path == JOIN_PATH and self.join is not None:
            await self.join(wire)
            return
        if wire.path != LINK_PATH:
            self._refusals.note(waiting.address, "", refusal(PROTOCOL))
            await refuse(wire, refusal(PROTOCOL))
            return
        greeted = await self._greeting.hear(wire, Hello)
        link = await self._admitted(wire, greeted, waiting.address, is_dialled=False)
        if isinstance(link, Refusal):
            node_id = greeted.said.node_id if isinstance(greeted, Greeted) else ""
            self._refusals.note(waiting.address, node_id, link)
            await refuse(wire, link)
            return
        is_known()
        await self._greeting.say_welcome(wire)
        await self._run_link(link)

    async def dial(self, address: Bind, peer: str = "") -> Refusal | int:
        """Dial one address of a peer, and carry the link until it ends.

        Args:
            peer: Who has to be there; "" for whoever of the fleet is.
        Returns:
            Why there was none; or how long it lived, ms.
        """
        outcome: list[Refusal | int] = []
        scope = trio.CancelScope(deadline=trio.current_time() + LINK_HANDSHAKE_S)
        with scope:
            try:
                stream = await trio.open_tcp_stream(address.host, address.port)
            except (OSError, ValueError) as error:
                return Refusal(reason=UNREACHABLE, message=f"{address}: {error}.")
            talk = partial(self._greet, str(address), peer, outcome, scope)
            try:
                await with_wire(stream, self._client_context, talk, path=LINK_PATH)
            except WireEnded as ended:
                outcome.append(ended.refusal)
        return outcome[0] if outcome else refusal(SLOW)

    async def _greet(
        self, address: str, peer: str, outcome: list[Refusal | int], scope: trio.CancelScope, wire: Wire
    ) -> None:
        await self._greeting.say_hello(wire)
        greeted = await self._greeting.hear(wire, Welcome)
        if isinstance(greeted, Greeted) and peer and greeted.said.node_id != peer:
            greeted = refusal(IDENTITY, f"At {address} is {greeted.said.node_id}.")
        link = await self._admitted(wire, greeted, address, is_dialled=True)
        if isinstance(link, Refusal):
            outcome.append(link)
            await refuse(wire, link)
            return
        scope.deadline = float("inf")
        why = await self._run_link(link)
        outcome.append(why if why.reason == DUPLICATE else link.lived_ms)

    async def _admitted(
        self, wire: Wire, greeted: Greeted | Refusal, address: str, *, is_dialled: bool
    ) -> Link | Refusal:
        """The link, which is the only one with this peer from now on; or why there is none."""
        if isinstance(greeted, Refusal):
            return greeted
        said = greeted.said
        dialler_id = self._own.node_id if is_dialled else said.node_id
        while (old := self._links.get(said.node_id)) is not None:
            if old.run_id != said.run:
                if await old.is_alive():
                    return refusal(CLONE, "Both are there at this moment.")
                self._take_down(old, refusal(SILENT))
            elif old.dialler_id == dialler_id or wins(dialler_id=dialler_id, other_id=old.dialler_id):
                # Who dials again has lost the old one, though nobody may have told us yet.
                self._take_down(old, refusal(DUPLICATE))
            elif await old.is_alive():
                return refusal(DUPLICATE)
            else:
                self._take_down(old, refusal(SILENT))
        if len(self._links) >= LINK_COUNT_MAX:
            return refusal(FULL)
        link = Link(
            wire,
            said,
            address=address,
            is_dialled=is_dialled,
            dialler_id=dialler_id,
            now_ms=self._clock.now_ms(),
            bytes_per_s=self._bytes_per_s,
        )
        self._links[link.peer] = link
        self._ends[link.peer] = greeted.certificate.ends_at_ms
        log.info("a link is up", peer=link.peer, address=address, dialled=is_dialled, release=said.release)
        link.say(digest_of(self._keeper.roster))
        if self.listener is not None:
            self.listener.link_up(link.peer)
        return link

    def _take_down(self, link: Link, why: Refusal) -> None:
        """End a link, and have it be no link any more at once."""
        if self._links.get(link.peer) is link:
            del self._links[link.peer]
            if self.listener is not None:
                self.listener.link_down(link.peer)
        link.end(why)

    async def _run_link(self, link: Link) -> Refusal:
        why = refusal(SILENT)
        try:
            why = await link.run(self._pass_on, self._take)
        finally:
            self._take_down(link, why)
            log.info("a link is down", peer=link.peer, reason=why.reason, lived_ms=link.lived_ms)
        return why

    def _pass_on(self, peer: str, data: bytes) -> None:
        if self.listener is not None:
            self.listener.message(peer, data)

    def _take(self, link: Link, message: RosterMessage) -> None:
        cost = len(message.entries) if isinstance(message, RosterEntries) else LINK_ROSTER_ASK_COST
        if not link.may_ask(cost):
            raise RemoteProtocolError("It asks more about the roster than any peer needs.")
        match message:
            case RosterDigest():
                for told in messages_of(newer_than(self._keeper.roster, message)):
                    link.say(told)
            case RosterEntries():
                try:
                    self._keeper.merge(verified(self._keeper.roster, message, self._trust.verify))
                except LimitExceeded as error:
                    raise RemoteProtocolError(error.message, hint=error.hint) from error
            case RenewAsk():
                if self.on_renew is not None:
                    link.say(self.on_renew(link.peer, message))
            case RenewAnswer():
                if self.on_renewed is not None:
                    self.on_renewed(link.peer, message)
