"""The site's authority for its boxes' certificates."""

from __future__ import annotations

from pathlib import Path

from cryptography import x509

from appliance.identity.keys import SiteKeys
from appliance.identity.server_authority import ServerAuthority, is_authority_name

NOW_MS = 1_772_000_000_000


def test_the_same_site_key_makes_the_same_authority(tmp_path: Path) -> None:
    keys = SiteKeys.load_or_create(tmp_path)
    first, again = ServerAuthority.of(keys), ServerAuthority.of(SiteKeys.load_existing(tmp_path))
    assert first.pem == again.pem
    assert first.fingerprint == again.fingerprint
    assert "key" not in repr(first)
    other = ServerAuthority.of(SiteKeys.load_or_create(tmp_path / "other"))
    assert other.fingerprint != first.fingerprint


def test_what_it_signs_is_for_servers_alone_and_signs_nothing(tmp_path: Path) -> None:
    authority = ServerAuthority.of(SiteKeys.load_or_create(tmp_path))
    pem = authority.make("box" * 40, names=["box.local"], addresses=["192.0.2.9"], now_ms=NOW_MS)
    made = x509.load_pem_x509_certificate(pem)
    assert authority.has_signed(made)
    assert not authority.has_signed(
        x509.load_pem_x509_certificate(ServerAuthority.of(SiteKeys.load_or_create(tmp_path / "other")).pem)
    )
    assert is_authority_name(made.issuer)
    assert not is_authority_name(made.subject)
    for certificate, is_ca in ((made, False), (authority.certificate, True)):
        extensions = certificate.extensions
        assert extensions.get_extension_for_class(x509.BasicConstraints).value.ca is is_ca
        assert extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign is is_ca
        usages = list(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
        assert usages == [x509.oid.ExtendedKeyUsageOID.SERVER_AUTH], "never a client's, nor a box's link"
