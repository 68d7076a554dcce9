"""What one look of `homeport doctor` found."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Result(enum.Enum):
    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """What one look found.

    Attributes:
        detail: What was seen, one sentence.
        hint: The operator's next step, empty when nothing is to be done.
    """

    name: str
    result: Result
    detail: str
    hint: str = ""
