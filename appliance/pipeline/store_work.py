"""Work for the store's one writer that is no batch: what others want done to the store, between two batches.

The pipeline's thread is the only one that writes. Whoever else must (retention, the archive, an erasure, a replay) asks
here and waits; each call is one short transaction or a few, since readings wait meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import trio

from appliance.core.errors import LimitExceeded
from appliance.core.limits import STORE_WORK_COUNT_MAX
from appliance.pipeline.waiting_work import Asked, WaitingWork
from storage.telemetry.store import TelemetryStore

_T = TypeVar("_T")
_Call = Callable[[TelemetryStore], Any]


class StoreWork(WaitingWork[_Call]):
    """Calls that wait for the pipeline's thread."""

    count_max = STORE_WORK_COUNT_MAX

    def __init__(self, wake: Callable[[], None]) -> None:
        super().__init__(wake)
        self.done_total = 0
        self.busy_ms_total = 0

    def refusal(self) -> LimitExceeded:
        return LimitExceeded(
            f"{self.count_max} pieces of work wait for the store already.",
            hint="Ask again in a minute; the page Storage says what is being done.",
            code="store_work_count_max",
        )

    async def run(self, call: Callable[[TelemetryStore], _T]) -> _T:
        """Have something done to the store between two batches. Cancelled before its turn, it is not done.

        Raises:
            LimitExceeded: `store_work_count_max`: too many wait. Also whatever the call raises.
        """
        answer: _T = await self.put("", call).wait()
        return answer

    async def turn(self, in_thread: Callable[[Callable[[], None]], Any], store: TelemetryStore) -> bool:
        """Do the first piece that somebody still waits for. Returns whether there was one."""
        asked = self.take()
        if asked is None:
            return False
        began = trio.current_time()
        try:
            await in_thread(partial(_do, asked, store))
        finally:
            self.busy_ms_total += int((trio.current_time() - began) * 1_000)
            self.done_total += 1
            asked.done.set()
        return True


def _do(asked: Asked[_Call], store: TelemetryStore) -> None:
    try:
        asked.answer = asked.call(store)
    except Exception as error:  # noqa: BLE001 - whoever asked is told, whatever it is; the pipeline goes on
        asked.error = error
