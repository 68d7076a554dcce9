"""The public half of the recovery kit."""

from __future__ import annotations

from pathlib import Path

from appliance.core.clock import ManualClock
from appliance.identity import recovery
from appliance.identity.backup_public_key import PUBLIC_KEY, private_key, write_public_key
from tests.backup_kit import make_box


def test_confirming_the_kit_leaves_it(tmp_path: Path) -> None:
    box = make_box(tmp_path, is_confirmed=False)
    assert not (box.data_dir / PUBLIC_KEY).exists()
    box = make_box(tmp_path / "other")
    wanted = private_key(box.kit.root_secret).public_key().public_bytes_raw().hex()
    assert (box.data_dir / PUBLIC_KEY).read_text().strip() == wanted
    assert (box.data_dir / PUBLIC_KEY).stat().st_mode & 0o777 == 0o600


def test_a_box_made_of_the_kit_has_it_too(tmp_path: Path) -> None:
    box = make_box(tmp_path / "old")
    recovery.restore(tmp_path / "new", box.kit, clock=ManualClock())
    assert (tmp_path / "new" / PUBLIC_KEY).read_bytes() == (box.data_dir / PUBLIC_KEY).read_bytes()


def test_writing_it_again_changes_nothing(tmp_path: Path) -> None:
    box = make_box(tmp_path)
    assert not write_public_key(box.data_dir, box.kit.root_secret)
    assert write_public_key(box.data_dir, bytes(32))
