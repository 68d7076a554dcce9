"""Signing and verifying what the roster says: cards by their nodes, farewells by a holder of the authority's key.

An entry from outside counts only after `verify_entry`: the certificate is this fleet's, its fields are what stands in it, the card is
about the certificate's node and instance and was signed with its key, and so on. The end of a certificate is not looked at
here: a node that was away for a year is still a node of the fleet, it only has no link.
"""

from __future__ import annotations

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256

from appliance.core.errors import NotAuthorized
from appliance.identity.fleet_certificates import read_identity, verify_issued
from appliance.management.fleet import Decommission, NodeCard, NodeEntry, SignedEntry, entry_of


def sign_card(der: bytes, key: ec.EllipticCurvePrivateKey, card: NodeCard) -> NodeEntry:
    """The entry of a node, made by itself.

    Args:
        der: The certificate of its link. key: What the certificate is for.
    """
    identity, _, _ = read_identity(der)
    text = card.text()
    return entry_of(
        SignedEntry(
            node_id=identity.node_id,
            site_id=identity.site_id,
            fingerprint=identity.fingerprint,
            issued_at_ms=identity.issued_at_ms,
            ends_at_ms=identity.ends_at_ms,
            certificate=der,
            card=text,
            card_signature=_sign(key, text),
        )
    )


def sign_decommission(
    entry: NodeEntry, authority_key: ec.EllipticCurvePrivateKey, farewell: Decommission
) -> NodeEntry:
    """The entry of a node that is gone for good."""
    signed = entry.signed
    text = farewell.text()
    return entry_of(
        SignedEntry(
            node_id=signed.node_id,
            site_id=signed.site_id,
            fingerprint=signed.fingerprint,
            issued_at_ms=signed.issued_at_ms,
            ends_at_ms=signed.ends_at_ms,
            certificate=signed.certificate,
            card=signed.card,
            card_signature=signed.card_signature,
            decommission=text,
            decommission_signature=_sign(authority_key, text),
        )
    )


def verify_entry(signed: SignedEntry, authority: x509.Certificate) -> NodeEntry:
    """An entry that may be believed.

    Raises:
        NotAuthorized: `roster_entry_unsigned`, `fleet_stranger`, `link_certificate_invalid`. UsageError: `roster_entry_invalid`.
    """
    entry = entry_of(signed)
    identity, public_key = verify_issued(signed.certificate, authority)
    said = (
        identity.node_id,
        identity.site_id,
        identity.instance,
        identity.fingerprint,
        identity.issued_at_ms,
        identity.ends_at_ms,
    )
    if said != (
        entry.node_id,
        entry.site_id,
        entry.instance,
        entry.fingerprint,
        entry.issued_at_ms,
        entry.ends_at_ms,
    ):
        raise _unsigned(entry, "its fields are not those of its certificate")
    _verify(entry, public_key, signed.card_signature, signed.card)
    if signed.decommission:
        authority_key = authority.public_key()
        assert isinstance(authority_key, ec.EllipticCurvePublicKey)
        _verify(entry, authority_key, signed.decommission_signature, signed.decommission)
    return entry


def _sign(key: ec.EllipticCurvePrivateKey, text: str) -> bytes:
    return key.sign(text.encode(), ec.ECDSA(SHA256()))


def _verify(entry: NodeEntry, key: ec.EllipticCurvePublicKey, signature: bytes, text: str) -> None:
    try:
        key.verify(signature, text.encode(), ec.ECDSA(SHA256()))
    except InvalidSignature as error:
        raise _unsigned(entry, "its signature is wrong") from error


def _unsigned(entry: NodeEntry, why: str) -> NotAuthorized:
    return NotAuthorized(
        f"What was told of node {entry.node_id} is not believed: {why}.",
        hint="Look at the box that told it; nothing was changed here.",
        code="roster_entry_unsigned",
    )
