"""broker/bridge/state_file.py"""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from appliance.core.errors import StorageError
from broker.bridge.state_file import FILE_BYTES_MAX, BridgeState, encode_state, read_state, write_state

STATE = BridgeState(
    next_seq=100,
    epoch=2,
    outgoing=((100, 3, 1), (120, 4, 2), (130, 5, 3)),
    taken=(1, 65_535),
    begun=((7, 90),),
    subscribed=(("a/#", 1), ("ü", 2)),
)


def test_what_was_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "cursors" / "bridge-up.json"
    assert read_state(path) is None
    write_state(path, STATE)
    assert read_state(path) == STATE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in path.parent.iterdir()] == ["bridge-up.json"], "nothing is left beside it"
    assert json.loads(path.read_text())["next_seq"] == 100, "what retention reads"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"null",
        b"\xff",
        b"{}",
        b"[" * 100_000,
        encode_state(STATE).replace(b'"format":1', b'"format":2'),
        encode_state(STATE).replace(b'"telemetry"', b'"catalog"'),
        encode_state(STATE).replace(b'"next_seq":100', b'"next_seq":0'),
        encode_state(STATE).replace(b'"next_seq":100', b'"next_seq":101'),
        encode_state(STATE).replace(b'"next_seq":100', b'"next_seq":1e999'),
        encode_state(STATE).replace(b"[1,65535]", b"[0]"),
        encode_state(STATE).replace(b"[130,5,3]", b"[130,5,4]"),
        encode_state(STATE).replace(b"[130,5,3]", b"[130,5]"),
        encode_state(STATE)[:-10],
        b" " * (FILE_BYTES_MAX + 1),
    ],
)
def test_a_damaged_file_is_never_taken_for_a_new_bridge(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "bridge-up.json"
    path.write_bytes(data)
    with pytest.raises(StorageError) as caught:
        read_state(path)
    assert caught.value.code == "bridge_state_damaged"
    assert caught.value.hint


def test_a_disk_that_fails_leaves_the_file_of_before(tmp_path: Path) -> None:
    path = tmp_path / "bridge-up.json"
    write_state(path, STATE)
    (tmp_path / "bridge-up.json.new").mkdir()
    with pytest.raises(StorageError) as caught:
        write_state(path, BridgeState(next_seq=200, epoch=2))
    assert caught.value.code == "bridge_state_failed"
    assert read_state(path) == STATE
