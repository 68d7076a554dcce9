"""A file system whose power can be cut: XFS on a loop device, shut down without flushing anything."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

IMAGE_BYTES = 400 * 1024 * 1024
TOOLS = ("mkfs.xfs", "xfs_io", "mount", "umount")


def why_not() -> str:
    """Why it can't be done here, or ""."""
    if os.geteuid() != 0:
        return "mounting needs root"
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        return f"not installed: {', '.join(missing)} (Debian: xfsprogs, mount)"
    if not Path("/dev/loop-control").exists():
        return "no loop devices"
    return ""


class CuttableDisk:
    """A mounted file system; `cut` loses everything that was not synced."""

    def __init__(self, folder: Path) -> None:
        self._image = folder / "disk.img"
        self.path = folder / "mounted"
        self.path.mkdir()
        with self._image.open("wb") as image:
            image.truncate(IMAGE_BYTES)
        _run("mkfs.xfs", "-q", str(self._image))
        self.mount()
        self._probe = self.path / "probe"
        self._probe.write_bytes(b"x")
        _run("sync", "-f", str(self._probe))

    def mount(self) -> None:
        _run("mount", "-o", "loop", str(self._image), str(self.path))
        self._is_mounted = True

    def cut(self) -> None:
        """Cut the power: pages that were not written back are gone, and so is the journal that was not."""
        _run("xfs_io", "-x", "-c", "shutdown", str(self.path))

    def is_alive(self) -> None:
        """Raise OSError once the power is cut.

        A forced shutdown of XFS lets an fdatasync that is under way return as if it had succeeded, which no disk that
        loses power does: the machine is gone with it. So an acknowledgement counts only if the disk still answered
        after it had come.
        """
        descriptor = os.open(self._probe, os.O_RDONLY)
        try:
            os.pread(descriptor, 1, 0)
        finally:
            os.close(descriptor)

    def unmount(self) -> None:
        if self._is_mounted:
            _run("umount", str(self.path))
            self._is_mounted = False


def _run(*arguments: str) -> None:
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, f"{arguments}: {done.stderr}"
