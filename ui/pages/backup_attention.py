"""What backups ask an operator to look at."""

from __future__ import annotations

from typing import Final

from ui.backup_desk import BackupStatistics
from ui.pages.views import Attention

HOUR_MS: Final = 3_600_000
OLD_FACTOR: Final = 2
"""A backup that is so many intervals old is one too few."""


def backup_attention(backups: BackupStatistics, *, now_ms: int, interval_hours: int) -> tuple[Attention, ...]:
    """Lines for the Overview, worst first. While no folder is chosen nothing is asked: the set-up is theirs to do."""
    lines: list[Attention] = []

    def add(tone: str, text: str) -> None:
        lines.append(
            Attention(
                tone="bad" if tone == "bad" else "warn",
                text=text,
                url="/backups",
                action="Backups",
                needs="backups.read",
            )
        )

    if backups.last_problem:
        add("bad", f"Backups: {backups.last_problem}")
    if backups.directory is None:
        return tuple(lines)
    newest = backups.newest
    if newest is None:
        add("warn", "No backup has been made yet: make the first one by hand.")
    elif now_ms - newest.started_at_ms > OLD_FACTOR * interval_hours * HOUR_MS:
        hours = (now_ms - newest.started_at_ms) // HOUR_MS
        add("bad", f"The newest backup is {hours} h old; one is to be made every {interval_hours} h.")
    if backups.state == "away":
        add("warn", f"The disk for backups is not connected: there is no repository in {backups.directory}.")
    return tuple(lines)
