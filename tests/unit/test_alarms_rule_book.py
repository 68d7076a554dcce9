"""The rules as alarms are judged by them."""

from __future__ import annotations

from pathlib import Path

from appliance.alarms.rule_book import RuleBook
from appliance.core.clock import ManualClock
from appliance.core.limits_alarms import ALARM_CARRY_OVER_MS_MAX
from storage.catalog.catalog import Catalog
from tests.alarm_kit import NOW_MS, SITE_SILENT, definition, put_rule


def test_the_rules_are_read_and_what_did_not_change_is_kept(tmp_path: Path) -> None:
    catalog = Catalog.open(tmp_path / "catalog.db", clock=ManualClock(NOW_MS), node_id=b"n" * 16)
    with catalog.transaction():
        put_rule(catalog, "hot")
        put_rule(catalog, "slow", definition(on_delay_s=7 * 86_400))
        put_rule(catalog, "site", SITE_SILENT)
        put_rule(catalog, "site-off", SITE_SILENT, is_enabled=False)
        put_rule(catalog, "odd")
        catalog.execute(
            "UPDATE rules SET definition = '{\"kind\": 1}', origin = ?, hlc = ? WHERE rule_id = 'odd'",
            (catalog.origin, catalog.hlc),
        )
    first = RuleBook.read(catalog)
    assert set(first.rules) == {"hot", "slow", "site", "site-off"}, "one that can't be read is not in force"
    assert set(first.explaining) == {"site"}
    assert first.rules["hot"].carried_over_at_ms == NOW_MS + 120_000
    assert first.is_carried_over(NOW_MS + 119_999, NOW_MS + 120_000)
    assert not first.is_carried_over(NOW_MS + 120_000, NOW_MS + 130_000)
    assert first.rules["slow"].carried_over_at_ms == NOW_MS + ALARM_CARRY_OVER_MS_MAX
    with catalog.transaction():
        put_rule(catalog, "hot", definition(severity="P1"), version=2)
    second = RuleBook.read(catalog, first)
    assert second.rules["hot"].definition.severity == "P1"
    assert second.rules["slow"].definition is first.rules["slow"].definition
    catalog.close()
