"""The package, built once for all tests that look at it: in this run, or in the runs that have HOMEPORT_TEST_PACKAGE, a folder, in common."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from tests.package.building import build


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    kept = os.environ.get("HOMEPORT_TEST_PACKAGE")
    if kept is None:
        return build(tmp_path_factory.mktemp("package"))
    folder = Path(kept)
    folder.mkdir(parents=True, exist_ok=True)
    # Whoever comes first builds it, and the others wait.
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return next(folder.glob("homeport_*.deb"), None) or build(folder)
