"""What API and pages do with uploads of artifacts: begun within the room there is, sent in pieces, made an artifact or refused.

Whoever sends pieces of an upload takes it over from whoever sent before: a connection that was cut is often noticed late.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import ExitStack, aclosing
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final, TypeVar

import trio

from appliance.core import logs
from appliance.core.errors import Conflict, NotAuthorized, StorageError, UsageError
from appliance.core.ids import RandomBytes
from appliance.core.limits_updates import ARTIFACT_APPEND_BYTES
from appliance.management import artifact_format
from appliance.management.artifact_image import FORMAT_WORDS, ArtifactFormat, Found
from appliance.management.audit import SYSTEM, Act
from appliance.management.manifest import check_epoch
from storage.artifacts.store import ArtifactStore
from storage.catalog import AsyncCatalog, Catalog
from storage.catalog.artifact_uploads import ArtifactUpload
from storage.catalog.artifacts import Artifact

T = TypeVar("T")
_log = logs.get(__name__)
_ID_BYTES: Final = 8
_TOUCH: Final = Act(action="artifact.upload", actor=SYSTEM)


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadWish:
    """What is to be uploaded, and what it is said to be.

    Attributes:
        version: "" takes the image's own.
        format: None takes what it turns out to be.
        hw, epoch: None takes the image's own, or any hardware and epoch 0.
        is_rollback_image: It may be of an older epoch than its name has reached.
    """

    name: str
    version: str
    filename: str
    size_bytes: int
    sha256: str = ""
    format: ArtifactFormat | None = None
    hw: tuple[str, ...] | None = None
    min_version: str = ""
    max_version: str = ""
    epoch: int | None = None
    note: str = ""
    is_rollback_image: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadState:
    """An upload, and how many bytes of it have arrived."""

    upload: ArtifactUpload
    offset: int


@dataclass(slots=True)
class _Sender:
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    gone: trio.Event = field(default_factory=trio.Event)


class ArtifactUploads:
    """See the module's docstring.

    Args:
        reading: Images are read through one at a time: the disk is the log's.
        writing: For all other work in threads.
        look: Counts what lies there, once an upload is an artifact.
    """

    def __init__(
        self,
        store: ArtifactStore,
        catalog: AsyncCatalog,
        *,
        random_bytes: RandomBytes,
        reading: trio.CapacityLimiter,
        writing: trio.CapacityLimiter,
        look: Callable[[], Awaitable[None]],
    ) -> None:
        self.store = store
        self._catalog = catalog
        self._random = random_bytes
        self._reading = reading
        self._writing = writing
        self._look = look
        self.beginning = trio.Lock()
        """Held while an upload has its file and not yet its row."""
        self.finishing = trio.Lock()
        """Held while bytes have their name and not yet the artifact's row: nothing that nobody names is removed meanwhile."""
        self._senders: dict[str, _Sender] = {}
        self._noted: dict[str, str] = {}
        self.received_bytes = 0
        """Taken in since the start."""

    async def begin(
        self, wish: UploadWish, act: Act, *, also: Callable[[Catalog], None] | None = None
    ) -> UploadState:
        """Begin an upload, if there is room for it and its name is free.

        Args:
            also: Done in the transaction that makes it.
        Raises:
            Conflict: `artifact_exists`, `upload_exists`, `artifact_epoch_low`. LimitExceeded: `artifact_too_large`, `artifact_quota`,
                `upload_count`. StorageError: `disk_full`, or the disk failed.
        """
        upload = ArtifactUpload(
            upload_id=self._random(_ID_BYTES).hex(),
            name=wish.name,
            version=wish.version,
            filename=wish.filename,
            size_bytes=wish.size_bytes,
            sha256=wish.sha256,
            fields={
                "format": wish.format,
                "hw": None if wish.hw is None else list(wish.hw),
                "min_version": wish.min_version,
                "max_version": wish.max_version,
                "epoch": wish.epoch,
                "note": wish.note,
                "is_rollback_image": wish.is_rollback_image,
            },
            created_by=act.actor.name,
            created_at_ms=0,
            updated_at_ms=0,
        )

        def write(catalog: Catalog) -> None:
            if wish.version:
                catalog.check_artifact_free(wish.name, wish.version)
            if wish.epoch is not None:
                self._check_epoch(catalog, upload, wish.epoch)
            catalog.add_artifact_upload(upload)
            catalog.note(
                act.action,
                object_kind="artifact_upload",
                object_id=upload.upload_id,
                detail=f"{wish.name} {wish.version}, {wish.size_bytes} bytes",
            )
            if also is not None:
                also(catalog)

        async with self.beginning:
            others = await self._catalog.read(lambda catalog: catalog.artifact_uploads())
            await self._in_thread(
                partial(
                    self.store.uploads.create,
                    upload.upload_id,
                    wish.size_bytes,
                    promised_bytes=sum(each.size_bytes for each in others),
                )
            )
            try:
                await self._catalog.write(write, by=act)
            except BaseException:
                with trio.CancelScope(shield=True):
                    await self._in_thread(partial(self.store.uploads.remove, upload.upload_id))
                raise
        return await self.get(upload.upload_id)

    async def get(self, upload_id: str) -> UploadState:
        """How far an upload is. Raises NotFound: `upload_unknown`."""
        found = await self._catalog.read(lambda catalog: catalog.artifact_upload(upload_id))
        offset = await self._in_thread(partial(self.store.uploads.offset, upload_id))
        return UploadState(upload=found, offset=offset)

    async def all(self) -> tuple[UploadState, ...]:
        """All uploads that are not finished, the oldest first."""
        found = await self._catalog.read(lambda catalog: catalog.artifact_uploads())
        sizes = await self._in_thread(self.store.uploads.sizes)
        return tuple(
            UploadState(upload=each, offset=sizes[each.upload_id])
            for each in found
            if each.upload_id in sizes
        )

    async def receive(
        self,
        upload_id: str,
        offset: int,
        pieces: AsyncGenerator[bytes, None],
        act: Act,
        *,
        still_allowed: Callable[[], Awaitable[None]],
    ) -> int:
        """Append what comes; gives how many bytes are on disk then. What came before a cut stays.

        Args:
            offset: Where the first byte belongs.
            still_allowed: Asked before each write: a body may take an hour to come. Raises NotAuthorized.
        Raises:
            NotFound: `upload_unknown`. Conflict: `upload_offset`, `upload_taken_over`. LimitExceeded: `upload_too_long`.
            StorageError: `disk_full`, or the disk failed.
        """
        found = await self._catalog.read(lambda catalog: catalog.artifact_upload(upload_id))
        await self._note_sender(found, act)
        sender = _Sender()
        before, self._senders[upload_id] = self._senders.get(upload_id), sender
        try:
            if before is not None:
                before.scope.cancel()
                await before.gone.wait()
            with sender.scope:
                held = bytearray()
                try:
                    async with aclosing(pieces):
                        async for piece in pieces:
                            held += piece
                            if len(held) >= ARTIFACT_APPEND_BYTES:
                                await still_allowed()
                                offset = await self._append(found, offset, held)
                except NotAuthorized:
                    held.clear()
                    raise
                finally:
                    with trio.CancelScope(shield=True):  # what arrived before a cut is kept
                        if held:
                            offset = await self._append(found, offset, held)
                        offset = await self._in_thread(partial(self.store.uploads.sync, upload_id))
                await self._catalog.write(lambda catalog: catalog.touch_artifact_upload(upload_id), by=_TOUCH)
                return offset
        finally:
            if self._senders.get(upload_id) is sender:
                del self._senders[upload_id]
            sender.gone.set()
        raise Conflict(
            "Somebody else goes on with this upload.",
            hint="Ask for its offset, and send from there on if nobody else does.",
            code="upload_taken_over",
        )

    async def settle(self, upload_id: str, size_bytes: int) -> None:
        """Say how large the whole is, for an upload that was begun with the most it could have."""
        await self._catalog.write(
            lambda catalog: catalog.set_artifact_upload_size(upload_id, size_bytes), by=_TOUCH
        )

    async def finish(self, upload_id: str, act: Act) -> Artifact:
        """Make an artifact of an upload, if it is whole and what it is said to be.

        Raises:
            NotFound: `upload_unknown`. Conflict: `upload_incomplete`, `artifact_sha256_differs`, `artifact_exists`,
                `artifact_epoch_low`. UsageError: `artifact_format`, `artifact_version_differs`, `artifact_compat_differs`,
                `artifact_epoch_differs`, `artifact_version_missing`, `artifact_content`. StorageError: the disk failed.
        """
        upload = await self._catalog.read(lambda catalog: catalog.artifact_upload(upload_id))
        async with self.finishing:
            kept = await self._finished(upload, act)
        try:
            await self._in_thread(partial(self.store.uploads.remove, upload_id))
        except StorageError as error:  # the artifact is there; the upkeep removes the file later
            _log.warning("an upload's file stays for now", code=error.code, error=error.message)
        self._noted.pop(upload_id, None)
        await self._look()
        return kept

    async def _finished(self, upload: ArtifactUpload, act: Act) -> Artifact:
        upload_id = upload.upload_id
        with ExitStack() as held:
            async with self._reading:
                found = await self._in_thread(partial(self._recognize, upload))
                digests, _ = await self._in_thread(
                    lambda: held.enter_context(
                        self.store.finishing(upload_id, size_bytes=upload.size_bytes, sha256=upload.sha256)
                    )
                )
            made = Artifact(
                artifact_id=self._random(_ID_BYTES).hex(),
                name=upload.name,
                version=upload.version or found.version,
                sha256=digests.sha256,
                sha1=digests.sha1,
                size_bytes=upload.size_bytes,
                filename=upload.filename,
                format=found.format,
                hw=found.compat if upload.fields["hw"] is None else tuple(upload.fields["hw"]),
                min_version=upload.fields["min_version"],
                max_version=upload.fields["max_version"],
                epoch=(found.epoch or 0) if upload.fields["epoch"] is None else upload.fields["epoch"],
                is_vendor_signed=found.is_vendor_signed,
                note=upload.fields["note"],
                created_by=act.actor.name,
            )

            def write(catalog: Catalog) -> Artifact:
                self._check_epoch(catalog, upload, made.epoch)
                kept = catalog.add_artifact(made)
                catalog.remove_artifact_upload(upload_id)
                return kept

            return await self._catalog.write(write, by=act)

    async def abandon(self, upload_id: str, act: Act) -> None:
        """Remove an upload. Raises NotFound: `upload_unknown`."""

        def write(catalog: Catalog) -> None:
            found = catalog.artifact_upload(upload_id)
            catalog.remove_artifact_upload(upload_id)
            catalog.note(
                act.action,
                object_kind="artifact_upload",
                object_id=upload_id,
                detail=f"{found.name} {found.version}",
            )

        await self._catalog.write(write, by=act)
        sender = self._senders.get(upload_id)
        if sender is not None:
            sender.scope.cancel()
            await sender.gone.wait()
        await self._in_thread(partial(self.store.uploads.remove, upload_id))
        self._noted.pop(upload_id, None)

    def is_being_sent(self, upload_id: str) -> bool:
        """Whether somebody sends pieces of it now."""
        return upload_id in self._senders

    def _recognize(self, upload: ArtifactUpload) -> Found:
        fields, uploads = upload.fields, self.store.uploads
        uploads.check_whole(upload.upload_id, upload.size_bytes)
        found = artifact_format.recognize(
            upload.size_bytes, partial(uploads.read, upload.upload_id), fields["format"]
        )
        artifact_format.check_said(
            found, version=upload.version, compat=fields["hw"] or (), epoch=fields["epoch"]
        )
        if not upload.version and not found.version:
            raise UsageError(
                "The image does not say which version it is.",
                hint="Begin again and give the version.",
                code="artifact_version_missing",
            )
        problem = uploads.inner_problem(upload.upload_id, found)
        if problem:
            word = FORMAT_WORDS[found.format]
            raise UsageError(
                f"This is {word}, but {problem}.",
                hint="It was changed or cut on its way: get it from its source again.",
                code="artifact_content",
            )
        return replace(found, digest=None, xor=None)

    @staticmethod
    def _check_epoch(catalog: Catalog, upload: ArtifactUpload, epoch: int) -> None:
        check_epoch(
            upload.name,
            epoch,
            catalog.highest_epoch(upload.name),
            is_rollback_image=upload.fields["is_rollback_image"],
        )

    async def _append(self, upload: ArtifactUpload, offset: int, held: bytearray) -> int:
        data = bytes(held)
        held.clear()
        self.received_bytes += len(data)
        return await trio.to_thread.run_sync(
            partial(self.store.uploads.append, upload.upload_id, offset, data, size_bytes=upload.size_bytes),
            limiter=self._writing,
        )

    async def _note_sender(self, upload: ArtifactUpload, act: Act) -> None:
        """Have the audit say who sends, once for each who does: not with every piece."""
        if self._noted.get(upload.upload_id) == act.actor.name:
            return

        def write(catalog: Catalog) -> None:
            catalog.note(act.action, object_kind="artifact_upload", object_id=upload.upload_id)

        await self._catalog.write(write, by=act)
        self._noted[upload.upload_id] = act.actor.name

    async def _in_thread(self, fn: Callable[[], T]) -> T:
        return await trio.to_thread.run_sync(fn, limiter=self._writing)
