"""An artifact is rolled out when enough keys signed its manifest, within its time; or when the site says that it may go without."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from appliance.core.clock import ManualClock
from appliance.core.errors import Conflict, NotFound
from appliance.identity.artifact_signing import public_of, sign
from appliance.identity.artifact_trust import check_usable, trust_of
from appliance.management.artifact_keys import NOBODY, KeySet, UnsignedPolicy
from storage.catalog import Catalog
from storage.catalog.artifacts import Artifact
from tests.unit.test_storage_catalog_artifacts import artifact

KEYS = [Ed25519PrivateKey.from_private_bytes(bytes([n]) * 32) for n in range(3)]
SET = KeySet(version=1, threshold=2, keys=[public_of(key, name=f"key {n}") for n, key in enumerate(KEYS)])


def signed(*signers: int, text: str = "") -> Artifact:
    plain = artifact()
    manifest = plain.manifest_of(not_before_ms=10, expires_at_ms=20, release_counter=1)
    signatures = tuple(sign(KEYS[n], text or manifest.text()) for n in signers)
    return replace(plain, manifest=manifest.text(), signatures=signatures)


def code_of(
    found: Artifact, *, policy: UnsignedPolicy = "refuse", keys: KeySet = SET, now_ms: int = 15
) -> str | None:
    refusal = trust_of(found, keys, policy, now_ms=now_ms).refusal
    assert refusal is None or refusal.hint
    return None if refusal is None else refusal.code


def test_as_many_keys_as_the_threshold_says() -> None:
    found = trust_of(signed(0, 2), SET, "refuse", now_ms=15)
    assert (found.is_usable, found.good_count, found.needed_count) == (True, 2, 2)
    assert code_of(signed(1)) == "artifact_signatures"
    assert code_of(signed(1, 1)) == "artifact_signatures"


def test_each_reason_has_its_code() -> None:
    assert code_of(artifact()) == "artifact_unsigned"
    assert code_of(signed(0, 1), now_ms=20) == "manifest_expired"
    assert code_of(signed(0, 1), now_ms=9) == "manifest_not_yet"
    assert code_of(signed(0, 1, text="other bytes")) == "signature_bad"
    assert code_of(signed(0, 1), keys=NOBODY) == "artifact_unsigned"


def test_a_key_that_was_taken_out_does_not_count() -> None:
    assert (
        code_of(signed(0, 1), keys=KeySet(version=2, threshold=2, keys=SET.keys[1:])) == "artifact_signatures"
    )


@pytest.mark.parametrize(
    ("policy", "is_vendor_signed", "code"),
    [
        ("refuse", True, "artifact_unsigned"),
        ("vendor_signed", True, None),
        ("vendor_signed", False, "artifact_unsigned"),
        ("allow", False, None),
    ],
)
def test_the_site_says_what_may_go_unsigned(
    policy: UnsignedPolicy, is_vendor_signed: bool, code: str | None
) -> None:
    assert code_of(artifact(is_vendor_signed=is_vendor_signed), policy=policy) == code


def test_no_policy_lets_through_what_is_wrong_or_over() -> None:
    assert code_of(signed(0, text="other bytes"), policy="allow") == "signature_bad"
    assert code_of(signed(0, 1), policy="allow", now_ms=20) == "manifest_expired"


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    opened = Catalog.open(tmp_path / "catalog.db", clock=ManualClock(now_ms=5), node_id=bytes(16))
    yield opened
    opened.close()


def test_it_is_asked_with_what_the_catalog_says_now(catalog: Catalog) -> None:
    catalog.add_artifact(artifact())
    with pytest.raises(Conflict) as caught:
        check_usable(catalog, "a1", now_ms=15)
    assert caught.value.code == "artifact_unsigned"
    catalog.set_unsigned_policy("allow")
    assert check_usable(catalog, "a1", now_ms=15).artifact_id == "a1"
    with pytest.raises(NotFound):
        check_usable(catalog, "a2", now_ms=15)
