"""The room of twins and commands over a real catalog, with devices that listen as a test says, in place of a broker."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trio
import trio.testing

from appliance.core.clock import ManualClock
from appliance.core.errors import HomeportError
from appliance.device_requests.listeners import Listeners
from appliance.device_requests.router import Router
from appliance.twins.room import TwinRoom
from broker.control_messages import DeviceReply, DeviceRequest, SessionEvent
from storage.catalog import AsyncCatalog
from tests.acts import ACT

DEADLINE_S = 60.0


@dataclass
class Pushes:
    """Takes what is pushed in the broker's place.

    Attributes:
        said: Device, topic, payload, in order.
        deaf: Topics, or beginnings of them, that nobody has subscribed to.
        error: Raised instead, while it is set. before: Awaited first.
    """

    said: list[tuple[str, str, Any]] = field(default_factory=list)
    deaf: tuple[str, ...] = ()
    error: HomeportError | None = None
    before: Callable[[], Awaitable[None]] | None = None

    async def push(self, principal: str, messages: Sequence[tuple[str, bytes]]) -> int:
        if self.before is not None:
            await self.before()
        if self.error is not None:
            raise self.error
        copies = 0
        for topic, payload in messages:
            if not topic.startswith(self.deaf or ("\0",)):
                self.said.append((principal, topic, json.loads(payload)))
                copies += 1
        return copies


@dataclass
class Scene:
    catalog: AsyncCatalog
    listeners: Listeners
    pushes: Pushes
    room: TwinRoom
    router: Router
    clock: ManualClock
    stopping: trio.Event

    async def listen(self, *device_ids: str, aws: bool = False) -> None:
        """Have devices begin to listen, and wait until what is wanted of them has been looked up."""
        self.listen_nowait(*device_ids, aws=aws)
        await self.until(lambda: not self.room.desk.statistics().waiting)

    def listen_nowait(self, *device_ids: str, aws: bool = False) -> None:
        self.listeners.take([SessionEvent(principal=each, client_id="c", what="listening", is_aws=aws) for each in device_ids], False)  # fmt: skip

    def leave(self, *device_ids: str) -> None:
        self.listeners.take([SessionEvent(principal=each, client_id="c", what="gone") for each in device_ids], False)  # fmt: skip

    async def ask(self, topic: str, said: Any = None, *, name: str = "pump") -> tuple[str, Any]:
        """What a device is answered: the topic and the payload."""
        payload = b"" if said is None else said if isinstance(said, bytes) else json.dumps(said).encode()
        reply: DeviceReply = await self.router.answer(
            DeviceRequest(
                topic=topic,
                payload=payload,
                client_id="c",
                address="::1",
                name=name,
                kind="device",
                proof=b"",
            )
        )
        ((answer_topic, answer),) = reply.messages
        assert reply.is_accepted == answer_topic.endswith("accepted")
        return answer_topic, json.loads(answer)

    async def until(self, is_so: Callable[[], Any]) -> None:
        """Wait until something is so; fails after a deadline."""
        with trio.fail_after(DEADLINE_S):
            while not is_so():  # noqa: ASYNC110 - what it waits for is told by nothing
                await trio.sleep(0.005)

    async def until_said(self, count: int) -> list[tuple[str, str, Any]]:
        await self.until(lambda: len(self.pushes.said) >= count)
        assert len(self.pushes.said) == count, self.pushes.said
        return self.pushes.said


@asynccontextmanager
async def twin_scene(tmp_path: Path, *devices: str, runs: bool = True) -> AsyncIterator[Scene]:
    """A catalog with active devices, and the room at work on it."""
    clock = ManualClock()
    async with AsyncCatalog.opened(tmp_path / "catalog.db", clock=clock, node_id=bytes(16)) as catalog:
        for device_id in devices or ("pump",):
            await catalog.write(lambda writer, each=device_id: writer.add_device(each), by=ACT)  # type: ignore[misc]
        listeners, pushes, router = Listeners(), Pushes(), Router(clock=clock)
        listeners.link = pushes
        stopping = trio.Event()
        room = TwinRoom(catalog, listeners, clock=clock, stopping=stopping)
        room.register(router)
        async with trio.open_nursery() as nursery:
            if runs:
                nursery.start_soon(room.run)
                await trio.testing.wait_all_tasks_blocked()
            yield Scene(catalog, listeners, pushes, room, router, clock, stopping)
            nursery.cancel_scope.cancel()
