from __future__ import annotations

import re
import tomllib
from pathlib import Path

from appliance.core import config_text
from appliance.core.bridge_config import BridgeConfig, BridgeTopicConfig
from appliance.core.config import LISTS, SECTIONS, BrokerRoleConfig, Config, MappingConfig, load
from appliance.core.config_tier import TierRegionConfig
from appliance.core.settings import settings_of

PACKAGED = Path(config_text.__file__).parents[1] / "homeport.toml"


def test_the_packaged_file_is_the_rendered_one() -> None:
    assert PACKAGED.read_text() == config_text.as_toml(), (
        "python -m appliance.core.config_text toml > appliance/homeport.toml"
    )


def test_the_packaged_file_says_what_the_defaults_are() -> None:
    assert load(PACKAGED, {}) == Config(source=PACKAGED)


def test_every_default_is_right_when_its_comment_sign_is_taken_off(tmp_path: Path) -> None:
    text = re.sub(r"(?m)^# (?=[a-z_]+ = |\[\[)", "", config_text.as_toml())
    parsed = tomllib.loads(text)
    assert set(parsed) == set(SECTIONS) | set(LISTS)
    for name, section in SECTIONS.items():
        assert set(parsed[name]) == set(settings_of(section))
    path = tmp_path / "homeport.toml"
    path.write_text(text)
    assert load(path, {}) == Config(
        source=path,
        mapping=(MappingConfig(topic="tele/{device}/SENSOR", format="json", metric=None),),
        broker_role=(BrokerRoleConfig(name="dashboard", publish=(), subscribe=()),),
        bridge=(BridgeConfig(),),
        bridge_topic=(BridgeTopicConfig(),),
        tier_region=(TierRegionConfig(),),
    )


def test_the_tables_for_people_have_every_key() -> None:
    tables = config_text.as_markdown()
    for name, section in SECTIONS.items():
        assert f"### [{name}]" in tables
        for key in settings_of(section):
            assert f"| `{key}` |" in tables
