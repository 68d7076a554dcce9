"""SIGKILL at any moment: each change of the catalog is in its stream once, in order, and a catalog made of the stream is the same."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

from appliance.core.clock import SystemClock
from storage.catalog import Catalog
from storage.catalog_stream.rebuilding import rebuild_catalog
from storage.log.verify import verify
from tests.catalog_stream_kit import carry_over, open_stream, positions_in
from tests.storage_log_kit import NODE_ID

KILLS = 6


def devices(catalog: Catalog) -> list[str]:
    return [row["device_id"] for row in catalog.rows("SELECT device_id FROM devices ORDER BY 1")]


def test_each_change_is_in_the_stream_once(tmp_path: Path) -> None:
    rng = random.Random(4)
    told = 0
    for _ in range(KILLS):
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.crash.catalog_stream_process", str(tmp_path)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        time.sleep(rng.uniform(0.02, 0.4))
        process.kill()
        lines, _ = process.communicate()
        told = max([told, *(int(line) for line in lines.split("\n")[:-1])])
    catalog = Catalog.open(tmp_path / "catalog.db", clock=SystemClock(), node_id=NODE_ID)
    stream = open_stream(tmp_path / "log")
    assert stream.position >= told, "what was told to be in the log is there"
    carry_over(catalog, stream)
    end = stream.position
    stream.close()
    assert positions_in(tmp_path / "log") == list(range(1, end + 1))
    assert verify(tmp_path / "log").ok
    again = Catalog.open(tmp_path / "again.db", clock=SystemClock(), node_id=NODE_ID)
    rebuild_catalog(again, [(NODE_ID.hex(), tmp_path / "log")], own_id=NODE_ID.hex())
    assert devices(again) == devices(catalog)
    assert len(devices(again)) > KILLS
    again.close()
    catalog.close()
