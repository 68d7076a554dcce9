"""Reads a list of devices as it comes and writes it in short transactions, for the API and for the page.

Rows are taken in as they arrive, so memory holds one piece of the list, the ids that were in it and the report. What was taken in
stays when the rest never comes; importing the list once more does the rest.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Iterator
from contextlib import aclosing, contextmanager
from functools import partial
from typing import Any

import trio

from appliance.core.errors import Conflict
from appliance.core.limits import DEVICE_IMPORT_ROW_COUNT_MAX
from appliance.identity import new_token
from appliance.management.audit import Act, Actor
from appliance.management.device_csv import CsvProblem, CsvRow, DeviceCsvReader
from appliance.management.import_report import ImportReport, RowResult, refused_line
from appliance.management.permissions import Scope
from storage.catalog import Catalog
from storage.catalog.device_import import ImportRules
from ui.services import Services

ACTION = "device.import"


def rules_of(services: Services, *, scope: Scope, update: bool, tokens: bool, dry_run: bool) -> ImportRules:
    """How a list of this node is imported.

    Args:
        tokens: Make a token for each device that is created without one.
    """
    return ImportRules(
        scope=scope,
        roles=frozenset(each.name for each in services.config.broker_role),
        update=update,
        hash_token=services.keys.token_hash,
        new_token=new_token if tokens else None,
        dry_run=dry_run,
    )


class RowSieve:
    """Picks the rows that can be looked at: each device once, and no more than DEVICE_IMPORT_ROW_COUNT_MAX."""

    def __init__(self) -> None:
        self._line_of: dict[str, int] = {}
        self._row_count = 0

    def sift(self, found: Iterable[CsvRow | CsvProblem]) -> tuple[list[CsvRow], list[RowResult]]:
        """Rows to take in, and what became of the others."""
        rows: list[CsvRow] = []
        refused: list[RowResult] = []
        for each in found:
            self._row_count += 1
            if isinstance(each, CsvProblem):
                refused.append(refused_line(each))
                continue
            device_id = each.values["device_id"]
            if self._row_count > DEVICE_IMPORT_ROW_COUNT_MAX:
                reason = f"A list has at most {DEVICE_IMPORT_ROW_COUNT_MAX} rows."
                refused.append(_refused(each, reason, "Import the rest as another list.", "import_row_count"))
            elif device_id in self._line_of:
                reason = f"The device stands in line {self._line_of[device_id]} already."
                refused.append(_refused(each, reason, "Leave one of the two lines out.", "device_twice"))
            else:
                self._line_of[device_id] = each.line
                rows.append(each)
        return rows, refused


async def import_devices(
    services: Services, pieces: AsyncGenerator[bytes, None], rules: ImportRules, *, actor: Actor
) -> ImportReport:
    """Import a list.

    Args:
        pieces: Its bytes, cut in any way.
    Raises:
        UsageError: the header can't be used (see DeviceCsvReader). Conflict: `import_running`. Unavailable, StorageError: the
            catalog failed; what was taken in before stays.
    """
    by = Act(action=ACTION, actor=actor)
    reader, sieve, report = DeviceCsvReader(), RowSieve(), ImportReport(dry_run=rules.dry_run)

    async def take(found: list[CsvRow | CsvProblem]) -> None:
        rows, refused = sieve.sift(found)
        report.take(refused)
        while rows:
            some = partial(_import_rows, rows=rows, rules=rules)
            if rules.dry_run:
                results = await services.catalog.read(some)
            else:
                results = await services.catalog.write(some, by=by)
            report.take(results)
            rows = rows[len(results) :]

    with _one_at_a_time(services.imports):
        async with aclosing(pieces):
            async for piece in pieces:
                await take(reader.receive_bytes(piece))
        await take(reader.receive_eof())
    # Refused lines are noted before the rows around them were taken in.
    report.problems.sort(key=lambda result: result.line)
    return report


def _import_rows(catalog: Catalog, rows: list[CsvRow], rules: ImportRules) -> list[RowResult]:
    return catalog.import_rows(rows, rules)


def report_fields(report: ImportReport) -> dict[str, Any]:
    """A report as the API and the command line give it; `ui.api.import_structs.ImportAnswer` describes it."""
    counts = report.counts
    return {
        "dry_run": report.dry_run,
        "row_count": report.row_count,
        **{f"{outcome}_count": count for outcome, count in counts.items()},
        "problems": [
            {
                "line": each.line,
                "device_id": each.device_id,
                "outcome": each.outcome,
                "column": each.column,
                "code": each.code,
                "reason": each.reason,
                "hint": each.hint,
            }
            for each in report.problems
        ],
        "problems_left_off_count": report.left_off,
        "tokens": [{"device_id": device_id, "token": token} for device_id, token in report.tokens],
    }


@contextmanager
def _one_at_a_time(limiter: trio.CapacityLimiter) -> Iterator[None]:
    borrower = object()
    try:
        limiter.acquire_on_behalf_of_nowait(borrower)
    except trio.WouldBlock as error:
        raise Conflict(
            "Another list of devices is being imported.",
            hint="Wait until it is done, and import this one then.",
            code="import_running",
        ) from error
    try:
        yield
    finally:
        limiter.release_on_behalf_of(borrower)


def _refused(row: CsvRow, reason: str, hint: str, code: str) -> RowResult:
    return RowResult(
        line=row.line,
        device_id=row.values["device_id"][:200],
        outcome="refused",
        column="device_id",
        reason=reason,
        hint=hint,
        code=code,
    )
