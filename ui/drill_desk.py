"""What pages and API do with drills: one at a time, in a process of its own; the schedule; the newest reports.

The reports lie in one file, which is lost with the box: they are about this box, and of no use to another. A drill's process ends with this one, and
what it leaves of its scratch copy is removed here, when it ends and when this begins.

Must not know: what a drill does, requests.
"""

from __future__ import annotations

import secrets
import shutil
import subprocess
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec
import trio

from appliance.core import logs
from appliance.core.clock import Clock
from appliance.core.errors import Conflict, HomeportError, NotFound, StorageError
from appliance.core.limits_replication import (
    DRILL_KEPT_COUNT,
    DRILL_LINE_BYTES_MAX,
    DRILL_LOOK_INTERVAL_S,
    DRILL_RETRY_MS,
)
from appliance.management.audit import SYSTEM, Act
from appliance.management.drill import SOURCES, DrillProgress, DrillReport, From, due_at_ms, of
from storage.backup.disk_folder import write_file
from storage.catalog import AsyncCatalog, Catalog

ACTION: Final = "drill.start"
KILL_S: Final = 5.0
_BY_SCHEDULE: Final = Act(action=ACTION, actor=SYSTEM)
_log = logs.get(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class DrillPlaces:
    """Where things are.

    Attributes:
        command: The program that carries out a drill; its id, and out of what, are added.
        reports: The file with the newest. scratch: The folder that a drill leaves if it is killed.
    """

    command: Sequence[str]
    reports: Path
    scratch: Path
    fleet: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class DrillsNow:
    """What there is to show. `kept` has the newest first; `due_at_ms` is None where none is scheduled. `cloud_…`: of those out of the cloud."""

    running: DrillProgress | None
    kept: tuple[DrillReport, ...]
    days: int
    due_at_ms: int | None
    cloud_days: int = 0
    cloud_due_at_ms: int | None = None


class DrillDesk:
    """See the module. `run` it beside the node.

    Args:
        days, cloud_days: Between two scheduled ones, out of peers and out of the cloud; 0 for none.
    """

    def __init__(
        self,
        places: DrillPlaces,
        catalog: AsyncCatalog,
        *,
        days: int,
        clock: Clock,
        cloud_days: int = 0,
    ) -> None:
        self._places = places
        self._catalog = catalog
        self._days: dict[From, int] = {"peers": days, "cloud": cloud_days}
        self._region = ""
        self._clock = clock
        self._kept: tuple[DrillReport, ...] = ()
        self._running: DrillProgress | None = None
        self._by = ""
        self._called_off = False
        self._process: trio.Process | None = None
        self._asked = trio.Event()

    def now(self) -> DrillsNow:
        return DrillsNow(
            running=self._running,
            kept=self._kept,
            days=self._days["peers"],
            due_at_ms=self._due("peers"),
            cloud_days=self._days["cloud"],
            cloud_due_at_ms=self._due("cloud"),
        )

    def _due(self, source: From) -> int | None:
        return due_at_ms(
            of(self._kept, source),
            days=self._days[source],
            retry_ms=DRILL_RETRY_MS,
            now_ms=self._clock.now_ms(),
        )

    async def run(self) -> None:
        """Carries out what is asked for and what is due, until cancelled."""
        self._kept = await trio.to_thread.run_sync(_read, self._places.reports)
        await self._clean()
        while True:
            if self._running is not None:
                await self._carry_out(self._running)
            with trio.move_on_after(DRILL_LOOK_INTERVAL_S):
                await self._asked.wait()
            self._asked = trio.Event()
            if self._running is None:
                await self._begin_if_due()

    def reserve(
        self, *, by: str, is_scheduled: bool = False, source: From = "peers", region: str = ""
    ) -> DrillProgress:
        """Takes the place of the one drill; `begin` or `release` follows.

        Args:
            region: Of the cloud, by name; "" for the first that can be asked.
        Raises:
            Conflict: `drill_running`. NotFound: `fleet_missing`.
        """
        if self._running is not None:
            raise Conflict(
                "A drill is under way already.",
                hint="Wait until it has ended, or call it off: homeport drill stop.",
                code="drill_running",
            )
        if not self._places.fleet.is_dir():
            raise NotFound(
                "This box belongs to no fleet: nobody has a copy of it that could be tried.",
                hint="homeport peer invite begins one.",
                code="fleet_missing",
            )
        self._running = DrillProgress(
            drill_id=secrets.token_hex(8),
            is_scheduled=is_scheduled,
            begun_at_ms=self._clock.now_ms(),
            source=source,
        )
        self._by, self._called_off, self._region = by, False, region
        return self._running

    def release(self) -> None:
        """The reserved one does not begin."""
        self._running = None

    def begin(self) -> None:
        """Have the reserved one carried out; it is in the audit."""
        self._asked.set()

    def call_off(self) -> DrillProgress:
        """End the drill that is under way.

        Raises:
            NotFound: `drill_unknown`: there is none.
        """
        if self._running is None:
            raise NotFound("No drill is under way.", hint="homeport drill list", code="drill_unknown")
        self._called_off = True
        if self._process is not None:
            self._process.kill()
        return self._running

    async def _begin_if_due(self) -> None:
        dues = [(at_ms, source) for source in SOURCES if (at_ms := self._due(source)) is not None]
        due, source = min(dues, default=(None, SOURCES[0]))
        if due is None or due > self._clock.now_ms() or not self._places.fleet.is_dir():
            return
        progress = self.reserve(by="", is_scheduled=True, source=source)

        def note(catalog: Catalog) -> None:
            catalog.note(ACTION, object_kind="drill", object_id=progress.drill_id)

        try:
            await self._catalog.write(note, by=_BY_SCHEDULE)
        except HomeportError as error:
            self.release()
            _log.error("a drill that is due could not be begun", error=error.message, code=error.code)
            return
        self.begin()

    async def _carry_out(self, begun: DrillProgress) -> None:
        report: DrillReport | None = None
        try:
            if not self._called_off:
                report = await self._run_process(begun)
        except OSError as error:
            report = self._ended(begun, "failed", f"The drill's process can't be started: {error}.")
        finally:
            with trio.CancelScope(shield=True):
                await self._clean()
        if self._called_off:
            report = self._ended(begun, "called_off", "")
        elif report is None:
            report = self._ended(begun, "failed", "The drill's process ended before it was done.")
        report = msgspec.structs.replace(report, by=self._by)
        kept = _newest((report, *self._kept))
        self._kept, self._running = kept, None
        _log.info("a drill has ended", drill=report.drill_id, outcome=report.outcome, problem=report.problem)
        try:
            await trio.to_thread.run_sync(_write, self._places.reports, kept)
        except StorageError as error:
            _log.error("what a drill found was not kept", error=error.message, hint=error.hint)

    async def _run_process(self, begun: DrillProgress) -> DrillReport | None:
        words = [
            *self._places.command,
            "--id",
            begun.drill_id,
            *(["--scheduled"] if begun.is_scheduled else []),
            *(["--cloud", "--region", self._region] if begun.source == "cloud" else []),
        ]
        process = await trio.lowlevel.open_process(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._process = process
        report: DrillReport | None = None
        try:
            assert process.stdout is not None
            async with aclosing(_lines(process.stdout)) as lines:
                async for line in lines:
                    said: Any = msgspec.json.decode(line)
                    match said:
                        case {"t": "progress", "step": str(step), "done": int(done), "total": int(total)}:
                            self._running = msgspec.structs.replace(begun, step=step, done=done, total=total)
                        case {"t": "report", "report": dict(fields)}:
                            report = msgspec.convert(fields, DrillReport)
            await process.wait()
        except (msgspec.MsgspecError, ValueError) as error:
            return self._ended(
                begun, "failed", f"The drill's process says what can't be understood: {error}."
            )
        finally:
            self._process = None
            process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()
                for pipe in (process.stdin, process.stdout):
                    if pipe is not None:
                        await pipe.aclose()
        return report

    def _ended(self, begun: DrillProgress, outcome: Any, problem: str) -> DrillReport:
        return DrillReport(
            drill_id=begun.drill_id,
            outcome=outcome,
            is_scheduled=begun.is_scheduled,
            begun_at_ms=begun.begun_at_ms,
            ended_at_ms=self._clock.now_ms(),
            source=begun.source,
            problem=problem,
        )

    async def _clean(self) -> None:
        await trio.to_thread.run_sync(partial(shutil.rmtree, self._places.scratch, ignore_errors=True))


def _newest(kept: tuple[DrillReport, ...]) -> tuple[DrillReport, ...]:
    """The newest of each source: by those it is known when the next is due, and the one must not push out the other's."""
    counts = dict.fromkeys(SOURCES, 0)
    found = []
    for each in kept:
        counts[each.source] += 1
        if counts[each.source] <= DRILL_KEPT_COUNT:
            found.append(each)
    return tuple(found)


def _read(path: Path) -> tuple[DrillReport, ...]:
    """The reports that are kept; none where the file isn't there or can't be understood."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=tuple[DrillReport, ...])
    except FileNotFoundError:
        return ()
    except (OSError, msgspec.MsgspecError) as error:
        _log.warning("what earlier drills found can't be read", path=str(path), error=str(error))
        return ()


def _write(path: Path, kept: tuple[DrillReport, ...]) -> None:
    """Raises StorageError."""
    write_file(path, msgspec.json.encode(kept))


async def _lines(stream: trio.abc.ReceiveStream) -> AsyncGenerator[bytes, None]:
    """Raises ValueError for one that is too long."""
    waiting = b""
    while piece := await stream.receive_some():
        waiting += piece
        *whole, waiting = waiting.split(b"\n")
        for line in whole:
            yield line
        if len(waiting) > DRILL_LINE_BYTES_MAX:
            raise ValueError("a line has no end")
