"""Signing in: what CONNECT says for each kind of user; a secret is never shown, and one that is none is refused."""

from __future__ import annotations

import base64
import binascii
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from appliance.core.errors import ConfigError
from replication.tier.engines.credentials import Credentials
from replication.tier.engines.jetstream_access import Access, access_of

SEED = "SUAMK2FG4MI6UE3ACF3FK3OIQBCEIEZV7NSWFFEW63UXMRLFM2XLAXK4GY"
PUBLIC = "UAT6BWCSCWLUKJT6K6MBJJOEOTXZ5AJDOYKNEVRFC7VNO6OA43N4TRNO"
"""That a server takes it shows the test of jetstream_opening."""
CREDS = """-----BEGIN NATS USER JWT-----
eyJ0eXAi.abc.def
------END NATS USER JWT------

************************* IMPORTANT *************************
NKEY Seed printed below can be used to sign and prove identity.

-----BEGIN USER NKEY SEED-----
{seed}
------END USER NKEY SEED------
"""


def test_user_and_password_or_a_token() -> None:
    assert access_of(Credentials({"user": "box", "password": "hidden"})).connect_values("") == {
        "user": "box",
        "pass": "hidden",
    }
    assert access_of(Credentials({"token": "hidden"})).connect_values("n") == {"auth_token": "hidden"}
    assert not access_of(Credentials()).is_anybody
    assert access_of(Credentials({"system_token": "t"}), "system_").is_anybody


def test_an_nkey_signs_what_the_server_wants_signed() -> None:
    values = access_of(Credentials({"nkey_seed": SEED})).connect_values("nonce")
    assert values["nkey"] == PUBLIC
    raw = base64.b32decode(PUBLIC)
    signature = base64.urlsafe_b64decode(values["sig"] + "==")
    Ed25519PublicKey.from_public_bytes(raw[1:-2]).verify(signature, b"nonce")


def test_a_creds_file_has_a_jwt_and_a_seed(tmp_path: Path) -> None:
    path = tmp_path / "box.creds"
    path.write_text(CREDS.format(seed=SEED))
    path.chmod(0o600)
    values = access_of(Credentials({"creds_file": str(path)})).connect_values("nonce")
    assert values["jwt"] == "eyJ0eXAi.abc.def"
    assert "nkey" not in values
    path.write_text("nothing")
    with pytest.raises(ConfigError, match="lacks"):
        access_of(Credentials({"creds_file": str(path)}))
    path.chmod(0o644)
    with pytest.raises(ConfigError, match="mode 644"):
        access_of(Credentials({"creds_file": str(path)}))


@pytest.mark.parametrize("seed", ["x", "ä", SEED[:-1] + "A", SEED.lower(), PUBLIC, "S" * 58])
def test_a_seed_that_is_none_is_refused(seed: str) -> None:
    with pytest.raises(ConfigError, match="no user's seed") as caught:
        access_of(Credentials({"nkey_seed": seed}))
    assert seed not in str(caught.value) or len(seed) == 1


def test_an_accounts_seed_is_no_users() -> None:
    raw = bytearray(base64.b32decode(SEED + "======"))
    raw[0], raw[1] = 18 << 3, 0
    raw[-2:] = binascii.crc_hqx(bytes(raw[:-2]), 0).to_bytes(2, "little")
    with pytest.raises(ConfigError, match="no user's seed"):
        access_of(Credentials({"nkey_seed": base64.b32encode(bytes(raw)).decode().rstrip("=")}))


def test_secrets_are_not_shown() -> None:
    shown = repr(Access(user="box", password="hidden", token="hidden", seed=SEED, jwt="hidden"))
    assert "hidden" not in shown
    assert SEED not in shown
    assert "box" in shown
