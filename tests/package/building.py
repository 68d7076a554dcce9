"""Builds the Debian package as scripts/package does, and looks into it."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
BUILD_S_MAX: Final = 900


def build(folder: Path, *, epoch: int | None = None) -> Path:
    """Build into a folder, lightly compressed; returns the package's path."""
    environ = {**os.environ, "HOMEPORT_PACKAGE_LEVEL": "1"}
    # Coverage of the programs that the build runs is nobody's business, and would be written into the package.
    environ = {name: value for name, value in environ.items() if not name.startswith("COVERAGE")}
    if epoch is not None:
        environ["SOURCE_DATE_EPOCH"] = str(epoch)
    done = subprocess.run(
        [ROOT / "scripts" / "package", folder],
        env=environ,
        capture_output=True,
        text=True,
        timeout=BUILD_S_MAX,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return Path(done.stdout.strip())


@dataclass(frozen=True, slots=True)
class Entry:
    """One file or folder of a package: `drwxr-xr-x`, `root/root`, its path, and where a link leads."""

    mode: str
    owner: str
    path: str
    target: str


def contents(package: Path) -> dict[str, Entry]:
    """What is in the package, by absolute path without a slash at the end."""
    listed = subprocess.run(["dpkg-deb", "--contents", package], capture_output=True, text=True, check=True)
    found = {}
    for line in listed.stdout.splitlines():
        mode, owner, _size, _day, _time, rest = line.split(maxsplit=5)
        path, _, target = rest.partition(" -> ")
        path = "/" + path.removeprefix("./").rstrip("/")
        found[path] = Entry(mode, owner, path, target)
    return found


def field(package: Path, name: str) -> str:
    """One field of the package's control file."""
    done = subprocess.run(["dpkg-deb", "--field", package, name], capture_output=True, text=True, check=True)
    return done.stdout.strip()
