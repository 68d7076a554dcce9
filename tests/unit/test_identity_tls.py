"""The box's certificate: what it is for, how long, and when it is made again."""

from __future__ import annotations

import datetime as dt
import ipaddress
import ssl
import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256

from appliance.core.clock import ManualClock, SystemClock
from appliance.core.errors import ConfigError
from appliance.identity import addresses, tls

NAMES = ("box", "box.local", "localhost")
ADDRESSES = ("127.0.0.1", "::1", "192.0.2.9")
DAY_MS = 86_400_000
NOW_MS = 1_772_000_000_000


def _make(tmp_path: Path, clock: ManualClock) -> tls.TlsIdentity:
    return tls.load_or_create(tmp_path, node_name="box", clock=clock, names=NAMES, addresses=ADDRESSES)


def _certificate(identity: tls.TlsIdentity) -> x509.Certificate:
    return x509.load_pem_x509_certificate(identity.certificate_path.read_bytes())


def test_what_it_says(tmp_path: Path) -> None:
    identity = _make(tmp_path, ManualClock(NOW_MS))
    certificate = _certificate(identity)
    key = certificate.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert key.curve.name == "secp256r1"
    assert identity.names == (*NAMES, *ADDRESSES)
    life = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    assert dt.timedelta(days=800) < life <= dt.timedelta(days=825)
    assert identity.fingerprint == ":".join(f"{byte:02X}" for byte in certificate.fingerprint(SHA256()))
    assert identity.not_after_ms == certificate.not_valid_after_utc.timestamp() * 1000


def test_the_key_is_private_and_the_certificate_is_not(tmp_path: Path) -> None:
    identity = _make(tmp_path, ManualClock(NOW_MS))
    assert stat.S_IMODE(identity.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(identity.certificate_path.stat().st_mode) == 0o644
    assert b"PRIVATE" not in identity.certificate_path.read_bytes()


def test_openssl_takes_it_for_the_server_and_as_the_devices_ca_file(tmp_path: Path) -> None:
    identity = tls.load_or_create(
        tmp_path, node_name="box", clock=SystemClock(), names=NAMES, addresses=ADDRESSES
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(identity.path)
    for name in ("box.local", "192.0.2.9", "::1"):
        client = ssl.create_default_context(cafile=str(identity.certificate_path))
        _shake_hands(server, client, name)
    with pytest.raises(ssl.SSLCertVerificationError):
        _shake_hands(server, ssl.create_default_context(cafile=str(identity.certificate_path)), "other.local")


def _shake_hands(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> None:
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    a = client.wrap_bio(to_client, to_server, server_hostname=name)
    b = server.wrap_bio(to_server, to_client, server_side=True)
    for side in (a, b, a, b):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue


def test_it_stays_the_same_until_it_nears_its_end(tmp_path: Path) -> None:
    clock = ManualClock(NOW_MS)
    first = _make(tmp_path, clock)
    clock.advance(700 * DAY_MS)
    assert _make(tmp_path, clock) == first
    clock.advance(60 * DAY_MS)
    second = _make(tmp_path, clock)
    assert second.fingerprint != first.fingerprint
    assert second.not_after_ms > clock.now_ms() + 700 * DAY_MS
    assert _make(tmp_path, clock) == second
    assert _certificate(second).fingerprint(SHA256()).hex(":").upper() == second.fingerprint


def test_new_addresses_do_not_change_it(tmp_path: Path) -> None:
    clock = ManualClock(NOW_MS)
    first = _make(tmp_path, clock)
    other = tls.load_or_create(
        tmp_path, node_name="new", clock=clock, names=("new",), addresses=("192.0.2.77",)
    )
    assert other == first


def test_a_box_whose_clock_says_1970_gets_one_that_is_valid_today(tmp_path: Path) -> None:
    certificate = _certificate(_make(tmp_path, ManualClock(1000)))
    assert certificate.not_valid_before_utc.year >= 2023


def test_a_lost_public_copy_comes_back(tmp_path: Path) -> None:
    clock = ManualClock(NOW_MS)
    first = _make(tmp_path, clock)
    content = first.certificate_path.read_bytes()
    first.certificate_path.unlink()
    assert _make(tmp_path, clock).certificate_path.read_bytes() == content


def test_a_file_with_something_else_is_refused(tmp_path: Path) -> None:
    clock = ManualClock(NOW_MS)
    identity = _make(tmp_path, clock)
    identity.path.write_bytes(b"nonsense")
    with pytest.raises(ConfigError) as refused:
        _make(tmp_path, clock)
    assert refused.value.code == "tls_file_invalid"


def test_the_machines_own_names_and_addresses() -> None:
    found = addresses.machine_addresses()
    assert found[:2] == ("127.0.0.1", "::1")
    assert len(set(found)) == len(found)
    assert not any(ipaddress.ip_address(one).is_link_local for one in found if ":" in one)
    names = addresses.machine_names("My-Box")
    assert {"my-box", "my-box.local", "localhost"} <= set(names)
    assert all(name == name.lower() and name for name in names)
