"""Who else the site has, as the broker is told."""

from __future__ import annotations

from pathlib import Path

from appliance.core.config import Config, NodeConfig
from appliance.run.site_nodes import site_nodes
from broker.site.site_feed import SiteView
from storage.fleet import write_roster
from tests.unit.test_management_fleet import A, B, C, entry, roster


def test_the_mates_of_the_roster_with_their_brokers(tmp_path: Path) -> None:
    nodes = site_nodes(Config(node=NodeConfig(data_dir=tmp_path, run_dir=tmp_path)), A)
    assert nodes.look() == SiteView()
    (tmp_path / "fleet").mkdir()
    write_roster(tmp_path, roster(entry(B)))
    assert nodes.look() == SiteView(), "this node is not in it yet"
    write_roster(
        tmp_path,
        roster(
            entry(A, brokers=("mqtts://a:8883",)),
            entry(B, brokers=("mqtts://b:8883", "mqtt://b:1883")),
            entry(C, site="2", brokers=("mqtts://elsewhere:8883",)),
        ),
    )
    assert nodes.look() == SiteView(
        own_brokers=("mqtts://a:8883",), others={B: ("mqtts://b:8883", "mqtt://b:1883")}
    )
    write_roster(tmp_path, roster(entry(A), entry(B, gone=True)))
    assert nodes.look() == SiteView()
    assert nodes.directory_of(B) == tmp_path / "replicas" / B / "telemetry"
