"""The audit is whole whenever its writer is killed: every entry that was committed, in one chain, with signatures that fit."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

from appliance.core.clock import SystemClock
from appliance.identity import SiteKeys
from appliance.identity.audit_check import AuditCheck
from appliance.identity.audit_heads import read_head_file
from appliance.management.audit_chain import remembered_head
from storage.catalog import Catalog

SEED = 20_261_127


def _storm(tmp_path: Path, rounds: int) -> None:
    keys, clock = SiteKeys.load_or_create(tmp_path), SystemClock()
    origin, rng = keys.node_id.hex(), random.Random(SEED)
    committed = ""
    for _ in range(rounds):
        with subprocess.Popen(
            [sys.executable, "-m", "tests.stand_ins.audit_writer", str(tmp_path)],
            stdout=subprocess.PIPE,
            text=True,
        ) as writer:
            assert writer.stdout
            for _ in range(rng.randint(1, 25)):
                committed = writer.stdout.readline().strip()
                assert committed, "the writer ended by itself"
            writer.kill()
            # What it still said before it died was committed as well; a torn line was not said.
            *whole, _ = writer.stdout.read().split("\n")
            committed = whole[-1] if whole else committed
        catalog = Catalog.open_read_only(tmp_path / "catalog.db", clock=clock)
        in_file = read_head_file(tmp_path)
        assert in_file is not None
        check = AuditCheck(
            origin=origin, key_id=keys.signer.key_id, known=[remembered_head(committed, origin), in_file]
        )
        while check.step(catalog):
            pass
        verdict = check.verdict(clock.now_ms())
        assert verdict.fault is None, verdict.fault
        # Two entries for each device: nothing of a transaction is there without the rest of it.
        (devices,) = catalog.rows("SELECT count(*) FROM devices")[0]
        assert verdict.entry_count == 2 * devices
        catalog.close()


def test_the_chain_is_whole_after_each_kill(tmp_path: Path) -> None:
    _storm(tmp_path, rounds=4)


@pytest.mark.long
def test_the_chain_is_whole_after_many(tmp_path: Path) -> None:
    _storm(tmp_path, rounds=40)
