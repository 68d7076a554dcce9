"""A box's place in its fleet, in data_dir/fleet. A box without this folder belongs to none.

    ca.pem        the authority's certificate. 0644
    link.pem      this node's key for links, and its certificate. 0600
    roster.json   who belongs to the fleet (storage/fleet). 0600
    invitations   what was promised to boxes that are to come (fleet_invitations.py). 0700

The folder is made as a whole, when the box invites for the first time or joins. Nodes of the site that began the fleet have the
authority's key, because they have the site key; others don't.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Self

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from appliance.core.clock import Clock
from appliance.core.errors import ConfigError, Conflict, NotAuthorized, UsageError
from appliance.core.limits_replication import LINK_CLOCK_AHEAD_MS_MAX, ROSTER_CERTIFICATE_BYTES_MAX
from appliance.identity import files
from appliance.identity.ca import random_serial
from appliance.identity.fleet_certificates import (
    AUTHORITY_LABEL,
    SITE_LABEL,
    LinkIdentity,
    authority_certificate,
    der_of,
    link_certificate,
    read_identity,
)
from appliance.identity.fleet_entries import sign_card, sign_decommission
from appliance.identity.instance import Instance
from appliance.identity.keys import NodeSigner, SiteKeys
from appliance.management.fleet import Decommission, NodeCard, NodeEntry, Roster

FOLDER: Final = "fleet"
CA: Final = "ca.pem"
LINK: Final = "link.pem"
ROSTER: Final = "roster.json"
SITE_ID_BYTES: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """See the module's docstring.

    Attributes:
        authority_key: None on a node that can't sign.
        certificate: Of this node's links.
    """

    folder: Path
    authority: x509.Certificate
    authority_key: ec.EllipticCurvePrivateKey | None
    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate
    identity: LinkIdentity

    @classmethod
    def begin(cls, data_dir: Path, keys: SiteKeys, instance: Instance, *, clock: Clock) -> Self:
        """Begin a fleet of this box alone. Its roster is empty: whoever runs it puts the node's own entry in.

        Raises:
            Conflict: `fleet_there`. StorageError: it can't be written.
        """
        authority_key, authority = authority_certificate(keys.derive(AUTHORITY_LABEL))
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = link_certificate(
            authority_key,
            authority,
            key.public_key(),
            node_id=keys.node_id.hex(),
            site_id=site_id_of(keys),
            instance=instance.instance_id,
            serial=random_serial(),
            now_ms=clock.now_ms(),
        )
        write_folder(data_dir, authority, key, certificate, Roster(fingerprint_of(authority)))
        return cls.load(data_dir, keys)

    @classmethod
    def load(cls, data_dir: Path, keys: SiteKeys) -> Self:
        """This box's fleet.

        Raises:
            ConfigError: `fleet_file_invalid`; `fleet_of_another_node`: the folder was copied from another box; `secret_file_open`.
        """
        folder = fleet_folder(data_dir)
        try:
            authority = x509.load_pem_x509_certificate((folder / CA).read_bytes())
            pem = files.read_secret(folder / LINK) or b""
            key = load_pem_private_key(pem, password=None)
            certificate = x509.load_pem_x509_certificate(pem)
            identity, public_key, _ = read_identity(der_of(certificate))
        except (OSError, ValueError, TypeError, NotAuthorized) as error:
            raise _invalid(folder, str(error)) from error
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != public_key:
            raise _invalid(folder, "the key and the certificate don't belong together")
        if (identity.node_id, identity.site_id) != (keys.node_id.hex(), site_id_of(keys)):
            raise ConfigError(
                f"{folder / LINK} is of node {identity.node_id}, and this is node {keys.node_id.hex()}.",
                hint="Put fleet and identity back from one backup, or move the fleet folder away and join again.",
                code="fleet_of_another_node",
            )
        authority_key, own = authority_certificate(keys.derive(AUTHORITY_LABEL))
        return cls(
            folder=folder,
            authority=authority,
            authority_key=authority_key if own == authority else None,
            key=key,
            certificate=certificate,
            identity=identity,
        )

    @property
    def ca_path(self) -> Path:
        """For `ssl.SSLContext.load_verify_locations`."""
        return self.folder / CA

    @property
    def link_path(self) -> Path:
        """For `ssl.SSLContext.load_cert_chain`."""
        return self.folder / LINK

    @property
    def fingerprint(self) -> str:
        """Of the authority: SHA-256, hexadecimal. What a fleet is known by."""
        return fingerprint_of(self.authority)

    @property
    def can_sign(self) -> bool:
        """Whether this node may invite, decommission and renew."""
        return self.authority_key is not None

    def entry(self, card: NodeCard) -> NodeEntry:
        """This node's entry with what it says of itself now."""
        return sign_card(der_of(self.certificate), self.key, card)

    def issue(
        self,
        public_key: ec.EllipticCurvePublicKey,
        *,
        node_id: str,
        site_id: str,
        instance: str,
        clock: Clock,
        after_ms: int = 0,
    ) -> x509.Certificate:
        """A certificate for a node's links.

        Args:
            after_ms: When the node's one of before began: the new one begins later, even if our clock was put back, or others would
                go on with the old one.
        Raises:
            NotAuthorized: `fleet_key_missing`.
        """
        return link_certificate(
            self._signing_key(),
            self.authority,
            public_key,
            node_id=node_id,
            site_id=site_id,
            instance=instance,
            serial=random_serial(),
            now_ms=max(clock.now_ms(), after_ms + LINK_CLOCK_AHEAD_MS_MAX + 1_000 if after_ms else 0),
        )

    def decommission(self, entry: NodeEntry, reason: str, *, clock: Clock) -> NodeEntry:
        """The entry of a node that is gone for good.

        Raises:
            NotAuthorized: `fleet_key_missing`.
        """
        farewell = Decommission(
            node_id=entry.node_id, at_ms=clock.now_ms(), by=self.identity.node_id, reason=reason
        )
        return sign_decommission(entry, self._signing_key(), farewell)

    def renewed(self, *, clock: Clock) -> Fleet:
        """This node with a new key and certificate that it signed itself.

        Raises:
            NotAuthorized: `fleet_key_missing`. StorageError: it can't be written.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self.issue(
            key.public_key(),
            node_id=self.identity.node_id,
            site_id=self.identity.site_id,
            instance=self.identity.instance,
            clock=clock,
            after_ms=self.identity.issued_at_ms,
        )
        return self.with_certificate(key, certificate)

    def with_certificate(self, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> Fleet:
        """This node with a new key and the certificate for it, durably.

        Raises:
            NotAuthorized: `link_certificate_invalid`: it is for another node or key. StorageError: it can't be written.
        """
        identity, public_key, _ = read_identity(der_of(certificate))
        own = self.identity
        if public_key != key.public_key() or (identity.node_id, identity.site_id, identity.instance) != (
            own.node_id,
            own.site_id,
            own.instance,
        ):
            raise NotAuthorized(
                "The new certificate of this node's links is for another node or key.",
                hint="Look at the box that signed it.",
                code="link_certificate_invalid",
            )
        files.replace(self.link_path, _link_pem(key, certificate))
        return replace(self, key=key, certificate=certificate, identity=identity)

    def rebound(self, instance: str, *, clock: Clock) -> Fleet:
        """This node as another instance, with a certificate that it signed itself: the one of before is a stranger's from now on.

        Raises:
            NotAuthorized: `fleet_key_missing`. StorageError: it can't be written.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        own = self.identity
        certificate = self.issue(
            key.public_key(),
            node_id=own.node_id,
            site_id=own.site_id,
            instance=instance,
            clock=clock,
            after_ms=own.issued_at_ms,
        )
        return replace(self, identity=replace(own, instance=instance)).with_certificate(key, certificate)

    def _signing_key(self) -> ec.EllipticCurvePrivateKey:
        if self.authority_key is None:
            raise NotAuthorized(
                "This box can't sign for its fleet: only nodes of the site that began it can.",
                hint="Do this on one of those; homeport peer list says which they are.",
                code="fleet_key_missing",
            )
        return self.authority_key


