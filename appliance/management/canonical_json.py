"""JSON in one form only, so that the same document is the same bytes on every machine: what is signed is these. Pure.

Keys in order, no spaces, UTF-8, whole numbers. For the texts and numbers that Homeport signs this is RFC 8785.
"""

from __future__ import annotations

import json
from typing import Any


def canonical(document: Any) -> str:
    """A document of objects, arrays, texts, whole numbers, true, false and null in its one form."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
