"""What artifacts ask an operator to look at."""

from __future__ import annotations

from typing import Final

from storage.artifacts.store import StoreStatistics
from ui.pages.views import Attention

URL: Final = "/firmware/artifacts"
FULL_PERCENT: Final = 90


def artifact_attention(now: StoreStatistics, quota_bytes: int) -> tuple[Attention, ...]:
    """Lines for the Overview, worst first."""
    lines: list[Attention] = []
    if now.damaged_count:
        one = now.damaged_count == 1
        lines.append(
            Attention(
                tone="bad",
                text=f"{now.damaged_count} firmware {'image is' if one else 'images are'} damaged and not given to devices.",
                url=URL,
                action="Artifacts",
                needs="firmware.read",
            )
        )
    if now.blob_bytes * 100 >= quota_bytes * FULL_PERCENT:
        lines.append(
            Attention(
                tone="warn",
                text=f"Firmware images use {now.blob_bytes * 100 // quota_bytes} % of their room.",
                url=URL,
                action="Remove some",
                needs="artifacts.manage",
            )
        )
    return tuple(lines)
