"""A real writer process is killed, or the power of its disk is cut: what it had acknowledged is there.

SIGKILL shows that recovery gets along with any interruption, but the kernel keeps what was written. Only the power
cut shows that acknowledged means fsynced: `xfs_io -x -c shutdown` on a loop file system throws away all that has
not reached the disk.
"""

from __future__ import annotations

import os
import random
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.log import OsDisk
from storage.log.verify import verify
from tests.crash.log_writer_process import body_of
from tests.storage_log_kit import open_writer, read_all

SEGMENT_BYTES = 256 * 1024
LINES_DEADLINE_S = 60
IMAGE_BYTES = 400 * 1024 * 1024
"""xfs wants at least 300 MiB; the file is sparse."""


class WriterProcess:
    """A writer, and what it has acknowledged."""

    def __init__(self, directory: Path, seed: int) -> None:
        self.seed = seed
        self.acknowledged: list[tuple[int, int]] = []
        arguments = ["-m", "tests.crash.log_writer_process", str(directory), str(seed), str(SEGMENT_BYTES)]
        self._process = subprocess.Popen(
            [sys.executable, *arguments], stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
        )
        assert self._process.stdout is not None
        self._output = self._process.stdout
        self._rest = b""

    def wait_for(self, count: int) -> None:
        """Until this many blocks are acknowledged."""
        deadline = time.monotonic() + LINES_DEADLINE_S
        while len(self.acknowledged) < count:
            ready, _, _ = select.select([self._output], [], [], max(0, deadline - time.monotonic()))
            assert ready, "the writer acknowledges nothing"
            assert self._take(), f"the writer ended with {self._process.wait()}"

    def kill(self) -> None:
        self._process.send_signal(signal.SIGKILL)

    def wait_end(self) -> int:
        """Takes the last lines; gives the exit status."""
        while self._take():
            pass
        self._output.close()
        return self._process.wait(LINES_DEADLINE_S)

    def _take(self) -> bool:
        data = os.read(self._output.fileno(), 1 << 16)
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            first, _, after = line.partition(b" ")
            if first != b"open":
                self.acknowledged.append((int(first), int(after)))
        return bool(data)


def check(directory: Path, writer: WriterProcess, earlier: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """After recovery every acknowledged block is there, with at most one more; gives what is there now."""
    recovered = open_writer(directory, disk=OsDisk(), segment_bytes=SEGMENT_BYTES)
    try:
        assert not recovered.recovery.damaged
        assert recovered.wait_idle(60)
        assert not recovered.statistics().damaged
    finally:
        recovered.close()
    blocks, refused = read_all(directory)
    assert not refused
    for block in blocks:
        assert (block.body, block.record_count) == body_of(writer.seed, block.first_seq)
    got = [(block.first_seq, block.next_seq) for block in blocks]
    promised = earlier + writer.acknowledged
    assert got[: len(promised)] == promised
    assert len(got) <= len(promised) + 1
    report = verify(directory)
    assert report.ok, report.damaged
    return got


def kill_rounds(directory: Path, rounds: int, seed: int) -> None:
    rng = random.Random(seed)
    there: list[tuple[int, int]] = []
    for _ in range(rounds):
        writer = WriterProcess(directory, seed)
        writer.wait_for(rng.randint(1, 120))
        writer.kill()
        assert writer.wait_end() == -signal.SIGKILL
        there = check(directory, writer, there)


def test_a_killed_writer_loses_nothing_it_acknowledged(tmp_path: Path) -> None:
    kill_rounds(tmp_path / "log", rounds=6, seed=21)


@pytest.mark.long
def test_a_writer_killed_fifty_times(tmp_path: Path) -> None:
    kill_rounds(tmp_path / "log", rounds=50, seed=22)


class LoopXfs:
    """An xfs on a file, whose power can be cut."""

    def __init__(self, directory: Path) -> None:
        self._image = directory / "image"
        self.mount_point = directory / "mounted"
        self.mount_point.mkdir()
        with self._image.open("wb") as file:
            file.truncate(IMAGE_BYTES)
        subprocess.run(["mkfs.xfs", "-q", self._image], check=True)

    def mount(self) -> None:
        subprocess.run(["mount", "-o", "loop", self._image, self.mount_point], check=True)

    def cut_power(self) -> None:
        subprocess.run(["xfs_io", "-x", "-c", "shutdown", self.mount_point], check=True)

    def unmount(self) -> None:
        subprocess.run(["umount", self.mount_point], check=True)


@pytest.fixture
def xfs(tmp_path: Path) -> Iterator[LoopXfs]:
    missing = [tool for tool in ("mkfs.xfs", "xfs_io", "mount") if shutil.which(tool) is None]
    if os.geteuid() != 0 or missing:
        pytest.skip(f"cutting the power needs root and xfsprogs (user {os.geteuid()}, missing: {missing})")
    disk = LoopXfs(tmp_path)
    probe = subprocess.run(
        ["mount", "-o", "loop", disk._image, disk.mount_point], capture_output=True, text=True
    )
    if probe.returncode:
        pytest.skip(f"no loop device to mount here: {probe.stderr.strip()}")
    yield disk
    if os.path.ismount(disk.mount_point):
        disk.unmount()


def power_cut_rounds(xfs: LoopXfs, rounds: int, seed: int) -> None:
    rng = random.Random(seed)
    directory = xfs.mount_point / "log"
    there: list[tuple[int, int]] = []
    for _ in range(rounds):
        writer = WriterProcess(directory, seed)
        writer.wait_for(rng.randint(1, 150))
        xfs.cut_power()
        assert writer.wait_end() == 3, "a writer whose disk is gone says LogBroken and ends"
        xfs.unmount()
        xfs.mount()
        there = check(directory, writer, there)


def test_a_power_cut_loses_nothing_acknowledged(xfs: LoopXfs) -> None:
    power_cut_rounds(xfs, rounds=4, seed=31)


@pytest.mark.long
def test_thirty_power_cuts(xfs: LoopXfs) -> None:
    power_cut_rounds(xfs, rounds=30, seed=32)


def test_the_power_cut_would_notice_a_missing_fsync(xfs: LoopXfs) -> None:
    """The check of the check: what was written and not fsynced is really gone."""
    path = xfs.mount_point / "unsynced"
    path.write_bytes(b"x" * 100_000)
    xfs.cut_power()
    xfs.unmount()
    xfs.mount()
    assert not path.exists() or path.read_bytes() != b"x" * 100_000
