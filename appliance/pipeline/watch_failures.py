"""What becomes of rules and anomalies after a mistake in them: what the watch goes on from, when, and what is said of it.

    failures in a row   goes on                                             when
    1                   from the checkpoint                                 at once
    2                   at the head, with the checkpoint's state            at once: what it came upon is passed over
    3                   at the head, with nothing learned                   at once
    4, 5 …              the same                                            after a minute, then every ten

A checkpoint that was written ends the row. What is passed over is counted once, and said. Pure but for its clock and the log.
"""

from __future__ import annotations

from typing import Final

from appliance.core import logs
from appliance.core.clock import Clock
from appliance.core.errors import HomeportError

RETRY_MS: Final = (0, 0, 0, 0, 60_000, 600_000)
"""By failures in a row."""
_PASSES_OVER: Final = 2
_FORGETS: Final = 3
_log = logs.get(__name__)


class WatchFailures:
    """See the module's docstring.

    Attributes:
        in_a_row, total: Failures. unseen: Records that were passed over.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.in_a_row = self.total = self.unseen = 0
        self._reason = self._went_on = ""
        self._retry_mono_ms = self._passed_seq = 0

    @property
    def passes_over(self) -> bool:
        """Whether to go on at the head."""
        return self.in_a_row >= _PASSES_OVER

    @property
    def forgets(self) -> bool:
        """Whether to go on with nothing learned."""
        return self.in_a_row >= _FORGETS

    @property
    def incident(self) -> str:
        """What went wrong last, and what was lost by it; "" once all went well again."""
        return (
            f"Rules and anomalies stopped: {self._reason}. {self._went_on}".strip() if self.in_a_row else ""
        )

    def note(self, error: Exception) -> None:
        """It went wrong."""
        self.in_a_row += 1
        self.total += 1
        self._retry_mono_ms = self._clock.mono_ms() + RETRY_MS[min(self.in_a_row, len(RETRY_MS) - 1)]
        message = error.message if isinstance(error, HomeportError) else f"{type(error).__name__}: {error}"
        self._reason, self._went_on = message.rstrip("."), ""
        _log.error("rules and anomalies stopped", reason=message, failures=self.in_a_row, exc_info=error)

    def may_retry(self) -> bool:
        """Whether it is time to go on."""
        return self._clock.mono_ms() >= self._retry_mono_ms

    def over(self) -> None:
        """A state was written that can be gone on from."""
        self.in_a_row = 0

    def passed_over(self, from_seq: int, to_seq: int, *, is_learned: bool) -> None:
        """The watch goes on at `to_seq`, and hasn't seen what is between. `is_learned`: with the state of a checkpoint."""
        unseen = max(0, to_seq - max(from_seq, self._passed_seq))
        self._passed_seq = max(to_seq, self._passed_seq)
        self.unseen += unseen
        learned = "with what was learned until the last checkpoint" if is_learned else "with nothing learned"
        self._went_on = f"They went on {learned}; {unseen:,} records were not seen."
        _log.error("rules and anomalies go on at the head", unseen_records=unseen, is_learned=is_learned)
