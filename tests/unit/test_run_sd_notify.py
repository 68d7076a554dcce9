from __future__ import annotations

import secrets
import socket
from pathlib import Path

from appliance.run.sd_notify import Notifier


def test_without_systemd_nothing_is_said() -> None:
    notifier = Notifier({})
    notifier.ready()
    assert notifier.watchdog_ms is None
    assert notifier.failures == 0


def test_messages_are_as_sd_notify_wants_them(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        notifier = Notifier({"NOTIFY_SOCKET": str(tmp_path / "notify")})
        notifier.ready()
        notifier.status("two\nlines\tbecome one")
        notifier.watchdog()
        notifier.stopping()
        heard = [systemd.recv(1000) for _ in range(4)]
    assert heard == [b"READY=1", b"STATUS=two lines become one", b"WATCHDOG=1", b"STOPPING=1"]


def test_an_abstract_socket_is_reached() -> None:
    """sd_notify(3): an @ in front stands for a zero byte."""
    name = f"homeport-test-{secrets.token_hex(8)}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind("\0" + name)
        Notifier({"NOTIFY_SOCKET": "@" + name}).ready()
        assert systemd.recv(1000) == b"READY=1"


def test_a_dead_socket_is_counted_and_harms_nothing(tmp_path: Path) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": str(tmp_path / "none")})
    notifier.ready()
    notifier.watchdog()
    assert notifier.failures == 2


def test_the_watchdog_is_ours_only_when_it_names_us() -> None:
    """sd_watchdog_enabled(3)."""
    assert Notifier({"WATCHDOG_USEC": "30000000"}, pid=7).watchdog_ms == 30_000
    assert Notifier({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "7"}, pid=7).watchdog_ms == 30_000
    assert Notifier({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "8"}, pid=7).watchdog_ms is None
    assert Notifier({"WATCHDOG_USEC": "soon"}, pid=7).watchdog_ms is None
    assert Notifier({"WATCHDOG_USEC": "0"}, pid=7).watchdog_ms is None
