"""How far audits have come is there after a restart; a file that is none costs another walk and nothing else."""

from __future__ import annotations

from pathlib import Path

from appliance.core.limits_replication import TIER_WALKED_BYTES_MAX
from replication.tier.auditing import Walked
from replication.tier.walked_file import read_walked, write_walked
from storage.replicas.streams import StreamId

STREAM = StreamId("0a" * 16, "telemetry")
WALKED = {STREAM: Walked(firsts={1: (1, b"g" * 32)}, ends={1: (90, b"h" * 32)}, shares={1: 3})}


def test_it_is_there_after_a_restart(tmp_path: Path) -> None:
    write_walked(tmp_path / "tier", "eu", WALKED)
    assert read_walked(tmp_path / "tier", "eu") == WALKED
    assert read_walked(tmp_path / "tier", "us") == {}


def test_a_file_that_is_none_is_as_if_there_were_none(tmp_path: Path) -> None:
    for content in (b"rubbish", bytes(TIER_WALKED_BYTES_MAX + 1), b""):
        (tmp_path / "eu.audit").write_bytes(content)
        assert read_walked(tmp_path, "eu") == {}


def test_a_disk_that_does_not_take_it_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    write_walked(tmp_path / "file", "eu", WALKED)
    assert read_walked(tmp_path / "file", "eu") == {}
