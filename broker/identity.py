"""Who a connection belongs to, from what its way in proves and what CONNECT says.

Three proofs: a user name with its token, a certificate that TLS has verified, and the kernel's word for the user at the
other end of a Unix socket. Whatever is offered must be right: a certificate does not make up for a wrong token, or a token for
a certificate of somebody else. The catalog is asked on every connect; no proof outlives a device's state there.

Must not know: how TLS verifies, where the catalog is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

from cryptography import x509
from cryptography.x509.oid import NameOID

from appliance.core.errors import NotAuthorized
from appliance.management.access import Principal, certificate_proof

from .mqtt.packets import Connect

LOCAL: Final = Principal(name="$local", kind="application", access="site")
"""A program of Homeport's own user, or of root, on the Unix socket: whoever may read the keys may do all that they permit.
No device can be called so (`check_device_id`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What the way in proves.

    Attributes:
        certificate: Of the client, DER, verified against the configured authorities; None where it showed none.
        is_local: The kernel says that the peer runs as Homeport's own user or as root.
    """

    certificate: bytes | None = None
    is_local: bool = False


NOTHING: Final = Proof()
SDK_METRICS: Final = "?SDK="
"""What the device SDKs of AWS IoT put into the user name beside a certificate: their version and platform, and no name."""


class DeviceAuthenticator(Protocol):
    """Who a connection belongs to; appliance.identity has the real one."""

    def authenticate(
        self, username: str | None, password: bytes | None, client_id: str, address: str
    ) -> Principal:
        """Blocks for as long as the catalog takes. Raises NotAuthorized, or Unavailable if it can't be asked."""

    def authenticate_certificate(
        self, common_name: str, proof: bytes, client_id: str, address: str
    ) -> Principal:
        """The same for a certificate that was verified; `proof` says which (`certificate_proof`)."""


def identify(authenticator: DeviceAuthenticator, connect: Connect, address: str, proof: Proof) -> Principal:
    """Who this is. Blocks as the authenticator does.

    Raises:
        NotAuthorized: as the authenticator; `certificate_unnamed` where a certificate has not one common name,
            `certificate_mismatch` where CONNECT names somebody else.
        Unavailable: the catalog can't be asked.
    """
    name, password = connect.username, connect.password
    if proof.is_local and name is None and password is None:
        return LOCAL
    if proof.certificate is None:
        return authenticator.authenticate(name, password, connect.client_id, address)
    certificate = read_certificate(proof.certificate)
    common_name = certificate.common_name
    if name is not None and password is None and name.startswith(SDK_METRICS):
        name = None
    if name not in (None, common_name):
        raise NotAuthorized(
            f"The certificate is for {common_name!r}, and CONNECT names {name!r}.",
            hint="Leave the user name out, or give the device its own certificate.",
            code="certificate_mismatch",
        )
    if password is not None:
        authenticator.authenticate(common_name, password, connect.client_id, address)
    return authenticator.authenticate_certificate(common_name, certificate.proof, connect.client_id, address)


@dataclass(frozen=True, slots=True)
class ShownCertificate:
    """A certificate that TLS has verified: whose it is, and which (`certificate_proof`)."""

    common_name: str
    proof: bytes


def read_certificate(der: bytes) -> ShownCertificate:
    """What of a certificate says who shows it.

    Raises:
        NotAuthorized: `certificate_unnamed`, its subject has no common name, more than one, or one that is no text.
    """
    serial = issuer_key_id = ""
    try:
        certificate = x509.load_der_x509_certificate(der)
        names = [each.value for each in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
        serial, issuer_key_id = f"{certificate.serial_number:x}", _issuer_key_id(certificate)
    except ValueError:
        names = []  # OpenSSL has taken what cryptography's stricter parser does not.
    if len(names) != 1 or not isinstance(names[0], str) or not names[0]:
        raise NotAuthorized(
            "The certificate has not exactly one common name.",
            hint="Issue it with the device id as its only common name (CN).",
            code="certificate_unnamed",
        )
    return ShownCertificate(names[0], certificate_proof(issuer_key_id, serial))


def _issuer_key_id(certificate: x509.Certificate) -> str:
    """Empty for one that does not say which key has signed it: no certificate of the site's own authority."""
    try:
        extension = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier)
    except x509.ExtensionNotFound:
        return ""
    return (extension.value.key_identifier or b"").hex()
