"""What a device lets in: each check refuses for its own reason, and keys count once."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from device_fw_sim.image import Header, build
from device_fw_sim.verify import Checked, Refusal, Trust, canonical, verify, version_key
from tests.update_box import install

IMAGE = build(Header(version="2.0.0", hw=["rev2"]))
KEYS = {name: Ed25519PrivateKey.from_private_bytes(name.encode() * 32) for name in "abc"}
TRUST = Trust(
    keys={name: key.public_key().public_bytes_raw() for name, key in KEYS.items() if name != "c"}, threshold=2
)
DEVICE = Checked(
    hardware="rev2", version="1.4.0", epoch_floor=3, counters={"sim": (7, "0" * 64)}, wall_ms=1_000_000
)


def document(signers: str = "ab", **more: Any) -> dict[str, Any]:
    found = install(IMAGE)
    artifact = {key: found["artifact"][key] for key in ("name", "version", "size", "sha256", "format")}
    manifest = {
        "artifact": artifact,
        "compat": {"hw": ["rev2"], "min_version": "1.2.0", "max_version": "1.9"},
        "epoch": 3,
        "not_before": 500_000,
        "expires": 2_000_000,
        "release_counter": 8,
        **more,
    }
    message = canonical(manifest)
    sig = [
        {"keyid": name, "alg": "ed25519", "sig": base64.b64encode(KEYS[name].sign(message)).decode()}
        for name in signers
    ]
    return {**found, "manifest": manifest, "sig": sig}


def test_a_good_one_is_let_in() -> None:
    assert verify(document(), TRUST, DEVICE) is None


def test_the_manifest_may_come_as_the_very_text_that_was_signed() -> None:
    given = document()
    given["manifest"] = canonical(given["manifest"]).decode()
    assert verify(given, TRUST, DEVICE) is None
    given["manifest"] = "{"
    refused = verify(given, TRUST, DEVICE)
    assert refused is not None
    assert refused.why is Refusal.BAD_DOCUMENT


def test_a_device_without_keys_takes_what_is_not_signed() -> None:
    assert verify(install(IMAGE) | {"compat": {"hw": ["rev2"]}, "epoch": 3}, Trust(), DEVICE) is None


@pytest.mark.parametrize("signers", ["", "a", "aa", "ac", "c"])
def test_too_few_different_trusted_keys(signers: str) -> None:
    refused = verify(document(signers), TRUST, DEVICE)
    assert refused is not None
    assert refused.why is Refusal.BAD_SIGNATURE


@pytest.mark.parametrize(
    "sig",
    [
        {"keyid": "a", "alg": "ed25519", "sig": "%"},
        {"keyid": "a", "alg": "ed25519", "sig": 5},
        {"keyid": "a", "alg": "ed25519"},
        {"keyid": "a", "alg": "rsa", "sig": "AAAA"},
        "nothing",
    ],
)
def test_any_signature_is_good_or_does_not_count(sig: Any) -> None:
    refused = verify({**document(), "sig": [sig]}, TRUST, DEVICE)
    assert refused is not None
    assert refused.why is Refusal.BAD_SIGNATURE


def test_one_byte_of_the_manifest_changed() -> None:
    given = document()
    given["manifest"] = {**given["manifest"], "epoch": 4}
    refused = verify(given, TRUST, DEVICE)
    assert refused is not None
    assert refused.why is Refusal.BAD_SIGNATURE


@pytest.mark.parametrize(
    ("changed", "why", "said"),
    [
        ({"artifact": {"sha256": "1" * 64}}, Refusal.WRONG_MANIFEST, "another image"),
        ({"compat": {"hw": ["rev9"]}}, Refusal.INCOMPATIBLE, "made for rev9, this is rev2"),
        ({"compat": {"hw": ["rev2"], "min_version": "1.4.1"}}, Refusal.INCOMPATIBLE, "1.4.1"),
        ({"compat": {"hw": ["rev2"], "max_version": "1.3"}}, Refusal.INCOMPATIBLE, "1.3"),
        ({"epoch": 2}, Refusal.EPOCH, "epoch 2 is below this device's 3"),
        ({"not_before": 1_000_001}, Refusal.NOT_YET_VALID, "1000001"),
        ({"expires": 1_000_000}, Refusal.EXPIRED, "expired at 1000000"),
        ({"release_counter": 7}, Refusal.COUNTER_REUSED, "release 7 of sim"),
    ],
)
def test_each_reason_is_told(changed: dict[str, Any], why: Refusal, said: str) -> None:
    refused = verify(document(**changed), TRUST, DEVICE)
    assert refused is not None
    assert refused.why is why
    assert said in refused.message


def test_an_older_release_is_a_legitimate_way_back() -> None:
    assert verify(document(release_counter=6), TRUST, DEVICE) is None
    same = replace(DEVICE, counters={"sim": (8, IMAGE.sha256)})
    assert verify(document(), TRUST, same) is None


def test_versions_are_compared_as_people_do() -> None:
    rising = ["1.0.0-rc1", "1.0.0", "1.0.1", "1.2", "1.10.0", "2.0.0+build7"]
    assert sorted(["1.10.0", "1.0.1", "2.0.0+build7", "1.2", "1.0.0", "1.0.0-rc1"], key=version_key) == rising
    assert version_key("2.0.0+build7") == version_key("2.0.0")
