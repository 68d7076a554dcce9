"""This box as a node of its fleet: its place in it, its links, its roster, put together. See replication/link/DESIGN.md.

Must not know: what goes over the links.
"""

from __future__ import annotations

import secrets
import ssl
from random import Random
from typing import Final

import msgspec
import structlog
import trio
from cryptography.hazmat.primitives.asymmetric import ec

from appliance.core.clock import Clock
from appliance.core.config import Config
from appliance.core.errors import ConfigError, HomeportError
from appliance.core.limits_replication import LINK_OWN_LOOK_S
from appliance.core.version import VERSION
from appliance.identity.fleet import Fleet, make_request, read_request
from appliance.identity.fleet_certificates import der_of, load_certificate, read_identity
from appliance.identity.fleet_entries import verify_entry
from appliance.identity.fleet_inviting import check_instance, outer_addresses
from appliance.identity.fleet_nodes import known
from appliance.identity.instance import load_instance
from appliance.identity.keys import SiteKeys
from appliance.management.fleet import NodeCard, NodeEntry, Roster, SignedEntry
from appliance.run import layout
from appliance.run.broker_urls import broker_urls
from appliance.run.clock_file import open_believed_time
from replication.link.greeting import Own, Trust
from replication.link.links import Links
from replication.link.messages import RenewAnswer, RenewAsk
from replication.link.options import ReplicationOptions, options_of
from replication.link.roster_keeper import RosterKeeper
from replication.link.transport import client_context, server_context
from storage.fleet import read_roster

RENEW_LOOK_S: Final = 3_600
"""How often a node looks whether its certificate should be renewed."""
RENEW_ANSWER_S: Final = 30
RUN_BYTES: Final = 16
log = structlog.get_logger(__name__)


