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
from appliance.core.errors import ConfigError, Conflict
from appliance.identity import SiteKeys, addresses, tls
from appliance.identity.server_authority import ServerAuthority
from appliance.identity.tls import Signer, TlsIdentity
from tests.ca_kit import sign_by_itself
from tests.pki_kit import Authority

NAMES = ("box", "box.local", "localhost")
ADDRESSES = ("127.0.0.1", "::1", "192.0.2.9")
DAY_MS = 86_400_000
NOW_MS = 1_772_000_000_000


def _make(
    tmp_path: Path,
    clock: ManualClock | SystemClock,
    *,
    names: tuple[str, ...] = NAMES,
    addresses: tuple[str, ...] = ADDRESSES,
    also: tuple[str, ...] = (),
) -> TlsIdentity:
    keys = SiteKeys.load_or_create(tmp_path)
    return tls.load_or_create(
        tmp_path, keys, node_name="box", clock=clock, names=names, addresses=addresses, also=also
    )


def _certificate(identity: TlsIdentity) -> x509.Certificate:
    return x509.load_pem_x509_certificate(identity.path.read_bytes())


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
    assert identity.signer is Signer.SITE


def test_the_key_is_private_and_what_to_trust_is_not(tmp_path: Path) -> None:
    identity = _make(tmp_path, ManualClock(NOW_MS))
    assert stat.S_IMODE(identity.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(identity.certificate_path.stat().st_mode) == 0o644
    assert b"PRIVATE" not in identity.certificate_path.read_bytes()


def test_openssl_takes_it_by_the_file_of_any_box_of_the_site(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    identity = _make(first, SystemClock())
    (second / "identity").mkdir(parents=True, mode=0o700)
    for name in ("site.key",):
        (second / "identity" / name).write_bytes((first / "identity" / name).read_bytes())
        (second / "identity" / name).chmod(0o600)
    other = _make(second, SystemClock())
    assert other.certificate_path.read_bytes() == identity.certificate_path.read_bytes()
    assert other.authority_fingerprint == identity.authority_fingerprint
    for server in (identity, other):
        for name in ("box.local", "192.0.2.9", "::1"):
            _shake_hands(server, identity.certificate_path, name)
        with pytest.raises(ssl.SSLCertVerificationError):
            _shake_hands(server, identity.certificate_path, "other.local")
    stranger = _make(tmp_path / "stranger", SystemClock())
    with pytest.raises(ssl.SSLCertVerificationError):
        _shake_hands(stranger, identity.certificate_path, "box.local")


def _shake_hands(server: TlsIdentity, trusted: Path, name: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(server.path)
    client = ssl.create_default_context(cafile=str(trusted))
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    a = client.wrap_bio(to_client, to_server, server_hostname=name)
    b = context.wrap_bio(to_server, to_client, server_side=True)
    for side in (a, b, a, b):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue


def test_it_stays_the_same_until_it_nears_its_end(tmp_path: Path) -> None:
    clock = ManualClock(NOW_MS)
    first = _make(tmp_path, clock)
    trusted = first.certificate_path.read_bytes()
    clock.advance(700 * DAY_MS)
    assert _make(tmp_path, clock) == first
    clock.advance(60 * DAY_MS)
    second = _make(tmp_path, clock)
    assert second.fingerprint != first.fingerprint
    assert second.not_after_ms > clock.now_ms() + 700 * DAY_MS
    assert _make(tmp_path, clock) == second
    assert second.certificate_path.read_bytes() == trusted, "who trusts it notices nothing"


def test_a_name_or_address_that_lasts_and_is_missing_makes_another_one(tmp_path: Path) -> None:
    clock = ManualClock(NOW_MS)
    first = _make(tmp_path, clock)
    assert _make(tmp_path, clock, addresses=("2001:db8::7",)) == first, "IPv6 addresses may change daily"
    assert _make(tmp_path, clock, names=NAMES[:1]) == first, "one name less is no reason"
    moved = _make(tmp_path, clock, addresses=("192.0.2.77",))
    assert moved.names == (*NAMES, "192.0.2.77")
    told = _make(tmp_path, clock, addresses=("192.0.2.77",), also=("Plant.Example", "203.0.113.5"))
    assert told.names == (*NAMES, "plant.example", "192.0.2.77", "203.0.113.5")


def test_one_from_before_the_authority_is_served_on_and_both_are_given_out(tmp_path: Path) -> None:
    public = sign_by_itself(tmp_path)
    old = _make(tmp_path, SystemClock(), addresses=("192.0.2.77",))
    assert old.signer is Signer.ITSELF
    given = old.certificate_path.read_bytes()
    authority = ServerAuthority.of(SiteKeys.load_or_create(tmp_path))
    assert given == public + authority.pem
    _shake_hands(old, old.certificate_path, "localhost")
    trusted = tmp_path / "trusted.pem"
    trusted.write_bytes(given)

    keys = SiteKeys.load_or_create(tmp_path)
    new = tls.replace(tmp_path, keys, node_name="box", clock=SystemClock(), also=("plant.example",))
    assert new.signer is Signer.SITE
    assert {"plant.example", "127.0.0.1"} <= set(new.names)
    assert new.certificate_path.read_bytes() == authority.pem
    _shake_hands(new, trusted, "localhost")
    with pytest.raises(Conflict) as refused:
        tls.replace(tmp_path, keys, node_name="box", clock=SystemClock())
    assert refused.value.code == "certificate_of_site"


def test_one_from_before_the_authority_is_replaced_when_it_nears_its_end(tmp_path: Path) -> None:
    sign_by_itself(tmp_path, now_ms=NOW_MS)
    clock = ManualClock(NOW_MS + 770 * DAY_MS)
    assert _make(tmp_path, clock).signer is Signer.SITE


def test_what_somebody_put_there_stays(tmp_path: Path) -> None:
    foreign = Authority(tmp_path).issue("192.0.2.9", file="foreign", server=True)
    (tmp_path / "identity").mkdir(mode=0o700)
    path = tmp_path / "identity" / "tls.pem"
    path.write_bytes(foreign.read_bytes())
    path.chmod(0o600)
    found = _make(tmp_path, ManualClock(NOW_MS + 5_000 * DAY_MS))
    assert found.signer is Signer.OTHER
    assert path.read_bytes() == foreign.read_bytes()
    assert len(x509.load_pem_x509_certificates(found.certificate_path.read_bytes())) == 2
    with pytest.raises(Conflict) as refused:
        tls.replace(tmp_path, SiteKeys.load_or_create(tmp_path), node_name="box", clock=SystemClock())
    assert refused.value.code == "certificate_foreign"


def test_one_of_a_site_that_the_box_left_is_replaced(tmp_path: Path) -> None:
    clock = ManualClock(NOW_MS)
    first = _make(tmp_path, clock)
    (tmp_path / "identity" / "site.key").unlink()
    second = _make(tmp_path, clock)
    assert second.signer is Signer.SITE
    assert second.authority_fingerprint != first.authority_fingerprint


def test_a_box_without_one_may_have_it_made_at_once(tmp_path: Path) -> None:
    keys = SiteKeys.load_or_create(tmp_path)
    made = tls.replace(tmp_path, keys, node_name="box", clock=SystemClock())
    assert made.signer is Signer.SITE


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
