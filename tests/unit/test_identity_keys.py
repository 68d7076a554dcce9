"""The box's keys: made once, kept, and a key of its own for each use."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from appliance.core.errors import ConfigError
from appliance.identity import SiteKeys, new_token
from appliance.identity.keys import TOKEN_PREFIX, new_claim_token


def test_keys_are_made_once_and_private(tmp_path: Path) -> None:
    first = SiteKeys.load_or_create(tmp_path)
    again = SiteKeys.load_or_create(tmp_path)
    assert first.node_id == again.node_id
    assert first.signer.key_id == again.signer.key_id
    assert first.token_hash(b"t") == again.token_hash(b"t")
    folder = tmp_path / "identity"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {path.name for path in folder.iterdir()} == {"site.key", "node.key", "node.id"}
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in folder.iterdir())


def test_processes_that_start_together_get_the_same_keys(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: SiteKeys.load_or_create(tmp_path), range(8)))
    assert len({keys.token_hash(b"t") + keys.node_id + keys.signer.key_id for keys in made}) == 1


def test_two_sites_have_nothing_in_common(tmp_path: Path) -> None:
    one, other = SiteKeys.load_or_create(tmp_path / "a"), SiteKeys.load_or_create(tmp_path / "b")
    assert one.node_id != other.node_id
    assert one.token_hash(b"t") != other.token_hash(b"t")


def test_each_purpose_has_its_own_key(tmp_path: Path) -> None:
    keys = SiteKeys.load_or_create(tmp_path)
    made = {keys.token_hash(b"x"), keys.session_hash(b"x"), keys.derive("a"), keys.derive("b")}
    assert len(made) == 4
    assert all(len(one) == 32 for one in made)
    assert len(keys.csrf_token(bytes(32))) == 43


def test_signatures_are_ed25519(tmp_path: Path) -> None:
    signer = SiteKeys.load_or_create(tmp_path).signer
    assert len(signer.key_id) == 32
    Ed25519PublicKey.from_public_bytes(signer.key_id).verify(signer.sign(b"data"), b"data")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("site.key", b"zz"),
        ("site.key", b"ab" * 31),
        ("site.key", b"\xff" * 64),
        ("node.id", b""),
        ("node.key", b"-----BEGIN PRIVATE KEY-----\nx\n-----END PRIVATE KEY-----\n"),
    ],
)
def test_a_file_with_something_else_is_refused_and_not_replaced(
    tmp_path: Path, name: str, content: bytes
) -> None:
    SiteKeys.load_or_create(tmp_path)
    (tmp_path / "identity" / name).write_bytes(content)
    with pytest.raises(ConfigError) as refused:
        SiteKeys.load_or_create(tmp_path)
    assert refused.value.code == "key_file_invalid"
    assert (tmp_path / "identity" / name).read_bytes() == content


def test_a_node_key_of_another_kind_is_refused(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    SiteKeys.load_or_create(tmp_path)
    pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    (tmp_path / "identity" / "node.key").write_bytes(pem)
    with pytest.raises(ConfigError, match="Ed25519"):
        SiteKeys.load_or_create(tmp_path)


def test_tokens_have_192_random_bits_and_are_safe_in_a_shell() -> None:
    made = {new_token() for _ in range(1000)}
    assert len(made) == 1000
    for token in made:
        assert token.startswith(TOKEN_PREFIX)
        assert len(token) == len(TOKEN_PREFIX) + 32
        assert token.replace("_", "").replace("-", "").isalnum()


def test_a_sealed_secret_opens_for_its_label_and_site_only(tmp_path: Path) -> None:
    keys = SiteKeys.load_or_create(tmp_path / "a")
    sealed = keys.seal("totp/anna", b"secret")
    assert b"secret" not in sealed
    assert sealed != keys.seal("totp/anna", b"secret")
    assert keys.unseal("totp/anna", sealed) == b"secret"
    other = SiteKeys.load_or_create(tmp_path / "b")
    changed = sealed[:-1] + bytes([sealed[-1] ^ 1])
    for opener, label, data in (
        (keys, "totp/bob", sealed),
        (other, "totp/anna", sealed),
        (keys, "totp/anna", changed),
        (keys, "totp/anna", b""),
    ):
        with pytest.raises(ConfigError) as refused:
            opener.unseal(label, data)
        assert refused.value.code == "seal_broken"


def test_claims_have_hashes_of_their_own(tmp_path: Path) -> None:
    keys = SiteKeys.load_or_create(tmp_path)
    token = new_claim_token()
    assert token.startswith("hpc_")
    assert len(token) == 36
    assert token != new_claim_token()
    hashes = {
        keys.claim_hash(token.encode()),
        keys.token_hash(token.encode()),
        keys.enrolment_key_hash("nonce", token.encode()),
        keys.enrolment_key_hash("public-key", token.encode()),
    }
    assert len(hashes) == 4
