"""Rules for the whole test run: under CI=true nothing is skipped, because a skipped test is one nobody has run."""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest
import structlog

IN_CI = os.environ.get("CI") == "true"


@pytest.fixture(autouse=True)
def _logs_as_before() -> Generator[None, None, None]:
    """What a program run within a test did to logging ends with the test: others read what is said without it."""
    yield
    if structlog.is_configured():
        structlog.reset_defaults()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a skip into a failure under CI=true; an expected failure (xfail) is none."""
    report = yield
    if IN_CI and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped, which CI doesn't accept: {reason}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """The same for a module that skips itself while it is imported."""
    report = yield
    if IN_CI and report.outcome == "skipped":
        report.outcome = "failed"
        report.longrepr = f"{collector.nodeid} was skipped, which CI doesn't accept: {report.longrepr}"
    return report
