"""What is said when a box joins: five messages on a connection of its own, on which the box that joins has no certificate yet.

joins                                       invites
JoinHello: which invitation, a key     ──▶
                                       ◀──  JoinOffer: the authority's certificate
(is it the one of the token, and did it sign what TLS showed?)
JoinAsk: who, a request, a proof       ──▶  (is the invitation good, and the proof?)
                                       ◀──  JoinAnswer: the certificate, and what was sealed
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Final, Literal, TypeAlias

import msgspec
from msgspec import Meta

from appliance.core.errors import RemoteProtocolError
from appliance.core.limits_replication import SITE_SECRETS_BYTES_MAX
from appliance.management.fleet import Hex128, SignedEntry
from replication.link.messages import Der, Reason, Words

JOIN_VERSION: Final = 1
Key: TypeAlias = Annotated[bytes, Meta(min_length=32, max_length=32)]


class JoinHello(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """Args:
    key: X25519, of this conversation alone.
    """

    version: Annotated[int, Meta(ge=0, le=2**16 - 1)]
    invitation_id: Hex128
    key: Key


class JoinOffer(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """Args:
    kind: site: as another node of `site_id`. other: as another site.
    """

    kind: Literal["site", "other"]
    authority: Der
    site_id: Hex128
    name: Annotated[str, Meta(max_length=63)]


class JoinAsk(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """Args:
    request: PKCS#10 for the node's link.
    site_key, site_signature: That it is of the site it says to be, over `transcript` of the three messages; empty for a box that is
        to be of the inviter's site.
    proof: That it has the invitation's secret, over the same.
    """

    node_id: Hex128
    site_id: Hex128
    instance: Hex128
    request: Der
    site_key: Annotated[bytes, Meta(max_length=32)]
    site_signature: Annotated[bytes, Meta(max_length=64)]
    proof: Annotated[bytes, Meta(max_length=32)]


class JoinAnswer(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """Args:
    certificate: Of the new node's link, DER.
    entry: The inviter's, by which the new node finds the fleet.
    key, sealed: The site's secrets, for a node of the inviter's site; else empty.
    """

    certificate: Der
    entry: SignedEntry
    key: Annotated[bytes, Meta(max_length=32)]
    sealed: Annotated[bytes, Meta(max_length=SITE_SECRETS_BYTES_MAX)]


class JoinRefused(msgspec.Struct, frozen=True, array_like=True, tag=5):
    """Why there is nothing."""

    reason: Reason
    message: Words


JoinMessage: TypeAlias = JoinHello | JoinOffer | JoinAsk | JoinAnswer | JoinRefused
_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final[msgspec.msgpack.Decoder[JoinMessage]] = msgspec.msgpack.Decoder(JoinMessage)


def encode_join(message: JoinMessage) -> bytes:
    """The message as it is sent."""
    return _ENCODER.encode(message)


def decode_join(data: bytes) -> JoinMessage:
    """The message in these bytes, whose length was looked at before.

    Raises:
        RemoteProtocolError: it is none.
    """
    try:
        return _DECODER.decode(data)
    except (msgspec.DecodeError, RecursionError) as error:
        raise RemoteProtocolError(
            f"A message about joining is not understood: {error}.", hint="Update the older of the two boxes."
        ) from error


def transcript(server_der: bytes, hello: JoinHello, offer: JoinOffer, ask: JoinAsk) -> bytes:
    """What both ends have said on a connection whose server showed this certificate: what proofs are about."""
    bare = msgspec.structs.replace(ask, site_signature=b"", proof=b"")
    digest = hashlib.sha256(b"homeport/join/1")
    for part in (server_der, encode_join(hello), encode_join(offer), encode_join(bare)):
        digest.update(len(part).to_bytes(4, "big") + part)
    return digest.digest()
