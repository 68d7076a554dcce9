"""RAUC bundles: squashfs, signature, size of the signature."""

from __future__ import annotations

from typing import Any

import pytest

from appliance.core.errors import UsageError
from tests.artifact_kit import DATA, RAUC_MANIFEST, SIGNED_DATA, cms, der, found_in, raucb


def test_what_the_bundle_says_of_itself() -> None:
    found = found_in(raucb(), "raucb")
    assert (found.version, found.compat, found.is_vendor_signed) == ("3.4", ("board-x",), True)


def test_the_manifest_may_be_in_parts_or_in_the_squashfs() -> None:
    parts = der(0x24, der(0x04, RAUC_MANIFEST[:50]) + der(0x04, RAUC_MANIFEST[50:]))
    assert found_in(raucb(signature=cms(parts)), "raucb").version == "3.4"
    plain = found_in(raucb(manifest=None), "raucb")
    assert (plain.version, plain.compat, plain.facts) == ("", (), (("Bundle format", "plain"),))


def without_content(*elements: bytes) -> bytes:
    return der(0x30, der(0x06, SIGNED_DATA) + der(0xA0, der(0x30, b"".join(elements))))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"magic": b"abcd"}, "begins with 0x61626364"),
        ({"major": 3}, "squashfs of version 3"),
        ({"used": 9000}, "says that its squashfs has 9000 bytes, and 8192 are there"),
        ({"signature": b""}, "no signature at its end"),
        ({"signature": b"\x31\x00"}, "no CMS structure"),
        ({"signature": b"\x30\x03\x02\x01\x00"}, "no CMS signature"),
        ({"signature": cms(None, oid=DATA)}, "no CMS signature"),
        ({"signature": der(0x30, der(0x06, SIGNED_DATA) + der(0xA0, der(0x31, b"")))}, "without content"),
        ({"signature": without_content(der(0x02, b"\3"), der(0x02, b"\3"))}, "can't be read"),
        (
            {"signature": without_content(der(0x02, b"\3"), der(0x31, b""), der(0x30, der(0x02, b"\1")))},
            "does not say of what",
        ),
        ({"signature": cms(der(0x0C, b"text"))}, "over something else than bytes"),
        ({"signature": b"\x30\x80"}, "lengths that can't be read"),
        ({"signature": b"\x30\x82\x01"}, "ends too early"),
        ({"signature": b"\x30\x05\x06"}, "ends too early"),
        ({"signature": b"\x30"}, "ends too early"),
        ({"signature": bytes(65 * 1024)}, "no signature at its end"),
    ],
)
def test_what_is_wrong_is_said(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        found_in(raucb(**changes), "raucb")


def test_an_unsigned_squashfs_is_no_bundle() -> None:
    with pytest.raises(UsageError, match="bare squashfs"):
        found_in(raucb()[:8192], "raucb")
