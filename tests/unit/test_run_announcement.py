from __future__ import annotations

import stat
from pathlib import Path

from appliance.run.announcement import FILE_NAME, Announcement, code_line, read, replace_code

LINES = ("https://box:8443", "Setup code: 1234")


def test_on_a_terminal_lines_are_printed_and_kept(tmp_path: Path) -> None:
    printed: list[str] = []
    with Announcement(tmp_path, to_terminal=True, echo=printed.append) as announcement:
        assert read(tmp_path) == []
        announcement.print(LINES)
        assert printed == list(LINES)
        assert read(tmp_path) == list(LINES)
        assert stat.S_IMODE((tmp_path / FILE_NAME).stat().st_mode) == 0o600
    assert read(tmp_path) == []


def test_elsewhere_they_only_wait_to_be_read(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text("left by a run that was killed")
    printed: list[str] = []
    with Announcement(tmp_path, to_terminal=False, echo=printed.append) as announcement:
        assert read(tmp_path) == []
        announcement.print(LINES)
        assert printed == []
        assert read(tmp_path) == list(LINES)


def test_a_new_code_takes_the_place_of_the_one_before(tmp_path: Path) -> None:
    with Announcement(tmp_path, to_terminal=False, echo=print) as announcement:
        announcement.print(("Open https://box:8443/", code_line("OLD")))
        assert replace_code(tmp_path, "NEW") == ["Open https://box:8443/", code_line("NEW")]
        assert read(tmp_path) == ["Open https://box:8443/", code_line("NEW")]
        assert stat.S_IMODE((tmp_path / FILE_NAME).stat().st_mode) == 0o600
