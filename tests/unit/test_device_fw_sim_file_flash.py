"""Flash in a folder is the same flash, and is there for the next process."""

from __future__ import annotations

from pathlib import Path

import pytest

from device_fw_sim.errors import OptionsError
from device_fw_sim.file_flash import FileFlash
from device_fw_sim.flash import FlashError


def test_it_outlives_the_object(tmp_path: Path) -> None:
    flash = FileFlash(tmp_path / "d1")
    assert flash.get("job") is None
    assert list(flash.pieces("A")) == []
    flash.put("job", {"a": 1})
    flash.write("A", 4, b"efgh")
    flash.write("A", 0, b"abcd")
    again = FileFlash(tmp_path / "d1")
    assert again.get("job") == {"a": 1}
    assert b"".join(again.pieces("A")) == b"abcdefgh"
    again.put("job", None)
    again.erase("A")
    again.erase("A")
    assert flash.get("job") is None
    assert list(flash.pieces("A")) == []
    assert (tmp_path / "d1").stat().st_mode & 0o077 == 0


def test_half_a_record_is_never_seen(tmp_path: Path) -> None:
    FileFlash(tmp_path).put("job", "the first one, which is longer")
    FileFlash(tmp_path).put("job", "the second one")
    FileFlash(tmp_path).put("job", "the third")
    (third,) = (each for each in tmp_path.iterdir() if b"the third" in each.read_bytes())
    whole = third.read_bytes()
    for length in range(whole.index(b"third")):
        third.write_bytes(whole[:length])
        assert FileFlash(tmp_path).get("job") == "the second one"
    third.write_bytes(whole.replace(b"third", b"thirx"))
    assert FileFlash(tmp_path).get("job") == "the second one"
    FileFlash(tmp_path).put("job", "the fourth")
    assert FileFlash(tmp_path).get("job") == "the fourth"


def test_a_shorter_record_hides_the_end_of_a_longer_one(tmp_path: Path) -> None:
    flash = FileFlash(tmp_path)
    for value in ("long " * 100, "long " * 100, 1, [2]):
        flash.put("job", value)
        assert flash.get("job") == FileFlash(tmp_path).get("job") == value


def test_what_cannot_be_written_says_so(tmp_path: Path) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.write_text("")
    with pytest.raises(OptionsError, match="can't be made"):
        FileFlash(in_the_way / "d1")
    flash = FileFlash(tmp_path / "d2")
    (tmp_path / "d2" / "A.img").mkdir()
    flash.put("job", 0)
    (tmp_path / "d2" / "job.0.record").mkdir()
    with pytest.raises(FlashError):
        flash.write("A", 0, b"abcd")
    with pytest.raises(FlashError):
        flash.erase("A")
    with pytest.raises(FlashError):
        flash.put("job", 1)
