"""Certificates of links, as OpenSSL would have them and as we read them."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import ExtendedKeyUsageOID

from appliance.core.errors import NotAuthorized
from appliance.identity.fleet_certificates import (
    authority_certificate,
    der_of,
    link_certificate,
    load_certificate,
    read_identity,
    verify_issued,
)

SECRET = b"s" * 32
NODE, SITE, INSTANCE = "a" * 32, "b" * 32, "c" * 32
NOW_MS = 1_795_000_000_000
DAY_MS = 86_400_000
KEY, AUTHORITY = authority_certificate(SECRET)
LINK_KEY = ec.generate_private_key(ec.SECP256R1())


def issued(now_ms: int = NOW_MS, node_id: str = NODE) -> x509.Certificate:
    return link_certificate(
        KEY,
        AUTHORITY,
        LINK_KEY.public_key(),
        node_id=node_id,
        site_id=SITE,
        instance=INSTANCE,
        serial=7,
        now_ms=now_ms,
    )


def test_the_authority_is_made_of_its_secret_to_the_last_bit() -> None:
    assert authority_certificate(SECRET)[1] == AUTHORITY
    assert authority_certificate(b"t" * 32)[1] != AUTHORITY
    constraints = AUTHORITY.extensions.get_extension_for_class(x509.BasicConstraints).value
    assert (constraints.ca, constraints.path_length) == (True, 0)


def test_a_certificate_says_node_site_and_instance_for_90_days() -> None:
    certificate = issued()
    identity, public_key = verify_issued(der_of(certificate), AUTHORITY)
    assert (identity.node_id, identity.site_id, identity.instance) == (NODE, SITE, INSTANCE)
    assert public_key == LINK_KEY.public_key()
    assert identity.issued_at_ms == NOW_MS - DAY_MS
    assert identity.ends_at_ms == NOW_MS + 90 * DAY_MS
    assert not identity.is_over(identity.ends_at_ms)
    assert identity.is_over(identity.ends_at_ms + 1)
    assert not identity.is_due(NOW_MS + 60 * DAY_MS)
    assert identity.is_due(NOW_MS + 60 * DAY_MS + 1)
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert set(usage) == {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH}


def test_a_box_without_a_clock_makes_one_that_lasts() -> None:
    identity, _ = verify_issued(der_of(issued(now_ms=0)), AUTHORITY)
    assert identity.ends_at_ms - identity.issued_at_ms == 90 * DAY_MS


def test_another_authority_s_certificate_is_a_stranger_s() -> None:
    _, other = authority_certificate(b"t" * 32)
    with pytest.raises(NotAuthorized) as caught:
        load_certificate(der_of(issued()), other)
    assert caught.value.code == "fleet_stranger"
    certificate = issued()
    assert load_certificate(der_of(certificate), AUTHORITY) == certificate


def other_certificate(*names: x509.GeneralName, key: object = LINK_KEY) -> bytes:
    subject = x509.Name([])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(AUTHORITY.subject)
        .public_key(key.public_key())  # type: ignore[attr-defined]
        .serial_number(1)
        .not_valid_before(AUTHORITY.not_valid_before_utc)
        .not_valid_after(AUTHORITY.not_valid_after_utc)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return der_of(builder.sign(KEY, SHA256()))


URIS = [
    x509.UniformResourceIdentifier(f"homeport://{kind}/{digits}")
    for kind, digits in (("node", NODE), ("site", SITE), ("instance", INSTANCE))
]


@pytest.mark.parametrize(
    "der",
    [
        b"",
        b"x" * 3_000,
        der_of(AUTHORITY),
        other_certificate(),
        other_certificate(*URIS[:2]),
        other_certificate(*URIS, URIS[0]),
        other_certificate(*URIS[:2], x509.UniformResourceIdentifier("homeport://instance/C")),
        other_certificate(*URIS, key=ec.generate_private_key(ec.SECP384R1())),
    ],
)
def test_what_is_no_certificate_of_a_link_is_refused(der: bytes) -> None:
    with pytest.raises(NotAuthorized) as caught:
        read_identity(der)
    assert caught.value.code == "link_certificate_invalid"
