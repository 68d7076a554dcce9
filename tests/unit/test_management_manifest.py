"""Manifests: one form, and what they must fulfil."""

from __future__ import annotations

import json
from typing import Any

import pytest

from appliance.core.errors import Conflict, UsageError
from appliance.core.limits_updates import MANIFEST_BYTES_MAX
from appliance.management import manifest as manifests
from appliance.management.manifest import Manifest, ManifestArtifact, ManifestCompat, Signature

TEXT = (
    '{"artifact":{"format":"raw","name":"pump","sha256":"' + "ab" * 32 + '","size":5,"version":"1.2"},'
    '"compat":{"hw":["rev2"],"min_version":"1.0"},"epoch":1,"expires":2000,"not_before":1000,"release_counter":7}'
)


def made(**changes: Any) -> Manifest:
    values: dict[str, Any] = {
        "artifact": ManifestArtifact(name="pump", version="1.2", size=5, sha256="ab" * 32, format="raw"),
        "compat": ManifestCompat(hw=["rev2"], min_version="1.0"),
        "epoch": 1,
        "not_before": 1000,
        "expires": 2000,
        "release_counter": 7,
    }
    return Manifest(**{**values, **changes})


def test_a_manifest_has_one_form() -> None:
    assert made().text() == TEXT
    assert manifests.parse(TEXT) == made()


@pytest.mark.parametrize(
    "text",
    [
        " " + TEXT,
        TEXT.replace('"pump"', '"pump\\n"'),
        TEXT.replace('"1.2"', '"1.2\\n"'),
        TEXT.replace("ab" * 32, "ab" * 32 + "\\n"),
        TEXT.replace('"rev2"', '"rev2\\n"'),
        TEXT.replace('"epoch":1', '"epoch":1.0'),
        TEXT.replace('"epoch":1', '"epoch":1,"epoch":1'),
        TEXT.replace('"epoch":1', '"epoch":-1'),
        TEXT.replace('"epoch":1', '"epoch":1,"more":1'),
        TEXT.replace('"format":"raw"', '"format":"zip"'),
        TEXT.replace('"min_version":"1.0"', '"min_version":null'),
        TEXT.replace("pump", "../pump"),
        TEXT.replace("1.2", "1.2\\u0000"),
        TEXT.replace('"expires":2000', '"expires":1000'),
        "[" * 100_000,
        "\ud800",
        "a" * (MANIFEST_BYTES_MAX + 1),
        json.dumps(json.loads(TEXT)),
    ],
)
def test_every_other_form_is_refused(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        manifests.parse(text)
    assert caught.value.code == "manifest_invalid"
    assert caught.value.hint


def test_a_file_holds_a_document_and_its_signatures() -> None:
    found = manifests.parse_signed(
        b'{"document":"x","signatures":[{"keyid":"' + b"ab" * 32 + b'","sig":"AA=="}]}'
    )
    assert found.document == "x"
    assert found.signatures[0].keyid == "ab" * 32
    for data in (b"\xff", b"{}", b"[" * 50_000, b" " * (2 * MANIFEST_BYTES_MAX + 1)):
        with pytest.raises(UsageError):
            manifests.parse_signed(data)


def test_a_signature_has_64_bytes() -> None:
    assert Signature(keyid="ab" * 32, sig="A" * 86 + "==").raw() == bytes(64)
    assert Signature(keyid="ab" * 32, sig="AA==").raw() is None
    assert Signature(keyid="ab" * 32, sig="ä").raw() is None


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {
                "artifact": ManifestArtifact(
                    name="pump", version="1.3", size=5, sha256="ab" * 32, format="raw"
                )
            },
            "artifact.version is 1.3",
        ),
        (
            {
                "artifact": ManifestArtifact(
                    name="pump", version="1.2", size=5, sha256="cd" * 32, format="raw"
                )
            },
            "artifact.sha256 is cdcd",
        ),
        ({"compat": ManifestCompat(hw=["rev3"], min_version="1.0")}, "compat.hw"),
        ({"epoch": 0}, "epoch is 0, and here it is 1"),
    ],
)
def test_a_manifest_of_something_else_is_refused_with_what_differs(
    changes: dict[str, Any], says: str
) -> None:
    with pytest.raises(Conflict, match=says) as caught:
        manifests.check_describes(made(**changes), made())
    assert caught.value.code == "manifest_differs"


def test_times_and_counter_may_differ() -> None:
    manifests.check_describes(made(expires=3000, release_counter=9), made())


def test_the_counter_grows() -> None:
    manifests.check_counter(made(), 6)
    for highest in (7, 8):
        with pytest.raises(Conflict, match=f"is at {highest}"):
            manifests.check_counter(made(), highest)


def test_an_older_epoch_is_for_going_back_only() -> None:
    manifests.check_epoch("pump", 3, 3, is_rollback_image=False)
    manifests.check_epoch("pump", 2, 3, is_rollback_image=True)
    with pytest.raises(Conflict, match="epoch 2 is older than 3") as caught:
        manifests.check_epoch("pump", 2, 3, is_rollback_image=False)
    assert caught.value.code == "artifact_epoch_low"


def test_a_manifest_has_its_time() -> None:
    manifests.check_time(made(), 1000)
    manifests.check_time(made(), 1999)
    with pytest.raises(Conflict) as caught:
        manifests.check_time(made(), 2000)
    assert caught.value.code == "manifest_expired"
    with pytest.raises(Conflict) as caught:
        manifests.check_time(made(), 999)
    assert caught.value.code == "manifest_not_yet"


def test_a_name_is_refused_in_words() -> None:
    manifests.check_name("pump-1.2_b")
    for name in ("", "x y", "-pump", "ü", "p" * 65, "pump\n"):
        with pytest.raises(UsageError) as refused:
            manifests.check_name(name)
        assert (refused.value.code, "letters, digits, dots" in refused.value.hint) == ("name_invalid", True)
