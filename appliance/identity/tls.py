"""The box's own certificate for the pages, the API, MQTT over TLS and the devices' port.

Signed by the site's authority for servers (server_authority.py), P-256, 820 days, for the machine's names and addresses and those under which
other boxes and devices are told to reach it. A start makes a new one, with a new key, within 60 days of its end and when a name or an IPv4 address is
missing in it: whoever trusts the authority notices nothing.

A box from before the authority has one that it signed itself, which devices hold as their CA file. It is served until it nears its end, or until
somebody has it replaced (`replace`): devices that were given `tls.crt` since the upgrade trust both. A certificate that somebody else put there stays.

Files in data_dir/identity: `tls.pem` (key and certificate in one, 0600, so that they always fit together) and `tls.crt` (0644: what devices and browsers
are given to trust: the authority, and the served certificate where it is not of it).
"""

from __future__ import annotations

import datetime as dt
import fcntl
import ipaddress
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from appliance.core.clock import Clock
from appliance.core.errors import ConfigError, Conflict
from appliance.identity import files
from appliance.identity.addresses import machine_addresses, machine_names
from appliance.identity.keys import SiteKeys
from appliance.identity.server_authority import LIFE_DAYS, ServerAuthority, is_authority_name

RENEW_BEFORE_DAYS = 60
LOCK = "tls.lock"


