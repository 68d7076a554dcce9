"""A process that makes or restores a backup and kills itself at a step of it: `python -m tests.crash.backup_process`.

Arguments: backup or restore, the folder of the scene (tests/crash/test_backup_killed.py), the step, and how often it has to
come before.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Final

from appliance.core.clock import SystemClock
from appliance.core.config import BackupConfig, Config, NodeConfig
from appliance.identity.keys import SiteKeys
from appliance.identity.recovery_kit import RecoveryKit
from appliance.run.restoring import restore_backup
from ui import backup_work

BACKUP_STEPS: Final = (
    "identity",
    "catalog",
    "artifacts",
    "archive",
    "piece",
    "log",
    "manifest",
    "check",
    "prune",
)
RESTORE_STEPS: Final = ("clear", "file", "sync", "open", "prepare", "decide", "aside", "in", "done")


class Death:
    """Kills this process when a step has come so often."""

    def __init__(self, step: str, count: int) -> None:
        self._step = step
        self._left = count

    def __call__(self, name: str) -> None:
        if name == self._step:
            if not self._left:
                os.kill(os.getpid(), signal.SIGKILL)
            self._left -= 1


def config_of(folder: Path, name: str) -> Config:
    """A box of the scene."""
    return Config(
        node=NodeConfig(name=name, data_dir=folder / name / "data", run_dir=folder / name / "run"),
        backup=BackupConfig(keep=2),
    )


def main(mode: str, folder: Path, step: str, count: int) -> None:
    death, clock = Death(step, count), SystemClock()
    if mode == "backup":
        config = config_of(folder, "box")
        keys = SiteKeys.load_existing(config.node.data_dir)
        backup_work.back_up(
            config,
            keys,
            folder / "usb",
            clock=clock,
            progress=lambda done, total: death("piece"),
            step=death,
        )
    else:
        kit = RecoveryKit.parse((folder / "kit.txt").read_text())
        restore_backup(config_of(folder, "new"), folder / "usb", kit, clock=clock, replace=True, step=death)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
