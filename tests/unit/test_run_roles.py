"""Roles of the configuration: what can't be one ends the start with the role's name and a next step."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from appliance.core.config import BrokerRoleConfig, Config, MappingConfig, load
from appliance.core.errors import ConfigError
from appliance.management.access import Principal
from appliance.run.roles import access_policy, roles_of


def test_roles_come_out_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "homeport.toml"
    path.write_text(
        '[[mapping]]\ntopic = "shop/{device}/{metric}"\n'
        '[[broker_role]]\nname = "board"\nsubscribe = ["dm/+/status", "$SYS/#"]\n'
    )
    policy = access_policy(load(path, {}))
    board = Principal(name="b", role="board")
    assert policy.may_subscribe(board, "dm/d1/status")
    assert not policy.may_subscribe(board, "dm/d1/telemetry")
    assert policy.may_publish(board, "shop/b/weight")


@pytest.mark.parametrize(
    ("roles", "says"),
    [
        ([BrokerRoleConfig(name="a", publish=("x/#/y",))], "“a” can't be used: In the topic pattern “x/#/y”"),
        ([BrokerRoleConfig(name="a", publish=("$SYS/x",))], "“a” can't be used: No role can publish"),
        ([BrokerRoleConfig(name="a"), BrokerRoleConfig(name="a")], "Two tables"),
    ],
)
def test_what_is_no_role(roles: list[BrokerRoleConfig], says: str) -> None:
    with pytest.raises(ConfigError) as raised:
        roles_of(replace(Config(), broker_role=tuple(roles)))
    assert says in raised.value.message
    assert raised.value.hint


def test_a_mapping_that_can_not_be_a_pattern() -> None:
    with pytest.raises(ConfigError):
        access_policy(replace(Config(), mapping=(MappingConfig(topic="a+/{device}"),)))
