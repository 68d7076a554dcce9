"""The certificates of the site's authority: what they permit, and that the root comes out of its secret alone."""

from __future__ import annotations

import datetime as dt
import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from appliance.identity.ca_certificates import (
    RootSeed,
    device_certificate,
    fingerprint,
    generation_of,
    issuing_certificate,
    key_id,
    ms,
    root_certificate,
    wall,
)

NOW_MS = 1_795_000_000_000
SEED = RootSeed(secret=bytes(range(32)), node_id=bytes(16), made_day=NOW_MS // 86_400_000)


def test_the_same_seed_makes_the_same_root_to_the_last_bit() -> None:
    key, root = root_certificate(SEED)
    again_key, again = root_certificate(SEED)
    assert root.public_bytes(Encoding.DER) == again.public_bytes(Encoding.DER)
    assert key.private_numbers() == again_key.private_numbers()
    other = root_certificate(RootSeed(secret=bytes(32), node_id=SEED.node_id, made_day=SEED.made_day))[1]
    assert other.public_key() != root.public_key()
    assert SEED.secret.hex() not in repr(SEED)


def test_the_root_may_sign_one_level_of_authorities_for_twenty_years() -> None:
    _, root = root_certificate(SEED)
    constraints = root.extensions.get_extension_for_class(x509.BasicConstraints)
    assert constraints.critical
    assert (constraints.value.ca, constraints.value.path_length) == (True, 1)
    usage = root.extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical
    assert (usage.value.key_cert_sign, usage.value.crl_sign, usage.value.digital_signature) == (
        True,
        True,
        False,
    )
    assert root.not_valid_before_utc == dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
    assert root.not_valid_after_utc - wall(NOW_MS) > dt.timedelta(days=7300)
    assert 0 < root.serial_number < 2**159


def test_the_issuing_authority_signs_devices_only() -> None:
    _, root = root_certificate(SEED)
    key, issuing = issuing_certificate(SEED, generation=3, now_ms=NOW_MS, serial=7)
    issuing.verify_directly_issued_by(root)
    constraints = issuing.extensions.get_extension_for_class(x509.BasicConstraints).value
    assert (constraints.ca, constraints.path_length) == (True, 0)
    usages = issuing.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usages) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    named = issuing.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    assert named.key_identifier is not None
    assert named.key_identifier.hex() == key_id(root)
    assert generation_of(issuing) == 3
    assert issuing.not_valid_after_utc == wall(NOW_MS) + dt.timedelta(days=1826)
    assert key.public_key() == issuing.public_key()


def test_each_generation_has_its_own_key_and_each_renewal_the_same() -> None:
    first = issuing_certificate(SEED, generation=1, now_ms=NOW_MS, serial=1)[1]
    renewed = issuing_certificate(SEED, generation=1, now_ms=NOW_MS + 10**10, serial=2)[1]
    second = issuing_certificate(SEED, generation=2, now_ms=NOW_MS, serial=3)[1]
    assert first.public_key() == renewed.public_key()
    assert (first.subject, key_id(first)) == (renewed.subject, key_id(renewed))
    assert first.public_key() != second.public_key()
    assert first.subject != second.subject


def test_the_issuing_authority_ends_with_the_root_at_the_latest() -> None:
    _, root = root_certificate(SEED)
    late_ms = ms(root.not_valid_after_utc) - 86_400_000
    issuing = issuing_certificate(SEED, generation=1, now_ms=late_ms, serial=1)[1]
    assert issuing.not_valid_after_utc == root.not_valid_after_utc


@pytest.mark.parametrize("device_id", ["pump-1", "pump.site.example", "Pumpe Nr. 3 ü", "x" * 64])
def test_openssl_takes_a_devices_certificate_for_a_client_and_for_nothing_else(
    tmp_path: Path, device_id: str
) -> None:
    _, root = root_certificate(SEED)
    key, issuing = issuing_certificate(SEED, generation=1, now_ms=NOW_MS, serial=5)
    begin = wall(NOW_MS)
    leaf = device_certificate(
        key,
        issuing,
        ed25519.Ed25519PrivateKey.generate().public_key(),
        device_id=device_id,
        serial=9,
        begin=begin,
        end=begin + dt.timedelta(days=90),
    )
    (tmp_path / "root.pem").write_bytes(root.public_bytes(Encoding.PEM))
    (tmp_path / "issuing.pem").write_bytes(issuing.public_bytes(Encoding.PEM))
    (tmp_path / "leaf.pem").write_bytes(leaf.public_bytes(Encoding.PEM))

    def verified(purpose: str) -> bool:
        done = subprocess.run(
            f"openssl verify -x509_strict -attime {NOW_MS // 1000 + 60} -purpose {purpose} -CAfile root.pem"
            " -untrusted issuing.pem leaf.pem",
            shell=True,
            cwd=tmp_path,
            capture_output=True,
        )
        return done.returncode == 0

    assert verified("sslclient")
    assert not verified("sslserver")
    assert not leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_a_certificate_may_not_sign_another() -> None:
    """Path length 0: what a device signs with its own key verifies nowhere."""
    _, issuing = issuing_certificate(SEED, generation=1, now_ms=NOW_MS, serial=5)
    stranger = ec.generate_private_key(ec.SECP256R1())
    begin = wall(NOW_MS)
    forged = device_certificate(
        stranger,
        issuing,
        stranger.public_key(),
        device_id="d",
        serial=1,
        begin=begin,
        end=begin + dt.timedelta(1),
    )
    with pytest.raises(InvalidSignature):
        forged.verify_directly_issued_by(issuing)


def test_a_name_that_is_none_of_ours_has_no_generation() -> None:
    _, root = root_certificate(RootSeed(secret=bytes(32), node_id=b"\xff" * 16, made_day=20_000))
    with pytest.raises(ValueError, match="ffffffff"):
        generation_of(root)


def test_times_as_certificates_have_them() -> None:
    assert ms(wall(NOW_MS + 999)) == NOW_MS
    assert wall(0) == dt.datetime(2024, 1, 1, tzinfo=dt.UTC)


def test_a_fingerprint_reads_as_in_browsers() -> None:
    _, root = root_certificate(SEED)
    shown = fingerprint(root)
    assert len(shown) == 95
    assert shown == shown.upper()
    assert shown.count(":") == 31
