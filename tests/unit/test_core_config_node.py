"""The node's sections: what a mapping and a query may be is refused at load, with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.core import config, config_node
from appliance.core.errors import ConfigError


def test_they_are_the_sections_that_are_loaded() -> None:
    assert config.SECTIONS["store"] is config_node.StoreConfig
    assert config.SECTIONS["ui"] is config_node.UiConfig
    assert config.SECTIONS["devices"] is config_node.DevicesConfig
    assert config.LISTS["mapping"] is config_node.MappingConfig


@pytest.mark.parametrize("topic", ["tele/SENSOR", "tele/{device}/#", ""])
def test_a_mapping_without_a_device_or_with_a_rest_is_refused(tmp_path: Path, topic: str) -> None:
    path = tmp_path / "homeport.toml"
    path.write_text(f'\n[[mapping]]\ntopic = "{topic}"\n')
    with pytest.raises(ConfigError) as raised:
        config.load(path, {})
    assert f"{path}:3: mapping[0].topic" in raised.value.message
