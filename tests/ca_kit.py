"""A site's authority for tests: requests as devices make them, and an issuing service over a real catalog."""

from __future__ import annotations

import datetime as dt
import ipaddress
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.hazmat.primitives.hashes import SHA256, HashAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from appliance.core.clock import Clock, ManualClock, SystemClock
from appliance.device_port.statistics import DevicePortStatistics
from appliance.identity.ca import SiteCa
from appliance.identity.crl import CrlKeeper
from appliance.identity.device_rate_limit import DeviceRateStatistics
from appliance.identity.issuing import Issuing
from appliance.identity.keys import SiteKeys
from appliance.management.audit import Actor
from storage.catalog import AsyncCatalog
from tests.acts import ACT

NOW_MS = 1_795_000_000_000
DAY_MS = 86_400_000
INSTALLER = Actor(name="ines", kind="user", address="192.0.2.7")

_RATE = DeviceRateStatistics(
    allowed_total=9,
    refused_by_address_total=1,
    refused_by_device_total=2,
    refused_by_all_total=3,
    addresses=1,
    devices=1,
)
PORT = DevicePortStatistics(
    connections=2,
    accepted=7,
    refused_by_code={"tls": 4},
    answers={("est_simpleenroll", 200): 5},
    rate=_RATE,
)
"""Numbers of a devices' port that has seen something."""


def make_csr(
    *common_names: str,
    key: CertificateIssuerPrivateKeyTypes | None = None,
    algorithm: HashAlgorithm | None = SHA256(),  # noqa: B008 - it has no state
    encoding: Encoding = Encoding.PEM,
) -> bytes:
    """A request as `openssl req -new` makes it; with a new P-256 key if none is given."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name) for name in common_names])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    signed = builder.sign(key or ec.generate_private_key(ec.SECP256R1()), algorithm)  # type: ignore[arg-type]
    return signed.public_bytes(encoding)


def certificate_services(
    data_dir: Path, keys: SiteKeys, catalog: AsyncCatalog, clock: Clock, *, life_days: int = 90
) -> tuple[Issuing, CrlKeeper]:
    """What a node's services hold of the authority; the list is kept up to date by who runs the keeper."""
    authority = SiteCa.load_or_create(data_dir, keys, clock=clock)
    issuing = Issuing(authority, catalog, clock=clock, life_days=life_days)
    return issuing, CrlKeeper(issuing, catalog, authority.folder / "crl.pem", clock=clock)


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Everything that issuing takes."""

    data_dir: Path
    clock: ManualClock
    keys: SiteKeys
    catalog: AsyncCatalog
    issuing: Issuing

    @property
    def authority(self) -> SiteCa:
        return self.issuing.authority

    async def add_device(self, device_id: str) -> str:
        await self.catalog.write(lambda catalog: catalog.add_device(device_id), by=ACT)
        return device_id


@asynccontextmanager
async def site(tmp_path: Path, *, life_days: int = 90) -> AsyncIterator[Site]:
    """A site with an authority and an empty catalog."""
    clock = ManualClock(now_ms=NOW_MS)
    keys = SiteKeys.load_or_create(tmp_path)
    async with AsyncCatalog.opened(tmp_path / "catalog.db", clock=clock, node_id=keys.node_id) as catalog:
        issuing, _ = certificate_services(tmp_path, keys, catalog, clock, life_days=life_days)
        yield Site(data_dir=tmp_path, clock=clock, keys=keys, catalog=catalog, issuing=issuing)


def sign_by_itself(data_dir: Path, *hosts: str, now_ms: int | None = None) -> bytes:
    """Put a certificate there as boxes had one before there was an authority for servers: signed by itself. Returns it, PEM."""
    now = dt.datetime.fromtimestamp((SystemClock().now_ms() if now_ms is None else now_ms) / 1000, dt.UTC)
    begin = now - dt.timedelta(days=1)
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "box")])
    addresses = [x509.IPAddress(ipaddress.ip_address(each)) for each in (*hosts, "127.0.0.1")]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + dt.timedelta(days=820))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost"), *addresses]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, SHA256())
    )
    folder = data_dir / "identity"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    public = certificate.public_bytes(Encoding.PEM)
    path = folder / "tls.pem"
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + public)
    path.chmod(0o600)
    return public
