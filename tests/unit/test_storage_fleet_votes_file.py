"""Promises are there after a restart, and nothing is made of a file that is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.core.errors import StorageError
from storage.fleet.roster_file import fleet_folder
from storage.fleet.votes_file import VOTES, Vote, read_votes, write_votes

NODE, INSTANCE = "aa" * 16, "01" * 16


def test_promises_are_read_as_they_were_written(tmp_path: Path) -> None:
    fleet_folder(tmp_path).mkdir()
    assert read_votes(tmp_path) == {}
    write_votes(tmp_path, {NODE: Vote(3, INSTANCE)})
    write_votes(tmp_path, {NODE: Vote(4, INSTANCE)})
    assert read_votes(tmp_path) == {NODE: Vote(4, INSTANCE)}
    assert [path.name for path in fleet_folder(tmp_path).iterdir()] == [VOTES]


@pytest.mark.parametrize("data", [b"", b"[]", b'{"..": {}}', b'{"' + NODE.encode() + b'": {"epoch": -1}}'])
def test_a_file_that_is_none_promises_nothing(tmp_path: Path, data: bytes) -> None:
    fleet_folder(tmp_path).mkdir()
    (fleet_folder(tmp_path) / VOTES).write_bytes(data)
    with pytest.raises(StorageError, match="promised"):
        read_votes(tmp_path)


def test_what_can_not_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="can't be written"):
        write_votes(tmp_path, {})
