"""The recovery kit: what is printed can be typed again, and every typing error is found where it is."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.core.clock import ManualClock
from appliance.core.errors import ConfigError, NotFound, UsageError
from appliance.identity.ca import SiteCa
from appliance.identity.ca_certificates import fingerprint
from appliance.identity.crockford import ALPHABET
from appliance.identity.keys import SiteKeys
from appliance.identity.recovery_kit import PENDING, QR_PREFIX, RecoveryKit, confirm, pending

KIT = RecoveryKit(
    node_id=bytes(range(16)), made_day=20_784, site_key=bytes(range(32)), root_secret=bytes(range(100, 132))
)
SECRETS = st.binary(min_size=32, max_size=32)


@given(st.binary(min_size=16, max_size=16), st.integers(0, 2**32 - 1), SECRETS, SECRETS)
def test_a_round_trip(node_id: bytes, made_day: int, site_key: bytes, root_secret: bytes) -> None:
    kit = RecoveryKit(node_id=node_id, made_day=made_day, site_key=site_key, root_secret=root_secret)
    assert RecoveryKit.parse("\n".join(kit.lines())) == kit
    assert RecoveryKit.parse(kit.qr_text) == kit


def test_the_printed_text() -> None:
    text = KIT.text("box-7")
    assert RecoveryKit.parse(text) == KIT
    assert text.isascii()
    assert "box-7" in text
    assert KIT.node_id.hex() in text
    assert KIT.ca_fingerprint in text
    assert "2026-11-27" in text
    assert len(KIT.lines()) == 8
    assert max(map(len, text.splitlines())) <= 125


def test_the_qr_code_stays_within_its_alphanumeric_mode() -> None:
    assert set(KIT.qr_text) <= set("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:")
    assert len(KIT.qr_text) == len(QR_PREFIX) + 143


def test_typed_by_hand() -> None:
    """Lines in any order, small letters, other groups, O for 0; notes of somebody beside them."""
    lines = [line.lower().replace("0", "o", 1).replace("-", " ") for line in reversed(KIT.lines())]
    lines = [f"{line[:2].replace('o', '0')}{line[2:]}" for line in lines]
    assert RecoveryKit.parse("\r\n".join(["fetched from the safe on Monday", *lines, "Tel. 12 34"])) == KIT


@given(st.data())
def test_a_wrong_character_is_found_in_its_line(data: st.DataObject) -> None:
    lines = KIT.lines()
    number = data.draw(st.integers(0, len(lines) - 1))
    places = [at for at, character in enumerate(lines[number]) if at > 2 and character in ALPHABET]
    at = data.draw(st.sampled_from(places))
    other = data.draw(st.sampled_from([each for each in ALPHABET if each != lines[number][at]]))
    lines[number] = lines[number][:at] + other + lines[number][at + 1 :]
    with pytest.raises(UsageError) as refused:
        RecoveryKit.parse("\n".join(lines))
    assert refused.value.code in ("recovery_kit_typing_error", "recovery_kit_invalid")
    if refused.value.code == "recovery_kit_typing_error":
        assert f"Line {number + 1:02}" in refused.value.message


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no numbered lines"),
        ("hello", "no numbered lines"),
        (QR_PREFIX, "checksum"),
        (QR_PREFIX + "U" * 143, "no character"),
        (QR_PREFIX + KIT.code[:-1], "cut off"),
        ("\n".join(KIT.lines()[:3] + KIT.lines()[4:]), "Line 04 is missing"),
        ("x" * 10_000, "too long"),
    ],
)
def test_what_is_no_kit(text: str, why: str) -> None:
    with pytest.raises(UsageError, match=why) as refused:
        RecoveryKit.parse(text)
    assert refused.value.code == "recovery_kit_invalid"


def test_two_lines_exchanged_are_found() -> None:
    lines = KIT.lines()
    lines[0], lines[1] = f"01{lines[1][2:]}", f"02{lines[0][2:]}"
    with pytest.raises(UsageError, match="Line 01"):
        RecoveryKit.parse("\n".join(lines))


def test_a_later_version_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("appliance.identity.recovery_kit.VERSION", 2)
    text = KIT.qr_text
    monkeypatch.undo()
    with pytest.raises(UsageError, match="version 2"):
        RecoveryKit.parse(text)


def test_nothing_secret_in_its_repr() -> None:
    assert KIT.site_key.hex() not in repr(KIT)
    assert repr(KIT.site_key) not in repr(KIT)
    assert repr(KIT.root_secret) not in repr(KIT)


def test_a_boxes_kit_until_it_is_confirmed(tmp_path: Path) -> None:
    assert pending(tmp_path) is None
    keys = SiteKeys.load_or_create(tmp_path)
    authority = SiteCa.load_or_create(tmp_path, keys, clock=ManualClock())
    kit = pending(tmp_path)
    assert kit is not None
    assert kit == RecoveryKit.of(tmp_path)
    assert keys.is_site_key(kit.site_key)
    assert kit.node_id == keys.node_id
    assert kit.ca_fingerprint == fingerprint(authority.root)
    assert confirm(tmp_path)
    assert pending(tmp_path) is None
    with pytest.raises(NotFound) as gone:
        RecoveryKit.of(tmp_path)
    assert gone.value.code == "recovery_kit_gone"


def test_a_damaged_pending_file(tmp_path: Path) -> None:
    SiteCa.load_or_create(tmp_path, SiteKeys.load_or_create(tmp_path), clock=ManualClock())
    (tmp_path / PENDING).write_text("something else")
    with pytest.raises(ConfigError) as refused:
        pending(tmp_path)
    assert refused.value.code == "key_file_invalid"


def test_a_missing_node_id(tmp_path: Path) -> None:
    SiteCa.load_or_create(tmp_path, SiteKeys.load_or_create(tmp_path), clock=ManualClock())
    (tmp_path / "identity" / "node.id").write_text("zz")
    with pytest.raises(ConfigError, match=r"node\.id"):
        RecoveryKit.of(tmp_path)
