"""A box's place in its fleet: begun, loaded, certificates issued and renewed."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from appliance.core.clock import ManualClock
from appliance.core.errors import ConfigError, Conflict, NotAuthorized, UsageError
from appliance.identity.fleet import Fleet, make_request, read_request, site_id_of
from appliance.identity.fleet_certificates import der_of
from appliance.identity.instance import load_instance, make_instance
from tests.fleet_kit import Box, begin_fleet, entry_of_box, join_fleet, make_box

A, B = "a" * 32, "b" * 32


@pytest.fixture
def founder(tmp_path: Path) -> Box:
    box = make_box(tmp_path, "founder")
    begin_fleet(box)
    return box


def test_a_fleet_is_there_as_it_was_begun(founder: Box) -> None:
    fleet = Fleet.load(founder.data_dir, founder.keys)
    instance = load_instance(founder.data_dir)
    assert instance is not None
    assert instance.is_bound
    assert (fleet.identity.node_id, fleet.identity.instance) == (founder.node_id, instance.instance_id)
    assert fleet.identity.site_id == site_id_of(founder.keys)
    assert fleet.can_sign
    assert founder.roster.authority == fleet.fingerprint
    assert oct(fleet.link_path.stat().st_mode)[-3:] == "600"


def test_a_box_has_one_fleet(founder: Box) -> None:
    with pytest.raises(Conflict) as caught:
        begin_fleet(founder)
    assert caught.value.code == "fleet_there"


def test_every_node_of_the_first_site_can_sign_and_no_other(founder: Box, tmp_path: Path) -> None:
    mate = join_fleet(founder, make_box(tmp_path, "mate", mate=founder))
    box = make_box(tmp_path, "other")
    other = join_fleet(founder, box)
    assert mate.can_sign
    assert not other.can_sign
    assert mate.fingerprint == other.fingerprint
    for sign in (
        lambda: other.renewed(clock=ManualClock()),
        lambda: other.decommission(entry_of_box(box), "", clock=ManualClock()),
    ):
        with pytest.raises(NotAuthorized) as caught:
            sign()
        assert caught.value.code == "fleet_key_missing"


def test_a_renewed_certificate_is_on_the_disk_with_its_key(founder: Box) -> None:
    fleet = Fleet.load(founder.data_dir, founder.keys)
    clock = ManualClock(fleet.identity.ends_at_ms - 86_400_000)
    assert fleet.identity.is_due(clock.now_ms())
    renewed = fleet.renewed(clock=clock)
    assert not renewed.identity.is_due(clock.now_ms())
    loaded = Fleet.load(founder.data_dir, founder.keys)
    assert loaded.identity == renewed.identity
    assert loaded.key.public_key() != fleet.key.public_key()
    assert renewed.identity.instance == fleet.identity.instance


def test_a_certificate_for_somebody_else_is_not_taken(founder: Box) -> None:
    fleet = Fleet.load(founder.data_dir, founder.keys)
    key = ec.generate_private_key(ec.SECP256R1())
    other = fleet.issue(key.public_key(), node_id=A, site_id=B, instance=B, clock=ManualClock())
    with pytest.raises(NotAuthorized):
        fleet.with_certificate(key, other)
    assert Fleet.load(founder.data_dir, founder.keys).identity == fleet.identity


def test_a_folder_of_another_box_or_a_broken_one_is_said(founder: Box, tmp_path: Path) -> None:
    stranger = make_box(tmp_path, "stranger")
    (founder.data_dir / "fleet").rename(stranger.data_dir / "fleet")
    with pytest.raises(ConfigError) as caught:
        Fleet.load(stranger.data_dir, stranger.keys)
    assert caught.value.code == "fleet_of_another_node"
    (stranger.data_dir / "fleet" / "link.pem").write_bytes(b"nonsense")
    with pytest.raises(ConfigError) as caught:
        Fleet.load(stranger.data_dir, stranger.keys)
    assert caught.value.code == "fleet_file_invalid"


def test_key_and_certificate_belong_together(founder: Box) -> None:
    fleet = Fleet.load(founder.data_dir, founder.keys)
    old = fleet.link_path.read_bytes()
    fleet.renewed(clock=ManualClock())
    new = fleet.link_path.read_bytes()
    end = b"-----END PRIVATE KEY-----\n"
    fleet.link_path.write_bytes(new.partition(end)[0] + end + old.partition(end)[2])
    with pytest.raises(ConfigError, match="don't belong together"):
        Fleet.load(founder.data_dir, founder.keys)


def test_a_request_proves_its_key() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    request = make_request(key, A)
    assert read_request(request, A) == key.public_key()
    for bad, node_id in (
        (request, B),
        (request[:-1] + bytes([request[-1] ^ 1]), A),
        (b"x" * 3000, A),
        (b"", A),
    ):
        with pytest.raises(UsageError) as caught:
            read_request(bad, node_id)
        assert caught.value.code == "link_request_invalid"


def test_only_p256_is_signed() -> None:
    with pytest.raises(UsageError):
        read_request(make_request(ec.generate_private_key(ec.SECP384R1()), A), A)


def test_the_authority_is_the_same_on_all_nodes_of_its_site(founder: Box, tmp_path: Path) -> None:
    twin = make_box(tmp_path, "twin", mate=founder)
    make_instance(twin.data_dir)
    assert der_of(begin_fleet(twin).authority) == der_of(Fleet.load(founder.data_dir, founder.keys).authority)
