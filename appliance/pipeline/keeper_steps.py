"""How each step of the keeper is carried out: files first, then the store in one transaction, then what is left over goes.

Theory of operation. Whatever a step leaves behind when the process ends is one of three things: an unfinished generation; a finished one
that the store does not know of; an older one that it knows no longer. All three are rubbish, removed at the next start, and the step
is due again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from typing import Final

from appliance.core.clock import Clock
from appliance.core.errors import Conflict, NotFound, Unavailable
from appliance.management.retention import Retention
from appliance.pipeline.keeping import Step
from appliance.pipeline.store_work import StoreWork
from storage.archive import registering, restoring
from storage.archive.background import Background, Connection
from storage.archive.checked import Checked
from storage.archive.checking import Fault, check_files, check_generation
from storage.archive.days import DayState, read_days
from storage.archive.export import Exporter, Progress
from storage.archive.index import Generation, newest_of_days, read_generation, remove_generation, tidy
from storage.archive.layout import day_text
from storage.archive.manifest import ArchiveDamaged, ArchiveFile, Manifest, classification
from storage.archive.rewriting import Rewriter
from storage.archive.sizes import StoreSize, read_size
from storage.archive.taking import Taken, has_backlog, take
from storage.telemetry.database import archive_folder
from storage.telemetry.store import TelemetryStore

Stop = Callable[[], bool]

FOLDER_MODE: Final = 0o700


class Steps:
    """Carries out steps, one at a time. From the event loop.

    Args:
        store: Open. work: To its writer. on_progress: Told, from a thread, how far a step is.
        at_step: Told what is behind; tests end the process there.
    """

    def __init__(
        self,
        store: TelemetryStore,
        work: StoreWork,
        *,
        clock: Clock,
        on_progress: Callable[[Progress], None] = lambda _: None,
        at_step: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.at_step = at_step
        self._store = store
        self._work = work
        self._clock = clock
        self._on_progress = on_progress
        self._background = Background()
        self.root: Path = archive_folder(store.path)
        self.checked = Checked(self.root)
        self.newest: dict[int, Generation] = {}
        self.size = StoreSize()
        self.has_backlog = False
        """Whether readings of before the cursor are still to be stored: a generation could not say how far it goes."""

    def close(self) -> None:
        """End the thread, once nothing is under way."""
        self._background.close()

    async def begin(self, is_expired: Callable[[int], bool]) -> None:
        """Make the folder, remove what was left over, and read what is there. Raises OSError, StorageError.

        Args:
            is_expired: Whether a day is to be nowhere any more.
        """

        def work(connection: Connection, _: Stop) -> None:
            self.root.mkdir(mode=FOLDER_MODE, exist_ok=True)
            known = {
                state.day: state.generation
                for state in read_days(connection)
                if state.generation is not None or state.is_whole
            }
            tidy(self.root, known, is_expired)
            self.checked.load()
            self.newest = newest_of_days(self.root)

        await self._background.run(self._store, work)

    async def days(self) -> list[DayState]:
        """How each day stands; `size` and `has_backlog` are then as the store is."""

        def work(connection: Connection, _: Stop) -> list[DayState]:
            self.size = read_size(connection)
            self.has_backlog = has_backlog(connection)
            states = read_days(connection)
            self._find_manifests(states)
            return states

        return await self._background.run(self._store, work)

    def _find_manifests(self, states: list[DayState]) -> None:
        """Read those that others made known to the store: a rebuild, a repair."""
        for state in states:
            known = self.newest.get(state.day)
            if state.generation is None or (known is not None and known.generation == state.generation):
                continue
            self.newest[state.day] = read_generation(self.root, state.day, state.generation)

    def manifest_of(self, state: DayState) -> Manifest:
        """The manifest of the generation that the store knows of.

        Raises:
            NotFound: `archive_day_unknown`: it is in none. ArchiveDamaged: it is gone or can't be read.
        """
        found = self.newest.get(state.day)
        if state.generation is None:
            raise NotFound(
                f"{day_text(state.day)} is not in the archive.",
                hint="Look at the list of days.",
                code="archive_day_unknown",
            )
        if found is None or found.manifest is None or found.generation != state.generation:
            raise ArchiveDamaged(
                f"Generation {state.generation} of {day_text(state.day)} is missing in the archive.",
                hint="Put it back from a backup; where the store still has the day, it is archived again by itself.",
            )
        return found.manifest

    async def carry_out(self, step: Step, state: DayState, retention: Retention) -> int:
        """Do one step.

        Returns:
            Readings that left the store.
        Raises:
            Unavailable: `archive_day_changed`, `archive_stopped`: again later. ArchiveDamaged, StorageError, OSError.
        """
        if step.kind == "forget":
            return await self._forget(state)
        if step.kind == "expire":
            assert step.classes is not None
            await self._expire(state, step.classes)
            return 0
        if step.kind == "absorb":
            await self._work.run(partial(registering.absorb, day=state.day))
            return 0
        with_other = step.kind == "cool"
        taken = await self._take(state.day, with_other=with_other)
        if step.needs_generation:
            manifest = await self._export(taken, state, retention)
        else:
            manifest = self.manifest_of(state)
            if taken.rows != manifest.rows:
                raise Unavailable(
                    f"Readings of {day_text(state.day)} came meanwhile.",
                    hint="It is archived again by itself.",
                    code="archive_day_changed",
                )
            # It was read back when it was made, which may be months ago: once more before it is all that there is.
            if faults := await self.verify(state, with_rows=False):
                raise ArchiveDamaged(
                    f"{day_text(state.day)} stays in the store: in the archive, {faults[0].file or 'its manifest'}: {faults[0].problem}.",
                    hint="It is archived again by itself. Look at the disk's health.",
                )
        removed = 0
        if step.kind == "archive":
            await self._work.run(partial(registering.register, taken=taken, manifest=manifest))
        else:
            removed = await self._work.run(
                partial(registering.cool, taken=taken, manifest=manifest, classes=step.classes)
            )
        self.at_step("registered")
        await self._known(state, manifest)
        return removed

    async def verify(self, state: DayState, *, with_rows: bool = True) -> list[Fault]:
        """Read a day's generation back, and note what was found. Raises NotFound, OSError."""
        if state.generation is None:
            self.manifest_of(state)
        generation = state.generation or 0

        def work(connection: Connection, stop: Stop) -> list[Fault]:
            found = check_generation(
                self.root,
                state.day,
                generation,
                connection=connection if with_rows else None,
                check_stop=partial(_check_stop, stop),
            )
            self.checked.note(state.day, generation, self._clock.now_ms(), found)
            return found

        return await self._background.run(self._store, work)

    async def restore(self, state: DayState, until_day: int) -> int:
        """Bring a day back into the store.

        Returns:
            Readings that are in the store again.
        Raises:
            Conflict: `archive_day_hot`: it is in the store. NotFound, ArchiveDamaged, StorageError.
        """
        manifest = self.manifest_of(state)
        if state.is_whole:
            raise Conflict(
                f"{day_text(state.day)} is in the store.",
                hint="It need not be restored.",
                code="archive_day_hot",
            )

        def check(connection: Connection, stop: Stop) -> list[ArchiveFile]:
            check_files(self.root, state.day, manifest.generation, partial(_check_stop, stop))
            return restoring.registered_files(connection, manifest)

        files = await self._background.run(self._store, check)
        parts = list(restoring.steps(self.root, manifest, files))
        for number, part in enumerate(parts):
            self._on_progress(Progress(number, len(parts)))
            await self._work.run(part)
            self.at_step("brought")
        rows = await self._work.run(partial(restoring.finish, manifest=manifest, until_day=until_day))
        self.at_step("restored")
        return rows

    async def _take(self, day: int, *, with_other: bool) -> Taken:
        taken = await self._background.run(
            self._store, lambda connection, _: take(connection, day, with_other=with_other)
        )
        if taken is None:
            raise Unavailable(
                "Readings from the log are still to be stored, or dead letters were read again just now.",
                hint="The archive goes on by itself, with the next message that is stored.",
                code="archive_backlog",
            )
        return taken

    async def _export(self, taken: Taken, state: DayState, retention: Retention) -> Manifest:
        before = self.manifest_of(state) if taken.cold else None

        def work(connection: Connection, stop: Stop) -> Manifest:
            if before is not None:
                # What is read from files goes into new ones: damage must not be carried over.
                check_files(self.root, state.day, before.generation, partial(_check_stop, stop))
            exporter = Exporter(
                self.root,
                clock=self._clock,
                # Some of its classes are in the archive alone: which ones must mean the same in the next generation.
                retention=retention if before is None else classification(before),
                stop=stop,
                on_progress=self._on_progress,
            )
            return exporter.export(connection, taken)

        manifest = await self._background.run(self._store, work)
        self.at_step("published")
        return manifest

    async def _known(self, state: DayState, manifest: Manifest) -> None:
        """The store knows of a generation: the ones before it go."""
        day = state.day

        def work(_: Connection, stop: Stop) -> None:
            if state.generation is not None and state.generation != manifest.generation:
                remove_generation(self.root, day, state.generation)
                self.checked.forget(day)
            self.newest[day] = Generation(day, manifest.generation, manifest)

        await self._background.run(self._store, work)
        self.at_step("removed")

    async def _expire(self, state: DayState, classes: Collection[str]) -> None:
        before = self.manifest_of(state)

        def work(connection: Connection, stop: Stop) -> Manifest:
            rewriter = Rewriter(self.root, clock=self._clock, stop=stop)
            return rewriter.without_classes(connection, before, classes)

        manifest = await self._background.run(self._store, work)
        self.at_step("published")
        await self._work.run(
            partial(registering.replace_generation, manifest=manifest, before=before, gone=classes)
        )
        self.at_step("registered")
        await self._known(state, manifest)

    async def _forget(self, state: DayState) -> int:
        await self._work.run(partial(registering.forget, day=state.day))
        self.at_step("forgotten")

        def work(_: Connection, stop: Stop) -> None:
            if state.generation is not None:
                remove_generation(self.root, state.day, state.generation)
            self.checked.forget(state.day)
            self.newest.pop(state.day, None)

        await self._background.run(self._store, work)
        return state.hot + state.other

    async def erase_from_files(self, device: str) -> int:
        """Take a device's rows out of all files.

        Returns:
            Those of them that were in the archive alone.
        Raises:
            ArchiveDamaged: a generation is missing or not what was written; all others are done.
        """
        removed = 0
        damaged: ArchiveDamaged | None = None
        for state in await self.days():
            if state.generation is None:
                continue
            try:
                before = self.manifest_of(state)

                def work(
                    connection: Connection, stop: Stop, before: Manifest = before
                ) -> tuple[Manifest, dict[str, int]]:
                    rewriter = Rewriter(self.root, clock=self._clock, stop=stop)
                    return rewriter.without_device(connection, before, device)

                manifest, rows = await self._background.run(self._store, work)
            except ArchiveDamaged as error:
                damaged = damaged or error
                continue
            if rows:
                self.at_step("published")
                await self._work.run(
                    partial(registering.replace_generation, manifest=manifest, before=before)
                )
                self.at_step("registered")
                await self._known(state, manifest)
                removed += sum(count for class_id, count in rows.items() if class_id in state.cold_classes)
        if damaged is not None:
            raise damaged
        return removed


def _check_stop(stop: Stop) -> None:
    if stop():
        raise Unavailable(
            "The archive's work was stopped.", hint="It goes on by itself.", code="archive_stopped"
        )
