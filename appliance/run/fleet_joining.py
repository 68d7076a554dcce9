"""Joining a fleet: the new box's end.

As another site a box keeps all it has, and gets a place in the fleet; Homeport may run meanwhile. As another node of the inviter's site it gets that site's secrets and
a node id of its own, and begins anew: what was in its data folder is moved aside, by renaming, and never deleted; Homeport is stopped. Until the last
rename nothing of the box has changed.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import secrets
import shutil
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import trio
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from appliance.core.clock import Clock
from appliance.core.config import Config
from appliance.core.errors import (
    Conflict,
    HomeportError,
    NotAuthorized,
    RemoteProtocolError,
    Unavailable,
)
from appliance.core.limits_replication import LINK_HANDSHAKE_S
from appliance.core.settings import BadValueError, Bind
from appliance.identity import files
from appliance.identity.fleet import (
    FOLDER,
    fingerprint_of,
    fleet_folder,
    folder_contents,
    make_request,
    site_id_of,
    site_signer,
    write_folder,
)
from appliance.identity.fleet_acts import ACTS, FleetAct, encode_act, leave_act
from appliance.identity.fleet_certificates import load_certificate, verify_issued
from appliance.identity.fleet_entries import verify_entry
from appliance.identity.fleet_invitations import Token, proof_of, unseal_from
from appliance.identity.instance import INSTANCE_BYTES, instance_content, instance_path
from appliance.identity.keys import NODE_ID_BYTES, SiteKeys
from appliance.identity.site_secrets import SHARED, SiteSecrets, decode_site_secrets
from appliance.management.fleet import NodeEntry, Roster
from appliance.run import layout
from appliance.run.first_run import lock
from replication.link.greeting import JOIN_PATH
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
from replication.link.transport import Wire, WireEnded, joining_context, with_wire
from storage.backup import switch

HOLDER: Final = "homeport peer join"
Message = TypeVar("Message", JoinOffer, JoinAnswer)


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined:
    """What came of it.

    Attributes:
        replaced: Where what was in the data folder lies; None where there was nothing, or it stayed.
    """

    node_id: str
    site_id: str
    inviter: NodeEntry
    is_same_site: bool
    replaced: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Given:
    authority: x509.Certificate
    certificate: x509.Certificate
    inviter: NodeEntry
    secrets: SiteSecrets | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Applicant:
    """What the new box brings: `keys` where it comes as another site."""

    node_id: str
    instance: str
    key: ec.EllipticCurvePrivateKey
    keys: SiteKeys | None


def join(config: Config, token: Token, *, clock: Clock, replace: bool = False) -> Joined:
    """Join by an invitation. Blocks until it is done; the folders of the box are there.

    Args:
        replace: As a node of the same site, what is in the data folder may be moved aside.
    Raises:
        Conflict: `locked`: the box runs and is to be of the same site; `fleet_there`; `data_dir_in_use`. Unavailable: `inviter_unreachable`.
        NotAuthorized: the inviter is none (`inviter_false`), or refused. StorageError: it can't be written.
    """
    data_dir = config.node.data_dir
    with ExitStack() as held:
        is_same_site = token.kind == "site"
        if is_same_site:
            # Everything in the data folder is another one then; as another site it only gets a folder more.
            held.enter_context(lock(layout.supervisor_lock(config), holder=HOLDER))
            held.enter_context(lock(layout.node_lock(config), holder=HOLDER))
        if fleet_folder(data_dir).exists():
            raise Conflict(
                "This box belongs to a fleet already.",
                hint=f"If it is to leave that one, move {fleet_folder(data_dir)} away first.",
                code="fleet_there",
            )
        if is_same_site:
            switch.check_replaceable(data_dir, replace=replace)
        keys = None if is_same_site else SiteKeys.load_or_create(data_dir)
        applicant = _Applicant(
            node_id=secrets.token_hex(NODE_ID_BYTES) if keys is None else keys.node_id.hex(),
            instance=secrets.token_hex(INSTANCE_BYTES),
            key=ec.generate_private_key(ec.SECP256R1()),
            keys=keys,
        )
        given = trio.run(partial(_ask_all, token, applicant, clock))
        roster, _ = Roster(fingerprint_of(given.authority)).merged([given.inviter])
        instance = instance_content(data_dir, applicant.instance)
        if given.secrets is None:
            files.replace(instance_path(data_dir), instance)
            write_folder(data_dir, given.authority, applicant.key, given.certificate, roster)
            leave_act(fleet_folder(data_dir), _joined_act(given, applicant))
            aside = None
        else:
            aside = _begin_anew(data_dir, given, applicant, roster, instance, clock)
        site_id = given.inviter.site_id if keys is None else site_id_of(keys)
        return Joined(
            node_id=applicant.node_id,
            site_id=site_id,
            inviter=given.inviter,
            is_same_site=is_same_site,
            replaced=aside,
        )


def _begin_anew(
    data_dir: Path, given: _Given, applicant: _Applicant, roster: Roster, instance: bytes, clock: Clock
) -> Path | None:
    """Put the new identity in the place of what is there, as a restore does."""
    assert given.secrets is not None
    staging = data_dir / switch.STAGING
    shutil.rmtree(staging, ignore_errors=True)
    try:
        staging.mkdir(mode=0o700)
        (staging / "identity").mkdir(mode=0o700)
        (staging / "identity" / "ca").mkdir(mode=0o700)
        (staging / FOLDER).mkdir(mode=0o700)
        (staging / FOLDER / ACTS).mkdir(mode=0o700)
        node_key = Ed25519PrivateKey.generate().private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
        )
        contents = {f"identity/{name}": (data, SHARED[name]) for name, data in given.secrets.files.items()}
        contents |= {
            "identity/node.id": (applicant.node_id.encode() + b"\n", files.PRIVATE),
            "identity/node.key": (node_key, files.PRIVATE),
            "identity/instance": (instance, files.PRIVATE),
        }
        place = folder_contents(given.authority, applicant.key, given.certificate, roster)
        contents |= {f"{FOLDER}/{name}": content for name, content in place.items()}
        act = encode_act(_joined_act(given, applicant))
        contents[f"{FOLDER}/{ACTS}/joined.json"] = (act, files.PRIVATE)
        for name, (data, mode) in contents.items():
            files.create(staging / name, data, mode=mode)
        SiteKeys.load_existing(staging)
    except HomeportError:
        shutil.rmtree(staging, ignore_errors=True)
        raise
    stamp = dt.datetime.fromtimestamp(clock.now_ms() / 1000, dt.UTC).strftime("%Y%m%dT%H%M%SZ")
    plan = switch.decide(data_dir, "joined", stamp=stamp)
    switch.finish(data_dir, plan)
    aside = data_dir / plan.aside
    return aside if aside.exists() else None


def _joined_act(given: _Given, applicant: _Applicant) -> FleetAct:
    inviter = given.inviter
    return FleetAct(
        node_id=applicant.node_id, detail=f"joined the fleet of {inviter.name[:63]} ({inviter.node_id})"
    )


async def _ask_all(token: Token, applicant: _Applicant, clock: Clock) -> _Given:
    """Try the inviter's addresses in turn."""
    problems = []
    for text in token.addresses:
        try:
            address = Bind.parse(text)
        except BadValueError:
            continue
        with trio.move_on_after(LINK_HANDSHAKE_S):
            try:
                return await _ask(address, token, applicant, clock)
            except (OSError, WireEnded) as error:
                problems.append(f"{text}: {error}")
                continue
        problems.append(f"{text}: no answer within {LINK_HANDSHAKE_S} s")
    raise Unavailable(
        f"The box that invited can't be reached: {'; '.join(problems) or 'the invitation names no address'}.",
        hint="Look whether it runs, and whether a firewall lets its port 8885 pass; it takes some seconds after its first invitation.",
        code="inviter_unreachable",
    )


