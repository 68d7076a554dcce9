"""Groups of dead letters for stand-ins of the store, as storage.telemetry.letters makes them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from storage.telemetry.letters import LetterGroup


def grouped(letters: Iterable[Any]) -> list[LetterGroup]:
    """Letters by reason and pattern, the group with the newest first."""
    found: dict[tuple[str, str], list[Any]] = {}
    for letter in sorted(letters, key=lambda each: (each.epoch, each.seq), reverse=True):
        levels = [
            "{device}" if level and level == letter.device else level for level in letter.topic.split("/")
        ]
        found.setdefault((letter.reason, "/".join(levels)), []).append(letter)
    return [
        LetterGroup(
            reason=reason,
            pattern=pattern,
            count=len(each),
            first_at_ms=min(letter.received_at_ms for letter in each),
            last_at_ms=max(letter.received_at_ms for letter in each),
            sample=each[0],
        )
        for (reason, pattern), each in found.items()
    ]
