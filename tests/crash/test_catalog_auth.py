"""The broker signs devices in while the process that writes the catalog is killed again and again."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from appliance.core.clock import SystemClock
from appliance.identity import DeviceAuthenticator, SiteKeys, new_token
from storage.catalog import Catalog, DeviceAuthReader

CHANGES_BEFORE_KILL = 20


def _rounds(tmp_path: Path, rounds: int) -> None:
    path, clock = tmp_path / "catalog.db", SystemClock()
    keys, token = SiteKeys.load_or_create(tmp_path), new_token().encode()
    catalog = Catalog.open(path, clock=clock, node_id=bytes(16))
    for device_id in ("steady", "moving"):
        catalog.add_device(device_id)
    catalog.set_token("steady", keys.token_hash(token))
    catalog.close()
    reader = DeviceAuthReader(path, clock=clock)
    authenticator = DeviceAuthenticator(reader, keys, clock=clock)
    signed_in = 0
    for _ in range(rounds):
        with subprocess.Popen(
            [sys.executable, "-m", "tests.stand_ins.catalog_writer", str(path)],
            stdout=subprocess.PIPE,
            text=True,
        ) as writer:
            assert writer.stdout
            for _ in range(CHANGES_BEFORE_KILL):
                assert writer.stdout.readline(), "the writer ended by itself"
                for _ in range(50):
                    authenticator.authenticate("steady", token, "c", "a")
                    signed_in += 1
            writer.kill()
        for _ in range(50):
            authenticator.authenticate("steady", token, "c", "a")
            signed_in += 1
    statistics = reader.statistics()
    assert statistics.failures_total == statistics.fallbacks_total == 0
    assert signed_in == rounds * 50 * (CHANGES_BEFORE_KILL + 1)
    reader.close()
    after = Catalog.open(path, clock=clock, node_id=bytes(16))
    assert after.rows("PRAGMA integrity_check")[0][0] == "ok"
    assert len(after.tokens_of("moving")) == 2
    outbox = {row.key for row in after.outbox_after(0, limit=1000) if row.table == "devices"}
    assert {device_id for device_id in after.device_ids() if device_id.startswith("stranger")} >= outbox - {
        "steady",
        "moving",
    }
    after.close()


def test_no_sign_in_fails_while_the_writer_is_killed(tmp_path: Path) -> None:
    _rounds(tmp_path, 4)


@pytest.mark.long
def test_no_sign_in_fails_over_forty_kills(tmp_path: Path) -> None:
    _rounds(tmp_path, 40)
