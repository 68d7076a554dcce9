"""A file system of a few MiB for tests of a disk that is full: a tmpfs, which needs the right to mount."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def small_disk(mount: Path, *, size_mib: int) -> Iterator[Path]:
    """Mount one in a new folder until the block ends. Skips the test where mounting is not allowed.

    One that the test has taken away by itself meanwhile is no mistake.
    """
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    mount.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size_mib}m", "none", str(mount)],
        capture_output=True,
        text=True,
    )
    if made.returncode:
        pytest.skip(f"mounting is not allowed here: {made.stderr.strip()}")
    try:
        yield mount
    finally:
        if mount.is_mount():
            subprocess.run(["umount", "-l", str(mount)], check=True)
