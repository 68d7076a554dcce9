"""Each system call that changes something fails once, for real: strace makes the n-th one say EIO or ENOSPC.

What the process said was acknowledged is there afterwards, and the log verifies. By default a seeded sample; all of them
with the tests that are marked long.
"""

from __future__ import annotations

import random
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from storage.log import LogReader
from storage.log.verify import verify
from tests.crash.log_worker_process import SEGMENT_BYTES, body_of
from tests.storage_log_kit import open_writer, read_all

ROOT = Path(__file__).parents[2]
CALLS = ("pwritev2", "fdatasync", "fsync", "fallocate", "ftruncate", "rename", "unlink", "fchmod")
SAMPLE_COUNT = 8
SEED = 20261127


def run(directory: Path, trace: Path, *inject: str) -> subprocess.CompletedProcess[str]:
    """The worker under strace; standard output has what was acknowledged."""
    return subprocess.run(
        ["strace", "-f", "-qq", "-o", str(trace), "-e", f"trace={','.join(CALLS)}", *inject, sys.executable,
         "-m", "tests.crash.log_worker_process", str(directory)],
        cwd=ROOT, capture_output=True, text=True, timeout=120,
    )  # fmt: skip


@pytest.fixture(scope="module")
def counts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, int]:
    """How often each call is made when nothing fails."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    directory = tmp_path_factory.mktemp("counting")
    done = run(directory / "log", directory / "trace")
    if "PTRACE" in done.stderr or "ptrace" in done.stderr:
        pytest.skip(f"tracing is not allowed here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    called = re.findall(r"^\d+ +(\w+)\(", (directory / "trace").read_text(), re.MULTILINE)
    return {call: called.count(call) for call in CALLS}


def check(directory: Path, call: str, number: int, error: str) -> None:
    done = run(directory / "log", directory / "trace", "-e", f"inject={call}:error={error}:when={number}")
    what = f"{call} {number} {error}: {done.stderr}"
    assert done.returncode in (0, 3), what
    promised = [tuple(map(int, line.split())) for line in done.stdout.splitlines()]
    log = directory / "log"
    if not log.is_dir():
        assert not promised, what
        return
    writer = open_writer(log, segment_bytes=SEGMENT_BYTES)
    assert not writer.recovery.damaged, what
    writer.append(b"after", 1, 1, 1)
    assert writer.wait_idle(10)
    writer.close()
    assert not writer.statistics().damaged, what
    blocks, refused = read_all(log)
    assert not refused, what
    there = {block.first_seq: block.body for block in blocks}
    reader = LogReader(log)
    kept = [(seq, size) for seq, size in promised if seq >= reader.first_seq()]
    reader.close()
    assert all(there.get(seq) == body_of(seq) and len(there[seq]) == size for seq, size in kept), what
    assert reader.first_seq() <= 20, what
    report = verify(log)
    assert report.ok, (what, report.damaged)


def cases(counts: dict[str, int]) -> list[tuple[str, int, str]]:
    return [
        (call, number, error)
        for call, count in counts.items()
        for number in range(1, count + 1)
        for error in ("EIO", "ENOSPC")
    ]


def test_the_worker_does_everything_that_is_to_fail(counts: dict[str, int]) -> None:
    assert all(counts.values()), counts
    assert counts["fdatasync"] >= 14


def test_a_sample_of_calls_fails_for_real(tmp_path: Path, counts: dict[str, int]) -> None:
    for at, case in enumerate(random.Random(SEED).sample(cases(counts), SAMPLE_COUNT)):
        (tmp_path / str(at)).mkdir()
        check(tmp_path / str(at), *case)


@pytest.mark.long
def test_every_call_fails_for_real(tmp_path: Path, counts: dict[str, int]) -> None:
    for at, case in enumerate(cases(counts)):
        (tmp_path / str(at)).mkdir()
        check(tmp_path / str(at), *case)
        shutil.rmtree(tmp_path / str(at))
