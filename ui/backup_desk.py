"""What pages and API do with backups: one job at a time, in a thread of low priority; the schedule; what is shown of them.

A row of the catalog tells of each backup, so that the pages know of it while its disk is away. A disk that is not connected
when the schedule wants it is a state that is shown, not a failure that is repeated.

Must not know: requests.
"""

from __future__ import annotations

import os
import secrets
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal

import trio

from appliance.core import logs
from appliance.core.clock import Clock
from appliance.core.config import Config
from appliance.core.errors import Conflict, HomeportError, StorageError, Unavailable
from appliance.core.limits import BACKUP_DISK_TIMEOUT_MS, BACKUP_RETRY_MS, BACKUP_SCHEDULE_INTERVAL_MS
from appliance.identity.keys import SiteKeys
from appliance.management.audit import SYSTEM, Act
from storage.backup import repository as repositories
from storage.backup.manifest import Manifest
from storage.backup.verify import Verified
from storage.catalog import AsyncCatalog, Catalog
from storage.catalog.backups import BackupRow
from ui import backup_work

JobKind = Literal["backup", "verify", "restore test"]
ScheduleState = Literal["off", "waiting", "away", "due", "running"]
DIRECTORY_SETTING: Final = "backup.directory"
NICENESS: Final = 15
HOUR_MS: Final = 3_600_000
_MADE_BY_SCHEDULE: Final = Act(action="backup.start", actor=SYSTEM)
_log = logs.get(__name__)


@dataclass(slots=True)
class Job:
    """Something under way. `done` and `total` are bytes, written by its thread."""

    kind: JobKind
    directory: Path
    row_id: str
    began_at_ms: int
    done: int = 0
    total: int = 0

    def progress(self, done: int, total: int) -> None:
        self.done, self.total = done, total


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupStatistics:
    """Numbers for metrics and the overview. Times are UTC ms, None for never.

    Attributes:
        newest: The newest backup that is done.
        last_problem: Of the last job that failed, in words; "" since one went well.
    """

    newest: BackupRow | None
    made_total: int
    failed_total: int
    verify_failed_total: int
    state: ScheduleState
    directory: Path | None
    due_at_ms: int | None
    last_problem: str
    running: Job | None


