"""Requests to an engine, counted by kind: a store in a cloud is paid by them. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal["put", "get", "list", "remove"]
KINDS: Final[tuple[Kind, ...]] = ("put", "get", "list", "remove")
DAY_S: Final = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineStatistics:
    """What an engine did since it was connected.

    Attributes:
        requests: By kind, those that failed and were tried again among them.
        failed_count: Of these, those that found the engine away.
        put_bytes, got_bytes: What was sent and asked for, as it lies there.
        bytes_per_s: The rate at which it takes pieces; None before any was measured.
    """

    requests: dict[Kind, int]
    failed_count: int
    put_bytes: int
    got_bytes: int
    bytes_per_s: float | None

    def per_day(self, kind: Kind, elapsed_s: float) -> float:
        """Requests of a kind in a day that goes on as the time since the engine was connected."""
        return self.requests[kind] * DAY_S / elapsed_s if elapsed_s > 0 else 0.0


class Requests:
    """Counts."""

    def __init__(self) -> None:
        self._of_kind: Counter[Kind] = Counter()
        self.failed_count = 0
        self.put_bytes = 0
        self.got_bytes = 0

    def count(self, kind: Kind) -> None:
        self._of_kind[kind] += 1

    def statistics(self, bytes_per_s: float | None) -> EngineStatistics:
        return EngineStatistics(
            requests={kind: self._of_kind[kind] for kind in KINDS},
            failed_count=self.failed_count,
            put_bytes=self.put_bytes,
            got_bytes=self.got_bytes,
            bytes_per_s=bytes_per_s,
        )
