"""`homeport peer` on a box whose replicator does not run, and its one who does."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from click.testing import CliRunner

from appliance.cli import main
from appliance.cli.copies_text import only_here
from appliance.core.clock import SystemClock
from appliance.core.config import Config
from appliance.core.errors import Conflict, NotFound
from appliance.core.settings import Bind
from appliance.run.node_or_catalog import with_catalog
from appliance.run.peer_commands import decommission, list_peers, make_invitation
from tests.fleet_kit import Box, make_box, make_fleet

CLOCK = SystemClock()


@pytest.fixture
def boxes(tmp_path: Path) -> list[Box]:
    return make_fleet(tmp_path, "cellar", "roof", is_one_site=False)


def test_a_box_without_a_fleet_says_so(tmp_path: Path) -> None:
    with pytest.raises(NotFound) as caught:
        list_peers(make_box(tmp_path).config, clock=CLOCK)
    assert caught.value.code == "fleet_missing"


def test_the_fleet_is_listed_from_its_files(boxes: list[Box]) -> None:
    found = list_peers(boxes[1].config, clock=CLOCK)
    assert not found["is_running"]
    assert not found["can_sign"]
    rows = {row["name"]: (row["is_this"], row["link"]) for row in found["nodes"]}
    assert rows == {"cellar": (False, "unknown"), "roof": (True, "this box")}
    assert found["rpo_ms"] is None


@pytest.mark.parametrize(
    ("rpo_ms", "said"),
    [
        (None, "Everything is only here"),
        (0, "Nothing is only here."),
        (2_500, "Only here: 7 records of the last 2.5 s."),
    ],
)
def test_what_is_only_here_in_words(rpo_ms: int | None, said: str) -> None:
    assert only_here(rpo_ms, 7).startswith(said)


def test_a_node_is_decommissioned_without_the_replicator(boxes: list[Box]) -> None:
    gone = decommission(boxes[0].config, "roof", "sold", clock=CLOCK)
    assert gone == {"node_id": boxes[1].node_id, "name": "roof", "state": "decommissioned"}
    assert [node.name for node in boxes[0].roster.admitted()] == ["cellar"]
    with pytest.raises(Conflict):
        decommission(boxes[0].config, "cellar", "", clock=CLOCK)
    with with_catalog(boxes[0].config, holder="test") as stopped:
        (entry,) = stopped.catalog.list_audit(limit=50).entries
    assert (entry.action, entry.object_id, entry.detail, entry.actor) == (
        "peer.decommission",
        boxes[1].node_id,
        "sold",
        "local",
    )


def test_the_first_invitation_begins_a_fleet(tmp_path: Path) -> None:
    box = make_box(tmp_path)
    config = tmp_path / "homeport.toml"
    config.write_text(
        f'[node]\ndata_dir = "{box.data_dir}"\nrun_dir = "{box.config.node.run_dir}"\n'
        '[replication]\naddresses = ["box.example:8885"]\n'
    )

    def run(*words: str) -> str:
        result = CliRunner().invoke(main, ["peer", *words, "--config", str(config)], catch_exceptions=False)
        return result.output

    box.data_dir.chmod(0o700)
    box.config.node.run_dir.chmod(0o700)
    assert "hpj_" in run("invite", "--other-site", "--note", "barn")
    assert "secrets" in run("invite")
    listed = run("list")
    assert "barn" in listed
    assert "does not run" in listed
    assert "no invitation" in run("join")
    invitation = list_peers(_config(box), clock=CLOCK)["invitations"][0]
    assert invitation["kind"] == "other"
    made = make_invitation(_config(box), "other", note="")
    assert made["authority"] == list_peers(_config(box), clock=CLOCK)["authority"]
    waiting = run("invitations")
    assert "barn" in waiting
    assert "for a day" not in waiting
    assert "is called off" in run("uninvite", invitation["invitation_id"][:8])
    assert "barn" not in run("invitations")
    assert "No invitation" in run("uninvite", invitation["invitation_id"])
    assert "No invitation" in run("uninvite", "")
    assert "not confirmed" in run("decommission", "nobody")
    assert "no node" in run("decommission", "nobody", "--yes")


def _config(box: Box) -> Config:
    return dataclasses.replace(
        box.config,
        replication=dataclasses.replace(box.config.replication, addresses=(Bind(host="x", port=1),)),
    )
