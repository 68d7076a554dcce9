"""A region that others ask for things: connected with the first question, kept connected, and connected anew after it was lost. For trio."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import trio

from appliance.core.errors import HomeportError
from replication.tier.engine import Engine, Opening, TierAway
from replication.tier.gateway_messages import Done
from replication.tier.region_calls import CALL_ERRORS, CALL_S

Work = Callable[[Engine], Awaitable[Done]]
PUT_S: Final = 3 * CALL_S
"""For what is asked; engines give up by themselves before that."""


class _Job:
    def __init__(self, work: Work) -> None:
        self.work = work
        self.over = trio.Event()
        self.outcome: Done | HomeportError | trio.TooSlowError = TierAway("The region was lost meanwhile.")


class KeptRegion:
    """See the module. `run` it, then `call`."""

    def __init__(self, opening: Opening) -> None:
        self._opening = opening
        # Bounded by who asks: a box may have GATEWAY_CALLS_PER_PEER_MAX questions under way.
        self._send, self._receive = trio.open_memory_channel[_Job](float("inf"))

    async def call(self, work: Work) -> Done:
        """Have something done by the engine.

        Raises:
            HomeportError, TooSlowError: as the engine does, or that it can't be connected.
        """
        job = _Job(work)
        self._send.send_nowait(job)
        await job.over.wait()
        if isinstance(job.outcome, Done):
            return job.outcome
        raise job.outcome

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            pending = [await self._receive.receive()]
            outcome: HomeportError | trio.TooSlowError | None = None
            try:
                await self._connected(pending)
            except CALL_ERRORS as error:
                outcome = error
            except BaseExceptionGroup as group:
                matched, rest = group.split(CALL_ERRORS)
                if rest is not None or matched is None:
                    raise
                outcome = _first(matched)
            # Who came meanwhile hears the same: one attempt for all, and not one after the other.
            while self._receive.statistics().current_buffer_used:
                pending.append(self._receive.receive_nowait())
            for job in pending:
                if outcome is not None:
                    job.outcome = outcome
                job.over.set()

    async def _connected(self, pending: list[_Job]) -> None:
        with trio.fail_after(CALL_S) as time:
            async with self._opening() as engine, trio.open_nursery() as nursery:
                time.deadline = float("inf")
                job = pending[0]
                while True:
                    nursery.start_soon(self._do, engine, job, pending)
                    job = await self._receive.receive()
                    pending.append(job)

    async def _do(self, engine: Engine, job: _Job, pending: list[_Job]) -> None:
        try:
            with trio.fail_after(PUT_S):
                job.outcome = await job.work(engine)
        except CALL_ERRORS as error:
            job.outcome = error
        pending.remove(job)
        job.over.set()


def _first(group: BaseExceptionGroup[BaseException]) -> HomeportError | trio.TooSlowError:
    error = group.exceptions[0]
    if isinstance(error, BaseExceptionGroup):
        return _first(error)
    assert isinstance(error, CALL_ERRORS)
    return error
