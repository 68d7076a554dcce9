from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from appliance.core import config
from appliance.core.config import Config, MappingConfig, load
from appliance.core.errors import ConfigError
from appliance.core.settings import Bind, settings_of


def _write(folder: Path, text: str) -> Path:
    path = folder / "homeport.toml"
    path.write_text(text)
    return path


def test_nothing_given_is_all_defaults(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(config, "DEFAULT_PATH", tmp_path / "none.toml")
    assert load(None, {}) == Config()


def test_the_file_of_the_machine_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(config, "DEFAULT_PATH", _write(tmp_path, "[log]\nlinger_ms = 3\n"))
    loaded = load(None, {})
    assert loaded.log.linger_ms == 3
    assert loaded.source == tmp_path / "homeport.toml"


def test_the_file_named_in_the_environment_is_read(tmp_path: Path) -> None:
    path = _write(tmp_path, "[node]\nname = 'mill'\ndata_dir = 'data'\n")
    loaded = load(None, {"HOMEPORT_CONFIG": str(path)})
    assert loaded.node.name == "mill"
    assert loaded.node.data_dir == tmp_path / "data"


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    path = _write(tmp_path, "[broker]\nconnections_max = 5\ntcp_bind = 'off'\n")
    loaded = load(path, {"HOMEPORT_BROKER__CONNECTIONS_MAX": "7", "OTHER__THING": "x"})
    assert loaded.broker.connections_max == 7
    assert loaded.broker.tcp_bind is None
    assert loaded.broker.tls_bind == Bind(host="0.0.0.0", port=8883)


def test_mappings_are_read_in_order(tmp_path: Path) -> None:
    text = """
        [[mapping]]
        topic = "site/+/dev/{device}/telemetry"
        [[mapping]]
        topic = "tele/{device}/SENSOR"
        format = "text"
        metric = "level"
    """
    assert load(_write(tmp_path, text), {}).mapping == (
        MappingConfig(topic="site/+/dev/{device}/telemetry", format="json", metric=None),
        MappingConfig(topic="tele/{device}/SENSOR", format="text", metric="level"),
    )


def test_a_loaded_configuration_never_changes() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config().node.name = "x"  # type: ignore[misc]


def test_every_key_has_help_and_every_number_bounds_around_its_default() -> None:
    for section in (*config.SECTIONS.values(), *config.LISTS.values()):
        for key, setting in settings_of(section).items():
            assert setting.help.endswith("."), key
            if setting.kind == "whole":
                assert setting.unit, key
                assert setting.low is not None, key
                assert setting.high is not None, key
                assert setting.low <= setting.default <= setting.high, key


def test_every_field_of_a_section_is_a_declared_setting() -> None:
    for name, section in config.SECTIONS.items():
        assert {field.name for field in dataclasses.fields(section)} == set(settings_of(section)), name
    sections = {field.name for field in dataclasses.fields(Config)} - {"source"}
    assert sections == set(config.SECTIONS) | set(config.LISTS)


def test_an_error_says_file_line_and_nearest_key(tmp_path: Path) -> None:
    path = _write(tmp_path, "[broker]\n# a comment\ntls_bnd = '0.0.0.0:1'\n")
    with pytest.raises(ConfigError) as raised:
        load(path, {})
    assert raised.value.message == f"{path}:3: broker.tls_bnd is not a known key."
    assert raised.value.hint == "Did you mean tls_bind?"
    assert raised.value.code == "config_invalid"


def test_proxies_are_networks(tmp_path: Path) -> None:
    path = _write(tmp_path, '[broker]\nproxy_protocol = ["10.0.0.5", "2001:db8::/32"]\n')
    assert [str(network) for network in load(path, {}).broker.proxy_protocol] == [
        "10.0.0.5/32",
        "2001:db8::/32",
    ]
    for wrong in ("10.0.0.5/8", "proxy.example", "10.0.0.0/33"):
        path = _write(tmp_path, f'[broker]\nproxy_protocol = ["{wrong}"]\n')
        with pytest.raises(ConfigError, match=r"homeport\.toml:2: broker\.proxy_protocol must be addresses"):
            load(path, {})
