"""The cloud tier's sections: a region needs a name of its own, nothing is shipped without one, and a mistake is said with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.core.config import load
from appliance.core.errors import ConfigError
from appliance.core.limits_replication import TIER_REGION_COUNT_MAX


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "homeport.toml"
    path.write_text(text)
    return path


def test_without_a_region_there_is_no_tier(tmp_path: Path) -> None:
    assert load(written(tmp_path, ""), {}).tier_region == ()


def test_regions_are_in_the_order_in_which_they_are_written(tmp_path: Path) -> None:
    text = "".join(
        f'[[tier_region]]\nname = "{name}"\naddress = "s3://bucket/{name}"\n' for name in ("eu-1", "us-2")
    )
    config = load(written(tmp_path, text + '[tier]\npace_s = 9\nothers = "standby"\n'), {})
    assert [region.name for region in config.tier_region] == ["eu-1", "us-2"]
    assert (config.tier.pace_s, config.tier.others, config.tier.encrypt) == (9, "standby", "on")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[[tier_region]]\nname = "eu"\n[[tier_region]]\nname = "eu"\n', "two are called eu"),
        (
            "".join(f'[[tier_region]]\nname = "r{n}"\n' for n in range(TIER_REGION_COUNT_MAX + 1)),
            f"there are {TIER_REGION_COUNT_MAX + 1}",
        ),
        ('[[tier_region]]\nname = "EU west"\n', "name"),
        ("[tier]\npace_s = 0\n", "pace_s"),
        ('[tier]\nencrypt = "maybe"\n', "encrypt"),
        ('[node]\nrole = "cloud"\n', "there is no .*tier_region"),
        ('[node]\nrole = "cloudy"\n', "role"),
        ('[[tier_region]]\nname = "eu"\nreadings = true\n', "no address that begins with postgresql://"),
        (
            '[node]\nrole = "cloud"\n[[tier_region]]\naddress = "postgresql://u@h/d"\nreadings = true\n',
            "a cloud node has no readings",
        ),
        ('[[tier_region]]\naddress = "postgresql://u@h/d"\nreadings_schema = "pg_x"\n', "readings_schema"),
        (
            '[node]\nrole = "cloud"\n[[tier_region]]\nname = "eu"\n[[bridge]]\nname = "up"\n[[bridge_topic]]\nbridge = "up"\n',
            "there is a .*bridge",
        ),
    ],
)
def test_a_mistake_is_said(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        load(written(tmp_path, text), {})


def test_a_cloud_node_has_a_region(tmp_path: Path) -> None:
    text = '[node]\nrole = "cloud"\n[[tier_region]]\nname = "eu"\n'
    assert load(written(tmp_path, text), {}).node.role == "cloud"
    with pytest.raises(ConfigError, match=r"node\.role is cloud"):
        load(written(tmp_path, ""), {"HOMEPORT_NODE__ROLE": "cloud"})
