"""What API and pages do with artifacts: one set of rules for both, and what looks after the bytes meanwhile."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import trio

from appliance.core import logs
from appliance.core.clock import Clock
from appliance.core.errors import HomeportError, StorageError
from appliance.core.ids import RandomBytes
from appliance.core.limits_updates import (
    ARTIFACT_CHECK_INTERVAL_S,
    ARTIFACT_UPKEEP_INTERVAL_S,
    UPLOAD_IDLE_MS_MAX,
)
from appliance.identity import SiteKeys
from appliance.management import artifact_format
from appliance.management.artifact_image import Found
from appliance.management.audit import SYSTEM, Act
from storage.artifacts.store import ArtifactStore, StoreStatistics
from storage.catalog import AsyncCatalog
from storage.catalog.artifacts import Artifact
from ui.artifact_keys_desk import ArtifactKeysDesk
from ui.artifact_uploads import ArtifactUploads

T = TypeVar("T")
_log = logs.get(__name__)
_UPKEEP: Final = Act(action="artifact.upkeep", actor=SYSTEM)


class ArtifactDesk:
    """See the module's docstring. `run` it beside the node.

    Attributes:
        uploads: What becomes an artifact. keys: Manifests, signatures, and whose count.
    """

    def __init__(
        self,
        store: ArtifactStore,
        catalog: AsyncCatalog,
        keys: SiteKeys,
        *,
        clock: Clock,
        data_dir: Path,
        random_bytes: RandomBytes = secrets.token_bytes,
    ) -> None:
        self.store = store
        self._catalog = catalog
        self._clock = clock
        self._reading = trio.CapacityLimiter(1)
        self._writing = trio.CapacityLimiter(4)
        self._looking = trio.CapacityLimiter(1)
        """Unpacking a header may take ARTIFACT_LZMA_BYTES_MAX of memory: one at a time."""
        self.uploads = ArtifactUploads(
            store,
            catalog,
            random_bytes=random_bytes,
            reading=self._reading,
            writing=self._writing,
            look=self.look,
        )
        self.keys = ArtifactKeysDesk(catalog, keys, clock=clock, data_dir=data_dir)
        self._numbers = StoreStatistics(
            blob_count=0, blob_bytes=0, upload_count=0, upload_bytes=0, damaged_count=0
        )
        self._damaged: frozenset[str] = frozenset()

    async def remove(self, artifact_id: str, act: Act) -> Artifact:
        """Remove an artifact, and its bytes if no other has the same.

        Raises:
            NotFound: `artifact_unknown`. Conflict: `artifact_in_use`. StorageError: the disk failed; the bytes go later.
        """
        found = await self._catalog.write(lambda catalog: catalog.remove_artifact(artifact_id), by=act)
        async with self.uploads.finishing:
            named = await self._catalog.read(lambda catalog: catalog.artifact_digests())
            if found.sha256 not in named:
                await self._in_thread(partial(self.store.remove, [found.sha256]))
        await self.look()
        return found

    async def check(self, sha256: str) -> None:
        """Read an artifact's bytes through and compare them. Raises NotFound: `artifact_bytes_missing`; StorageError: `artifact_damaged`."""
        try:
            async with self._reading:
                await self._in_thread(partial(self.store.check_blob, sha256))
        finally:
            await self.look()

    async def found_in(self, artifact: Artifact) -> Found | None:
        """What an artifact's image says of itself, for people; None where its bytes can't be read."""

        def read() -> Found:
            blob = self.store.peek(artifact.sha256)
            return artifact_format.recognize(blob.size_bytes, blob.read, artifact.format)

        try:
            return await trio.to_thread.run_sync(read, limiter=self._looking)
        except HomeportError:
            return None

    def is_damaged(self, sha256: str) -> bool:
        """Whether the bytes were found to be others than they should be, by the last look."""
        return sha256 in self._damaged

    def statistics(self) -> StoreStatistics:
        """What lay there at the last look."""
        return self._numbers

    # --- upkeep -------------------------------------------------------------------------------------------
    async def run(self) -> None:
        """Look after uploads that nobody goes on with, bytes that nothing names, and damage; until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._check_slowly)
            while True:
                try:
                    await self.upkeep()
                except HomeportError as error:
                    _log.warning("artifacts can't be looked after", code=error.code, error=error.message)
                await trio.sleep(ARTIFACT_UPKEEP_INTERVAL_S)

    async def upkeep(self) -> None:
        """One look. Raises StorageError, Unavailable."""
        before_ms = self._clock.now_ms() - UPLOAD_IDLE_MS_MAX
        async with self.uploads.beginning:  # an upload has its file a moment before its row
            there = await self._in_thread(self.store.uploads.sizes)
            uploads = await self._catalog.read(lambda catalog: catalog.artifact_uploads())
            known = {each.upload_id for each in uploads}
            for upload_id in there.keys() - known:
                await self._in_thread(partial(self.store.uploads.remove, upload_id))
        for each in uploads:
            if each.upload_id not in there or (
                each.updated_at_ms < before_ms and not self.uploads.is_being_sent(each.upload_id)
            ):
                await self.uploads.abandon(each.upload_id, _UPKEEP)
        async with self.uploads.finishing:  # and bytes have theirs a moment before the artifact's row
            blobs = await self._in_thread(self.store.names)
            named = await self._catalog.read(lambda catalog: catalog.artifact_digests())
            nameless = blobs.keys() - named
            if nameless:
                freed = await self._in_thread(partial(self.store.remove, nameless))
                _log.info("images that nothing names are removed", count=len(nameless), bytes=freed)
        await self.look()

    async def look(self) -> None:
        """Count what lies there; a disk that fails is no reason to refuse what was done before."""
        try:
            self._numbers = await self._in_thread(self.store.statistics)
            self._damaged = await self._in_thread(self.store.damaged)
        except StorageError as error:
            _log.warning("artifacts can't be counted", code=error.code, error=error.message)

    async def _check_slowly(self) -> None:
        """Read one image after another through, with long pauses: all of them in a few days."""
        while True:
            try:
                found = await self._catalog.read(lambda catalog: catalog.artifacts())
            except HomeportError as error:
                _log.warning("artifacts can't be checked", code=error.code, error=error.message)
                found = ()
            for artifact in found:
                await trio.sleep(ARTIFACT_CHECK_INTERVAL_S)
                try:
                    await self.check(artifact.sha256)
                except HomeportError as error:
                    _log.error(
                        "an artifact's bytes are not what they were",
                        artifact=artifact.artifact_id,
                        code=error.code,
                        error=error.message,
                    )
            await trio.sleep(ARTIFACT_CHECK_INTERVAL_S)

    async def _in_thread(self, fn: Callable[[], T]) -> T:
        return await trio.to_thread.run_sync(fn, limiter=self._writing)
