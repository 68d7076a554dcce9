"""Rules for the whole test run: under CI=true nothing is skipped, because a skipped test is one nobody has run.

New catalogs get their schema from a template (tests/catalog_template.py), pages are compiled once (tests/compiled_pages.py), and tests whose subject is not the disk have their folder in memory.
Coverage is measured in the tests that tests/measured.py names, and tests/distribution.py says who runs what when.
"""

from __future__ import annotations

import gc
import os
import sys
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import structlog

from storage.catalog import database
from tests.catalog_template import SCHEMA
from tests.compiled_pages import kept_code
from tests.distribution import LongestFirst, Stopwatch, full_workers, read
from tests.measured import Measuring, is_measured

IN_CI = os.environ.get("CI") == "true"
os.environ.setdefault("HOMEPORT_DEVICES__HTTPS_BIND", "127.0.0.1:0")
"""Appliances that tests start beside each other can't all have the default port."""


@pytest.fixture(autouse=True, scope="session")
def _catalogs_from_a_template() -> Generator[None, None, None]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(database, "schema", SCHEMA)
        yield


@pytest.fixture(autouse=True, scope="session")
def _pages_compiled_once() -> Generator[None, None, None]:
    with pytest.MonkeyPatch.context() as patched:
        # Not imported here: most tests have no pages, and nobody should wait for theirs.
        if "ui.pages.templating" in sys.modules:
            patched.setattr("ui.pages.templating.KeptCode", kept_code)
        yield


for _each in structlog.get_config()["processors"]:
    if isinstance(_each, structlog.dev.ConsoleRenderer):
        # Where a program logs an exception within a test: to draw all of its frames and variables takes seconds.
        _each.exception_formatter = structlog.dev.plain_traceback


@pytest.fixture(autouse=True)
def _logs_as_before() -> Generator[None, None, None]:
    """What a program run within a test did to logging ends with the test: others read what is said without it."""
    yield
    if structlog.is_configured():
        structlog.reset_defaults()


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """What thousands of collected tests are made of stays to the end: nobody needs to look through it for garbage again and again."""
    gc.collect()
    gc.freeze()


MEMORY: Final = Path("/dev/shm")
IN_MEMORY: Final = (
    "integration/test_audit_names_who.py",
    "integration/test_pages_offer_what_is_allowed.py",
    "integration/test_permission_matrix.py",
    "integration/test_rollout",
    "unit/test_device_port_",
    "unit/test_device_requests_",
    "unit/test_identity_",
    "unit/test_notifications_",
    "unit/test_storage_catalog_",
    "unit/test_twins_",
    "unit/test_ui_",
    "unit/test_updates_",
)
"""A node's services sync some thirty files when they are made for a test; what a disk has to do with them is shown in tests/crash, by processes
that are killed, and by the tests of the log, the store, the archive and the backup, which stay on the disk."""


@pytest.fixture
def tmp_path(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """Pytest's own folder, or one in memory."""
    name = request.path.relative_to(Path(__file__).parent).as_posix()
    if name.startswith(IN_MEMORY) and os.access(MEMORY, os.W_OK):
        with tempfile.TemporaryDirectory(prefix="homeport-test-", dir=MEMORY) as folder:
            # What a test puts beside its folder goes with it.
            inner = Path(folder) / "test"
            inner.mkdir(mode=0o700)
            yield inner
    else:
        yield tmp_path


MEASURING: Final = Measuring()
STOPWATCH: Final = Stopwatch()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LongestFirst | None:
    """Where whole files are shared out."""
    if config.getoption("dist") != "loadfile":
        return None
    return LongestFirst(config, log, read(), full_workers=full_workers())


def pytest_configure(config: pytest.Config) -> None:
    """Coverage of what importing does is measured once, however many processes import."""
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    MEASURING.begin(
        worker=worker, has_workers=worker is None and bool(config.getoption("numprocesses", None))
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Fixtures of the test included."""
    MEASURING.switch(on=is_measured(item.path))
    STOPWATCH.begin()
    return (yield)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Of all processes where they come together."""
    STOPWATCH.count(report)


def pytest_sessionfinish() -> None:
    """Coverage finds its trace function, and the garbage collector everything, where they left it."""
    MEASURING.end()
    STOPWATCH.write()
    # Libraries look for leaks at the end.
    gc.unfreeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a skip into a failure under CI=true; an expected failure (xfail) is none."""
    report = yield
    STOPWATCH.note(report)
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
