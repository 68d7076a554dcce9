"""The checkpoint file: round trip, damage anywhere, a disk that fails."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from appliance.core.errors import LogDamaged
from broker.state.checkpoint import (
    Checkpoint,
    decode_checkpoint,
    encode_checkpoint,
    read_checkpoint,
    write_checkpoint,
)
from tests.unit.test_broker_state_retained import message

CHECKPOINT = Checkpoint(next_seq=17, retained=[message("a/é", b"\0\xff", expires_at_ms=5), message("b")])


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "checkpoint"
    assert read_checkpoint(path) is None
    size = write_checkpoint(path, CHECKPOINT)
    assert read_checkpoint(path) == CHECKPOINT
    assert path.stat().st_size == size
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    write_checkpoint(path, Checkpoint(next_seq=18, retained=[]))
    assert read_checkpoint(path) == Checkpoint(next_seq=18, retained=[])
    assert [entry.name for entry in path.parent.iterdir()] == ["checkpoint"]


def test_any_flipped_bit_and_any_length_is_noticed() -> None:
    data = encode_checkpoint(CHECKPOINT)
    for at in range(len(data)):
        damaged = bytearray(data)
        damaged[at] ^= 1 << at % 8
        with pytest.raises(LogDamaged):
            decode_checkpoint(bytes(damaged))
        with pytest.raises(LogDamaged):
            decode_checkpoint(data[:at])
    with pytest.raises(LogDamaged):
        decode_checkpoint(data + b"\0")


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_disk_that_fails_leaves_the_file_of_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    path = tmp_path / "checkpoint"
    write_checkpoint(path, CHECKPOINT)

    def fail(*_arguments: object) -> None:
        raise OSError(errno.ENOSPC, "no room")

    with monkeypatch.context() as patched:
        patched.setattr(os, call, fail)
        with pytest.raises(OSError, match="no room"):
            write_checkpoint(path, Checkpoint(next_seq=99, retained=[]))
    assert read_checkpoint(path) == CHECKPOINT
    assert [entry.name for entry in tmp_path.iterdir()] == ["checkpoint"]


def test_a_file_that_can_not_be_read(tmp_path: Path) -> None:
    (tmp_path / "checkpoint").mkdir()
    with pytest.raises(LogDamaged):
        read_checkpoint(tmp_path / "checkpoint")
