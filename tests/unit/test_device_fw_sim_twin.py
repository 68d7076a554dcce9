"""The twin: what is desired and makes sense is taken over, reported and kept; the rest stays a difference."""

from __future__ import annotations

import json
from typing import Any

from device_fw_sim.acts import Act, Request, SetInterval
from device_fw_sim.flash import MemoryFlash
from device_fw_sim.twin import Twin


def reported(acts: list[Act]) -> dict[str, Any]:
    (request,) = [act for act in acts if isinstance(act, Request)]
    assert request.topic == "shadow/update"
    found: dict[str, Any] = json.loads(request.payload)["state"]["reported"]
    return found


def message(**fields: Any) -> bytes:
    return json.dumps(fields).encode()


def test_it_asks_at_every_connect_and_takes_over_what_is_desired() -> None:
    flash = MemoryFlash()
    twin = Twin(flash, interval_ms=5_000)
    (asked,) = twin.connected()
    assert isinstance(asked, Request)
    assert asked.topic == "shadow/get"
    acts = twin.received(
        ["get", "accepted"],
        message(state={"desired": {"interval_s": 2, "led": True, "label": "north", "unknown": 1}}),
    )
    assert SetInterval(interval_ms=2_000) in acts
    assert reported(acts) == {"interval_s": 2, "led": True, "label": "north"}
    assert Twin(flash, interval_ms=5_000).interval_ms == 2_000


def test_a_device_without_a_twin_makes_one() -> None:
    acts = Twin(MemoryFlash(), interval_ms=5_000).received(["get", "rejected"], message(code=404))
    assert reported(acts) == {"interval_s": 5.0, "led": False, "label": ""}


def test_a_delta_that_is_older_than_the_last_is_not_taken_over() -> None:
    twin = Twin(MemoryFlash(), interval_ms=5_000)
    assert (
        reported(twin.received(["update", "delta"], message(version=7, state={"led": True})))["led"] is True
    )
    assert twin.received(["update", "delta"], message(version=6, state={"led": False})) == []
    assert twin.received(["update", "delta"], message(state={"led": False})) == []
    assert twin.reported["led"] is True


def test_what_makes_no_sense_stays_a_difference() -> None:
    twin = Twin(MemoryFlash(), interval_ms=5_000)
    state = {"interval_s": 0, "led": 1, "label": "x" * 65}
    acts = twin.received(["update", "delta"], message(version=1, state=state))
    assert reported(acts) == {"interval_s": 5.0, "led": False, "label": ""}
    assert twin.set("interval_s", True) is None
    assert twin.set("interval_s", 1.5) is not None


def test_any_other_message_changes_nothing() -> None:
    twin = Twin(MemoryFlash(), interval_ms=5_000)
    assert twin.received(["update", "accepted"], b"{}") == []
    assert twin.received(["get", "accepted"], b"\xff") == []
    assert twin.received(["get", "accepted"], b"[]") == []
