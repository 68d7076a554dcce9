"""Secret files: whole, private, and made once."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from appliance.core.errors import ConfigError, StorageError
from appliance.identity import files


def test_a_created_file_is_private_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        assert files.create(tmp_path / "k", b"secret") == b"secret"
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "k").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["k"]


def test_the_first_of_two_creators_wins(tmp_path: Path) -> None:
    assert files.create(tmp_path / "k", b"first") == b"first"
    assert files.create(tmp_path / "k", b"second") == b"first"
    assert [path.name for path in tmp_path.iterdir()] == ["k"]


def test_replacing(tmp_path: Path) -> None:
    files.create(tmp_path / "k", b"old")
    files.replace(tmp_path / "k", b"new", mode=files.PUBLIC)
    assert (tmp_path / "k").read_bytes() == b"new"
    assert stat.S_IMODE((tmp_path / "k").stat().st_mode) == 0o644


def test_reading(tmp_path: Path) -> None:
    assert files.read_secret(tmp_path / "missing") is None
    files.create(tmp_path / "k", b"secret")
    assert files.read_secret(tmp_path / "k") == b"secret"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_file_that_others_may_touch_is_refused(tmp_path: Path, mode: int) -> None:
    files.create(tmp_path / "k", b"secret")
    (tmp_path / "k").chmod(mode)
    with pytest.raises(ConfigError) as refused:
        files.read_secret(tmp_path / "k")
    assert refused.value.code == "secret_file_open"
    assert "chmod 600" in refused.value.hint


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    for verb in (files.create, files.replace):
        with pytest.raises(StorageError) as failed:
            verb(tmp_path / "missing" / "k", b"x")
        assert failed.value.code == "secret_file_failed"


def test_removing(tmp_path: Path) -> None:
    files.create(tmp_path / "k", b"secret")
    assert files.remove(tmp_path / "k")
    assert not files.remove(tmp_path / "k")
    (tmp_path / "d").mkdir()
    with pytest.raises(StorageError) as failed:
        files.remove(tmp_path / "d")
    assert failed.value.code == "secret_file_failed"


def test_a_folder_is_made_with_all_its_files_or_by_somebody_else(tmp_path: Path) -> None:
    contents = {"a": (b"1", files.PRIVATE), "b": (b"2", files.PUBLIC)}
    assert files.create_folder(tmp_path / "d", contents)
    assert not files.create_folder(tmp_path / "d", {"a": (b"other", files.PRIVATE)})
    assert (tmp_path / "d" / "a").read_bytes() == b"1"
    assert stat.S_IMODE((tmp_path / "d").stat().st_mode) == 0o700
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "d").iterdir()} == {
        "a": 0o600,
        "b": 0o644,
    }
    assert [path.name for path in tmp_path.iterdir()] == ["d"]
    with pytest.raises(StorageError):
        files.create_folder(tmp_path / "missing" / "d", contents)
