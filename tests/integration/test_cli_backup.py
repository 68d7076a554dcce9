"""`homeport backup` and `homeport restore` while the node is stopped; tests/unit/test_ui_api_backups.py has what the node answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from appliance.cli import main
from appliance.identity import recovery_kit
from tests.backup_kit import Box, make_box


@pytest.fixture
def box(tmp_path: Path) -> Box:
    made = make_box(tmp_path / "box")
    made.publish(10)
    (tmp_path / "kit.txt").write_text(made.kit.text())
    return made


def homeport(box: Box, *arguments: str | Path, stdin: str | None = None) -> Result:
    assert box.config.source is not None
    words = [*map(str, arguments), "--config", str(box.config.source)]
    return CliRunner().invoke(main, words, input=stdin, catch_exceptions=False)


def answer(box: Box, *arguments: str | Path) -> Any:
    result = homeport(box, *arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_make_list_verify_remove(box: Box, tmp_path: Path) -> None:
    usb = tmp_path / "usb"
    made = answer(box, "backup", "now", usb)
    assert (made["state"], made["directory"]) == ("done", str(usb))
    said = homeport(box, "backup", "now", usb).output
    assert "Only the recovery kit opens it." in said
    listed = answer(box, "backup", "list")
    assert len(listed["backups"]) == 2
    assert "Scheduled: nowhere" in homeport(box, "backup", "list").output
    inside = answer(box, "backup", "list", usb)
    assert [each["record"] for each in inside["backups"]] == ["11", "11"]
    assert answer(box, "backup", "verify", usb)["ok"]
    assert "is good" in homeport(box, "backup", "verify", usb, "--restore-test").output
    one = answer(box, "backup", "verify", usb, "--backup", made["backup_id"])
    assert one["backups"] == [made["backup_id"]]
    assert homeport(box, "backup", "remove", made["backup_id"]).exit_code == 2
    assert answer(box, "backup", "remove", made["backup_id"], "--yes") == {"removed": made["backup_id"]}
    assert homeport(box, "backup", "remove", made["backup_id"], "--yes").exit_code == 3
    assert len(answer(box, "backup", "list")["backups"]) == 1


def test_damage_has_an_exit_code_of_its_own(box: Box, tmp_path: Path) -> None:
    answer(box, "backup", "now", tmp_path / "usb")
    next(path for path in (tmp_path / "usb" / "chunks").rglob("*") if path.is_file()).write_bytes(b"x")
    (tmp_path / "usb" / "backups" / "20200101T000000Z-00000000.backup").write_bytes(b"torn")
    said = homeport(box, "backup", "verify", tmp_path / "usb")
    assert said.exit_code == 9
    assert "Can't be restored whole" in said.output
    assert "20200101T000000Z-00000000" in homeport(box, "backup", "list", tmp_path / "usb").output


def test_the_schedule(box: Box, tmp_path: Path) -> None:
    assert homeport(box, "backup", "now").exit_code == 3
    refused = homeport(box, "backup", "schedule", "/etc/x")
    assert refused.exit_code == 2
    assert "backup.directories" in refused.output
    assert box.config.source is not None
    box.config.source.write_text(box.config.source.read_text() + f'[backup]\ndirectories = ["{tmp_path}"]\n')
    assert answer(box, "backup", "schedule", tmp_path / "usb")["directory"] == str(tmp_path / "usb")
    assert answer(box, "backup", "now")["state"] == "done"
    assert answer(box, "backup", "schedule")["directory"] == str(tmp_path / "usb")
    assert answer(box, "backup", "schedule", "--off")["directory"] is None


def test_one_that_fails_is_remembered(box: Box, tmp_path: Path) -> None:
    assert homeport(box, "backup", "now", tmp_path / "none" / "usb").exit_code == 3
    (row,) = answer(box, "backup", "list")["backups"]
    assert row["state"] == "failed"
    assert "There is no folder" in row["detail"]


def test_restoring_on_a_new_box(box: Box, tmp_path: Path) -> None:
    answer(box, "backup", "now", tmp_path / "usb")
    new = make_box(tmp_path / "new")
    kit = tmp_path / "kit.txt"
    in_use = homeport(new, "restore", tmp_path / "usb", "--kit", kit)
    assert in_use.exit_code == 4
    assert "--replace" in in_use.output
    wrong = homeport(new, "restore", tmp_path / "usb", "--replace", stdin=new.kit.text())
    assert wrong.exit_code == 5
    assert homeport(new, "restore", tmp_path / "nothing", "--kit", kit).exit_code == 3
    done = homeport(new, "restore", tmp_path / "usb", "--replace", stdin=kit.read_text())
    assert done.exit_code == 0, done.output
    for words in ("everything acknowledged before record 11", "revoke it again", "replaced-", "config"):
        assert words in done.output
    assert (new.data_dir / "identity" / "site.key").read_bytes() == (
        box.data_dir / "identity" / "site.key"
    ).read_bytes()
    other = homeport(new, "backup", "list", tmp_path / "usb", "--kit", kit)
    assert other.exit_code == 0
    assert "11" in other.output


def test_the_kit_stands_in_no_output(box: Box, tmp_path: Path) -> None:
    answer(box, "backup", "now", tmp_path / "usb")
    new = make_box(tmp_path / "new")
    said = homeport(new, "restore", tmp_path / "usb", "--replace", stdin=box.kit.text()).output
    assert not any(line.split()[1] in said for line in box.kit.lines())


def test_a_box_older_than_backups_gets_its_key_from_the_kit(box: Box, tmp_path: Path) -> None:
    (box.data_dir / "identity" / "backup.pub").unlink()
    refused = homeport(box, "backup", "now", tmp_path / "usb")
    assert refused.exit_code == 2
    assert "recovery-kit backup-key" in refused.output
    assert answer(box, "recovery-kit", "backup-key", tmp_path / "kit.txt") == {"written": True}
    assert answer(box, "recovery-kit", "backup-key", tmp_path / "kit.txt") == {"written": False}
    assert answer(box, "backup", "now", tmp_path / "usb")["state"] == "done"
    other = make_box(tmp_path / "other")
    assert homeport(box, "recovery-kit", "backup-key", "-", stdin=other.kit.text()).exit_code == 2
    assert not (box.data_dir / recovery_kit.PENDING).exists()


def test_half_a_restore_stops_other_commands(box: Box) -> None:
    (box.data_dir / "restoring").mkdir()
    (box.data_dir / "restoring.json").write_text(
        '{"backup_id": "b", "entries": [], "aside": "replaced-20261127T101112Z"}'
    )
    said = homeport(box, "device", "list")
    assert said.exit_code == 4
    assert "is not finished" in said.output
