"""The device's side of its twin: takes over what is desired, says what it is. Pure, above `Flash`.

At every connect the device asks for its twin, takes over each setting that it knows and reports the result; a delta later on is the
same. A value that makes no sense is not taken over, so the delta stays and somebody sees it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from device_fw_sim.acts import Act, Request, SetInterval
from device_fw_sim.flash import Flash
from device_fw_sim.limits import INTERVAL_S_MAX, INTERVAL_S_MIN, LABEL_LENGTH_MAX

_RECORD: Final = "twin"


class Twin:
    """Settings of one device.

    Args:
        flash: Keeps them over a power cut.
        interval_ms: Between two readings, where nothing else was ever desired.
    """

    def __init__(self, flash: Flash, *, interval_ms: int) -> None:
        self._flash = flash
        self._reported: dict[str, Any] = flash.get(_RECORD) or {
            "interval_s": interval_ms / 1_000,
            "led": False,
            "label": "",
        }
        self._version = 0

    @property
    def interval_ms(self) -> int:
        """Between two readings."""
        return max(round(float(self._reported["interval_s"]) * 1_000), 1)

    @property
    def reported(self) -> Mapping[str, Any]:
        """What it says of itself."""
        return self._reported

    def connected(self) -> list[Act]:
        """Ask for what is desired."""
        return [_request("shadow/get", {"clientToken": "twin"})]

    def received(self, levels: list[str], payload: bytes) -> list[Act]:
        """A message below `dm/{device}/shadow/`.

        Args:
            levels: Of the topic, after `shadow`.
        """
        try:
            message = json.loads(payload)
        except ValueError:
            return []
        if not isinstance(message, dict):
            return []
        state = message.get("state")
        match levels:
            case ["get", "accepted"]:
                desired = state.get("desired") if isinstance(state, dict) else None
                return [*self._apply(desired or {}), self._report()]
            case ["get", "rejected"]:
                # 404: there is none yet; the first report makes it.
                return [self._report()]
            case ["update", "delta"]:
                version = message.get("version")
                if not isinstance(version, int) or version <= self._version:
                    return []  # It came late: a newer one was taken over.
                self._version = version
                acts = self._apply(state if isinstance(state, dict) else {})
                return [*acts, self._report()]
            case _:
                return []

    def set(self, name: str, value: Any) -> list[Act] | None:
        """Take over one setting, as a command asks; None when it makes no sense."""
        acts = self._apply({name: value})
        if self._reported.get(name) != value:
            return None
        return [*acts, self._report()]

    def _apply(self, desired: Mapping[str, Any]) -> list[Act]:
        taken = {name: value for name, value in desired.items() if _makes_sense(name, value)}
        if all(self._reported.get(name) == value for name, value in taken.items()):
            return []
        before_ms = self.interval_ms
        self._reported = {**self._reported, **taken}
        self._flash.put(_RECORD, self._reported)
        return [SetInterval(interval_ms=self.interval_ms)] if self.interval_ms != before_ms else []

    def _report(self) -> Request:
        return _request("shadow/update", {"state": {"reported": self._reported}, "clientToken": "twin"})


def _makes_sense(name: str, value: Any) -> bool:
    match name:
        case "interval_s":
            return (
                isinstance(value, int | float)
                and not isinstance(value, bool)
                and INTERVAL_S_MIN <= value <= INTERVAL_S_MAX
            )
        case "led":
            return isinstance(value, bool)
        case "label":
            return isinstance(value, str) and len(value) <= LABEL_LENGTH_MAX
        case _:
            return False


def _request(topic: str, message: Mapping[str, Any]) -> Request:
    return Request(topic=topic, payload=json.dumps(message, separators=(",", ":")).encode())