class Signer(StrEnum):
    """Who signed the certificate in use."""

    SITE = "site"
    """The site's authority: who trusts that knows all its boxes."""
    ITSELF = "itself"
    """This box alone, before there was an authority."""
    FORMER = "former"
    """The authority of a site that this box belonged to before; a start replaces it."""
    OTHER = "other"
    """Somebody who put it there; it is never replaced by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsIdentity:
    """The certificate in use.

    Attributes:
        path: Key and certificate, PEM in one file: for `ssl.SSLContext.load_cert_chain(path)`.
        certificate_path: What devices and browsers are given to trust, PEM.
        fingerprint: SHA-256 of the DER certificate, `AB:CD:…`, as browsers and openssl show it.
        authority_fingerprint: The same of the site's authority for servers.
        names: DNS names and addresses that it is for.
        not_after_ms: Its end, UTC ms.
    """

    path: Path
    certificate_path: Path
    fingerprint: str
    authority_fingerprint: str
    names: tuple[str, ...]
    not_after_ms: int
    signer: Signer

    def is_due(self, now_ms: int) -> bool:
        """Whether a new one should be made at the next start."""
        return now_ms > self.not_after_ms - RENEW_BEFORE_DAYS * 86_400_000


def load_or_create(
    data_dir: Path,
    keys: SiteKeys,
    *,
    node_name: str,
    clock: Clock,
    names: Sequence[str] | None = None,
    addresses: Sequence[str] | None = None,
    also: Sequence[str] = (),
) -> TlsIdentity:
    """The box's certificate; made if there is none, it nears its end or lacks a name. Blocks some ms; processes take turns.

    Args:
        node_name: The certificate's common name.
        names: DNS names; the machine's when None.
        addresses: IP addresses; the machine's when None.
        also: Names and addresses by which others are told to reach this box.
    Raises:
        ConfigError: the file is readable by others or holds something else. StorageError: it can't be written.
    """
    authority = ServerAuthority.of(keys)
    wanted = _wanted(node_name, names, addresses, also)
    with _turn(data_dir) as path:
        pem = files.read_secret(path)
        found = None if pem is None else _describe(path, pem, authority)
        if pem is None or found is None or _is_over(found, wanted, clock.now_ms()):
            pem = authority.make(node_name, names=wanted[0], addresses=wanted[1], now_ms=clock.now_ms())
            files.replace(path, pem)
            found = _describe(path, pem, authority)
        _publish(found, pem, authority)
        return found


def look(data_dir: Path, keys: SiteKeys) -> TlsIdentity | None:
    """The box's certificate as it is; None where none was made yet.

    Raises:
        ConfigError: as `load_or_create`.
    """
    path = data_dir / "identity" / "tls.pem"
    pem = files.read_secret(path)
    return None if pem is None else _describe(path, pem, ServerAuthority.of(keys))


def replace(
    data_dir: Path, keys: SiteKeys, *, node_name: str, clock: Clock, also: Sequence[str] = ()
) -> TlsIdentity:
    """Put a certificate of the site's authority in the place of the one that this box signed itself, whatever its end. Blocks some ms.

    Raises:
        Conflict: `certificate_of_site`: it is of the authority already; `certificate_foreign`: somebody put another one there.
        ConfigError, StorageError: as `load_or_create`.
    """
    authority = ServerAuthority.of(keys)
    wanted = _wanted(node_name, None, None, also)
    with _turn(data_dir) as path:
        pem = files.read_secret(path)
        signer = None if pem is None else _describe(path, pem, authority).signer
        if signer is Signer.SITE:
            raise Conflict(
                "This box's certificate is signed by the site's authority already.",
                hint="Give devices its tls.crt, or /homeport-ca.pem of the pages.",
                code="certificate_of_site",
            )
        if signer is Signer.OTHER:
            raise Conflict(
                "Somebody put a certificate of another authority there: it stays.",
                hint=f"Move {path} away and start Homeport to have one of the site's authority.",
                code="certificate_foreign",
            )
        made = authority.make(node_name, names=wanted[0], addresses=wanted[1], now_ms=clock.now_ms())
        files.replace(path, made)
        found = _describe(path, made, authority)
        _publish(found, made, authority)
        return found


@contextmanager
def _turn(data_dir: Path) -> Iterator[Path]:
    """Nobody else makes or publishes the certificate meanwhile. Gives its file."""
    folder = data_dir / "identity"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, files.PRIVATE)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield folder / "tls.pem"
    finally:
        os.close(descriptor)


def _wanted(
    node_name: str, names: Sequence[str] | None, addresses: Sequence[str] | None, also: Sequence[str]
) -> tuple[list[str], list[str]]:
    found_names = list(machine_names(node_name) if names is None else names)
    found_addresses = list(machine_addresses() if addresses is None else addresses)
    for each in also:
        try:
            found_addresses.append(str(ipaddress.ip_address(each)))
        except ValueError:
            found_names.append(each.lower())
    return list(dict.fromkeys(found_names)), list(dict.fromkeys(found_addresses))


def _is_over(found: TlsIdentity, wanted: tuple[list[str], list[str]], now_ms: int) -> bool:
    if found.signer is Signer.OTHER:
        return False
    if found.signer is Signer.FORMER or found.is_due(now_ms):
        return True
    # IPv6 addresses that change daily are no reason.
    lasting = {each for each in (*wanted[0], *wanted[1]) if ":" not in each}
    return found.signer is Signer.SITE and not lasting <= set(found.names)


def _describe(path: Path, pem: bytes, authority: ServerAuthority) -> TlsIdentity:
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
        authority_fingerprint=authority.fingerprint,
        names=tuple(names),
        not_after_ms=int(certificate.not_valid_after_utc.timestamp() * 1000),
        signer=_signer(certificate, authority),
    )


def _signer(certificate: x509.Certificate, authority: ServerAuthority) -> Signer:
    if authority.has_signed(certificate):
        return Signer.SITE
    if is_authority_name(certificate.issuer):
        return Signer.FORMER
    life = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    is_of_itself = certificate.issuer == certificate.subject and life == dt.timedelta(days=LIFE_DAYS)
    return Signer.ITSELF if is_of_itself else Signer.OTHER


def _publish(identity: TlsIdentity, pem: bytes, authority: ServerAuthority) -> None:
    """Keep the public file as it should be."""
    public = authority.pem
    if identity.signer is not Signer.SITE:
        served = x509.load_pem_x509_certificates(pem)
        public = b"".join(each.public_bytes(Encoding.PEM) for each in served) + public
    if not identity.certificate_path.exists() or identity.certificate_path.read_bytes() != public:
        files.replace(identity.certificate_path, public, mode=files.PUBLIC)
