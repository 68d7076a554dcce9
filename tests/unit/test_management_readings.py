"""The words of a reading are the documented ones."""

from __future__ import annotations

from pathlib import Path

from appliance.management.readings import HINT_OF_REASON, Reason

DOCS = Path(__file__).parents[2] / "docs" / "READINGS.md"


def test_every_reason_is_documented_with_its_hint() -> None:
    text = DOCS.read_text()
    for reason in Reason:
        assert f"| `{reason}` | {HINT_OF_REASON[reason]} |" in text