class BackupDesk:
    """See the module. `run` it beside the node; `Services.backups`."""

    def __init__(self, config: Config, keys: SiteKeys, catalog: AsyncCatalog, *, clock: Clock) -> None:
        self._config = config
        self._keys = keys
        self._catalog = catalog
        self._clock = clock
        self._stop = threading.Event()
        # One place: only who reserved the one job sends.
        self._jobs, self._asked = trio.open_memory_channel[tuple[Job, Callable[[], Any]]](1)
        self._job: Job | None = None
        self._newest: BackupRow | None = None
        self._directory: Path | None = None
        self._state: ScheduleState = "off"
        self._due_at_ms: int | None = None
        self._made = self._failed = self._verify_failed = 0
        self._last_problem = ""

    def statistics(self) -> BackupStatistics:
        return BackupStatistics(
            newest=self._newest,
            made_total=self._made,
            failed_total=self._failed,
            verify_failed_total=self._verify_failed,
            state="running" if self._job is not None else self._state,
            directory=self._directory,
            due_at_ms=self._due_at_ms,
            last_problem=self._last_problem,
            running=self._job,
        )

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Do what is asked for, and what is due. Runs until cancelled; a job under way is then left within one piece."""
        is_begun = await self._try(self._clean_up)
        task_status.started()
        pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="backup", initializer=_give_way)
        try:
            while True:
                asked = None
                with trio.move_on_after(BACKUP_SCHEDULE_INTERVAL_MS / 1000):
                    asked = await self._asked.receive()
                if asked is not None:
                    await self._try(partial(self._carry_out, pool, *asked))
                is_begun = is_begun or await self._try(self._clean_up)
                await self._try(self._begin_what_is_due)
        finally:
            self._stop.set()
            with trio.CancelScope(shield=True):  # a piece and its fsync at most
                await trio.to_thread.run_sync(pool.shutdown)

    async def _try(self, step: Callable[[], Awaitable[None]]) -> bool:
        """Do something of the catalog; one that is away is waited for, since the repository has what was made.

        Returns:
            Whether it was done.
        """
        try:
            await step()
        except HomeportError as error:
            _log.error("backups wait for the catalog", error=error.message, code=error.code)
            return False
        return True

    async def _clean_up(self) -> None:
        """What a node that ended left as running has failed."""
        if self._job is None:
            await self._catalog.write(
                lambda catalog: catalog.fail_interrupted_backups(), by=_MADE_BY_SCHEDULE
            )
        await self._look()

    async def _begin_what_is_due(self) -> None:
        await self._look()
        if self._state == "due" and self._job is None and self._directory is not None:
            await self._begin_scheduled(self._directory)

    def reserve(self, kind: JobKind, directory: Path) -> Job:
        """Take the place of the one job, before it is noted that it begins; `begin` or `release` follows.

        Raises:
            Conflict: `backup_running`.
        """
        if self._job is not None:
            raise Conflict(
                f"There is a {self._job.kind} under way already.",
                hint="Wait until it is done; the page Backups shows how far it is.",
                code="backup_running",
            )
        now_ms = self._clock.now_ms()
        self._job = Job(kind, directory, f"running-{secrets.token_hex(8)}", now_ms)
        return self._job

    def release(self) -> None:
        """The reserved job does not begin."""
        self._job = None

    def begin_backup(self, job: Job, *, is_scheduled: bool = False) -> None:
        """Have the reserved backup made; its row is in the catalog.

        Args:
            is_scheduled: Nobody looks: no new repository is made in a folder that an absent disk left behind.
        """

        def work() -> backup_work.Made:
            # Once more: a link may have been put there since it was chosen.
            backup_work.check_allowed(self._config, job.directory)
            return backup_work.back_up(
                self._config,
                self._keys,
                job.directory,
                clock=self._clock,
                may_create=not is_scheduled,
                progress=job.progress,
                stop=self._stop.is_set,
            )

        self._begin(job, work)

    def begin_verify(self, job: Job, backup_id: str) -> None:
        """Have a backup read back."""

        def work() -> Verified:
            repository = self._repository(job.directory)
            return backup_work.verify_backups(
                repository, [backup_id], progress=job.progress, stop=self._stop.is_set
            )

        job.row_id = backup_id
        self._begin(job, work)

    def begin_restore_test(self, job: Job, backup_id: str) -> None:
        """Have a backup restored into a folder of its own, opened and removed."""

        def progress(done: int, total: int) -> None:
            job.progress(done, total)
            if self._stop.is_set():
                raise Unavailable(
                    "The test was left, because Homeport stops.",
                    hint="Start it again.",
                    code="backup_stopped",
                )

        def work() -> Manifest:
            repository = self._repository(job.directory)
            return backup_work.try_restore(
                repository, backup_id, self._config.node.data_dir, progress=progress
            )

        job.row_id = backup_id
        self._begin(job, work)

    async def remove(self, directory: Path, backup_id: str) -> int:
        """Remove a backup from its repository; gives the bytes freed. Raises NotFound, Conflict, StorageError."""
        job = self.reserve("verify", directory)
        try:
            return await trio.to_thread.run_sync(
                lambda: backup_work.remove_backup(self._repository(job.directory), backup_id)
            )
        finally:
            self.release()

    async def contents(self, directory: Path, backup_id: str) -> Manifest:
        """What is in a backup. Raises NotFound, StorageError."""
        return await trio.to_thread.run_sync(
            lambda: self._repository(directory).manifest(backup_id), abandon_on_cancel=True
        )

    async def check_directory(self, directory: Path) -> None:
        """Refuse a folder that is not allowed.

        Raises:
            UsageError: `backup_directory_refused`. Unavailable: `backup_disk_silent`.
        """
        with trio.move_on_after(BACKUP_DISK_TIMEOUT_MS / 1000):
            await trio.to_thread.run_sync(
                backup_work.check_allowed, self._config, directory, abandon_on_cancel=True
            )
            return
        raise Unavailable(
            f"The disk with {directory} does not answer.",
            hint="Look whether it is connected and healthy.",
            code="backup_disk_silent",
        )

    async def look(self) -> None:
        """See anew what is scheduled: somebody changed it."""
        await self._look()

    def _repository(self, directory: Path) -> repositories.Repository:
        return backup_work.open_repository(self._config.node.data_dir, self._keys, directory)

    def _begin(self, job: Job, work: Callable[[], Any]) -> None:
        assert self._job is job
        self._jobs.send_nowait((job, work))

    async def _carry_out(self, pool: ThreadPoolExecutor, job: Job, work: Callable[[], Any]) -> None:
        try:
            # Only the waiting is left when the node stops; `run` waits for the work itself.
            result = await trio.to_thread.run_sync(pool.submit(work).result, abandon_on_cancel=True)
        except (HomeportError, OSError) as error:
            await self._failed_job(job, error)
        else:
            await self._done_job(job, result)
        finally:
            self._job = None

    async def _done_job(self, job: Job, result: backup_work.Made | Verified | Manifest) -> None:
        self._last_problem = ""
        if isinstance(result, backup_work.Made):
            self._made += 1
            made = result.manifest

            def finish(catalog: Catalog) -> None:
                catalog.finish_backup(
                    job.row_id,
                    backup_id=made.backup_id,
                    file_count=len(made.files),
                    bytes_count=made.total_bytes,
                    new_bytes=made.new_bytes,
                    detail=result.note,
                )
                for gone in result.removed:
                    catalog.forget_backup(gone)

            await self._catalog.write(finish, by=_MADE_BY_SCHEDULE)
            _log.info("a backup is made", backup=made.backup_id, directory=str(job.directory),
                      bytes=made.total_bytes, new_bytes=made.new_bytes)  # fmt: skip
            return
        problem = result.problems[0] if isinstance(result, Verified) and result.problems else ""
        if problem:
            self._verify_failed += 1
            self._last_problem = problem
            _log.error("a backup is damaged", backup=job.row_id, problem=problem)
        await self._catalog.write(
            lambda catalog: catalog.verified_backup(job.row_id, problem), by=_MADE_BY_SCHEDULE
        )

    async def _failed_job(self, job: Job, error: HomeportError | OSError) -> None:
        told = error if isinstance(error, HomeportError) else StorageError(f"The disk failed: {error}.")
        self._last_problem = str(told)
        _log.error(f"a {job.kind} failed", directory=str(job.directory), error=told.message, code=told.code)
        if job.kind == "backup":
            self._failed += 1
            await self._catalog.write(
                lambda catalog: catalog.fail_backup(job.row_id, str(told)), by=_MADE_BY_SCHEDULE
            )
        else:
            self._verify_failed += 1
            await self._catalog.write(
                lambda catalog: catalog.verified_backup(job.row_id, str(told)), by=_MADE_BY_SCHEDULE
            )

    async def _look(self) -> None:
        """What is scheduled, what is newest, and whether one is due."""
        rows, text = await self._catalog.read(
            lambda catalog: (catalog.backups(), catalog.get_setting(DIRECTORY_SETTING))
        )
        self._newest = next((row for row in rows if row.state == "done"), None)
        self._directory = Path(text) if text else None
        self._state, self._due_at_ms = "off", None
        if self._directory is None:
            return
        ours = [row for row in rows if row.directory == str(self._directory)]
        done = next((row for row in ours if row.state == "done"), None)
        due, now_ms = 0, self._clock.now_ms()
        if (
            done is not None and done.started_at_ms <= now_ms
        ):  # else the clock was ahead then: who knows how old it is
            due = done.started_at_ms + self._config.backup.interval_hours * HOUR_MS
        if ours and ours[0].state == "failed":
            self._last_problem = self._last_problem or ours[0].detail
            due = max(due, min(ours[0].finished_at_ms or 0, now_ms) + BACKUP_RETRY_MS)
        self._due_at_ms = due or now_ms
        if not await _is_there(self._directory):
            self._state = "away"
        else:
            self._state = "due" if due <= self._clock.now_ms() else "waiting"

    async def _begin_scheduled(self, directory: Path) -> None:
        try:
            job = self.reserve("backup", directory)
        except Conflict:
            return

        def write(catalog: Catalog) -> None:
            catalog.begin_backup(job.row_id, str(directory))
            catalog.note("backup.start", object_kind="backup", object_id=str(directory))

        try:
            await self._catalog.write(write, by=_MADE_BY_SCHEDULE)
        except HomeportError as error:
            self.release()
            _log.error("a backup that is due could not be begun", error=error.message, code=error.code)
            return
        self.begin_backup(job, is_scheduled=True)


async def _is_there(directory: Path) -> bool:
    """Whether the repository is; a disk that does not answer is as good as away."""
    with trio.move_on_after(BACKUP_DISK_TIMEOUT_MS / 1000):
        return await trio.to_thread.run_sync(repositories.has_header, directory, abandon_on_cancel=True)
    return False


def _give_way() -> None:
    """Let everything else go first."""
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
