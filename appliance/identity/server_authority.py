"""The site's authority for its boxes' own certificates: what a device or a browser trusts once, to know every box of the site.

Key and certificate are made of the site key, to the last bit: each box of the site has them, also one that was made anew from the recovery kit,
and nothing more has to be kept. It signs servers' certificates and nothing else, and has no end: it is no more than the site key in another form.

Source: RFC 5280 §4.2; RFC 6979 (deterministic signature).
"""

from __future__ import annotations

import datetime as dt
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Self

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from appliance.identity.ca_certificates import derived_key, fingerprint
from appliance.identity.dates import CLOCK_WRONG_BEFORE, NO_END
from appliance.identity.keys import SiteKeys

NAME_BEGIN: Final = "Homeport site "
LABEL: Final = "server-authority/1"
LIFE_DAYS: Final = 820
"""Of a box's certificate: browsers refuse more than 825."""
BACKDATE_DAYS: Final = 1
"""A device whose clock is some hours behind still takes it."""
COMMON_NAME_LENGTH_MAX: Final = 64
_USAGE: Final = {
    "digital_signature": False,
    "key_cert_sign": False,
    "crl_sign": False,
    "content_commitment": False,
    "key_encipherment": False,
    "data_encipherment": False,
    "key_agreement": False,
    "encipher_only": False,
    "decipher_only": False,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerAuthority:
    """See the module's docstring."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey = field(repr=False)

    @classmethod
    def of(cls, keys: SiteKeys) -> Self:
        """The site's; the same keys give the same bytes. Takes some ms."""
        key = derived_key(keys.derive(LABEL), "key")
        public = key.public_key()
        identifier = x509.SubjectKeyIdentifier.from_public_key(public)
        name = _name(f"{NAME_BEGIN}{identifier.digest.hex()[:8]}")
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
            .add_extension(x509.KeyUsage(**_USAGE | {"key_cert_sign": True, "crl_sign": True}), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .sign(key, SHA256(), ecdsa_deterministic=True)
        )
        return cls(certificate=certificate, key=key)

    @property
    def pem(self) -> bytes:
        """The certificate."""
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def fingerprint(self) -> str:
        """SHA-256, `AB:CD:…`."""
        return fingerprint(self.certificate)

    def has_signed(self, certificate: x509.Certificate) -> bool:
        """Whether a certificate is of this authority."""
        try:
            certificate.verify_directly_issued_by(self.certificate)
        except (ValueError, TypeError, InvalidSignature):
            return False
        return True

    def make(self, node_name: str, *, names: Sequence[str], addresses: Sequence[str], now_ms: int) -> bytes:
        """A new key with a certificate for a box, PEM.

        Args:
            names: DNS names. addresses: IP addresses. now_ms: It begins a day before, and ends 819 days after.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        now = max(dt.datetime.fromtimestamp(now_ms / 1000, dt.UTC), CLOCK_WRONG_BEFORE)
        begin = now - dt.timedelta(days=BACKDATE_DAYS)
        alternatives: list[x509.GeneralName] = [x509.DNSName(name) for name in names]
        alternatives += [x509.IPAddress(ipaddress.ip_address(address)) for address in addresses]
        certificate = (
            x509.CertificateBuilder()
            .subject_name(_name(node_name[:COMMON_NAME_LENGTH_MAX]))
            .issuer_name(self.certificate.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin)
            .not_valid_after(begin + dt.timedelta(days=LIFE_DAYS))
            .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.KeyUsage(**_USAGE | {"digital_signature": True}), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False
            )
            .sign(self.key, SHA256())
        )
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return private + certificate.public_bytes(Encoding.PEM)


def is_authority_name(name: x509.Name) -> bool:
    """Whether this is what authorities of sites are called, whichever site's."""
    found = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return len(found) == 1 and str(found[0].value).startswith(NAME_BEGIN)


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
