"""Signatures: each distinct trusted key counts once, and who sends a wrong one is told which."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from appliance.core.errors import Conflict
from appliance.identity.artifact_signing import check_added, good_keys, look, public_of, sign
from appliance.management.artifact_keys import PublicKey
from appliance.management.manifest import Signature

KEYS = [Ed25519PrivateKey.from_private_bytes(bytes([n]) * 32) for n in range(3)]
PUBLIC = {each.key_id: each for each in (public_of(key, name=f"key {n}") for n, key in enumerate(KEYS[:2]))}
TEXT = '{"a":"ä"}'


def test_a_key_counts_once() -> None:
    signatures = [sign(KEYS[0], TEXT), sign(KEYS[0], TEXT), sign(KEYS[1], TEXT)]
    looked = look(TEXT, signatures, PUBLIC)
    assert [each.state for each in looked] == ["good"] * 3
    assert good_keys(looked) == set(PUBLIC)
    check_added(looked)


def test_one_changed_byte_and_a_foreign_key_are_told_apart() -> None:
    looked = look(TEXT + " ", [sign(KEYS[0], TEXT), sign(KEYS[2], TEXT)], PUBLIC)
    assert [(each.name, each.state) for each in looked] == [("key 0", "bad"), ("", "unknown")]
    assert good_keys(looked) == frozenset()
    with pytest.raises(Conflict, match="“key 0”") as bad:
        check_added(looked[:1])
    assert bad.value.code == "signature_bad"
    with pytest.raises(Conflict, match="does not count here") as unknown:
        check_added(looked[1:])
    assert unknown.value.code == "signature_key_unknown"
    with pytest.raises(Conflict) as none:
        check_added(())
    assert none.value.code == "signature_missing"


def test_another_key_s_signature_under_a_trusted_key_s_id_is_bad() -> None:
    borrowed = Signature(keyid=next(iter(PUBLIC)), sig=sign(KEYS[2], TEXT).sig)
    assert look(TEXT, [borrowed], PUBLIC)[0].state == "bad"


@pytest.mark.parametrize("sig", ["", "AA==", base64.b64encode(bytes(64)).decode()])
def test_what_is_no_signature_is_bad(sig: str) -> None:
    assert look(TEXT, [Signature(keyid=next(iter(PUBLIC)), sig=sig)], PUBLIC)[0].state == "bad"


def test_a_key_that_is_no_point_makes_its_signatures_bad() -> None:
    odd = PublicKey(name="odd", public=base64.b64encode(b"\xff" * 32).decode())
    looked = look(TEXT, [Signature(keyid=odd.key_id, sig=sign(KEYS[0], TEXT).sig)], {odd.key_id: odd})
    assert looked[0].state == "bad"
