"""Who was refused a link lately, and how many for what reason: for people, and for metrics."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass
from typing import Final

import structlog

from appliance.core.clock import Clock
from replication.link.admission import Refusal

REFUSALS_KEPT: Final = 32
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Turned:
    """Somebody who was refused, or refused us."""

    at_ms: int
    address: str
    node_id: str
    reason: str
    message: str
    is_ours: bool


class Refusals:
    """See the module's docstring. What reasons there are is ours to say, so their number is bounded."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._counts: Counter[str] = Counter()
        self._newest: deque[Turned] = deque(maxlen=REFUSALS_KEPT)

    def counts(self) -> dict[str, int]:
        """Since start, by reason, those whom we refused."""
        return dict(self._counts)

    def newest(self) -> tuple[Turned, ...]:
        """The newest last."""
        return tuple(self._newest)

    def note(self, address: str, node_id: str, why: Refusal) -> None:
        """Note that a connection came to nothing."""
        if why.is_ours:
            self._counts[why.reason] += 1
        is_new = not any(
            (address, node_id, why.reason) == (old.address, old.node_id, old.reason) for old in self._newest
        )
        self._newest.append(
            Turned(
                at_ms=self._clock.now_ms(),
                address=address,
                node_id=node_id,
                reason=why.reason,
                message=why.message,
                is_ours=why.is_ours,
            )
        )
        if is_new:
            # Whoever tries again and again fills no log.
            log.warning(
                "a connection came to nothing",
                address=address,
                node_id=node_id,
                reason=why.reason,
                message=why.message,
            )
