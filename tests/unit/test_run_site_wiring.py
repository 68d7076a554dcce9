"""What the node reads its site's logs by."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.core.clock import ManualClock
from appliance.core.config import Config, NodeConfig
from appliance.identity import SiteKeys
from appliance.run import layout
from appliance.run.site_wiring import open_site
from storage.fleet import write_roster
from storage.fleet.roster_file import roster_path
from tests.site_kit import Log, read_on, record, texts
from tests.unit.test_management_fleet import B, C, entry, roster


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config(node=NodeConfig(data_dir=tmp_path, run_dir=tmp_path / "run"))


def test_alone_it_is_the_own_log(config: Config, tmp_path: Path) -> None:
    clock = ManualClock()
    site = open_site(config, SiteKeys.load_or_create(tmp_path), clock)
    own = Log(layout.telemetry_log(config), SiteKeys.load_or_create(tmp_path).node_id.hex())
    own.append([record("a")])
    assert texts(read_on(site.reader(takes_turns=True))[0]) == [("", "a")]
    assert site.cursor.publish(2) is None
    assert not layout.site_order(config).exists()
    site.close()
    own.writer.close()


def test_the_sites_other_nodes_are_those_of_the_roster(config: Config, tmp_path: Path) -> None:
    clock = ManualClock()
    keys = SiteKeys.load_or_create(tmp_path)
    own = Log(layout.telemetry_log(config), keys.node_id.hex())
    own.append([record("a")])
    copies = [Log(tmp_path / "replicas" / node / "telemetry", node) for node in (B, C)]
    for copy, text in zip(copies, "xy", strict=True):
        copy.append([record(text)])
    (tmp_path / "fleet").mkdir()
    site = open_site(config, keys, clock)
    roster_path(tmp_path).write_text("nonsense")
    reader = site.reader(takes_turns=True)
    assert reader.head().next_seq == 2, "a roster that can't be read changes nothing"
    write_roster(tmp_path, roster(entry(keys.node_id.hex()), entry(B, gone=True), entry(C, site="2")))
    clock.advance(10_000)
    assert texts(read_on(reader)[0]) == [("", "a"), (B, "x")]
    site.close()
    for log in (own, *copies):
        log.writer.close()


def test_where_the_order_was_lost_the_store_is_set_aside(config: Config, tmp_path: Path) -> None:
    clock = ManualClock(now_ms=1_790_000_000_000)
    keys = SiteKeys.load_or_create(tmp_path)
    own = Log(layout.telemetry_log(config), keys.node_id.hex())
    own.append([record("a")])
    own.writer.close()
    (tmp_path / "telemetry.duckdb").write_bytes(b"a store")
    state = tmp_path / "archive" / "state" / "1-2.state"
    state.parent.mkdir(parents=True)
    state.write_bytes(b"a copy of its state")
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "needed").write_bytes(b"")
    site = open_site(config, keys, clock)
    assert site.order.was_lost
    assert not (tmp_path / "telemetry.duckdb").exists()
    assert list(tmp_path.glob("telemetry.duckdb.set-aside-*"))
    assert not state.exists()
    blocks, _ = read_on(site.reader())
    assert texts(blocks) == [("", "a")]
    assert blocks[0].epoch > 1_000_000, "no position of before means anything in it"
    site.close()
    again = open_site(config, keys, clock)
    assert not again.order.was_lost
    again.close()
