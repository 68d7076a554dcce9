"""Whose backups these are, and who can open them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from appliance.core.errors import ConfigError, HomeportError, NotAuthorized, NotFound, UsageError
from appliance.identity import backup_keys
from appliance.identity.backup_keys import key_from_kit, new_repository, recipient, repository_key
from storage.backup.header import Header
from tests.backup_kit import Box, make_box


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return make_box(tmp_path)


def new(box: Box) -> Header:
    return new_repository(box.data_dir, site_key=site_key(box), node_id=box.keys.node_id, now_ms=1)


def site_key(box: Box) -> bytes:
    return box.keys.derive("backup-header/1")


def test_the_box_and_the_kit_come_to_the_same_key(box: Box) -> None:
    header = new(box)
    key = repository_key(box.data_dir, header, site_key=site_key(box))
    assert key == key_from_kit(header, box.kit)
    assert len(key) == 32
    assert key.hex() not in header.sealed_key
    kept = box.data_dir / "identity" / "backups" / f"{header.repository_id}.key"
    assert kept.stat().st_mode & 0o777 == 0o600


def test_each_repository_has_a_key_of_its_own(box: Box) -> None:
    assert key_from_kit(new(box), box.kit) != key_from_kit(new(box), box.kit)


def test_another_kit_opens_nothing(box: Box, tmp_path: Path) -> None:
    other = make_box(tmp_path / "other")
    with pytest.raises(NotAuthorized) as found:
        key_from_kit(new(box), other.kit)
    assert found.value.code == "recovery_kit_of_another_site"


def test_a_repository_made_with_the_public_key_alone_is_refused(box: Box) -> None:
    """Whoever holds the stick knows the public key, and could put a catalog with a user of their own on it."""
    header = new(box)
    suite = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)
    forged = suite.encrypt(
        b"k" * 32,
        X25519PublicKey.from_public_bytes(bytes.fromhex(header.recipient)),
        b"homeport backup repository 1/" + header.repository_id.encode(),
    )
    for changes in ({"sealed_key": forged.hex()}, {"made_at_ms": 2}, {"tag": "00" * 32}):
        with pytest.raises(NotAuthorized) as found:
            key_from_kit(dataclasses.replace(header, **changes), box.kit)
        assert found.value.code == "backup_header_forged"
        with pytest.raises(NotAuthorized):
            repository_key(
                box.data_dir,
                dataclasses.replace(header, **changes),
                site_key=site_key(box),
            )


def test_what_a_site_sealed_wrongly_is_refused(box: Box) -> None:
    header = dataclasses.replace(new(box), sealed_key="00" * 80)
    tag = backup_keys._tag(site_key(box), header)
    with pytest.raises(NotAuthorized):
        key_from_kit(dataclasses.replace(header, tag=tag), box.kit)


def test_no_backup_before_somebody_has_the_kit(tmp_path: Path) -> None:
    box = make_box(tmp_path, is_confirmed=False)
    with pytest.raises(UsageError) as found:
        recipient(box.data_dir)
    assert found.value.code == "recovery_kit_unconfirmed"


def test_a_box_older_than_backups_is_told_what_to_do(box: Box) -> None:
    (box.data_dir / "identity" / "backup.pub").unlink()
    with pytest.raises(UsageError, match="lacks the public half") as found:
        new(box)
    assert "recovery-kit backup-key" in found.value.hint


@pytest.mark.parametrize("content", ["", "zz", "00", "00" * 33])
def test_a_public_key_that_is_none(box: Box, content: str) -> None:
    (box.data_dir / "identity" / "backup.pub").write_text(content)
    with pytest.raises(ConfigError):
        recipient(box.data_dir)


@pytest.mark.parametrize("content", ["", "zz", "00"])
def test_a_kept_key_that_is_none(box: Box, content: str) -> None:
    header = new(box)
    (box.data_dir / "identity" / "backups" / f"{header.repository_id}.key").write_text(content)
    with pytest.raises(ConfigError):
        repository_key(box.data_dir, header, site_key=site_key(box))


def test_a_repository_of_another_box_is_not_written_to(box: Box, tmp_path: Path) -> None:
    other = make_box(tmp_path / "other")
    with pytest.raises(NotFound) as found:
        repository_key(other.data_dir, new(box), site_key=site_key(other))
    assert found.value.code == "backup_of_another_box"


def test_no_secret_is_in_a_message_or_a_repr(box: Box) -> None:
    header = new(box)
    assert header.sealed_key not in repr(header)
    key = key_from_kit(header, box.kit).hex()
    (box.data_dir / "identity" / "backups" / f"{header.repository_id}.key").write_text(key + "0")
    with pytest.raises(HomeportError) as found:
        repository_key(box.data_dir, header, site_key=site_key(box))
    assert key not in str(found.value)
