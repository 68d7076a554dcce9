"""Takes what devices say came of commands: `dm/{device}/cmd/{id}/resp`, answered on `…/resp/accepted` once it is on disk.

Must not know: MQTT, the broker, SQL.
"""

from __future__ import annotations

from appliance.device_requests.router import Asked
from appliance.twins.commands import CommandDesk
from broker.control_messages import DeviceReply


class CommandService:
    """See the module's docstring. `answer` is the router's handler of the service `cmd`; what it refuses by raising the router says."""

    def __init__(self, desk: CommandDesk) -> None:
        self._desk = desk

    async def answer(self, asked: Asked) -> DeviceReply:
        """What the device is answered.

        Raises:
            UsageError, NotFound, Conflict: as CommandDesk.answered.
        """
        command_id = asked.topic.rest[0]
        said = await self._desk.answered(asked.device_id, command_id, asked.payload)
        topic = asked.topic.answer(*asked.topic.rest, "accepted")
        return DeviceReply(is_accepted=True, messages=((topic, said),))
