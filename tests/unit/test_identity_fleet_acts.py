"""What is left for the audit by who can't write it."""

from __future__ import annotations

from pathlib import Path

from appliance.core.limits_replication import FLEET_ACT_COUNT_MAX
from appliance.identity.fleet_acts import ACTS, FleetAct, acts_left, leave_act

ACT = FleetAct(node_id="a" * 32, detail="let in")


def test_what_is_left_is_found_until_it_is_removed(tmp_path: Path) -> None:
    assert list(acts_left(tmp_path)) == []
    leave_act(tmp_path, ACT)
    leave_act(tmp_path, FleetAct(node_id="b" * 32, detail="joined"))
    found = list(acts_left(tmp_path))
    assert {act.node_id for _, act in found if act} == {"a" * 32, "b" * 32}
    for path, _ in found:
        path.unlink()
    assert list(acts_left(tmp_path)) == []


def test_what_is_none_is_told_apart(tmp_path: Path) -> None:
    leave_act(tmp_path, ACT)
    ((path, _),) = acts_left(tmp_path)
    path.write_text('{"node_id":"../x","detail":""}')
    assert list(acts_left(tmp_path)) == [(path, None)]
    path.chmod(0o644)
    assert list(acts_left(tmp_path)) == [(path, None)], "others could have written it"


def test_no_more_are_left_than_anybody_joins(tmp_path: Path) -> None:
    (tmp_path / ACTS).mkdir()
    for number in range(FLEET_ACT_COUNT_MAX):
        (tmp_path / ACTS / f"{number}.json").touch()
    leave_act(tmp_path, ACT)
    assert len(list((tmp_path / ACTS).iterdir())) == FLEET_ACT_COUNT_MAX
