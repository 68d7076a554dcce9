"""Keys, certificates, cursors: plain files only, and the modes that they get."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from storage.backup.small_files import mode_of, small_files


def test_plain_files_in_order_and_nothing_else(tmp_path: Path) -> None:
    for name in (
        "identity/node.id",
        "identity/ca/root.pem",
        "identity/ca/root.secret",
        "identity/.tls.key.0a1b",
        "broker/checkpoint",
        "cursors/bridge-a.json",
        "other/file",
        "identity/1/2/3/4/5/too-deep",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "identity" / "link").symlink_to(tmp_path / "other" / "file")
    os.mkfifo(tmp_path / "identity" / "pipe")
    assert list(small_files(tmp_path)) == [
        (tmp_path / name, name)
        for name in ("identity/ca/root.pem", "identity/node.id", "broker/checkpoint", "cursors/bridge-a.json")
    ]


def test_no_folders_at_all(tmp_path: Path) -> None:
    (tmp_path / "broker").touch()
    assert list(small_files(tmp_path)) == []


@pytest.mark.parametrize(
    ("mode", "wanted"), [(0o600, 0o600), (0o640, 0o600), (0o644, 0o644), (0o400, 0o400), (0o777, 0o644)]
)
def test_modes(tmp_path: Path, mode: int, wanted: int) -> None:
    path = tmp_path / "a"
    path.touch()
    path.chmod(mode)
    assert mode_of(path.stat()) == wanted
