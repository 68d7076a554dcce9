"""What came of a list of devices, row by row. Pure; bounded, whatever the list holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal, get_args

from appliance.core.limits import DEVICE_IMPORT_PROBLEM_COUNT_MAX
from appliance.management.device_csv import CsvProblem

Outcome = Literal["created", "updated", "unchanged", "differs", "refused"]
OUTCOMES: Final[tuple[Outcome, ...]] = get_args(Outcome)


@dataclass(frozen=True, slots=True, kw_only=True)
class RowResult:
    """One row.

    Attributes:
        column: Where it is wrong, or which columns differ from what is there; "" for the whole row.
        reason, hint, code: Why it was refused or differs; "" otherwise.
        token: A new one, for a device that was created with it; shown once.
    """

    line: int
    device_id: str
    outcome: Outcome
    column: str = ""
    reason: str = ""
    hint: str = ""
    code: str = ""
    token: str | None = None


class ImportReport:
    """Counts every row and keeps those that somebody has to look at."""

    def __init__(self, *, dry_run: bool) -> None:
        self.dry_run = dry_run
        self.problems: list[RowResult] = []
        self.left_off = 0
        self.tokens: list[tuple[str, str]] = []
        self._counts: Counter[Outcome] = Counter()

    @property
    def counts(self) -> dict[Outcome, int]:
        """Every outcome has an entry."""
        return {outcome: self._counts[outcome] for outcome in OUTCOMES}

    @property
    def row_count(self) -> int:
        return self._counts.total()

    def take(self, results: Iterable[RowResult]) -> None:
        """Rows in the order of the list."""
        for result in results:
            self._counts[result.outcome] += 1
            if result.token is not None:
                self.tokens.append((result.device_id, result.token))
            if result.outcome in ("differs", "refused"):
                if len(self.problems) < DEVICE_IMPORT_PROBLEM_COUNT_MAX:
                    self.problems.append(result)
                else:
                    self.left_off += 1


def refused_line(problem: CsvProblem) -> RowResult:
    """A line that is no row, as a result."""
    return RowResult(
        line=problem.line,
        device_id="",
        outcome="refused",
        reason=problem.reason,
        hint=problem.hint,
        code=problem.code,
    )
