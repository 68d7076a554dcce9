"""Letting invited boxes in: the inviter's end of a box's joining.

Whoever joins gets a certificate for the node id and the site it proves, or, as a node of this site, the site's secrets sealed to it. An
invitation is marked as used, durably, before anything is given out.
"""

from __future__ import annotations

import msgspec
import structlog
import trio

from appliance.core.clock import Clock
from appliance.core.config import Config
from appliance.core.errors import HomeportError, NotAuthorized, RemoteProtocolError
from appliance.core.limits_replication import LINK_MESSAGE_LENGTH_MAX
from appliance.identity.fleet import check_site, read_request
from appliance.identity.fleet_acts import FleetAct, leave_act
from appliance.identity.fleet_certificates import der_of
from appliance.identity.fleet_invitations import (
    Invitations,
    Kind,
    check_proof,
    seal_to,
)
from appliance.identity.site_secrets import read_site_secrets
from appliance.management.fleet import Roster
from appliance.run.fleet_node import FleetNode
from replication.link.join_messages import (
    JOIN_VERSION,
    JoinAnswer,
    JoinAsk,
    JoinHello,
    JoinOffer,
    JoinRefused,
    decode_join,
    encode_join,
    transcript,
)
from replication.link.transport import Wire

log = structlog.get_logger(__name__)


class Inviting:
    """Talks to whoever joins; `talk` is for `Links.join`."""

    def __init__(self, node: FleetNode, config: Config, *, clock: Clock) -> None:
        self._node = node
        self._config = config
        self._clock = clock

    async def talk(self, wire: Wire) -> None:
        """One box's joining, and hang up. Whoever calls this bounds how long it may take.

        Raises:
            WireEnded: it hung up.
        """
        try:
            answer = await self._answer(wire)
        except (HomeportError, RemoteProtocolError) as error:
            log.warning("a box was not let in", error=error.message, code=error.code)
            message = f"{error.message} {error.hint}".strip()[:LINK_MESSAGE_LENGTH_MAX]
            await wire.send(encode_join(JoinRefused(error.code, message)))
        else:
            await wire.send(encode_join(answer))
        await wire.close("joined")

    async def _answer(self, wire: Wire) -> JoinAnswer:
        fleet, own = self._node.fleet, self._node.entry
        hello = decode_join(await wire.receive())
        if not isinstance(hello, JoinHello):
            raise RemoteProtocolError("It did not begin with hello.")
        if hello.version != JOIN_VERSION:
            raise RemoteProtocolError(
                f"It joins by version {hello.version}, this box by {JOIN_VERSION}.",
                hint="Update the older of the two boxes.",
            )
        invitations = Invitations(fleet.folder, clock=self._clock)
        invitation = await trio.to_thread.run_sync(invitations.find, hello.invitation_id)
        offer = JoinOffer(invitation.kind, der_of(fleet.authority), own.site_id, own.name)
        await wire.send(encode_join(offer))
        ask = decode_join(await wire.receive())
        if not isinstance(ask, JoinAsk):
            raise RemoteProtocolError(
                "It asked for nothing.", hint="It did not take this box for the inviter."
            )
        said = transcript(der_of(fleet.certificate), hello, offer, ask)
        check_proof(invitation, said, ask.proof)
        self._check_who(invitation.kind, ask, said)
        public_key = read_request(ask.request, ask.node_id)
        await trio.to_thread.run_sync(invitations.use, invitation, ask.node_id, ask.request)
        whose = "this site" if invitation.kind == "site" else f"site {ask.site_id[:8]}"
        act = FleetAct(
            node_id=ask.node_id,
            detail=f"let in as a box of {whose} by the invitation {invitation.invitation_id}",
        )
        await trio.to_thread.run_sync(leave_act, fleet.folder, act)
        before = self._node.keeper.roster.get(ask.node_id)
        certificate = fleet.issue(
            public_key,
            node_id=ask.node_id,
            site_id=ask.site_id,
            instance=ask.instance,
            clock=self._clock,
            after_ms=0 if before is None else before.issued_at_ms,
        )
        their_key, sealed = b"", b""
        if invitation.kind == "site":
            secrets = await trio.to_thread.run_sync(read_site_secrets, self._config.node.data_dir)
            their_key, sealed = seal_to(
                hello.key, bytes.fromhex(invitation.seal_key), said, msgspec.msgpack.encode(secrets)
            )
        log.info("a box was let in", node_id=ask.node_id, site_id=ask.site_id, kind=invitation.kind)
        return JoinAnswer(der_of(certificate), own.signed, their_key, sealed)

    def _check_who(self, kind: Kind, ask: JoinAsk, said: bytes) -> None:
        own_site = self._node.entry.site_id
        if kind == "site" and ask.site_id != own_site:
            raise NotAuthorized(
                "This invitation is for another node of the same site.",
                hint="Have one made for another site: homeport peer invite --other-site.",
                code="invitation_kind",
            )
        if kind == "other":
            check_site(ask.site_id, ask.site_key, said, ask.site_signature)
        check_node_free(self._node.keeper.roster, ask)


def check_node_free(roster: Roster, ask: JoinAsk) -> None:
    """See that nobody takes another site's node for its own, and no decommissioned one comes back.

    Raises:
        NotAuthorized: `node_id_taken`, `node_decommissioned`.
    """
    known = roster.get(ask.node_id)
    if known is None:
        return
    if known.decommission is not None:
        raise NotAuthorized(
            f"Node {ask.node_id} was decommissioned, which is for good.",
            hint="It can come back as a new node: give it another node id (move data_dir/identity away).",
            code="node_decommissioned",
        )
    if known.site_id != ask.site_id:
        raise NotAuthorized(
            f"Node {ask.node_id} is of another site.",
            hint="Two boxes have one node id: one of them was cloned. Give the new one an identity of its own.",
            code="node_id_taken",
        )
