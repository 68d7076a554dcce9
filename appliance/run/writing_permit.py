"""Whether this process may write its log now: asked of the replicator before the log is opened, and on while it is written. For trio.

A box that belongs to no fleet needs nobody's word. One that does asks its replicator, which has heard what peers hold. Where the
replicator does not answer it goes on after ASK_S, unless something on the disk speaks against it: then it waits, however long.
Devices lose nothing by that. The broker opens no door meanwhile: they keep what they have, and one that knows the site's
other brokers goes to one of those, which it would not if it were taken in here and got no acknowledgement.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

import structlog
import trio

from appliance.core.clock import Clock
from appliance.core.config import Config
from appliance.core.errors import HomeportError
from appliance.run import layout
from appliance.run.epoch_doubts import HINT, local_doubt, words_of
from replication.control import ask

ASK_S: Final = 8.0
"""For a replicator that starts at the same time on a slow box, and looks for its peers."""
STEP_S: Final = 0.05
WAIT_STEP_S: Final = 0.5
WATCH_S: Final = 2.0
Tell = Callable[[str], Awaitable[object]]
log = structlog.get_logger(__name__)


class WritingPermit:
    """See the module's docstring."""

    def __init__(self, config: Config, *, clock: Clock) -> None:
        self._config = config
        self._clock = clock
        self._is_given = False
        self.withdrawn = trio.Event()
        """Set once nothing may be written any more; `wait` begins anew."""

    async def wait(self, tell: Tell) -> None:
        """Until this box may write.

        Args:
            tell: Awaited with what it waits for, when that is more than a moment.
        Raises:
            OSError: the logs' folders can't be read.
        """
        began_ms, said = self._clock.mono_ms(), ""
        while await trio.to_thread.run_sync(layout.fleet(self._config).is_dir):
            state, problem = await self._ask()
            if state == "yes":
                break
            if not problem:
                doubt = await trio.to_thread.run_sync(
                    partial(local_doubt, self._config, now_ms=self._clock.now_ms())
                )
                problem = f"{words_of(doubt)} {HINT}" if doubt is not None else ""
            if not problem and self._clock.mono_ms() - began_ms >= ASK_S * 1_000:
                log.warning("nobody says whether this box may write: it does", state=state)
                break
            if problem and problem != said:
                said = problem
                log.error("nothing is written yet", why=problem)
                await tell(problem)
            await trio.sleep(WAIT_STEP_S if problem else STEP_S)
        self.withdrawn, self._is_given = trio.Event(), True

    async def watch(self) -> None:
        """Until the word is taken back."""
        while True:
            await trio.sleep(WATCH_S)
            if layout.fleet(self._config).is_dir() and (await self._ask())[0] == "no":
                if self._is_given:
                    log.warning("nothing more is written in this epoch")
                self._is_given = False
                self.withdrawn.set()
                return

    async def _ask(self) -> tuple[str, str]:
        """What the replicator says, and why not; "away" where it does not answer."""
        try:
            answer = await ask(layout.replicator_socket(self._config), "may_write")
        except HomeportError:
            return "away", ""
        return str(answer.get("state")), str(answer.get("problem", ""))
