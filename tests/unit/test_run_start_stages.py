"""What a start says of its stages."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from appliance.run.start_stages import StartStages, birth_ms


def test_each_stage_has_its_time_and_the_total_is_from_the_birth() -> None:
    times = iter((340, 350, 400, 1_000))
    stages = StartStages(100, lambda: next(times))
    assert (stages.total_ms, stages.took_ms()) == (0, {})
    for stage in ("imported", "log", "ready", "log"):
        stages.reached(stage)
    assert stages.took_ms() == {"imported": 240, "log": 610, "ready": 50}
    assert list(stages.took_ms()) == ["imported", "log", "ready"]
    assert stages.total_ms == 900


def test_the_birth_is_the_kernels_whatever_the_name_of_the_program_is() -> None:
    ticks = os.sysconf("SC_CLK_TCK")
    fields = " ".join(["S", *["1"] * 18, str(7 * ticks), "9", "9"])
    assert birth_ms(f"12 (a b) c) {fields}") == 7_000
    for bad in ("", "12 (a) S 1", "12 (a) " + " ".join(["x"] * 30)):
        with pytest.raises((ValueError, IndexError)):
            birth_ms(bad)


def test_this_process_was_born_when_it_was_started() -> None:
    began = time.monotonic()
    with subprocess.Popen(
        [sys.executable, "-c", "import time; print(flush=True); time.sleep(60)"], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        now_ms = time.clock_gettime(time.CLOCK_BOOTTIME) * 1_000
        age_ms = now_ms - birth_ms(Path(f"/proc/{process.pid}/stat").read_text())
        process.kill()
    assert 0 <= age_ms <= (time.monotonic() - began) * 1_000 + 1_000 / os.sysconf("SC_CLK_TCK") + 1
    stages = StartStages.of_this_process()
    stages.reached("imported")
    assert stages.total_ms > 0


def test_where_the_kernel_does_not_tell_it_begins_now(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> str:
        raise OSError(f"{path} is not there")

    monkeypatch.setattr(Path, "read_text", refuse)
    assert StartStages.of_this_process().total_ms == 0
