"""appliance/core/bridge_config.py, through a whole configuration file."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.core.config import Config, load
from appliance.core.errors import ConfigError

BRIDGE = '[[bridge]]\nname = "up"\n'
TOPIC = '[[bridge_topic]]\nbridge = "up"\n'


def loaded(tmp_path: Path, text: str) -> Config:
    path = tmp_path / "homeport.toml"
    path.write_text(text)
    return load(path, {})


def test_a_bridge_with_its_topics(tmp_path: Path) -> None:
    config = loaded(
        tmp_path,
        BRIDGE
        + 'address = "mqtt.example.com:8883"\nuser_name = "u"\npassword_file = "secret"\n'
        + TOPIC
        + 'direction = "both"\ntopic = "a/+/#"\nqos = 2\nlocal_prefix = "l/"\nremote_prefix = "r/s/"\n',
    )
    (bridge,), (topic,) = config.bridge, config.bridge_topic
    assert str(bridge.address) == "mqtt.example.com:8883"
    assert bridge.password_file == tmp_path / "secret"
    assert (topic.direction, topic.topic, topic.qos, topic.local_prefix) == ("both", "a/+/#", 2, "l/")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (BRIDGE, "has no topics"),
        (TOPIC, "isn't there"),
        (BRIDGE + BRIDGE + TOPIC, "Two bridges"),
        (BRIDGE + 'address = "h:0"\n' + TOPIC, "port 0"),
        (BRIDGE + 'address = "h"\n' + TOPIC, "host:port"),
        (BRIDGE + 'tls = "off"\nca_file = "x"\n' + TOPIC, 'tls = "off"'),
        (BRIDGE + 'version = "3.1.1"\npassword_file = "x"\n' + TOPIC, "no user name"),
        (BRIDGE + TOPIC + 'topic = "a/#/b"\n', "topic filter"),
        (BRIDGE + TOPIC + 'topic = "a+"\n', "topic filter"),
        (BRIDGE + TOPIC + 'topic = ""\n', "characters"),
        (BRIDGE + TOPIC + 'local_prefix = "a"\n', "/ at the end"),
        (BRIDGE + TOPIC + 'remote_prefix = "+/"\n', "no wildcard"),
        (BRIDGE + TOPIC + "qos = 3\n", "0 to 2"),
        (BRIDGE + TOPIC + 'direction = "sideways"\n', "out, in, both"),
        (BRIDGE + "pasword_file = 'x'\n" + TOPIC, "not a known key"),
        ('[[bridge]]\nname = "Up"\n', "small letters"),
        ("".join(f'[[bridge]]\nname = "b{n}"\n' for n in range(9)), "8 are the most"),
        (BRIDGE + TOPIC * 257, "256"),
    ],
)
def test_what_does_not_fit_is_refused_with_a_next_step(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says.replace("+", r"\+")) as caught:
        loaded(tmp_path, text)
    assert caught.value.hint


@pytest.mark.parametrize("topic", ["#", "+", "a", "/", "+/a/#", "a//b", "$SYS/#", "a/+"])
def test_filters_that_mqtt_allows(tmp_path: Path, topic: str) -> None:
    assert loaded(tmp_path, BRIDGE + TOPIC + f'topic = "{topic}"\n').bridge_topic[0].topic == topic
