"""Which copy of a node this is."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from appliance.core.errors import ConfigError
from appliance.identity.instance import instance_path, load_instance, make_instance


@pytest.fixture
def serial(tmp_path: Path) -> Path:
    path = tmp_path / "serial"
    path.write_bytes(b"10000000abcdef\0")
    return path


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


def test_a_box_that_never_had_one_has_none(data_dir: Path) -> None:
    assert load_instance(data_dir) is None


def test_it_stays_on_its_box(data_dir: Path, serial: Path) -> None:
    made = make_instance(data_dir, serial_paths=[serial])
    assert load_instance(data_dir, serial_paths=[serial]) == made
    assert made.is_bound
    assert b"abcdef" not in instance_path(data_dir).read_bytes()


def test_a_card_in_another_box_is_no_longer_the_same(data_dir: Path, serial: Path) -> None:
    made = make_instance(data_dir, serial_paths=[serial])
    serial.write_bytes(b"20000000abcdef\0")
    found = load_instance(data_dir, serial_paths=[serial])
    assert found is not None
    assert (found.instance_id, found.is_bound) == (made.instance_id, False)


def test_a_copy_of_the_folder_is_no_longer_the_same(data_dir: Path, serial: Path) -> None:
    make_instance(data_dir, serial_paths=[serial])
    copy = data_dir.with_name("copy")
    shutil.copytree(data_dir, copy)
    found = load_instance(copy, serial_paths=[serial])
    assert found is not None
    assert not found.is_bound


def test_the_first_serial_that_is_there_counts(data_dir: Path, serial: Path) -> None:
    empty = data_dir / "empty"
    empty.touch()
    made = make_instance(data_dir, serial_paths=[data_dir / "missing", empty, serial])
    assert load_instance(data_dir, serial_paths=[serial]) == made
    assert load_instance(data_dir, serial_paths=[]) != made


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[]", b'{"instance": "1", "binding": "2"}', b'{"instance": 1}']
)
def test_a_file_that_holds_something_else_is_said(data_dir: Path, content: bytes) -> None:
    make_instance(data_dir)
    instance_path(data_dir).write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load_instance(data_dir)
    assert caught.value.code == "instance_file_invalid"
