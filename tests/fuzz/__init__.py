"""Fuzzing: promises that hold for any bytes, and a coverage-guided search for bytes that break one.

`scripts/fuzz` searches; the tests run every target on the corpus and search for a moment.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parent / "corpus"
"""Of inputs: a folder for each target. Nothing that is fuzzed is imported with this: it would be out of the search's sight."""
