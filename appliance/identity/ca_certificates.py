"""The certificates of the site's authority, and what they are made of. No input or output.

    root      P-256, 20 years, may sign one level of authorities. Its private key exists only while it is used: it is
              derived from the root secret, which the recovery kit holds. So is its certificate, to the last bit.
    issuing   P-256, 5 years, signs devices' certificates and the revocation list, nothing else (path length 0, and
              extended key usage clientAuth, which binds what is below it). Its key, too, is derived from the root secret,
              so that a box made anew from the kit goes on where the lost one ended.

Both are dated from 2024: a box whose clock ran ahead at its first start would have an authority that doesn't count yet.
Source: RFC 5280 §4.2 (extensions), §5 (revocation list); RFC 6979 (deterministic signature of the root).
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from appliance.identity.dates import CLOCK_WRONG_BEFORE

ROOT_LIFE_DAYS: Final = 7305
"""20 years."""
ISSUING_LIFE_DAYS: Final = 1826
"""5 years."""
COMMON_NAME_LENGTH_MAX: Final = 64
"""RFC 5280 appendix A.1, ub-common-name."""
_CURVE: Final = ec.SECP256R1()
_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""Of P-256's base point (FIPS 186-4 D.1.2.3)."""
_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class RootSeed:
    """What an authority is made of.

    Attributes:
        secret: 32 bytes.
        node_id: Of the box that made it, 16 bytes; the names have its beginning.
        made_day: Days since 1970; the root ends 20 years later.
    """

    secret: bytes = field(repr=False)
    node_id: bytes
    made_day: int


def root_certificate(seed: RootSeed) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    """The root's key and certificate; the same seed gives the same bytes."""
    key = derived_key(seed.secret, "ca-root/1")
    serial = int.from_bytes(_derive(seed.secret, "ca-root-serial/1", 20)) >> 1
    name = _name(f"Homeport root {seed.node_id.hex()[:8]}")
    certificate = (
        _builder(name, name, key.public_key(), serial)
        .not_valid_before(CLOCK_WRONG_BEFORE)
        .not_valid_after(_EPOCH + dt.timedelta(days=seed.made_day + ROOT_LIFE_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=1), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .sign(key, SHA256(), ecdsa_deterministic=True)
    )
    return key, certificate


def issuing_certificate(
    seed: RootSeed, *, generation: int, now_ms: int, serial: int
) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    """The issuing authority's key and certificate.

    Args:
        generation: Counts its keys, from 1; the name says which it is.
        now_ms: It ends 5 years from here, or with the root.
    """
    root_key, root = root_certificate(seed)
    key = derived_key(seed.secret, f"ca-issuing/{generation}")
    name = _name(f"Homeport devices {seed.node_id.hex()[:8]} {generation}")
    end = min(wall(now_ms) + dt.timedelta(days=ISSUING_LIFE_DAYS), root.not_valid_after_utc)
    certificate = (
        _builder(name, root.subject, key.public_key(), serial)
        .not_valid_before(CLOCK_WRONG_BEFORE)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key()), critical=False
        )
        .sign(root_key, SHA256())
    )
    return key, certificate


def device_certificate(
    key: ec.EllipticCurvePrivateKey,
    issuer: x509.Certificate,
    public_key: CertificatePublicKeyTypes,
    *,
    device_id: str,
    serial: int,
    begin: dt.datetime,
    end: dt.datetime,
) -> x509.Certificate:
    """A device's certificate: its id as the only name, for TLS clients and nothing else.

    Args:
        device_id: At most 64 characters.
    """
    return (
        _builder(_name(device_id), issuer.subject, public_key, serial)
        .not_valid_before(begin)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
        .sign(key, SHA256())
    )


def key_id(certificate: x509.Certificate) -> str:
    """The subject key identifier, hexadecimal: what issued certificates name as their issuer's."""
    found = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    return found.value.digest.hex()


def generation_of(issuing: x509.Certificate) -> int:
    """Which of the site's issuing keys this is. Raises ValueError: the name is none of ours."""
    value = issuing.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value
    return int(value.split()[-1])


def fingerprint(certificate: x509.Certificate) -> str:
    """SHA-256 of the DER form, `AB:CD:…`, as browsers and openssl show it."""
    return certificate.fingerprint(SHA256()).hex(":").upper()


def wall(at_ms: int) -> dt.datetime:
    """UTC milliseconds as certificates have them: whole seconds, not before the year in which no clock is right."""
    return max(_EPOCH + dt.timedelta(seconds=at_ms // 1000), CLOCK_WRONG_BEFORE)


def ms(moment: dt.datetime) -> int:
    """The other way round."""
    return int(moment.timestamp() * 1000)


def _builder(
    subject: x509.Name, issuer: x509.Name, public_key: CertificatePublicKeyTypes, serial: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(serial)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _derive(secret: bytes, label: str, size_bytes: int) -> bytes:
    return HKDF(SHA256(), size_bytes, salt=None, info=b"homeport/" + label.encode()).derive(secret)


def derived_key(secret: bytes, label: str) -> ec.EllipticCurvePrivateKey:
    """A P-256 key made of a secret, the same each time."""
    # 128 bits more than the order has: what the remainder prefers is beyond measure (FIPS 186-5 A.2.1).
    number = int.from_bytes(_derive(secret, label, 48))
    return ec.derive_private_key(number % (_ORDER - 1) + 1, _CURVE)
