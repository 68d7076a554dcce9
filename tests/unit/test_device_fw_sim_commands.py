"""Commands: at most once by their id, whatever is said twice and whatever power is cut; never after their time."""

from __future__ import annotations

import json
from typing import Any

import pytest

from device_fw_sim.acts import Act, Request, Restart, SetInterval
from device_fw_sim.commands import Commands
from device_fw_sim.flash import FaultyFlash, Flash, MemoryFlash, PowerCut
from device_fw_sim.guard import Guard
from device_fw_sim.limits import COMMAND_ID_COUNT_MAX
from device_fw_sim.twin import Twin

NOW_MS = 1_000_000


def commands(flash: Flash) -> Commands:
    return Commands(flash, Guard(flash, 1), Twin(flash, interval_ms=5_000), {"device": "pump-1"})


def order(method: str, *, exp: int = NOW_MS + 1, fence: int = 1, **parameters: Any) -> bytes:
    return json.dumps({"m": method, "p": parameters, "exp": exp, "fence": fence}).encode()


def answer(acts: list[Act]) -> dict[str, Any]:
    found = acts[0]
    assert isinstance(found, Request)
    assert found.topic.startswith("cmd/")
    assert found.topic.endswith("/resp")
    message: dict[str, Any] = json.loads(found.payload)
    return message


def test_each_method_does_what_it_says() -> None:
    desk = commands(MemoryFlash())
    assert answer(desk.received("1", order("identify"), NOW_MS)) == {"ok": True, "r": {"device": "pump-1"}}
    acts = desk.received("2", order("reboot"), NOW_MS)
    assert acts[1:] == [Restart(reason="command")]
    acts = desk.received("3", order("set_interval", interval_s=2), NOW_MS)
    assert answer(acts) == {"ok": True, "r": {"interval_s": 2}}
    assert SetInterval(interval_ms=2_000) in acts
    assert answer(desk.received("4", order("set_led", on=True), NOW_MS))["ok"]
    assert answer(desk.received("5", order("set_led", on="yes"), NOW_MS))["ok"] is False
    assert "no method" in answer(desk.received("6", order("explode"), NOW_MS))["e"]


def test_said_twice_done_once_over_a_restart_too() -> None:
    flash = MemoryFlash()
    desk = commands(flash)
    assert len(desk.received("1", order("reboot"), NOW_MS)) == 2
    assert len(desk.received("1", order("reboot"), NOW_MS)) == 1
    acts = commands(flash).received("1", order("reboot"), NOW_MS + 10_000)
    assert answer(acts) == {"ok": True}
    assert len(acts) == 1


def test_a_power_cut_loses_a_command_and_never_does_it_twice() -> None:
    flash = FaultyFlash(MemoryFlash())
    desk = commands(flash)
    desk.received("0", order("identify"), NOW_MS)
    flash.cut_at(1)
    with pytest.raises(PowerCut):
        desk.received("1", order("reboot"), NOW_MS)
    assert len(commands(flash).received("0", order("identify"), NOW_MS)) == 1


@pytest.mark.parametrize(
    ("payload", "said"),
    [(b"\xff", "not a command"), (b"[]", "not a command"), (order("reboot", exp=NOW_MS), "expired")],
)
def test_what_is_not_done(payload: bytes, said: str) -> None:
    acts = commands(MemoryFlash()).received("1", payload, NOW_MS)
    assert answer(acts) == {"ok": False, "e": said}
    assert len(acts) == 1


def test_an_older_nodes_orders_are_not_obeyed() -> None:
    desk = commands(MemoryFlash())
    desk.received("1", order("identify", fence=5), NOW_MS)
    assert answer(desk.received("2", order("reboot", fence=4), NOW_MS)) == {"ok": False, "e": "fence"}


def test_only_so_many_ids_are_remembered() -> None:
    flash = MemoryFlash()
    desk = commands(flash)
    for number in range(COMMAND_ID_COUNT_MAX + 5):
        desk.received(str(number), order("identify"), NOW_MS)
    assert len(flash.get("commands")) == COMMAND_ID_COUNT_MAX
    assert desk.received("x" * 200, order("reboot"), NOW_MS) == []
