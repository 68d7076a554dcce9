"""What the Overview says of artifacts."""

from __future__ import annotations

from storage.artifacts.store import StoreStatistics
from ui.pages.artifact_attention import artifact_attention


def numbers(*, damaged: int = 0, size: int = 0) -> StoreStatistics:
    return StoreStatistics(
        blob_count=2, blob_bytes=size, upload_count=0, upload_bytes=0, damaged_count=damaged
    )


def test_nothing_is_asked_while_all_is_well() -> None:
    assert artifact_attention(numbers(size=89), 100) == ()


def test_damage_comes_first_then_the_room() -> None:
    bad, full = artifact_attention(numbers(damaged=1, size=90), 100)
    assert (bad.tone, bad.text) == ("bad", "1 firmware image is damaged and not given to devices.")
    assert (full.tone, full.text) == ("warn", "Firmware images use 90 % of their room.")
    (several,) = artifact_attention(numbers(damaged=2), 100)
    assert several.text.startswith("2 firmware images are")
