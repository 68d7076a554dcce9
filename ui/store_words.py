"""What is said of the store's state, in the API and on the pages in the same words: above all that readings are safe."""

from __future__ import annotations

from typing import Final

from ui.services import PipelineStatistics

BEHIND_LAG_S: Final = 5.0
"""Beyond this age of the newest record in the store, while others wait, the page says that the store is behind. As it is now, not the last
minutes' percentile: that says "behind" for minutes after all is there, and nothing at all while a commit is stuck. Not from the
device's time: a clock that is wrong, or a device that sends what it kept, is nothing that the store could catch up with."""
_UNEVEN: Final = frozenset({"starting", "catching_up", "rebuilding", "stopped"})


def store_state(pipeline: PipelineStatistics) -> str:
    """A key of looks.STORE: the breaker's state, or "behind" with a closed one."""
    breaker = str(pipeline.breaker)
    if breaker != "closed":
        return breaker
    if str(pipeline.state) in _UNEVEN or pipeline.lag_s > BEHIND_LAG_S:
        return "behind"
    return "closed"


def store_text(store_word: str, behind_records: int) -> str:
    """What the operator is to know about the readings: above all that they are safe."""
    if store_word == "closed":
        return "up to date"
    if behind_records == 0:  # Being read in, or in the middle of the last step: how many is not known.
        return "readings are safe, not all of them searchable yet"
    # As the pages write counts, with a narrow no-break space; the pages import this module, so not the other way round.
    count = f"{behind_records:,}".replace(",", "\u202f")
    return f"readings are safe, not yet searchable, {count} behind"
