"""The room put together: twins, commands, the writer that they share, and the two services of devices' requests."""

from __future__ import annotations

import secrets

import trio

from appliance.core.clock import Clock
from appliance.core.ids import RandomBytes
from appliance.device_requests.router import Router
from appliance.twins.command_service import CommandService
from appliance.twins.commands import CommandDesk
from appliance.twins.desk import TwinDesk
from appliance.twins.listening import Listening
from appliance.twins.shadow import ShadowService
from appliance.twins.writer import BatchWriter, WriterStatistics
from storage.catalog import AsyncCatalog


class TwinRoom:
    """See the module's docstring.

    Args:
        stopping: Set when the node drains: whoever waits for an answer is told how it stands then.

    Attributes:
        desk: Twins. commands: Commands. For the API, the pages, and others of the node.
    """

    def __init__(
        self,
        catalog: AsyncCatalog,
        listening: Listening,
        *,
        clock: Clock,
        stopping: trio.Event | None = None,
        random_bytes: RandomBytes = secrets.token_bytes,
    ) -> None:
        self._writer = BatchWriter(catalog)
        self._clock = clock
        self._stopping = trio.Event() if stopping is None else stopping
        self.desk = TwinDesk(catalog, self._writer, listening, clock=clock)
        self.commands = CommandDesk(catalog, self._writer, listening, clock=clock, random_bytes=random_bytes)

    def register(self, router: Router) -> None:
        """Have devices' requests of the services shadow and cmd answered."""
        router.register("shadow", ShadowService(self.desk, clock=self._clock).answer)
        router.register("cmd", CommandService(self.commands).answer)

    async def run(self) -> None:
        """Write, say and end what is to be. Runs until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._writer.run)
            nursery.start_soon(self.desk.run)
            nursery.start_soon(self.commands.run)
            await self._stopping.wait()
            self.commands.release()

    def writer_statistics(self) -> WriterStatistics:
        return self._writer.statistics()
