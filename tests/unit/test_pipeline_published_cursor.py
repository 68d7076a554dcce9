"""appliance/pipeline/published_cursor.py: the log learns what is in the store."""

from __future__ import annotations

from pathlib import Path

from appliance.pipeline.published_cursor import PublishedCursor
from storage.log import OsDisk
from storage.log.cursor_file import read_cursor


def test_the_log_learns_how_far_the_store_is(tmp_path: Path) -> None:
    path = tmp_path / "log" / "cursors" / "pipeline"
    cursor = PublishedCursor(path)
    assert not path.exists()
    for seq in (4, 4, 9):
        assert cursor.publish(seq) is None
        assert read_cursor(OsDisk(), path) == seq
    cursor.close()
    cursor.close()


def test_what_goes_wrong_is_said_and_tried_again(tmp_path: Path) -> None:
    (tmp_path / "cursors").write_bytes(b"a file where a folder should be")
    path = tmp_path / "cursors" / "pipeline"
    cursor = PublishedCursor(path)
    error = cursor.publish(4)
    assert error is not None
    assert error.code == "cursor_unpublished"
    (tmp_path / "cursors").unlink()
    assert cursor.publish(4) is None
    assert read_cursor(OsDisk(), path) == 4
    cursor.close()
