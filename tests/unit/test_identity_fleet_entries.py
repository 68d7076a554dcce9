"""What the roster says of a node counts only as far as it was signed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from appliance.core.clock import ManualClock
from appliance.core.errors import NotAuthorized
from appliance.identity.fleet import Fleet
from appliance.identity.fleet_entries import sign_card, verify_entry
from appliance.management.fleet import NodeCard, entry_of
from tests.fleet_kit import Box, entry_of_box, make_fleet


@pytest.fixture
def boxes(tmp_path: Path) -> list[Box]:
    return make_fleet(tmp_path, "a", "b", is_one_site=False)


def authority(box: Box) -> Fleet:
    return Fleet.load(box.data_dir, box.keys)


def test_what_a_node_signed_is_believed(boxes: list[Box]) -> None:
    signed = entry_of_box(boxes[1]).signed
    assert verify_entry(signed, authority(boxes[0]).authority) == entry_of(signed)


def test_a_farewell_is_believed_from_the_authority_alone(boxes: list[Box]) -> None:
    fleet, victim = authority(boxes[0]), entry_of_box(boxes[1])
    gone = fleet.decommission(victim, "stolen", clock=ManualClock())
    found = verify_entry(gone.signed, fleet.authority)
    assert found.decommission is not None
    assert (found.decommission.by, found.decommission.reason) == (boxes[0].node_id, "stolen")
    forged = msgspec.structs.replace(gone.signed, decommission_signature=victim.signed.card_signature)
    with pytest.raises(NotAuthorized):
        verify_entry(forged, fleet.authority)
    later = msgspec.structs.replace(
        gone.signed, decommission=gone.signed.decommission.replace("stolen", "sold")
    )
    with pytest.raises(NotAuthorized):
        verify_entry(later, fleet.authority)


@pytest.mark.parametrize(
    "change",
    [
        {"site_id": "1" * 32},
        {"fingerprint": "1" * 64},
        {"issued_at_ms": 5},
        {"ends_at_ms": 2**53},
        {"card_signature": b""},
        {"card_signature": b"\x30\x06\x02\x01\x01\x02\x01\x01"},
    ],
)
def test_a_field_that_was_changed_is_noticed(boxes: list[Box], change: dict[str, Any]) -> None:
    signed = msgspec.structs.replace(entry_of_box(boxes[1]).signed, **change)
    with pytest.raises(NotAuthorized) as caught:
        verify_entry(signed, authority(boxes[0]).authority)
    assert caught.value.code == "roster_entry_unsigned"


def test_a_card_of_another_instance_or_key_is_not_the_certificate_s(boxes: list[Box]) -> None:
    fleet = authority(boxes[1])
    card = NodeCard(node_id=boxes[1].node_id, name="b", instance="0" * 32, version=1)
    with pytest.raises(NotAuthorized):
        verify_entry(fleet.entry(card).signed, fleet.authority)
    forged = sign_card(
        entry_of_box(boxes[1]).signed.certificate,
        ec.generate_private_key(ec.SECP256R1()),
        msgspec.structs.replace(card, instance=fleet.identity.instance),
    )
    with pytest.raises(NotAuthorized):
        verify_entry(forged.signed, fleet.authority)
