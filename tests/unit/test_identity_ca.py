"""The authority on the disk: made once and whole, locked by the site key, renewed with the kit alone."""

from __future__ import annotations

import shutil
import stat
import threading
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from appliance.core.clock import ManualClock
from appliance.core.errors import ConfigError, NotAuthorized
from appliance.identity.ca import SiteCa, random_serial
from appliance.identity.ca_certificates import generation_of
from appliance.identity.keys import SiteKeys
from appliance.identity.recovery_kit import RecoveryKit, confirm, pending

DAY_MS = 86_400_000


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(now_ms=1_795_000_000_000)


@pytest.fixture
def keys(tmp_path: Path) -> SiteKeys:
    return SiteKeys.load_or_create(tmp_path)


@pytest.fixture
def authority(tmp_path: Path, keys: SiteKeys, clock: ManualClock) -> SiteCa:
    return SiteCa.load_or_create(tmp_path, keys, clock=clock)


def test_it_is_made_once(tmp_path: Path, authority: SiteCa, keys: SiteKeys, clock: ManualClock) -> None:
    again = SiteCa.load_or_create(tmp_path, keys, clock=clock)
    assert (again.root, again.issuing) == (authority.root, authority.issuing)
    authority.issuing.verify_directly_issued_by(authority.root)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in authority.folder.iterdir()}
    assert modes == {"root.pem": 0o644, "devices.pem": 0o644, "issuing.pem": 0o600, "root.secret": 0o600}
    assert stat.S_IMODE(authority.folder.stat().st_mode) == 0o700
    assert x509.load_pem_x509_certificates(authority.devices_path.read_bytes()) == [
        authority.issuing,
        authority.root,
    ]


def test_processes_that_start_together_get_the_same(
    tmp_path: Path, keys: SiteKeys, clock: ManualClock
) -> None:
    found: list[SiteCa] = []
    barrier = threading.Barrier(4)

    def start() -> None:
        barrier.wait()
        found.append(SiteCa.load_or_create(tmp_path, keys, clock=clock))

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({each.key_id for each in found}) == 1
    assert len(found) == 4
    assert [path.name for path in (tmp_path / "identity").iterdir() if path.name.startswith(".")] == []
    kit = pending(tmp_path)
    assert kit is not None
    found[0].check_kit(kit)


def test_the_issuing_key_is_worth_nothing_without_the_site_key(tmp_path: Path, authority: SiteCa) -> None:
    pem = (authority.folder / "issuing.pem").read_bytes()
    assert b"ENCRYPTED PRIVATE KEY" in pem
    with pytest.raises(TypeError):
        load_pem_private_key(pem, password=None)
    other = SiteKeys.load_or_create(tmp_path / "other")
    shutil.copytree(authority.folder, tmp_path / "other" / "identity" / "ca")
    with pytest.raises(ConfigError) as refused:
        SiteCa.load_or_create(tmp_path / "other", other, clock=ManualClock())
    assert refused.value.code == "ca_key_locked"


def test_no_file_holds_the_roots_key_once_the_kit_is_confirmed(tmp_path: Path, authority: SiteCa) -> None:
    kit = RecoveryKit.of(tmp_path)
    assert confirm(tmp_path)
    assert not confirm(tmp_path)
    left = b"".join(path.read_bytes() for path in (tmp_path / "identity").rglob("*") if path.is_file())
    assert kit.root_secret not in left
    assert kit.root_secret.hex().encode() not in left
    assert not (authority.folder / "root.secret").exists()


@pytest.mark.parametrize("name", ["root.pem", "issuing.pem"])
@pytest.mark.parametrize(
    "content", [None, b"", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
def test_a_damaged_folder_is_refused(
    tmp_path: Path, authority: SiteCa, keys: SiteKeys, name: str, content: bytes | None
) -> None:
    path = authority.folder / name
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    with pytest.raises(ConfigError) as refused:
        SiteCa.load_or_create(tmp_path, keys, clock=ManualClock())
    assert refused.value.code == "ca_file_invalid"
    assert "recovery-kit restore" in refused.value.hint


def test_a_key_of_another_certificate_is_refused(
    tmp_path: Path, authority: SiteCa, keys: SiteKeys, clock: ManualClock
) -> None:
    path = authority.folder / "issuing.pem"
    first = path.read_bytes()
    authority.renewed(RecoveryKit.of(tmp_path), keys, clock=clock, new_key=True)
    second = path.read_bytes()
    key, _, _ = first.partition(b"-----BEGIN CERTIFICATE")
    _, begin, certificate = second.partition(b"-----BEGIN CERTIFICATE")
    path.write_bytes(key + begin + certificate)
    with pytest.raises(ConfigError, match="don't belong together"):
        SiteCa.load_or_create(tmp_path, keys, clock=clock)


def test_a_missing_devices_pem_is_written_again(tmp_path: Path, authority: SiteCa, keys: SiteKeys) -> None:
    authority.devices_path.unlink()
    assert (
        SiteCa.load_or_create(tmp_path, keys, clock=ManualClock()).devices_path.read_bytes()
        == authority.chain_pem
    )


def test_renewing_keeps_the_key(
    tmp_path: Path, authority: SiteCa, keys: SiteKeys, clock: ManualClock
) -> None:
    assert not authority.is_due(clock.now_ms())
    clock.advance(1500 * DAY_MS)
    assert authority.is_due(clock.now_ms())
    renewed = authority.renewed(RecoveryKit.of(tmp_path), keys, clock=clock)
    assert renewed.key_id == authority.key_id
    assert renewed.ends_at_ms == authority.ends_at_ms + 1500 * DAY_MS
    assert not renewed.is_due(clock.now_ms())
    assert renewed.devices_path.read_bytes() == renewed.chain_pem
    assert SiteCa.load_or_create(tmp_path, keys, clock=clock).issuing == renewed.issuing


def test_a_new_key_voids_the_old_one(
    tmp_path: Path, authority: SiteCa, keys: SiteKeys, clock: ManualClock
) -> None:
    renewed = authority.renewed(RecoveryKit.of(tmp_path), keys, clock=clock, new_key=True)
    assert renewed.key_id != authority.key_id
    assert generation_of(renewed.issuing) == 2
    assert x509.load_pem_x509_certificates(renewed.devices_path.read_bytes()) == [
        renewed.issuing,
        renewed.root,
    ]


def test_another_sites_kit_renews_nothing(
    tmp_path: Path, authority: SiteCa, keys: SiteKeys, clock: ManualClock
) -> None:
    SiteCa.load_or_create(tmp_path / "other", SiteKeys.load_or_create(tmp_path / "other"), clock=clock)
    with pytest.raises(NotAuthorized) as refused:
        authority.renewed(RecoveryKit.of(tmp_path / "other"), keys, clock=clock)
    assert refused.value.code == "recovery_kit_of_another_site"
    assert SiteCa.load_or_create(tmp_path, keys, clock=clock).issuing == authority.issuing


def test_a_clock_of_1970_makes_an_authority_that_counts_later(tmp_path: Path) -> None:
    made = SiteCa.load_or_create(tmp_path, SiteKeys.load_or_create(tmp_path), clock=ManualClock(now_ms=5))
    assert made.issuing.not_valid_after_utc.year == 2028
    assert made.root.not_valid_after_utc.year == 2044


def test_serials_are_positive_in_twenty_bytes() -> None:
    assert random_serial(lambda size: b"\xff" * size) == 2**159 - 1
    assert random_serial(bytes) == 1
