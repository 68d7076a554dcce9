"""Answers what devices ask about their twins: get, update and delete, natively and by `$aws/things/…` alike.

Each request is answered by what AWS IoT's Device Shadow would say (management/twin_messages.py). Whoever asks is answered after the
commit; the delta and the documents go to whoever of the device has subscribed to them (telling.py).

Must not know: MQTT, the broker, SQL.
"""

from __future__ import annotations

from appliance.core.clock import Clock
from appliance.core.errors import HomeportError
from appliance.device_requests.router import Asked
from appliance.management.twin import UNNAMED, Twin
from appliance.management.twin_messages import (
    accepted_delete,
    accepted_get,
    accepted_update,
    decode_asked,
    decode_update,
    rejected,
    token_of,
)
from appliance.twins.desk import TwinDesk
from broker.control_messages import DeviceReply


class ShadowService:
    """See the module's docstring. `answer` is the router's handler of the service `shadow`."""

    def __init__(self, desk: TwinDesk, *, clock: Clock) -> None:
        self._desk = desk
        self._clock = clock

    async def answer(self, asked: Asked) -> DeviceReply:
        """What the device is answered."""
        *named, act = asked.topic.rest
        name = named[1] if named else UNNAMED
        answers = {"get": self._get, "update": self._update, "delete": self._delete}
        try:
            payload = await answers[act](asked, name)
        except HomeportError as error:
            current = await self._current(asked.device_id, name) if error.code == "twin_version" else None
            said = rejected(error, now_s=self._now_s(), client_token=token_of(asked.payload), current=current)
            return DeviceReply(is_accepted=False, messages=((asked.topic.rejected(), said),))
        topic = asked.topic.answer(*asked.topic.rest, "accepted")
        return DeviceReply(is_accepted=True, messages=((topic, payload),))

    async def _get(self, asked: Asked, name: str) -> bytes:
        wish = decode_asked(asked.payload)
        kept = await self._desk.get(asked.device_id, name)
        return accepted_get(kept.twin, now_s=self._now_s(), client_token=wish.client_token)

    async def _update(self, asked: Asked, name: str) -> bytes:
        change = decode_update(asked.payload)
        changed = await self._desk.update_by_device(asked.device_id, name, change)
        return accepted_update(changed.after.twin, change, now_s=self._now_s())

    async def _delete(self, asked: Asked, name: str) -> bytes:
        wish = decode_asked(asked.payload)
        changed = await self._desk.delete_by_device(asked.device_id, name, version=wish.version)
        return accepted_delete(changed.after.twin, now_s=self._now_s(), client_token=wish.client_token)

    async def _current(self, device_id: str, name: str) -> Twin | None:
        """How the twin stands, for whoever saw another version; None where it can't be read now."""
        try:
            return (await self._desk.get(device_id, name)).twin
        except HomeportError:
            return None

    def _now_s(self) -> int:
        return self._clock.now_ms() // 1000
