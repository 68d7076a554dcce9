"""Histories that were kept beside a stream are moved to where others look for them, and nothing is written over."""

from __future__ import annotations

from pathlib import Path

from storage.log.disk import OsDisk
from storage.replicas.branching import move_branches


def test_they_are_moved_and_one_that_is_there_stays_where_it_was(tmp_path: Path) -> None:
    own, into = tmp_path / "log" / "telemetry", tmp_path / "replicas" / "node"
    for name in ("telemetry", "telemetry.fork-aaaaaaaa", "telemetry.fork-bbbbbbbb", "catalog.fork-cccccccc"):
        (own.parent / name).mkdir(parents=True)
        (own.parent / name / "segment").write_text(name)
    (into / "telemetry.fork-bbbbbbbb").mkdir(parents=True)
    assert move_branches(OsDisk(), own, into) == [into / "telemetry.fork-aaaaaaaa"]
    assert (into / "telemetry.fork-aaaaaaaa" / "segment").read_text() == "telemetry.fork-aaaaaaaa"
    assert list((into / "telemetry.fork-bbbbbbbb").iterdir()) == []
    left = {path.name for path in own.parent.iterdir()}
    assert left == {"telemetry", "telemetry.fork-bbbbbbbb", "catalog.fork-cccccccc"}
    assert move_branches(OsDisk(), own, into) == []
