"""A new box out of a recovery kit."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.core.clock import ManualClock
from appliance.core.errors import Conflict, NotAuthorized
from appliance.identity.ca import SiteCa
from appliance.identity.ca_certificates import generation_of
from appliance.identity.keys import SiteKeys
from appliance.identity.recovery import Restored, restore
from appliance.identity.recovery_kit import RecoveryKit, pending

CLOCK = ManualClock(now_ms=1_795_000_000_000)


@pytest.fixture
def lost(tmp_path: Path) -> tuple[SiteKeys, SiteCa, RecoveryKit]:
    """A box that is no more: its keys, its authority and its kit."""
    keys = SiteKeys.load_or_create(tmp_path / "lost")
    return (
        keys,
        SiteCa.load_or_create(tmp_path / "lost", keys, clock=CLOCK),
        RecoveryKit.of(tmp_path / "lost"),
    )


def test_a_new_box_is_the_same_to_devices(tmp_path: Path, lost: tuple[SiteKeys, SiteCa, RecoveryKit]) -> None:
    keys, authority, kit = lost
    done = restore(tmp_path / "new", kit, clock=CLOCK)
    assert done == Restored(site_key=True, node_id=True, authority=True)
    new_keys = SiteKeys.load_or_create(tmp_path / "new")
    new = SiteCa.load_or_create(tmp_path / "new", new_keys, clock=CLOCK)
    assert new_keys.token_hash(b"t") == keys.token_hash(b"t")
    assert new_keys.node_id == keys.node_id
    assert (new.root, new.key_id) == (authority.root, authority.key_id)
    assert new.issuing.subject == authority.issuing.subject
    assert pending(tmp_path / "new") is None


def test_again_changes_nothing(tmp_path: Path, lost: tuple[SiteKeys, SiteCa, RecoveryKit]) -> None:
    _, _, kit = lost
    restore(tmp_path / "new", kit, clock=CLOCK)
    before = {path: path.read_bytes() for path in (tmp_path / "new").rglob("*") if path.is_file()}
    assert restore(tmp_path / "new", kit, clock=CLOCK) == Restored(
        site_key=False, node_id=False, authority=False
    )
    assert {path: path.read_bytes() for path in before} == before


def test_a_box_with_its_own_key_is_left_alone(
    tmp_path: Path, lost: tuple[SiteKeys, SiteCa, RecoveryKit]
) -> None:
    _, _, kit = lost
    keys = SiteKeys.load_or_create(tmp_path / "new")
    with pytest.raises(Conflict) as refused:
        restore(tmp_path / "new", kit, clock=CLOCK)
    assert refused.value.code == "site_key_differs"
    assert SiteKeys.load_or_create(tmp_path / "new").token_hash(b"t") == keys.token_hash(b"t")
    assert not (tmp_path / "new" / "identity" / "ca").exists()


def test_a_box_with_another_authority_is_left_alone(
    tmp_path: Path, lost: tuple[SiteKeys, SiteCa, RecoveryKit]
) -> None:
    _, authority, kit = lost
    other = RecoveryKit(
        node_id=kit.node_id, made_day=kit.made_day, site_key=kit.site_key, root_secret=bytes(32)
    )
    with pytest.raises(NotAuthorized):
        restore(tmp_path / "lost", other, clock=CLOCK)
    assert (authority.folder / "root.pem").read_bytes() == authority.root_pem


def test_the_generation_of_the_issuing_key(
    tmp_path: Path, lost: tuple[SiteKeys, SiteCa, RecoveryKit]
) -> None:
    keys, authority, kit = lost
    second = authority.renewed(kit, keys, clock=CLOCK, new_key=True)
    restore(tmp_path / "new", kit, clock=CLOCK, generation=2)
    new = SiteCa.load_or_create(tmp_path / "new", SiteKeys.load_or_create(tmp_path / "new"), clock=CLOCK)
    assert new.key_id == second.key_id
    assert generation_of(new.issuing) == 2


def test_a_kit_of_another_site_leaves_no_key_behind_where_it_was_lost(
    tmp_path: Path, lost: tuple[SiteKeys, SiteCa, RecoveryKit]
) -> None:
    keys, _, kit = lost
    (tmp_path / "lost" / "identity" / "site.key").unlink()
    SiteCa.load_or_create(tmp_path / "other", SiteKeys.load_or_create(tmp_path / "other"), clock=CLOCK)
    with pytest.raises(NotAuthorized) as refused:
        restore(tmp_path / "lost", RecoveryKit.of(tmp_path / "other"), clock=CLOCK)
    assert refused.value.code == "recovery_kit_of_another_site"
    assert not (tmp_path / "lost" / "identity" / "site.key").exists()
    assert restore(tmp_path / "lost", kit, clock=CLOCK).site_key
    assert SiteKeys.load_or_create(tmp_path / "lost").token_hash(b"t") == keys.token_hash(b"t")
