"""The pages' templates, compiled once in a process of tests, and read from no disk for each node that a test makes.

What is kept is Python's code for a template's source; filters and globals are looked up in the environment that renders it.
"""

from __future__ import annotations

from pathlib import Path

from jinja2 import BytecodeCache
from jinja2.bccache import Bucket


class KeptCode(BytecodeCache):
    """In memory. Jinja takes what was kept only for the same name, file and source."""

    def __init__(self) -> None:
        self._by_key: dict[str, bytes] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        kept = self._by_key.get(bucket.key)
        if kept is not None:
            bucket.bytecode_from_string(kept)

    def dump_bytecode(self, bucket: Bucket) -> None:
        self._by_key[bucket.key] = bucket.bytecode_to_string()


_KEPT = KeptCode()


def kept_code(folder: Path) -> KeptCode:
    """In place of `ui.pages.kept_code.KeptCode`, where the pages' templates are loaded."""
    return _KEPT