def fleet_folder(data_dir: Path) -> Path:
    """Where all that belongs to the fleet lies."""
    return data_dir / FOLDER


def site_signer(keys: SiteKeys) -> NodeSigner:
    """What a site proves to be itself by: an Ed25519 key made of the site key, the same on all its nodes."""
    return NodeSigner(Ed25519PrivateKey.from_private_bytes(keys.derive(SITE_LABEL)))


def site_id_of(keys: SiteKeys) -> str:
    """What a site is known by: the beginning of the digest of its public key."""
    return site_id_of_key(site_signer(keys).key_id)


def site_id_of_key(public_key: bytes) -> str:
    """The site of a public key, whoever shows it."""
    return hashlib.sha256(public_key).digest()[:SITE_ID_BYTES].hex()


def check_site(site_id: str, public_key: bytes, data: bytes, signature: bytes) -> None:
    """See that somebody who says to be of a site has its key.

    Raises:
        NotAuthorized: `site_unproved`.
    """
    try:
        if site_id_of_key(public_key) != site_id:
            raise InvalidSignature
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, data)
    except (InvalidSignature, ValueError) as error:
        raise NotAuthorized(
            f"Whoever asked to join says to be of site {site_id} and can't prove it.",
            hint="Look at the box that asks; nothing was given out.",
            code="site_unproved",
        ) from error


