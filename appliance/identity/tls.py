"""The box's own certificate for the pages, the API and MQTT over TLS.

Made at first start: P-256, self-signed, 820 days (browsers refuse more than 825), for the machine's names and
addresses. Within 60 days of its end a start makes a new one with a new key. It is not made again when
addresses change: devices and people that trust its fingerprint would be cut off.

Files in data_dir/identity: `tls.pem` (key and certificate in one, 0600, so that they always fit together) and `tls.crt`
(the certificate alone, 0644, to copy to devices as their CA file).
"""

from __future__ import annotations

import datetime as dt
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from appliance.core.clock import Clock
from appliance.core.errors import ConfigError
from appliance.identity import files
from appliance.identity.addresses import machine_addresses, machine_names

LIFE_DAYS = 820
RENEW_BEFORE_DAYS = 60
BACKDATE_DAYS = 1
"""A device whose clock is some hours behind still takes it."""
CLOCK_WRONG_BEFORE = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
"""Boxes without a battery start in 1970: then the certificate is dated from here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsIdentity:
    """The certificate in use.

    Attributes:
        path: Key and certificate, PEM in one file: for `ssl.SSLContext.load_cert_chain(path)`.
        certificate_path: The certificate alone.
        fingerprint: SHA-256 of the DER certificate, `AB:CD:…`, as browsers and openssl show it.
        names: DNS names and addresses that it is for.
        not_after_ms: Its end, UTC ms.
    """

    path: Path
    certificate_path: Path
    fingerprint: str
    names: tuple[str, ...]
    not_after_ms: int

    def is_due(self, now_ms: int) -> bool:
        """Whether a new one should be made at the next start."""
        return now_ms > self.not_after_ms - RENEW_BEFORE_DAYS * 86_400_000


def load_or_create(
    data_dir: Path,
    *,
    node_name: str,
    clock: Clock,
    names: Sequence[str] | None = None,
    addresses: Sequence[str] | None = None,
) -> TlsIdentity:
    """The box's certificate; made if there is none or it nears its end. Blocks some ms.

    Args:
        node_name: The certificate's common name.
        names: DNS names; the machine's when None.
        addresses: IP addresses; the machine's when None.
    Raises:
        ConfigError: the file is readable by others or holds something else. StorageError: it can't be written.
    """
    folder = data_dir / "identity"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / "tls.pem"
    pem = files.read_secret(path)
    if pem is not None:
        found = _describe(path, pem)
        if not found.is_due(clock.now_ms()):
            _publish(found, pem)
            return found
    made = _make(
        node_name,
        names=machine_names(node_name) if names is None else names,
        addresses=machine_addresses() if addresses is None else addresses,
        now_ms=clock.now_ms(),
    )
    if pem is None:
        # The other process may be doing the same at this moment: one of the two counts.
        made = files.create(path, made)
    else:
        files.replace(path, made)
    found = _describe(path, made)
    _publish(found, made)
    return found


def _make(node_name: str, *, names: Sequence[str], addresses: Sequence[str], now_ms: int) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, node_name[:64])])
    now = max(dt.datetime.fromtimestamp(now_ms / 1000, dt.UTC), CLOCK_WRONG_BEFORE)
    begin = now - dt.timedelta(days=BACKDATE_DAYS)
    alternatives: list[x509.GeneralName] = [x509.DNSName(name) for name in names]
    alternatives += [x509.IPAddress(ipaddress.ip_address(address)) for address in addresses]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + dt.timedelta(days=LIFE_DAYS))
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(
            x509.KeyUsage(
                digital_signature=True,
                key_cert_sign=True,
                content_commitment=False,
                key_encipherment=False,
                data_encipherment=False,
                key_agreement=False,
                crl_sign=False,
                encipher_only=False,
                decipher_only=False,
            ),
            critical=True,
        )
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, SHA256())
    )
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + certificate.public_bytes(
        Encoding.PEM
    )


def _describe(path: Path, pem: bytes) -> TlsIdentity:
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except (ValueError, x509.ExtensionNotFound) as error:
        raise ConfigError(
            f"{path} does not hold a key and a certificate with names.",
            hint="Move it away and start again: a new one is made, with a new fingerprint.",
            code="tls_file_invalid",
        ) from error
    names = extension.value.get_values_for_type(x509.DNSName)
    names += [str(address) for address in extension.value.get_values_for_type(x509.IPAddress)]
    return TlsIdentity(
        path=path,
        certificate_path=path.with_name("tls.crt"),
        fingerprint=certificate.fingerprint(SHA256()).hex(":").upper(),
        names=tuple(names),
        not_after_ms=int(certificate.not_valid_after_utc.timestamp() * 1000),
    )


def _publish(identity: TlsIdentity, pem: bytes) -> None:
    """Keep the public copy as it should be."""
    public = x509.load_pem_x509_certificate(pem).public_bytes(Encoding.PEM)
    if not identity.certificate_path.exists() or identity.certificate_path.read_bytes() != public:
        files.replace(identity.certificate_path, public, mode=files.PUBLIC)
