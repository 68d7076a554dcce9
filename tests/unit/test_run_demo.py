from __future__ import annotations

import socket
import stat
from pathlib import Path

import pytest

from appliance.core.config import load
from appliance.run import demo


def test_the_playground_listens_on_loopback_only_and_keeps_to_its_folder(tmp_path: Path) -> None:
    path = demo.prepare(tmp_path / "var" / "demo")
    config = load(path, {})
    assert config.broker.tcp_bind is not None
    assert config.broker.tls_bind is not None
    binds = (config.broker.tcp_bind, config.broker.tls_bind, config.ui.bind)
    assert {bind.host for bind in binds} == {"127.0.0.1"}
    assert len({bind.port for bind in binds}) == 3
    assert config.node.data_dir == tmp_path / "var" / "demo" / "data"
    assert config.node.run_dir == tmp_path / "var" / "demo" / "run"
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_taken_port_is_left_to_its_owner() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        chosen = demo.free_ports([taken, taken])
    assert taken not in chosen
    assert len(set(chosen)) == 2


def test_a_free_port_is_taken_as_wished() -> None:
    (free,) = demo.free_ports([0])
    assert demo.free_ports([free]) == [free]


def test_a_folder_too_deep_for_sockets_gets_another_for_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("appliance.run.demo.tempfile.mkdtemp", lambda prefix: f"/tmp/{prefix}test")
    config = load(demo.prepare(tmp_path / ("x" * 100)), {})
    assert config.node.run_dir == Path("/tmp/homeport-demo-test")
