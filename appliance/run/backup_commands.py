"""What `homeport backup` does: through the node while it runs, on the files themselves while it is stopped."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import quote

from appliance.core.config import Config
from appliance.core.errors import HomeportError, NotFound, StorageError
from appliance.management.audit import LOCAL, Act
from appliance.run.local_api import LocalApi
from appliance.run.node_or_catalog import StoppedNode, node_or_catalog
from ui import backup_work
from ui.backup_desk import DIRECTORY_SETTING

Row = dict[str, Any]
Progress = Callable[[int, int], None]
POLL_S: Final = 0.5
_BEGUN: Final = "homeport-backup"


class BackupCommands(Protocol):
    """What can be done with backups from the command line."""

    def list(self) -> Row:
        """Backups that the box knows of, and the schedule."""

    def make(self, directory: Path | None, progress: Progress) -> Row:
        """Make one, in the schedule's folder for None; returns its row once it is done.

        Raises:
            HomeportError: it was not made.
        """

    def remove(self, backup_id: str) -> None:
        """Remove one. Raises NotFound, StorageError."""

    def schedule(self, directory: Path | None) -> None:
        """Choose the folder for backups that are made by themselves, None for none. Raises UsageError."""


class ThroughNode:
    """Asks the running node."""

    def __init__(self, api: LocalApi) -> None:
        self._api = api

    def list(self) -> Row:
        found: Row = self._api.get("/api/v1/backups")
        return found

    def make(self, directory: Path | None, progress: Progress) -> Row:
        wish = {} if directory is None else {"directory": str(directory)}
        job = self._api.post("/api/v1/backups", wish)
        while True:
            now = self.list()
            running = now["running"]
            if running is None or running["backup_id"] != job["backup_id"]:
                break
            progress(running["done"], running["total"])
            time.sleep(POLL_S)  # until the node says that it is done, or is gone
        for row in now["backups"]:
            if row["directory"] == job["directory"] and row["started_at_ms"] >= job["began_at_ms"]:
                if row["state"] != "done":
                    raise StorageError(row["detail"] or "The backup was not made.", code="backup_failed")
                done: Row = row
                return done
        raise StorageError("The node does not know what became of the backup.", hint="`homeport backup list`")

    def remove(self, backup_id: str) -> None:
        self._api.request("DELETE", f"/api/v1/backups/{quote(backup_id, safe='')}")

    def schedule(self, directory: Path | None) -> None:
        wish = {"directory": None if directory is None else str(directory)}
        self._api.request("PUT", "/api/v1/backups/schedule", wish)


class OnFiles:
    """Works on the files themselves, under the node's lock."""

    def __init__(self, node: StoppedNode) -> None:
        self._node = node

    def list(self) -> Row:
        directory = self._node.catalog.get_setting(DIRECTORY_SETTING)
        return {
            "backups": [dataclasses.asdict(row) for row in self._node.catalog.backups()],
            "schedule": {"directory": directory, "state": "stopped"},
            "running": None,
        }

    def make(self, directory: Path | None, progress: Progress) -> Row:
        node = self._node
        chosen = directory or node.catalog.get_setting(DIRECTORY_SETTING)
        if chosen is None:
            raise NotFound(
                "No folder is named, and none is chosen for the schedule.",
                hint="Name one: homeport backup now /media/usb/homeport",
                code="backup_directory_missing",
            )
        directory = Path(chosen)
        begun = f"{_BEGUN}-{node.clock.now_ms()}"
        with node.catalog.transaction(Act(action="backup.start", actor=LOCAL)):
            node.catalog.begin_backup(begun, str(directory))
            node.catalog.note("backup.start", object_kind="backup", object_id=str(directory))
        try:
            made = backup_work.back_up(node.config, node.keys, directory, clock=node.clock, progress=progress)
        except HomeportError as error:
            node.catalog.fail_backup(begun, str(error))
            raise
        manifest = made.manifest
        with node.catalog.transaction(Act(action="backup.start", actor=LOCAL)):
            node.catalog.finish_backup(
                begun,
                backup_id=manifest.backup_id,
                file_count=len(manifest.files),
                bytes_count=manifest.total_bytes,
                new_bytes=manifest.new_bytes,
                detail=made.note,
            )
            for gone in made.removed:
                node.catalog.forget_backup(gone)
        return dataclasses.asdict(node.catalog.done_backup(manifest.backup_id))

    def remove(self, backup_id: str) -> None:
        node = self._node
        row = node.catalog.done_backup(backup_id)
        repository = backup_work.open_repository(node.config.node.data_dir, node.keys, Path(row.directory))
        with node.catalog.transaction(Act(action="backup.remove", actor=LOCAL)):
            node.catalog.note("backup.remove", object_kind="backup", object_id=backup_id)
        backup_work.remove_backup(repository, backup_id)
        node.catalog.forget_backup(backup_id)

    def schedule(self, directory: Path | None) -> None:
        node = self._node
        if directory is not None:
            backup_work.check_allowed(node.config, directory)
        with node.catalog.transaction(Act(action="backup.schedule", actor=LOCAL)):
            node.catalog.set_setting(DIRECTORY_SETTING, None if directory is None else str(directory))


def backup_commands(config: Config) -> AbstractContextManager[BackupCommands]:
    """The running node, or the files under the node's lock if none runs. Raises as `node_or_catalog`."""
    return node_or_catalog(config, holder="homeport backup", through_node=ThroughNode, on_catalog=OnFiles)
