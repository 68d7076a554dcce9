"""The pipeline is SIGKILLed at every step of a commit; after a restart each reading is in the store exactly once."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from storage.telemetry.database import run
from storage.telemetry.store import TelemetryStore
from tests.crash.pipeline_process import POINTS
from tests.log_kit import Record, append, open_log

ROOT = Path(__file__).parents[2]
NOW = 1_700_000_000_000
BLOCKS, PER_BLOCK, DEVICES = 12, 50, 3


def fill(folder: Path) -> None:
    """Readings of three devices, with resends of earlier ones among them, and sessions."""
    choices = random.Random(7)
    writer = open_log(folder / "log")
    sent: list[Record] = []
    seqs = [0] * DEVICES
    for _ in range(BLOCKS):
        records: list[Record] = []
        for _ in range(PER_BLOCK):
            if sent and choices.random() < 0.2:
                records.append(choices.choice(sent))
                continue
            device = choices.randrange(DEVICES)
            seqs[device] += 1
            payload = b'{"ts":%d,"seq":%d,"boot_id":"b","v":{"n":%d,"s":"x"}}' % (
                NOW + seqs[device],
                seqs[device],
                seqs[device],
            )
            records.append(Record(payload, b"dm/dev-%d/telemetry" % device, NOW, principal=f"dev-{device}"))
            sent.append(records[-1])
        records.append(
            Record(
                msgspec.msgpack.encode({"address": "10.0.0.1"}),
                b"",
                NOW,
                kind=3,
                client_id="c",
                principal="dev-0",
            )
        )
        append(writer, records)
    writer.close()


def run_until_killed_or_done(folder: Path, point: str, count: int) -> int:
    return subprocess.run(
        [sys.executable, "-m", "tests.crash.pipeline_process", str(folder), point, str(count)], cwd=ROOT, timeout=60, check=False
    ).returncode  # fmt: skip


def check(folder: Path) -> None:
    store = TelemetryStore.open(folder / "telemetry.duckdb")
    state = store.read_state()
    with store.reading() as connection:
        for metric in ("n", "s"):
            rows = run(
                connection,
                "SELECT device, observed_at FROM v_readings WHERE metric = ? ORDER BY ALL",
                [metric],
            )
            expected = [
                (f"dev-{d}", NOW + seq)
                for d in range(DEVICES)
                for seq in range(1, 1 + sum(1 for r in rows if r[0] == f"dev-{d}"))
            ]
            assert rows == expected
    for device in range(DEVICES):
        ((window,), _) = state.seen.windows([f"dev-{device}"], ["b"])
        assert window.intervals() == [(1, sum(1 for name, _ in rows if name == window.device))]
    newest = {(n.device, n.metric): n.observed_at_ms for n in state.newest}
    assert newest == {
        (f"dev-{d}", m): max(ms for x, ms in expected if x == f"dev-{d}")
        for d in range(DEVICES)
        for m in ("n", "s")
    }
    assert state.totals.records == BLOCKS * (PER_BLOCK + 1)
    assert state.totals.readings + state.totals.duplicates == BLOCKS * PER_BLOCK
    assert len(rows) == state.totals.readings
    presence = state.presence.get("dev-0")
    assert presence is not None
    assert presence.clients == {"c": BLOCKS}
    store.close()


@pytest.mark.parametrize(
    ("point", "count"), [*((point, 1) for point in POINTS), ("cursor moved", 3), ("committed", 3)]
)
def test_each_reading_exactly_once(tmp_path: Path, point: str, count: int) -> None:
    fill(tmp_path)
    assert run_until_killed_or_done(tmp_path, point, count) == -signal.SIGKILL
    # Once more on what the first left behind, which may be too little to come to the point again.
    assert run_until_killed_or_done(tmp_path, point, 1) in (-signal.SIGKILL, 0)
    assert run_until_killed_or_done(tmp_path, "none", 1) == 0
    check(tmp_path)


@pytest.mark.parametrize("rounds", [2, pytest.param(40, marks=pytest.mark.long)], ids=["sample", "forty"])
def test_killed_at_any_time(tmp_path: Path, rounds: int) -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    choices = random.Random(seed)
    fill(tmp_path)
    for _ in range(rounds):
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.crash.pipeline_process", str(tmp_path), "none", "1"], cwd=ROOT
        )  # fmt: skip
        time.sleep(choices.uniform(0.2, 1.2))  # the time of the kill is what is random here
        process.kill()
        process.wait(10)
    assert run_until_killed_or_done(tmp_path, "none", 1) == 0
    check(tmp_path)
