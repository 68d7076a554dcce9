from __future__ import annotations

import os
import resource
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.core.config import Config, NodeConfig
from appliance.core.errors import Conflict, StorageError
from appliance.run.first_run import become_owner, check_folder, lock, prepare_folders, raise_file_limit

OTHER_USER = 65_534
"""nobody"""


@pytest.fixture(autouse=True)
def _restore_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def _config(folder: Path) -> Config:
    return Config(node=NodeConfig(data_dir=folder / "a" / "data", run_dir=folder / "a" / "run"))


def test_folders_are_made_for_us_alone(tmp_path: Path) -> None:
    config = _config(tmp_path)
    prepare_folders(config)
    prepare_folders(config)
    for folder in (config.node.data_dir, config.node.run_dir):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    (config.node.data_dir / "new").touch()
    assert stat.S_IMODE((config.node.data_dir / "new").stat().st_mode) == 0o600


def test_a_folder_that_others_can_read_is_refused_with_the_command_that_mends_it(tmp_path: Path) -> None:
    config = _config(tmp_path)
    prepare_folders(config)
    config.node.data_dir.chmod(0o750)
    with pytest.raises(StorageError, match="mode 750") as raised:
        prepare_folders(config)
    assert raised.value.hint == f"Run: chmod 700 {config.node.data_dir}"


def test_a_folder_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(StorageError, match="belongs to user") as raised:
        check_folder(tmp_path)
    assert raised.value.code == "folder_not_ours"


def test_root_becomes_the_owner_of_a_data_folder_that_is_there(tmp_path: Path) -> None:
    """What root's commands write while the service is stopped must be the service's to open."""
    if os.geteuid() != 0:
        pytest.skip("only root can become somebody else")
    folder = Path(tempfile.mkdtemp(dir="/tmp"))  # pytest's own folders are closed to other users
    try:
        folder.chmod(0o755)
        (folder / "data").mkdir(mode=0o700)
        os.chown(folder / "data", OTHER_USER, OTHER_USER)
        program = (
            "import os, pathlib, sys\n"
            "from appliance.core.config import Config, NodeConfig\n"
            "from appliance.run.first_run import prepare_folders\n"
            "folder = pathlib.Path(sys.argv[1])\n"
            "prepare_folders(Config(node=NodeConfig(data_dir=folder / 'data', run_dir=folder / 'run')))\n"
            "(folder / 'data' / 'new').touch()\n"
            "print(os.getresuid(), os.getresgid(), os.getgroups())\n"
        )
        # The checkout may lie where the other user can't read: everything was imported when root became it.
        done = subprocess.run(
            [sys.executable, "-c", program, str(folder)], capture_output=True, text=True, check=True
        )
        assert done.stdout == f"{(OTHER_USER,) * 3} {(OTHER_USER,) * 3} []\n"
        for path in (folder / "run", folder / "data" / "new"):
            assert (path.stat().st_uid, path.stat().st_gid) == (OTHER_USER, OTHER_USER)
            assert not path.stat().st_mode & 0o077
    finally:
        shutil.rmtree(folder)


def test_nobody_but_root_becomes_anybody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    become_owner(tmp_path)
    become_owner(tmp_path / "missing")
    assert os.getresuid()[0] == os.getuid()


def test_what_is_no_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    with pytest.raises(StorageError, match="can't be made: Not a directory"):
        prepare_folders(_config(tmp_path))
    with pytest.raises(StorageError, match="isn't a folder"):
        check_folder(tmp_path / "a")
    with pytest.raises(StorageError, match="No such file"):
        check_folder(tmp_path / "b")


def test_the_file_limit_is_raised_to_the_hard_one() -> None:
    """In a process of its own, since the hard limit can't be had back."""
    program = (
        "import resource; from appliance.run.first_run import raise_file_limit;"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (300, 400));"
        "print(raise_file_limit(), resource.getrlimit(resource.RLIMIT_NOFILE)[0], raise_file_limit())"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["400", "400", "400"]


def test_a_file_limit_that_may_not_be_raised_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(_which: int, _limits: tuple[int, int]) -> None:
        raise PermissionError("Operation not permitted")

    monkeypatch.setattr("appliance.run.first_run.resource.getrlimit", lambda _which: (100, 200))
    monkeypatch.setattr("appliance.run.first_run.resource.setrlimit", forbidden)
    assert raise_file_limit() == 100
    assert resource.RLIMIT_NOFILE


def test_a_lock_is_held_once_and_names_its_holder(tmp_path: Path) -> None:
    path = tmp_path / "node.lock"
    with lock(path, holder="homeport device"):
        with (
            pytest.raises(Conflict, match=f"held by homeport device, process {os.getpid()}") as raised,
            lock(path, holder="x"),
        ):
            pass
        assert raised.value.code == "locked"
    with lock(path, holder="y"):
        assert path.read_text().startswith("y, process")


def test_a_lock_in_a_missing_folder_is_told(tmp_path: Path) -> None:
    with (
        pytest.raises(StorageError, match="can't be made: No such file"),
        lock(tmp_path / "none" / "lock", holder="x"),
    ):
        pass