class FleetNode:
    """See the module's docstring.

    Args:
        random: For the waits between attempts to connect.
    """

    def __init__(self, config: Config, fleet: Fleet, roster: Roster, *, clock: Clock, random: Random) -> None:
        self.fleet = fleet
        self.options: ReplicationOptions = options_of(config.replication, outer_addresses())
        self.keeper = RosterKeeper(config.node.data_dir, roster)
        self._config = config
        self._clock = clock
        self._believed = open_believed_time(layout.clock_file(config), clock)
        self._entry = self._make_entry()
        self._renewing: dict[str, ec.EllipticCurvePrivateKey] = {}
        self._renewed = trio.Event()
        self.links = Links(
            Own(
                node_id=fleet.identity.node_id,
                site_id=fleet.identity.site_id,
                instance=fleet.identity.instance,
                run_id=secrets.token_hex(RUN_BYTES),
                release=VERSION,
                entry=lambda: self._entry,
            ),
            Trust(identify=lambda der: read_identity(der)[0], verify=self.verify),
            self.keeper,
            contexts=contexts_of(fleet),
            bind=config.replication.bind,
            clock=clock,
            random=random,
            bytes_per_s=self.options.backlog_bytes_s,
        )
        self.links.on_renew = self._sign
        self.links.on_renewed = self._take_certificate
        self.keeper.merge([self._entry])

    @classmethod
    def open(
        cls, config: Config, keys: SiteKeys, *, clock: Clock, random: Random, may_be_moved: bool = False
    ) -> FleetNode:
        """The node of a box that belongs to a fleet. Blocks for some ms.

        Args:
            may_be_moved: Whoever opens it sees to it that a copy writes nothing.
        Raises:
            ConfigError: `fleet_file_invalid` …; `instance_moved`: this is a copy, or the disk is in another box.
            UsageError: `roster_invalid`. StorageError: the roster can't be read.
        """
        data_dir = config.node.data_dir
        fleet = Fleet.load(data_dir, keys)
        if not may_be_moved:
            check_instance(load_instance(data_dir), fleet)
        roster = read_roster(data_dir)
        if roster is None or roster.authority != fleet.fingerprint:
            # It is written by whoever has the folder; without it peers tell anew who there is.
            roster = Roster(fleet.fingerprint)
        return cls(config, fleet, roster, clock=clock, random=random)

    @property
    def node_id(self) -> str:
        return self.fleet.identity.node_id

    @property
    def entry(self) -> NodeEntry:
        """What this node says of itself."""
        return self._entry

    def verify(self, signed: SignedEntry) -> NodeEntry:
        """An entry from outside that may be believed. Raises NotAuthorized, UsageError."""
        return verify_entry(signed, self.fleet.authority)

    async def run(self, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep links until cancelled; starts with the port where peers connect, 0 where none do."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.keeper.run)
            port = await nursery.start(self.links.run)
            nursery.start_soon(self._keep_certificate)
            nursery.start_soon(self._keep_card)
            task_status.started(port)

    async def decommission(self, node_id: str, reason: str) -> NodeEntry:
        """Have a node be gone for good, here at once and everywhere as word gets around.

        Raises:
            NotFound: `node_unknown`. NotAuthorized: `fleet_key_missing`. Conflict: `node_is_this`.
        """
        entry = known(self.keeper.roster, node_id, own=self.node_id)
        if entry.decommission is None:
            entry = self.fleet.decommission(entry, reason, clock=self._clock)
            self.keeper.merge([entry])
            await self.keeper.saved()
        return entry

    async def renew_now(self) -> bool:
        """Get another certificate: signed here, or by the first peer that can. False where none could."""
        if self.fleet.can_sign:
            self._use(await trio.to_thread.run_sync(lambda: self.fleet.renewed(clock=self._clock)))
            return True
        for peer in self.links.peers():
            key = ec.generate_private_key(ec.SECP256R1())
            self._renewing[peer] = key
            self._renewed = renewed = trio.Event()
            if self.links.say(peer, RenewAsk(make_request(key, self.node_id))):
                with trio.move_on_after(RENEW_ANSWER_S):
                    await renewed.wait()
            if self._renewing.pop(peer, None) is None:
                return True
        return False

    def _make_entry(self) -> NodeEntry:
        """What this node says of itself now; the same as before where nothing changed."""
        identity = self.fleet.identity
        old = self.keeper.roster.get(identity.node_id)
        is_cloud = self._config.node.role == "cloud"
        card = NodeCard(
            node_id=identity.node_id,
            name=self._config.node.name,
            instance=identity.instance,
            version=1 if old is None else old.card_version,
            region=self.options.region,
            addresses=self.options.addresses,
            brokers=() if is_cloud else broker_urls(self._config.broker, self.options.addresses),
            role="cloud" if is_cloud else "edge",
        )
        if old is not None and old.fingerprint == identity.fingerprint:
            if old.signed.card == card.text():
                return old
            later = max(old.card_version + 1, self._clock.now_ms())
            card = msgspec.structs.replace(card, version=later)
        elif old is None:
            card = msgspec.structs.replace(card, version=max(self._clock.now_ms(), 1))
        return self.fleet.entry(card)

    async def _keep_certificate(self) -> None:
        while True:
            # By a clock that leapt to 2099 it would be renewed until then.
            if self.fleet.identity.is_due(self._believed.look()):
                try:
                    is_new = await self.renew_now()
                except HomeportError as error:
                    log.error("the links' certificate was not renewed", error=error.message, hint=error.hint)
                    is_new = False
                if not is_new:
                    log.warning(
                        "nobody renewed the links' certificate yet", ends_at_ms=self.fleet.identity.ends_at_ms
                    )
            await trio.sleep(RENEW_LOOK_S)

    async def _keep_card(self) -> None:
        """Tell the others when this box's addresses are other ones."""
        while True:
            await trio.sleep(LINK_OWN_LOOK_S)
            self.look_at_own()

    def look_at_own(self) -> None:
        """Say of ourselves what is so now."""
        self.options = options_of(self._config.replication, outer_addresses())
        entry = self._make_entry()
        if entry.signed != self._entry.signed:
            self._entry = entry
            self.links.own_entry_changed()
            log.info("peers are told other addresses of this box", addresses=entry.addresses)

    def _use(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.links.use(contexts_of(fleet))
        self._entry = self._make_entry()
        self.links.own_entry_changed()
        log.info("the links' certificate is a new one", ends_at_ms=fleet.identity.ends_at_ms)

    def _sign(self, peer: str, ask: RenewAsk) -> RenewAnswer:
        """A new certificate for a peer that is admitted, with the names of its old one."""
        entry = self.keeper.roster.get(peer)
        if entry is None or not self.fleet.can_sign:
            return RenewAnswer(b"", "fleet_key_missing")
        try:
            public_key = read_request(ask.request, peer)
            certificate = self.fleet.issue(
                public_key,
                node_id=peer,
                site_id=entry.site_id,
                instance=entry.instance,
                clock=self._clock,
                after_ms=entry.issued_at_ms,
            )
        except HomeportError as error:
            return RenewAnswer(b"", error.code)
        return RenewAnswer(der_of(certificate), "")

    def _take_certificate(self, peer: str, answer: RenewAnswer) -> None:
        key = self._renewing.get(peer)
        if key is None or not answer.certificate:
            self._renewed.set()
            return
        try:
            # A write of two files' names, once in 60 days.
            fleet = self.fleet.with_certificate(
                key, load_certificate(answer.certificate, self.fleet.authority)
            )
        except HomeportError as error:
            log.error("a peer's certificate for us is none", peer=peer, error=error.message)
        else:
            del self._renewing[peer]
            self._use(fleet)
        self._renewed.set()


def contexts_of(fleet: Fleet) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """TLS for those who connect, and for connecting.

    Raises:
        ConfigError: `fleet_file_invalid`.
    """
    try:
        return (
            server_context(fleet.ca_path, fleet.link_path),
            client_context(fleet.ca_path, fleet.link_path),
        )
    except OSError as error:
        raise ConfigError(
            f"TLS can't use what is in {fleet.folder}: {error}.",
            hint="Put the folder back from a backup, or move it away and join again.",
            code="fleet_file_invalid",
        ) from error
