"""The node's updates for simulations: the real engine, planner, jobs and catalog, driven step by step on a virtual clock.

No tasks, no threads and no sockets: a coroutine of the engine never has to wait here, because the catalog answers at once. The catalog is a
real file. The node can be told to die at its n-th transaction, before or after the commit; then nothing is left of it but the file.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast

from appliance.core.clock import ManualClock
from appliance.core.errors import HomeportError
from appliance.device_requests.router import Asked
from appliance.management.audit import Act, Actor
from appliance.management.execution import Execution, HealthSeen
from appliance.management.firmware_report import parse_status
from appliance.management.request_topics import parse
from appliance.updates import rollout_acts
from appliance.updates.batches import Request
from appliance.updates.desk import Operation, Updates
from appliance.updates.engine import Engine
from appliance.updates.jobs import Jobs
from appliance.updates.rollout_planner import RolloutPlanner
from appliance.updates.surroundings import Surroundings
from appliance.updates.teller import Teller
from appliance.updates.work import Work
from storage.catalog import AsyncCatalog, Catalog
from storage.catalog.executions import ExecutionEvent
from storage.catalog.rollouts import Rollout

T = TypeVar("T")
NODE_ID = b"n" * 16
AUTHOR = rollout_acts.Author("anna")
ACTOR = Actor(name="anna", kind="user")
Push = Callable[[str, Sequence[tuple[str, bytes]]], int]


class NodeDied(BaseException):
    """The node's process is gone, in the middle of what it did."""