def fingerprint_of(authority: x509.Certificate) -> str:
    """What a fleet is known by."""
    return authority.fingerprint(SHA256()).hex()


def write_folder(
    data_dir: Path,
    authority: x509.Certificate,
    key: ec.EllipticCurvePrivateKey,
    certificate: x509.Certificate,
    roster: Roster,
) -> None:
    """Make the folder as a whole.

    Raises:
        Conflict: `fleet_there`. StorageError: it can't be written.
    """
    if not files.create_folder(fleet_folder(data_dir), folder_contents(authority, key, certificate, roster)):
        raise Conflict(
            "This box belongs to a fleet already.",
            hint="homeport peer list shows it. Two fleets don't become one.",
            code="fleet_there",
        )


def folder_contents(
    authority: x509.Certificate,
    key: ec.EllipticCurvePrivateKey,
    certificate: x509.Certificate,
    roster: Roster,
) -> dict[str, tuple[bytes, int]]:
    """The folder's files, with their modes."""
    return {
        CA: (authority.public_bytes(Encoding.PEM), files.PUBLIC),
        LINK: (_link_pem(key, certificate), files.PRIVATE),
        ROSTER: (roster.encode(), files.PRIVATE),
    }


def make_request(key: ec.EllipticCurvePrivateKey, node_id: str) -> bytes:
    """A request for a certificate, which proves that we have the key: PKCS#10, DER."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, node_id)])
    request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, SHA256())
    return request.public_bytes(Encoding.DER)


def read_request(der: bytes, node_id: str) -> ec.EllipticCurvePublicKey:
    """The key of a request.

    Raises:
        UsageError: `link_request_invalid`.
    """
    try:
        if len(der) > ROSTER_CERTIFICATE_BYTES_MAX:
            raise ValueError("it is too large")
        request = x509.load_der_x509_csr(der)
        public_key = request.public_key()
        if not isinstance(public_key, ec.EllipticCurvePublicKey) or public_key.curve.name != "secp256r1":
            raise ValueError("its key is none over P-256")
        if not request.is_signature_valid:
            raise ValueError("its signature is wrong")
        if [name.value for name in request.subject] != [node_id]:
            raise ValueError("it names another node")
    except (ValueError, TypeError, InvalidSignature) as error:
        raise UsageError(
            f"The request for a link's certificate is refused: {error}.",
            hint="Update the box that asks.",
            code="link_request_invalid",
        ) from error
    return public_key


def _link_pem(key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + certificate.public_bytes(
        Encoding.PEM
    )


def _invalid(folder: Path, why: str) -> ConfigError:
    return ConfigError(
        f"{folder} does not hold this box's place in a fleet: {why}.",
        hint="Put the folder back from a backup, or move it away and join again.",
        code="fleet_file_invalid",
    )
