"""The package, built once for all tests that look at it: in this run, or in the runs that have HOMEPORT_TEST_PACKAGE, a folder, in common."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.package.building import build


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    kept = os.environ.get("HOMEPORT_TEST_PACKAGE")
    if kept is None:
        return build(tmp_path_factory.mktemp("package"))
    return next(Path(kept).glob("homeport_*.deb"), None) or build(Path(kept))