def finish(work: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that has nothing to wait for."""
    try:
        work.send(None)
    except StopIteration as ended:
        return cast(T, ended.value)
    raise AssertionError("it waits for something")


class StepCatalog:
    """AsyncCatalog without threads, over one connection; it can kill the node in a transaction.

    Attributes:
        dies_at: So many transactions from now (1 is the next) the node dies; None for not at all.
        dies_after_commit: Whether that transaction is on disk then.
        counts_moves: Only transactions that move an execution are counted.
    """

    counts_moves = False

    def __init__(self, path: Path, clock: ManualClock) -> None:
        self.catalog = Catalog.open(path, clock=clock, node_id=NODE_ID)
        self.dies_at: int | None = None
        self.dies_after_commit = False

    async def read(self, run: Callable[[Catalog], T], **_: Any) -> T:
        return run(self.catalog)

    async def write(self, run: Callable[[Catalog], T], *, by: Act) -> T:
        dies = False
        with self.catalog.transaction(by):
            before = self._move_count()
            result = run(self.catalog)
            if self.dies_at is not None and (not self.counts_moves or self._move_count() != before):
                self.dies_at -= 1
                dies = self.dies_at == 0
            if dies and not self.dies_after_commit:
                self.die()
        if dies:
            self.die()
        return result

    def _move_count(self) -> int:
        row = self.catalog.row("SELECT count(*) FROM execution_events WHERE from_state <> to_state")
        return 0 if row is None else int(row[0])

    def die(self) -> None:
        """The end of this life."""
        raise NodeDied

    def close(self) -> None:
        self.catalog.connection.close()


STORE = StepCatalog
"""What a node of this process opens; a process that is killed for good has another one."""


class StepEngine(Engine):
    """The engine whose requests are worked off by whoever makes them."""

    async def do(self, run: Callable[[Work], T], *, by: Act | None = None) -> T:
        request = Request(run, by)
        done: list[None] = []
        request.done = lambda: done.append(None)
        self.batches.put(request)
        while not done:
            await self.work_once()
        if request.error is not None:
            raise request.error
        return cast(T, request.result)


@dataclass
class SiteHealth:
    """What the live view would have seen of devices."""

    clock: ManualClock
    readings: dict[str, list[int]] = field(default_factory=dict)
    online: dict[str, bool] = field(default_factory=dict)
    cuts: dict[str, list[int]] = field(default_factory=dict)

    def seen(self, device_id: str, since_ms: int) -> HealthSeen:
        return HealthSeen(
            has_readings=bool(self.readings.get(device_id)),
            has_session=device_id in self.online,
            fresh_reading_count=sum(at >= since_ms for at in self.readings.get(device_id, ())),
            cut_count=sum(at > since_ms for at in self.cuts.get(device_id, ())),
            is_online=self.online.get(device_id, False),
        )


class UpdateNode:
    """One life of the node after the other, over one catalog.

    Args:
        path: The catalog's file.
        push: Says something to a device's connection; how many copies.
    """

    def __init__(self, path: Path, clock: ManualClock, push: Push) -> None:
        self.clock = clock
        self.health = SiteHealth(clock)
        self.lives = 0
        self._path = path
        self._push = push
        self.start()

    # --- Lives -----------------------------------------------------------------------------------------

    def start(self) -> None:
        """A new process opens what is on disk."""
        self.lives += 1
        self.store = STORE(self._path, self.clock)
        catalog = cast(AsyncCatalog, self.store)
        surroundings = Surroundings(self.clock, health=self.health, random=lambda: 0.5)
        self.engine = StepEngine(
            catalog, clock=self.clock, surroundings=surroundings, planner=RolloutPlanner()
        )
        self.updates = Updates(self.engine, catalog, clock=self.clock)
        self.jobs = Jobs(self.updates, clock=self.clock)
        self._teller = Teller(self.updates, self, clock=self.clock)
        self.engine.tell = self._tell
        finish(self.engine.load())

    def die(self) -> None:
        """Nothing is left but the file."""
        self.store.close()

    # --- What comes ------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Do all that can be done now."""
        finish(self.engine.settle())

    def next_ms(self) -> int | None:
        """When there is something to do by itself."""
        return self.engine.batches.next_ms()

    def asked(self, device_id: str, topic: str, payload: bytes) -> list[tuple[str, bytes]]:
        """The answer to a request of a device; a request that can't be answered has none."""
        parsed = parse(topic)
        assert parsed is not None
        asked = Asked(topic=parsed, payload=payload, device_id=device_id, client_id=device_id, address="")
        try:
            reply = finish(self.jobs.handle(asked))
        except HomeportError as error:
            answer = parsed.answer(*parsed.rest, "rejected")
            fields = json.loads(payload)
            refusal = {"code": error.code, "clientToken": fields.get("clientToken")}
            return [(answer, json.dumps(refusal).encode())]
        self.settle()
        return list(reply.messages)

    def status(self, device_id: str, payload: bytes, at_ms: int) -> None:
        """A status of a device, as the pipeline hands it on."""
        report = parse_status(device_id, json.loads(payload), at_ms)
        if report is not None:
            self.engine.firmware_reported(report)
            self.settle()

    def say_again(self, statuses: Iterable[tuple[str, bytes, int]]) -> None:
        """What the store knew when the node started: devices, their last statuses, and when those came."""
        for device_id, payload, at_ms in statuses:
            report = parse_status(device_id, json.loads(payload), at_ms)
            assert report is not None
            self.engine.firmware_reported(report)
        self.settle()

    def online(self, device_id: str, is_online: bool) -> None:
        self.engine.online(device_id, is_online)
        self.settle()

    def listening(self, device_id: str, is_listening: bool) -> None:
        self.engine.listening(device_id, is_listening)
        self.settle()

    # --- What people do --------------------------------------------------------------------------------

    def act(self, run: Callable[[Catalog], T]) -> T:
        """An act on rollouts, and what follows from it."""
        result = finish(self.store.write(run, by=Act(action="rollout.act", actor=ACTOR)))
        self.engine.look_soon()
        self.settle()
        return result

    def operate(self, execution_id: str, operation: Operation) -> None:
        finish(self.updates.operate(execution_id, operation, ACTOR))
        self.settle()

    # --- What is there ---------------------------------------------------------------------------------

    def rollout(self, rollout_id: str = "r1") -> Rollout:
        return self.store.catalog.get_rollout(rollout_id)

    def executions(self, rollout_id: str = "r1") -> list[Execution]:
        rows = self.store.catalog.rows(
            "SELECT execution_id FROM executions WHERE rollout_id = ? ORDER BY device_id", (rollout_id,)
        )
        return [self.store.catalog.get_execution(row[0]) for row in rows]

    def events(self, execution_id: str) -> list[ExecutionEvent]:
        return self.store.catalog.execution_events(execution_id)

    # --- Pushes ----------------------------------------------------------------------------------------

    async def push(self, principal: str, messages: Sequence[tuple[str, bytes]]) -> int:
        return self._push(principal, messages)

    def _tell(self, devices: Iterable[str]) -> None:
        for device_id in devices:
            finish(self._teller._push(device_id))
