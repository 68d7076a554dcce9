"""What came of a list: all is counted, what is to be looked at is kept, within bounds."""

from __future__ import annotations

import pytest

from appliance.management import import_report
from appliance.management.device_csv import CsvProblem
from appliance.management.import_report import ImportReport, RowResult, refused_line


def test_everything_is_counted_and_problems_are_kept_in_order() -> None:
    report = ImportReport(dry_run=False)
    report.take(
        [
            RowResult(line=2, device_id="a", outcome="created", token="t"),
            RowResult(line=3, device_id="b", outcome="unchanged"),
            RowResult(line=4, device_id="c", outcome="differs", column="name"),
            refused_line(CsvProblem(line=5, reason="r", hint="h", code="c")),
        ]
    )
    assert report.counts == {"created": 1, "updated": 0, "unchanged": 1, "differs": 1, "refused": 1}
    assert report.row_count == 4
    assert [(each.line, each.outcome, each.reason) for each in report.problems] == [
        (4, "differs", ""),
        (5, "refused", "r"),
    ]
    assert report.tokens == [("a", "t")]


def test_the_report_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_report, "DEVICE_IMPORT_PROBLEM_COUNT_MAX", 3)
    report = ImportReport(dry_run=True)
    report.take(RowResult(line=n, device_id="", outcome="refused") for n in range(10))
    assert (len(report.problems), report.left_off, report.counts["refused"]) == (3, 7, 10)
