"""Every key of the configuration is on the page, once, with its value."""

from __future__ import annotations

from appliance.core.bridge_config import BridgeConfig
from appliance.core.config import SECTIONS, Config, UiConfig
from appliance.core.settings import settings_of
from ui.pages.settings_facts import GROUPS, list_counts, setting_groups


def test_every_key_is_in_one_group() -> None:
    shown = [setting.key for group in setting_groups(Config()) for setting in group.settings]
    wanted = [f"{section}.{key}" for section, kind in SECTIONS.items() for key in settings_of(kind)]
    assert sorted(shown) == sorted(wanted)
    assert {group.key for group in setting_groups(Config())} == {key for key, _, _ in GROUPS}


def test_with_defaults_nothing_is_changed_and_a_change_is_marked() -> None:
    assert sum(group.changed for group in setting_groups(Config())) == 0
    groups = {group.key: group for group in setting_groups(Config(ui=UiConfig(session_hours=2)))}
    assert groups["access"].changed == 1
    (hours,) = [each for each in groups["access"].settings if each.key == "ui.session_hours"]
    assert (hours.value, hours.default, hours.is_changed) == ("2", "12", True)
    assert hours.variable == "HOMEPORT_UI__SESSION_HOURS"


def test_listeners_stand_together() -> None:
    groups = {group.key: [each.key for each in group.settings] for group in setting_groups(Config())}
    assert {"ui.bind", "broker.tls_bind", "broker.tcp_bind", "broker.tls_client_auth"} <= set(
        groups["listeners"]
    )
    assert "node.data_dir" in groups["storage"]


def test_lists_are_counted() -> None:
    counts = dict(list_counts(Config(bridge=(BridgeConfig(name="cloud"),))))
    assert counts["bridge"] == 1
    assert counts["mapping"] == 0
