"""A keeper to be killed: `python -m tests.crash.keeper_process FOLDER TASK POINT COUNT` dies at a planted point.

TASK is `keep` (whatever is due), `restore` (the day READ_DAY) or `erase` (the device `a`). POINT is what Steps tells of; the
process sends itself SIGKILL when it comes there the COUNT-th time. With POINT `none` it ends when nothing is left to do.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import trio

from appliance.management.retention import Retention, RetentionClass, default_class
from storage.archive import restoring
from tests.archive_kit import TODAY, Conditions, Filled, kept

POINTS = {
    "keep": ("published", "registered", "removed", "forgotten"),
    "restore": ("brought", "restored"),
    "erase": ("day erased", "published", "registered", "removed", "erased"),
}
COLD_DAY = TODAY - 5
CLASSES = Retention(
    (RetentionClass(class_id="vib", metric="vib_*", hot_days=1, archive_days=30),), default_class(3, 400)
)


def planted(point: str, count: int) -> object:
    left = count

    def at_step(name: str) -> None:
        nonlocal left
        if name == point:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    return at_step


async def main(folder: Path, task: str, point: str, count: int) -> None:
    filled = Filled(folder)
    async with kept(filled, Conditions(CLASSES), at_step=planted(point, count)) as scene:
        if task == "erase":
            scene.erasures.request("a")
        await scene.settle()
        if task == "restore" and scene.where()[TODAY - COLD_DAY] == "archived":
            await scene.keeper.restore(COLD_DAY, TODAY + 1)
        await scene.settle()
    filled.store.close()


if __name__ == "__main__":
    setattr(restoring, "ARCHIVE_RESTORE_ROW_COUNT", 30)  # noqa: B010 - a constant, for everybody but this process
    trio.run(main, Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4]))
