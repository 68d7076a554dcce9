"""Certificates of the fleet: its authority, and one for each node's links. No input or output.

    authority   P-256, made of the site key of the site that began the fleet: each node of that site can make it again, to the
                last bit, and so invite and sign. It signs certificates of links and statements about nodes, nothing else.
    link        P-256, 90 days, TLS client and server at once. Its names are what it is: the node's id as common name, and node, site
                and instance as URIs. A node has it under a key that never leaves the box.

The authority ends with the site key, not on a day: a fleet that is 20 years old is not to stop on one.
Source: RFC 5280 §4.2 (extensions), §4.1.2.5 (no well-defined end); RFC 6979 (deterministic signature of the authority).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from appliance.core.errors import NotAuthorized
from appliance.core.limits_replication import (
    LINK_CERTIFICATE_DAYS,
    LINK_CLOCK_AHEAD_MS_MAX,
    LINK_RENEW_SHARE,
    ROSTER_CERTIFICATE_BYTES_MAX,
)
from appliance.identity.ca_certificates import derived_key, ms, wall
from appliance.identity.dates import CLOCK_WRONG_BEFORE, NO_END

AUTHORITY_LABEL: Final = "fleet-authority/1"
SITE_LABEL: Final = "site-identity/1"
DAY_MS: Final = 86_400_000
_URI: Final = re.compile(r"homeport://(node|site|instance)/([0-9a-f]{32})")


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkIdentity:
    """What a link's certificate says.

    Attributes:
        fingerprint: SHA-256 of its DER form, hexadecimal.
        issued_at_ms: When it begins, which orders the certificates of a node.
    """

    node_id: str
    site_id: str
    instance: str
    fingerprint: str
    issued_at_ms: int
    ends_at_ms: int

    def is_over(self, now_ms: int) -> bool:
        """Whether it counts no more."""
        return now_ms > self.ends_at_ms

    def is_due(self, now_ms: int) -> bool:
        """Whether its node should have another one made."""
        return now_ms > self.ends_at_ms - LINK_CERTIFICATE_DAYS * DAY_MS // LINK_RENEW_SHARE


def authority_certificate(secret: bytes) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    """The authority's key and certificate; the same secret gives the same bytes."""
    key = derived_key(secret, "key")
    public = key.public_key()
    identifier = x509.SubjectKeyIdentifier.from_public_key(public)
    name = _name(f"Homeport fleet {identifier.digest.hex()[:8]}")
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(public)
        .serial_number(1)
        .not_valid_before(CLOCK_WRONG_BEFORE)
        .not_valid_after(NO_END)
        .add_extension(identifier, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(is_authority=True), critical=True)
        .sign(key, SHA256(), ecdsa_deterministic=True)
    )
    return key, certificate


def link_certificate(
    key: ec.EllipticCurvePrivateKey,
    authority: x509.Certificate,
    public_key: ec.EllipticCurvePublicKey,
    *,
    node_id: str,
    site_id: str,
    instance: str,
    serial: int,
    now_ms: int,
) -> x509.Certificate:
    """A link's certificate, signed with the authority's key.

    Args:
        now_ms: It begins a day before, and ends 90 days after.
    """
    begin = max(now_ms - LINK_CLOCK_AHEAD_MS_MAX, ms(CLOCK_WRONG_BEFORE))
    end = max(now_ms, ms(CLOCK_WRONG_BEFORE)) + LINK_CERTIFICATE_DAYS * DAY_MS
    uris = [f"homeport://node/{node_id}", f"homeport://site/{site_id}", f"homeport://instance/{instance}"]
    names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri) for uri in uris])
    return (
        x509.CertificateBuilder()
        .subject_name(_name(node_id))
        .issuer_name(authority.subject)
        .public_key(public_key)
        .serial_number(serial)
        .not_valid_before(wall(begin))
        .not_valid_after(wall(end))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(is_authority=False), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]),
            critical=False,
        )
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
        .sign(key, SHA256())
    )


def read_identity(der: bytes) -> tuple[LinkIdentity, ec.EllipticCurvePublicKey, x509.Certificate]:
    """What a link's certificate says, whoever signed it.

    Raises:
        NotAuthorized: `link_certificate_invalid`.
    """
    if len(der) > ROSTER_CERTIFICATE_BYTES_MAX:
        raise _invalid(f"it has {len(der)} bytes")
    try:
        certificate = x509.load_der_x509_certificate(der)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uris = names.get_values_for_type(x509.UniformResourceIdentifier)
        public_key = certificate.public_key()
        begin, end = ms(certificate.not_valid_before_utc), ms(certificate.not_valid_after_utc)
    except (ValueError, x509.ExtensionNotFound, x509.DuplicateExtension) as error:
        raise _invalid(str(error)) from error
    found = {match[1]: match[2] for uri in uris if (match := _URI.fullmatch(uri)) is not None}
    if len(uris) != 3 or found.keys() != {"node", "site", "instance"}:
        raise _invalid("its names are none of a node")
    if not isinstance(public_key, ec.EllipticCurvePublicKey) or public_key.curve.name != "secp256r1":
        raise _invalid("its key is none over P-256")
    identity = LinkIdentity(
        node_id=found["node"],
        site_id=found["site"],
        instance=found["instance"],
        fingerprint=certificate.fingerprint(SHA256()).hex(),
        issued_at_ms=max(begin, 0),
        ends_at_ms=end,
    )
    return identity, public_key, certificate


def verify_issued(der: bytes, authority: x509.Certificate) -> tuple[LinkIdentity, ec.EllipticCurvePublicKey]:
    """What a certificate says that this authority signed. Its end is not looked at.

    Raises:
        NotAuthorized: `link_certificate_invalid`, `fleet_stranger`.
    """
    identity, public_key, certificate = read_identity(der)
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature) as error:
        raise NotAuthorized(
            f"The certificate of node {identity.node_id} was not signed by this fleet's authority.",
            hint="Compare the fingerprints of the authority on both boxes: homeport peer list.",
            code="fleet_stranger",
        ) from error
    return identity, public_key


def load_certificate(der: bytes, authority: x509.Certificate) -> x509.Certificate:
    """A certificate that this authority signed.

    Raises:
        NotAuthorized: `link_certificate_invalid`, `fleet_stranger`.
    """
    verify_issued(der, authority)
    return x509.load_der_x509_certificate(der)


def der_of(certificate: x509.Certificate) -> bytes:
    """The DER form."""
    return certificate.public_bytes(Encoding.DER)


def _invalid(why: str) -> NotAuthorized:
    return NotAuthorized(
        f"This is no certificate of a fleet's link: {why}.",
        hint="The other side is no box of a fleet: look at its address and port.",
        code="link_certificate_invalid",
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _key_usage(*, is_authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=is_authority,
        crl_sign=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
