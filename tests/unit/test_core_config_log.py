"""appliance/core/config_log.py: the disk's levels rise."""

from __future__ import annotations

import pytest

from appliance.core.config_log import LogConfig
from appliance.core.errors import ConfigError


def test_the_defaults_go_together() -> None:
    config = LogConfig()
    assert config.disk_low_percent < config.disk_hold_percent < config.disk_read_only_percent
    assert config.quota_percent == 0, "nothing unread is dropped unless somebody says so"


@pytest.mark.parametrize(("low", "hold", "read_only"), [(92, 92, 95), (85, 96, 95), (96, 92, 95)])
def test_levels_that_do_not_rise_are_refused(low: int, hold: int, read_only: int) -> None:
    with pytest.raises(ConfigError, match="don't rise"):
        LogConfig(disk_low_percent=low, disk_hold_percent=hold, disk_read_only_percent=read_only)
