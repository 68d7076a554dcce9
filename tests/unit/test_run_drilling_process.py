"""The process of a drill: what it says, and how it ends where nothing can be tried."""

from __future__ import annotations

import io
import json
import os
import subprocess
from pathlib import Path

import pytest

from appliance.core.errors import NotFound, Unavailable
from appliance.identity.fleet import Fleet
from appliance.run.drilling_box import NOT_BEGUN_HERE, box_of
from appliance.run.drilling_process import _Saying, carry_out, command
from tests.fleet_kit import make_box, make_fleet


def test_how_far_it_is_is_said_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    say = _Saying(out)
    for done in range(50):
        say.progress("log", done, 100)
    say.progress("log", 100, 100)
    say.progress("comparing", 0, 0)
    said = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [(each["step"], each["done"]) for each in said] == [("log", 0), ("log", 100), ("comparing", 0)]


async def test_a_box_without_a_fleet_or_a_replicator_says_so(tmp_path: Path) -> None:
    alone = make_box(tmp_path, "alone")
    with pytest.raises(NotFound):
        await carry_out(alone.config, "d", is_scheduled=False, progress=lambda step, done, total: None)
    box, _ = make_fleet(tmp_path, "one", "two")
    with pytest.raises(Unavailable):
        await carry_out(box.config, "d", is_scheduled=False, progress=lambda step, done, total: None)


def test_what_else_a_restore_would_need_is_said(tmp_path: Path) -> None:
    founder, other = make_fleet(tmp_path, "one", "two", is_one_site=False)
    fleet = Fleet.load(other.data_dir, other.keys)
    box = box_of(other.config, other.keys, fleet, other.roster, connected=[founder.node_id])
    assert (box.asked, box.away, box.mates) == (("one",), (), ())
    assert box.notes[0] == NOT_BEGUN_HERE
    away = box_of(other.config, other.keys, fleet, other.roster, connected=[])
    assert (away.asked, away.away) == ((), ("one",))


def test_the_program_reports_what_it_can_not_do_and_ends_with_whoever_began_it(tmp_path: Path) -> None:
    config = tmp_path / "homeport.toml"
    data, run = tmp_path / "data", tmp_path / "run"
    data.mkdir(mode=0o700)
    run.mkdir(mode=0o700)
    config.write_text(f'[node]\ndata_dir = "{data}"\nrun_dir = "{run}"\n')
    process = subprocess.Popen(
        [*command(), "--id", "d7", "--scheduled"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "HOMEPORT_CONFIG": str(config)},
    )
    assert process.stdout is not None
    said = json.loads(process.stdout.readline())
    assert process.wait(30) == 0
    process.communicate()
    assert said["t"] == "report"
    report = said["report"]
    assert (report["drill_id"], report["outcome"], report["is_scheduled"]) == ("d7", "failed", True)
    assert "belongs to no fleet" in report["problem"]
    assert not (data / "drill").exists()
