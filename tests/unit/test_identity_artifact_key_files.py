"""Keys as files, and the one on the box."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from appliance.core.errors import ConfigError, Conflict, HomeportError, NotAuthorized, NotFound, UsageError
from appliance.identity import SiteKeys
from appliance.identity import artifact_key_files as key_files
from appliance.identity.artifact_signing import public_of, sign


def test_a_key_is_a_private_file_and_its_public_half_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "anna.key"
    made = key_files.make_file(path, passphrase=b"")
    assert path.stat().st_mode & 0o777 == 0o600
    loaded = key_files.load_file(path, passphrase=b"")
    assert sign(loaded, "x") == sign(made, "x")
    public = key_files.public_key((tmp_path / "anna.key.pub").read_text(), name="anna")
    assert public == public_of(made, name="anna")
    before = path.read_bytes()
    with pytest.raises(Conflict):
        key_files.make_file(path, passphrase=b"")
    assert path.read_bytes() == before


def test_a_key_may_have_a_passphrase(tmp_path: Path) -> None:
    path = tmp_path / "anna.key"
    made = key_files.make_file(path, passphrase=b"of three words")
    assert sign(key_files.load_file(path, passphrase=b"of three words"), "x") == sign(made, "x")
    plain = tmp_path / "plain.key"
    key_files.make_file(plain, passphrase=b"")
    for file, passphrase, code in (
        (path, b"", "passphrase_needed"),
        (path, b"another", "passphrase_wrong"),
        (plain, b"needless", "passphrase_wrong"),
    ):
        with pytest.raises(NotAuthorized) as caught:
            key_files.load_file(file, passphrase=passphrase)
        assert caught.value.code == code


def test_what_is_no_key_is_refused(tmp_path: Path) -> None:
    other = generate_private_key(SECP256R1())
    pem = other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    cases: list[tuple[bytes | None, int, type[HomeportError]]] = [
        (None, 0o600, NotFound),
        (b"no key", 0o600, ConfigError),
        (pem, 0o600, ConfigError),
        (pem, 0o644, ConfigError),
    ]
    for content, mode, kind in cases:
        path = tmp_path / "key"
        if content is not None:
            path.write_bytes(content)
            path.chmod(mode)
        with pytest.raises(kind):
            key_files.load_file(path, passphrase=b"")
    public = other.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    for text in ("", "ä", base64.b64encode(bytes(31)).decode(), public, "-----BEGIN PUBLIC KEY-----"):
        with pytest.raises(UsageError) as caught:
            key_files.public_key(text, name="anna")
        assert caught.value.code == "artifact_key_invalid"


def test_a_public_key_may_be_pem(tmp_path: Path) -> None:
    made = key_files.make_file(tmp_path / "a.key", passphrase=b"")
    pem = made.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    assert key_files.public_key(pem, name="anna") == public_of(made, name="anna")


def test_the_box_s_own_key_is_sealed(tmp_path: Path) -> None:
    keys = SiteKeys.load_or_create(tmp_path)
    assert key_files.on_box(tmp_path, keys) is None
    made = key_files.make_on_box(tmp_path, keys)
    found = key_files.on_box(tmp_path, keys)
    assert found is not None
    assert sign(found, "x") == sign(made, "x")
    sealed = (tmp_path / key_files.SEALED).read_bytes()
    raw = made.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
    assert raw not in sealed
    with pytest.raises(Conflict):
        key_files.make_on_box(tmp_path, keys)
    other = SiteKeys(site_key=bytes(32), node_id=bytes(16), node_key=made)
    with pytest.raises(ConfigError):
        key_files.on_box(tmp_path, other)
    assert key_files.remove_from_box(tmp_path)
    assert not key_files.remove_from_box(tmp_path)
