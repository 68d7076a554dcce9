"""Boxes join from the command line: real processes on loopback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.fleet_boxes import FleetBox
from tests.integration.test_broker_verbs import until


@pytest.fixture
def running() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def started(stack: ExitStack, box: FleetBox) -> FleetBox:
    box.start_and_wait()
    stack.callback(box.stop)
    return box


def acts(box: FleetBox) -> list[tuple[str, str, str]]:
    """What the audit has of the fleet, with the node that wrote it."""
    found = box.answer("audit", "list", "--action", "peer")["entries"]
    return [(each["action"], each["object_id"], each["origin"]) for each in found]


def secret_of(box: FleetBox, name: str) -> bytes:
    return (box.data_dir / "identity" / name).read_bytes()


def test_a_box_joins_a_site_and_is_gone_for_good_one_day(tmp_path: Path, running: ExitStack) -> None:
    first, second = FleetBox(tmp_path, "first"), FleetBox(tmp_path, "second")
    started(running, first)
    assert first.run("peer", "list").exit_code != 0
    assert not (first.data_dir / "fleet").exists()

    token = first.invite("--note", "for the roof")
    (waiting,) = first.answer("peer", "list")["invitations"]
    assert waiting["note"] == "for the roof"
    joined = second.join(token)
    assert joined.exit_code == 0, joined.output
    assert first.answer("peer", "list")["invitations"] == []
    for name in ("site.key", "ca/issuing.pem", "ca/root.pem"):
        assert secret_of(first, name) == secret_of(second, name)
    assert secret_of(first, "node.key") != secret_of(second, "node.key")
    assert first.node_id != second.node_id

    started(running, second)
    until(lambda: first.links() == {"second": "up"} and second.links() == {"first": "up"})
    assert "second" in first.run("peer", "list").stdout
    until(lambda: "Nothing is only here." in first.run("peer", "list").stdout)
    (row,) = [row for row in first.answer("peer", "list")["nodes"] if not row["is_this"]]
    assert row["behind_entries"] is not None
    # The new box has the site's keys, so it can invite as well; the invitation that was used lets nobody else in.
    assert second.answer("peer", "list")["can_sign"]
    third = FleetBox(tmp_path, "third")
    refused = third.join(token)
    assert refused.exit_code != 0
    assert "invitation_used" in refused.output

    gone = first.answer("peer", "decommission", "second", "--reason", "sold", "--yes")
    assert gone["state"] == "decommissioned"
    until(lambda: "decommissioned" in second.run("peer", "list").stdout)
    # Whatever a box did to the fleet is in the audit: by the node, by the replicator, and by the command on a box that was stopped.
    assert acts(first)[0] == ("peer.decommission", second.node_id, first.node_id)
    assert {
        ("peer.join", second.node_id, first.node_id),
        ("peer.invite", waiting["invitation_id"], first.node_id),
    } < set(acts(first))
    assert ("peer.join", second.node_id, second.node_id) in acts(second)
    assert "copies: " in first.run("status").stdout


@pytest.mark.long
def test_another_site_keeps_what_it_has_and_gets_no_secrets(tmp_path: Path, running: ExitStack) -> None:
    first, other = FleetBox(tmp_path, "first"), FleetBox(tmp_path, "other")
    started(running, first)
    started(running, other)
    before = secret_of(other, "site.key")
    added = other.answer("device", "add", "pump")
    joined = other.join(first.invite("--other-site"))
    assert joined.exit_code == 0, joined.output
    until(lambda: first.links() == {"other": "up"} and other.links() == {"first": "up"})
    assert secret_of(other, "site.key") == before != secret_of(first, "site.key")
    assert added["device_id"] == "pump"
    listed = other.answer("peer", "list")
    assert not listed["can_sign"]
    assert {node["name"]: node["is_of_this_site"] for node in listed["nodes"]} == {
        "first": False,
        "other": True,
    }
    assert "fleet_key_missing" in other.run("peer", "invite", "--json").output
