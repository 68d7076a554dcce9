"""What the configuration says, in the words of replication."""

from __future__ import annotations

from appliance.core.config_replication import ReplicationConfig
from appliance.core.settings import Bind
from replication.link.options import options_of


def test_without_addresses_of_its_own_a_box_names_its_interfaces() -> None:
    found = options_of(ReplicationConfig(), ["10.0.0.1", "fd00::1"])
    assert found.addresses == ("10.0.0.1:8885", "[fd00::1]:8885")
    assert (found.safe_at, found.region, found.backlog_bytes_s) == ("node", "", 0)


def test_configured_addresses_are_all_that_counts() -> None:
    config = ReplicationConfig(addresses=(Bind(host="box.example", port=443),), backlog_kib_s=5)
    found = options_of(config, ["10.0.0.1"])
    assert found.addresses == ("box.example:443",)
    assert found.backlog_bytes_s == 5 * 1024


def test_a_box_where_nobody_connects_names_no_address() -> None:
    assert options_of(ReplicationConfig(bind=None), ["10.0.0.1"]).addresses == ()
