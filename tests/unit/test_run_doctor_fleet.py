"""What the doctor says of a box's place in its fleet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from appliance.core.clock import ManualClock, SystemClock
from appliance.identity import tls
from appliance.identity.instance import make_instance
from appliance.run.doctor_check import Result
from appliance.run.doctor_fleet import DAY_MS, check_copies, check_fleet, copies_of
from tests.ca_kit import sign_by_itself
from tests.fleet_kit import Box, make_box, make_fleet


def results(box: Box, *, days: int = 0) -> dict[str, Result]:
    clock = ManualClock(SystemClock().now_ms() + days * DAY_MS)
    return {check.name: check.result for check in check_fleet(box.config, clock)}


def test_a_box_that_is_alone_has_nothing_wrong(tmp_path: Path) -> None:
    assert results(make_box(tmp_path)) == {"fleet": Result.SKIPPED}


def test_the_certificate_is_looked_at(tmp_path: Path) -> None:
    box, _ = make_fleet(tmp_path, "one", "two")
    found = [results(box, days=days)["fleet"] for days in (1, 70, 91)]
    assert found == [Result.OK, Result.WARNING, Result.FAILED]
    assert results(box)["peers"] == Result.SKIPPED


def test_a_certificate_that_other_boxes_devices_do_not_know_is_said(tmp_path: Path) -> None:
    box, _ = make_fleet(tmp_path, "one", "two")
    assert "tls" not in results(box), "before the first start"
    sign_by_itself(box.data_dir)
    assert results(box)["tls"] is Result.WARNING
    (box.data_dir / "identity" / "tls.pem").unlink()
    tls.replace(box.data_dir, box.keys, node_name="one", clock=SystemClock())
    assert results(box)["tls"] is Result.OK
    (box.data_dir / "identity" / "tls.pem").write_text("half a fi")
    assert results(box)["tls"] is Result.FAILED


def test_a_copy_is_said(tmp_path: Path) -> None:
    box, _ = make_fleet(tmp_path, "one", "two")
    make_instance(box.data_dir)
    assert results(box)["writing"] == Result.FAILED


@pytest.mark.parametrize(("link", "result"), [("up", Result.OK), ("down", Result.WARNING)])
def test_peers_are_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, link: str, result: Result
) -> None:
    box, _ = make_fleet(tmp_path, "one", "two")
    node = {"name": "two", "is_this": False, "state": "admitted", "link": link, "problem": ""}

    def listed(*_: Any, **__: Any) -> dict[str, Any]:
        return {"is_running": True, "nodes": [node, {**node, "is_this": True}]}

    monkeypatch.setattr("appliance.run.doctor_fleet.list_peers", listed)
    assert results(box)["peers"] == result


STATE: dict[str, Any] = {
    "peers": [{"node_id": "b" * 32, "name": "roof"}],
    "problem": "",
    "unreadable": "",
    "rpo_ms": 0,
    "unsafe_entries": 0,
    "safe_at": "node",
}
READING: dict[str, Any] = {"incident": "", "logs": []}
STOPPED = {"node_id": "b" * 32, "stopped": "It is another one."}


@pytest.mark.parametrize(
    ("state", "reading", "result", "said"),
    [
        (None, {}, Result.FAILED, "away"),
        ({"problem": "disk full"}, {}, Result.FAILED, "disk full"),
        ({"unreadable": "1 part of logs can't be read"}, {}, Result.FAILED, "1 part of logs"),
        ({}, {"incident": "No space."}, Result.FAILED, "No space."),
        ({}, {"logs": [STOPPED]}, Result.WARNING, "The copy of roof has stopped: It is another one."),
        ({"rpo_ms": None}, {}, Result.WARNING, "Everything is only here"),
        ({"rpo_ms": 200_000, "unsafe_entries": 7}, {}, Result.WARNING, "7 records of the last 200 s"),
        ({"rpo_ms": 28_000}, {}, Result.OK, "on other boxes but for the last 28 s"),
        ({}, {"logs": [{**STOPPED, "stopped": ""}]}, Result.OK, "on other boxes"),
    ],
)
def test_what_stands_still_is_said(
    state: dict[str, Any] | None, reading: dict[str, Any], result: Result, said: str
) -> None:
    found = copies_of(
        {
            "state": None if state is None else STATE | state,
            "problem": "The replicator is away.",
            "reading": READING | reading,
        }
    )
    assert found.result is result
    assert said in found.detail


def test_copies_are_not_looked_at_without_a_node(tmp_path: Path) -> None:
    box, _ = make_fleet(tmp_path, "one", "two")
    for each in (box, make_box(tmp_path, "alone")):
        assert [check.result for check in check_copies(each.config)] == [Result.SKIPPED]
