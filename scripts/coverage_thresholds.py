"""Hold measured coverage (lines and branches) to what each part promises.

Run by scripts/test after the tests, on the data of all processes beside COVERAGE_FILE. Prints a table and ends with 1 if
a part is below its threshold.
"""

from __future__ import annotations

import fnmatch
import json
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

import coverage

THRESHOLDS_PERCENT: Final = {
    "broker/mqtt/*": 100,
    "appliance/management/*": 100,
    "*": 90,
}
"""The first pattern that fits a file counts. Rooms without input and output promise everything."""


def main() -> int:
    """Report and judge; returns the exit code."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        measured = coverage.Coverage(config_file="pyproject.toml")
        # Processes that tests kill leave data files that end in the middle; they are named and passed over.
        measured.combine(strict=False)
        measured.save()
        measured.json_report(outfile=str(report))
        files: dict[str, Any] = json.loads(report.read_text())["files"]
    totals = {pattern: [0, 0] for pattern in THRESHOLDS_PERCENT}
    holes = []
    for name, found in sorted(files.items()):
        summary = found["summary"]
        pattern = next(pattern for pattern in THRESHOLDS_PERCENT if fnmatch.fnmatch(name, pattern))
        covered = summary["covered_lines"] + summary.get("covered_branches", 0)
        wanted = summary["num_statements"] + summary.get("num_branches", 0)
        totals[pattern][0] += covered
        totals[pattern][1] += wanted
        if wanted and 100 * covered < THRESHOLDS_PERCENT[pattern] * wanted:
            missing = ", ".join(map(str, found["missing_lines"][:12]))
            holes.append(f"  {100 * covered / wanted:5.1f} %  {name}  lines {missing}")
    below = False
    for pattern, (covered, wanted) in totals.items():
        percent = 100 * covered / wanted if wanted else 100.0
        below |= percent < THRESHOLDS_PERCENT[pattern]
        print(f"coverage {percent:5.1f} % of {pattern} (threshold {THRESHOLDS_PERCENT[pattern]} %)")  # noqa: T201
    if holes:
        print("files below their part's threshold:", *holes, sep="\n")  # noqa: T201
    return 1 if below else 0


if __name__ == "__main__":
    sys.exit(main())
