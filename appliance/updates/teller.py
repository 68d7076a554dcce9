"""Tells devices what is wanted of them: `notify-next` and `notify` to those that listen, made from the catalog as it is then.

Only who listens is told. What was sent to a connection is noted, so that it counts as told; what got lost on the way is said again when
the device comes back, or when its time is up. Nothing is kept here but whose turn it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, Protocol

import trio

from appliance.core import logs
from appliance.core.clock import Clock
from appliance.core.errors import Conflict, HomeportError, NotFound
from appliance.core.limits_executions import PUSH_TIMEOUT_MS, UPDATES_RETRY_MS
from appliance.management.execution import Told
from appliance.updates.batches import Request
from appliance.updates.desk import Updates
from appliance.updates.job_messages import JobMessages, pushed_topic
from appliance.updates.work import Work

_log = logs.get(__name__)
_CONCURRENCY_MAX: Final = 8
"""Devices told at the same time: the broker's control socket answers one in some 0.2 ms."""


class Pusher(Protocol):
    """Says something to a device's connections (broker.link.BrokerLink)."""

    async def push(self, principal: str, messages: Sequence[tuple[str, bytes]]) -> int:
        """How many copies were sent."""


class Teller:
    """See the module's docstring. `tell` takes devices, `run` tells them."""

    def __init__(self, updates: Updates, pusher: Pusher, *, clock: Clock) -> None:
        self._updates = updates
        self._pusher = pusher
        self._clock = clock
        self._waiting: dict[str, None] = {}
        self._wake = trio.Event()

    def tell(self, devices: Iterable[str]) -> None:
        """Tell these soon, each once."""
        self._waiting.update(dict.fromkeys(devices))
        self._wake.set()

    async def run(self) -> None:
        """Tell until cancelled."""
        while True:
            self._wake = trio.Event()
            if not self._waiting:
                await self._wake.wait()  # No deadline: it is woken by who has something to tell.
            devices, self._waiting = list(self._waiting), {}
            limiter = trio.CapacityLimiter(_CONCURRENCY_MAX)
            async with trio.open_nursery() as nursery:
                for device_id in devices:
                    await limiter.acquire_on_behalf_of(device_id)
                    nursery.start_soon(self._one, device_id, limiter)

    async def _one(self, device_id: str, limiter: trio.CapacityLimiter) -> None:
        try:
            await self.tell_now(device_id)
        finally:
            limiter.release_on_behalf_of(device_id)

    async def tell_now(self, device_id: str) -> int:
        """Tell one device; how many copies were sent, 0 when it does not listen or could not be told."""
        tally = self._updates.engine.batches.tally
        if not self._updates.engine.surroundings.is_listening(device_id):
            return 0
        try:
            with trio.fail_after(PUSH_TIMEOUT_MS / 1_000):
                count = await self._push(device_id)
        except (HomeportError, trio.TooSlowError) as error:
            tally.pushes["failed"] += 1
            _log.info("a device could not be told of its update", device=device_id, error=str(error))
            await trio.sleep(UPDATES_RETRY_MS / 1_000)
            self.tell((device_id,))
            return 0
        except Exception as error:  # noqa: BLE001 - see tests/test_tidy.py
            # Not told again by itself: it would come upon the same.
            tally.pushes["failed"] += 1
            _log.error(
                "what a device is to be told could not be worked out", device=device_id, exc_info=error
            )
            return 0
        tally.pushes["told" if count else "nobody"] += 1
        return count

    async def _push(self, device_id: str) -> int:
        execution = await self._updates.next_to_tell(device_id)
        pending = await self._updates.offered(device_id)
        document = None
        if execution is not None:
            try:
                document = await self._updates.document(execution)
            except Conflict as error:
                # Said once for each that is broken; a person has to cancel it.
                _log.error(
                    "an update can't be offered", execution=execution.execution_id, error=error.message
                )
                return 0
        messages = []
        for is_aws in (False, True):
            made = JobMessages(is_aws=is_aws, now_ms=self._clock.now_ms())
            messages.append((pushed_topic(device_id, "notify", is_aws=is_aws), made.notify(pending)))
            next_payload = made.notify_next(execution, document)
            messages.append((pushed_topic(device_id, "notify-next", is_aws=is_aws), next_payload))
        count = await self._pusher.push(device_id, messages)
        if count and execution is not None:
            execution_id = execution.execution_id
            self._updates.engine.put(Request(lambda work: _told(work, execution_id)))
        return count


def _told(work: Work, execution_id: str) -> None:
    try:
        work.step(execution_id, Told())
    except NotFound:
        return
