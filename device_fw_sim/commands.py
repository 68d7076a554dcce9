"""Commands that a device carries out at most once each, and answers. Pure, above `Flash`.

The request id is on flash, with the answer, before anything is done: a power cut in between loses a command, and never does it
twice. One that comes again is answered again, from flash.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from device_fw_sim.acts import Act, Request, Restart
from device_fw_sim.flash import Flash
from device_fw_sim.guard import Guard
from device_fw_sim.limits import COMMAND_ID_COUNT_MAX, COMMAND_ID_LENGTH_MAX
from device_fw_sim.twin import Twin

_RECORD: Final = "commands"


class Commands:
    """The methods of one device: identify, reboot, set_interval, set_led.

    Args:
        flash: Keeps the ids.
        guard: Knows whose orders count.
        twin: Settings that commands change.
        identity: What `identify` answers.
    """

    def __init__(self, flash: Flash, guard: Guard, twin: Twin, identity: Mapping[str, Any]) -> None:
        self._flash, self._guard, self._twin, self._identity = flash, guard, twin, identity
        self._answers: dict[str, Any] = flash.get(_RECORD) or {}

    def received(self, request_id: str, payload: bytes, wall_ms: int) -> list[Act]:
        """A message on `dm/{device}/cmd/{request_id}`.

        Args:
            wall_ms: By the device's clock, which `exp` is compared to.
        """
        if not 0 < len(request_id) <= COMMAND_ID_LENGTH_MAX:
            return []
        if request_id in self._answers:
            return [_answer(request_id, self._answers[request_id])]
        try:
            message = json.loads(payload)
        except ValueError:
            message = None
        if not isinstance(message, dict):
            return [_answer(request_id, {"ok": False, "e": "not a command"})]
        expires_at_ms = message.get("exp")
        if isinstance(expires_at_ms, int) and wall_ms >= expires_at_ms:
            return [_answer(request_id, {"ok": False, "e": "expired"})]
        if not self._guard.obeys(message.get("fence")):
            return [_answer(request_id, {"ok": False, "e": "fence"})]
        parameters = message.get("p")
        acts, result = self._do(str(message.get("m")), parameters if isinstance(parameters, dict) else {})
        self._answers[request_id] = result
        while len(self._answers) > COMMAND_ID_COUNT_MAX:
            del self._answers[next(iter(self._answers))]
        self._flash.put(_RECORD, self._answers)
        return [_answer(request_id, result), *acts]

    def _do(self, method: str, parameters: Mapping[str, Any]) -> tuple[list[Act], dict[str, Any]]:
        match method:
            case "identify":
                return [], {"ok": True, "r": dict(self._identity)}
            case "reboot":
                return [Restart(reason="command")], {"ok": True}
            case "set_interval":
                return self._set("interval_s", parameters.get("interval_s"))
            case "set_led":
                return self._set("led", parameters.get("on"))
            case _:
                return [], {"ok": False, "e": f"no method {method[:COMMAND_ID_LENGTH_MAX]!r}"}

    def _set(self, name: str, value: Any) -> tuple[list[Act], dict[str, Any]]:
        acts = self._twin.set(name, value)
        if acts is None:
            return [], {"ok": False, "e": f"{name} makes no sense"}
        return acts, {"ok": True, "r": {name: value}}


def _answer(request_id: str, result: Mapping[str, Any]) -> Request:
    payload = json.dumps(result, separators=(",", ":")).encode()
    return Request(topic=f"cmd/{request_id}/resp", payload=payload)
