from __future__ import annotations

import json
import stat
import subprocess
import sys
from pathlib import Path

from appliance.core.settings import Bind
from appliance.run.announcement import (
    FILE_NAME,
    Announcement,
    as_of_now,
    code_line,
    lines_of,
    read,
    replace_code,
    with_qr,
)

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


def test_a_code_to_use_comes_with_the_address_as_a_qr_code(tmp_path: Path) -> None:
    lines = ("Open https://192.0.2.1:8443/", code_line("NEW"))
    printed: list[str] = []
    with Announcement(tmp_path, to_terminal=True, echo=printed.append) as announcement:
        announcement.print(lines)
        assert printed == with_qr(lines)
        assert len(printed) > 15
        assert read(tmp_path) == list(lines), "what is kept is text only"
        assert "NEW" not in "".join(printed[len(lines) :])
    printed.clear()
    with Announcement(tmp_path, to_terminal=True, echo=printed.append, shows_blocks=False) as announcement:
        announcement.print(lines)
        assert printed == list(lines)


def test_without_a_code_or_another_machine_there_is_none() -> None:
    assert with_qr(["Open https://192.0.2.1:8443/"]) == ["Open https://192.0.2.1:8443/"]
    only_here = ["Open https://127.0.0.1:8443/", code_line("NEW")]
    assert with_qr(only_here) == only_here


def test_a_code_that_is_void_is_not_shown_again() -> None:
    lines = ["Open https://192.0.2.1:8443/", code_line("NEW")]
    assert as_of_now(lines, needs_setup=True, code_valid=True) == lines
    assert as_of_now(lines, needs_setup=False, code_valid=False) == lines[:1]
    over = as_of_now(lines, needs_setup=True, code_valid=False)
    assert over[0] == lines[0]
    assert "homeport setup-code" in over[1]
    assert "NEW" not in over[1]


def test_what_a_node_says_of_itself() -> None:
    assert lines_of(Bind(host="10.0.0.5", port=8443), "AB:CD", None) == [
        "Open https://10.0.0.5:8443/",
        "Certificate fingerprint (SHA-256) AB:CD",
    ]
    assert lines_of(Bind(host="fd00::5", port=1), "AB", "C0DE")[::2] == [
        "Open https://[fd00::5]:1/",
        code_line("C0DE"),
    ]
    everywhere = lines_of(Bind(host="0.0.0.0", port=1), "AB", None)
    assert "0.0.0.0" not in "".join(everywhere)


def test_the_supervisor_and_the_status_carry_nothing_of_the_catalog() -> None:
    """They show what the node says of itself; the supervisor stays in memory as long as the box runs."""
    heavy = ("numpy", "cryptography", "sqlite_utils", "duckdb", "starlette", "storage.catalog")
    program = (
        "import json, sys, appliance.cli.run, appliance.cli.status, appliance.cli.setup_code;"
        f" print(json.dumps([name for name in {heavy} if name in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []
