"""Two whole boxes of one site, real processes: what is changed on one holds on the other, and what contradicts is decided once."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.fleet_boxes import FleetBox, joined_boxes
from tests.integration.test_broker_verbs import until
from tests.protocol import builder as packets
from tests.protocol.raw_client import RawClient, connect_packet

ACCEPTED = 0


def answer_to(box: FleetBox, token: str) -> int:
    """The reason code with which a box's broker answers the device."""
    with RawClient(("127.0.0.1", box.port), 5) as client:
        client.send(connect_packet("press-4", 5, username="press-4", password=token.encode(), properties=b""))
        return client.expect_kind(packets.CONNACK).body[1]


def is_accepted(box: FleetBox, token: str, wanted: bool) -> bool:
    return (answer_to(box, token) == ACCEPTED) is wanted


def conflicts(box: FleetBox, *options: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = box.answer("conflict", "list", *options)["conflicts"]
    return found


def site_name(box: FleetBox) -> str:
    found: dict[str, str] = {row["key"]: row["value"] for row in box.answer("setting", "list")["settings"]}
    return found["site.name"]


def is_called(box: FleetBox, name: str) -> bool:
    return site_name(box) == name


@pytest.mark.long
def test_two_boxes_share_one_catalog(tmp_path: Path) -> None:
    with ExitStack() as stack:
        boxes = joined_boxes(tmp_path, "first", "second")
        for box in boxes:
            stack.callback(box.stop)
        first, second = boxes
        token = first.answer("device", "add", "press-4")["token"]
        until(partial(is_accepted, second, token, True))
        first.answer("device", "decommission", "press-4", "--yes")
        until(partial(is_accepted, second, token, False))

        # Each is called otherwise while they don't hear of each other.
        first.answer("setting", "set", "site.name", "Works")
        until(partial(is_called, second, "Works"))
        second.stop()
        first.answer("setting", "set", "site.name", "Sawmill")
        second.answer("setting", "set", "site.name", "Joinery")
        second.start_and_wait()
        for box in boxes:
            until(partial(conflicts, box))
        (found,) = conflicts(first)
        assert {each["values"]["value"] for each in found["values"]} == {'"Sawmill"', '"Joinery"'}
        chosen = [each["values"]["value"] for each in found["values"]].index('"Sawmill"')
        second.answer("conflict", "resolve", found["conflict_id"], str(chosen))
        for box in boxes:
            until(lambda box=box: not conflicts(box) and site_name(box) == "Sawmill")  # type: ignore[misc]
            (resolved,) = conflicts(box, "--resolved")
            assert resolved["resolved_by"] == "local"