async def _ask(address: Bind, token: Token, applicant: _Applicant, clock: Clock) -> _Given:
    given: list[_Given] = []
    errors: list[HomeportError] = []

    async def talk(wire: Wire) -> None:
        try:
            given.append(await _talk(wire, token, applicant, clock))
        except HomeportError as error:
            errors.append(error)
        await wire.close("joined")

    stream = await trio.open_tcp_stream(address.host, address.port)
    await with_wire(stream, joining_context(), talk, path=JOIN_PATH)
    if errors:
        raise errors[0]
    return given[0]


async def _talk(wire: Wire, token: Token, applicant: _Applicant, clock: Clock) -> _Given:
    ours = X25519PrivateKey.generate()
    hello = JoinHello(JOIN_VERSION, token.invitation_id, ours.public_key().public_bytes_raw())
    await wire.send(encode_join(hello))
    offer = _expected(await wire.receive(), JoinOffer)
    authority, server_der = _inviter(wire, offer, token, clock)
    keys = applicant.keys
    ask = JoinAsk(
        node_id=applicant.node_id,
        site_id=offer.site_id if keys is None else site_id_of(keys),
        instance=applicant.instance,
        request=make_request(applicant.key, applicant.node_id),
        site_key=b"" if keys is None else site_signer(keys).key_id,
        site_signature=b"",
        proof=b"",
    )
    said = transcript(server_der, hello, offer, ask)
    signature = b"" if keys is None else site_signer(keys).sign(said)
    ask = JoinAsk(
        ask.node_id,
        ask.site_id,
        ask.instance,
        ask.request,
        ask.site_key,
        signature,
        proof_of(token.proof_key, said),
    )
    await wire.send(encode_join(ask))
    answer = _expected(await wire.receive(), JoinAnswer)
    certificate = load_certificate(answer.certificate, authority)
    given = None
    if keys is None:
        given = decode_site_secrets(unseal_from(ours, answer.key, token.seal_key, said, answer.sealed))
    return _Given(
        authority=authority,
        certificate=certificate,
        inviter=verify_entry(answer.entry, authority),
        secrets=given,
    )


def _inviter(wire: Wire, offer: JoinOffer, token: Token, clock: Clock) -> tuple[x509.Certificate, bytes]:
    """The authority, if it is the token's, and signed what the other end has shown and proved to have.

    Raises:
        NotAuthorized: `inviter_false`.
    """
    try:
        if hashlib.sha256(offer.authority).hexdigest() != token.authority or offer.kind != token.kind:
            raise ValueError("it names another authority")
        authority = x509.load_der_x509_certificate(offer.authority)
        server_der = wire.peer_der or b""
        identity, _ = verify_issued(server_der, authority)
        if identity.is_over(clock.now_ms()):
            raise ValueError("its certificate is over, or this box's clock is wrong")
    except (ValueError, NotAuthorized) as error:
        raise NotAuthorized(
            f"What answers is not the box that invited: {error}.",
            hint="Nothing was told to it. Look at the address, and have another invitation made.",
            code="inviter_false",
        ) from error
    return authority, server_der


def _expected(data: bytes, kind: type[Message]) -> Message:
    message = decode_join(data)
    if isinstance(message, JoinRefused):
        raise NotAuthorized(f"The other box refused: {message.message}", code=message.reason or "refused")
    if not isinstance(message, kind):
        raise RemoteProtocolError(
            f"The other box answered with {type(message).__name__}.",
            hint="Update the older of the two boxes.",
        )
    return message
