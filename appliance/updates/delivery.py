"""Who may have which bytes, from the disk to the device, at the pace of the budgets; the same for blocks over MQTT and files over HTTPS.

A device may have what an execution of its own that has not ended names. That is looked up in the catalog and remembered for
DELIVERY_RIGHT_MS: so long a pause, or the end of a rollout, may take to reach a download that is under way.

Must not know: topics, HTTP.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

import trio

from appliance.core.clock import Clock
from appliance.core.errors import HomeportError, NotAuthorized, Unavailable
from appliance.core.limits_delivery import (
    DELIVERY_LOOKING_COUNT_MAX,
    DELIVERY_NOTE_MS,
    DELIVERY_PIECE_BYTES_MAX,
    DELIVERY_RIGHT_COUNT_MAX,
    DELIVERY_RIGHT_MS,
)
from appliance.management.blocks import stream_id
from appliance.management.delivery_rights import Share, share
from appliance.management.executions import State
from appliance.updates.budget import Budgets, BudgetStatistics, Claim
from storage.catalog import AsyncCatalog, Catalog
from storage.catalog.deliveries import artifact_title, open_executions

READING_COUNT_MAX: Final = 4
"""Threads that read images: they are in the page cache after the first device, and one disk serves no more at once."""


class Blob(Protocol):
    """Bytes that are there (storage.artifacts.store.Blob)."""

    @property
    def size_bytes(self) -> int: ...
    def read(self, offset: int, length: int) -> bytes:
        """From a thread. Raises StorageError, NotFound."""


class Blobs(Protocol):
    """Where they are (storage.artifacts.store.ArtifactStore, by a small function of the wiring)."""

    def open_blob(self, sha256: str) -> Blob:
        """From a thread. Raises StorageError, NotFound."""


class Progress(Protocol):
    """Who is told how far a download is (appliance.updates.desk)."""

    async def note_blocks(
        self, device_id: str, execution_id: str, bytes_done: int, bytes_total: int
    ) -> object: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Right:
    """What a device may have.

    Attributes:
        title: The artifact's name and version.
        filename: As it was uploaded.
        rollout_bytes_s: Its rollout's budget; 0 is none.
    """

    device_id: str
    execution_id: str
    rollout_id: str
    sha256: str
    size_bytes: int
    title: str
    filename: str
    rollout_bytes_s: int
    blob: Blob

    def claim(self, address: str) -> Claim:
        """What its device claims of the budgets."""
        return Claim(
            device_id=self.device_id,
            rollout_id=self.rollout_id,
            rollout_bytes_s=self.rollout_bytes_s,
            address=address,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryStatistics:
    """Numbers since the start.

    Attributes:
        sent_bytes: By way: mqtt, https.
        refused: Requests for bytes by why.
        rights: Look-ups remembered now.
    """

    sent_bytes: dict[str, int]
    refused: dict[str, int]
    rights: int
    budget: BudgetStatistics


@dataclass(frozen=True, slots=True, kw_only=True)
class FirmwareStatistics:
    """How firmware gets to devices, whichever way.

    Attributes:
        downloads: Over HTTPS, under way now.
        feedbacks: Of clients that speak hawkBit's protocol, since the start, by outcome.
    """

    delivery: DeliveryStatistics
    downloads: int
    feedbacks: dict[str, int]


class Delivery:
    """See the module's docstring. Used from one event loop."""

    def __init__(
        self, catalog: AsyncCatalog, blobs: Blobs, budgets: Budgets, progress: Progress, *, clock: Clock
    ) -> None:
        self._catalog = catalog
        self._blobs = blobs
        self.budgets = budgets
        self._progress = progress
        self._clock = clock
        self._reading = trio.CapacityLimiter(READING_COUNT_MAX)
        self._looking = trio.CapacityLimiter(DELIVERY_LOOKING_COUNT_MAX)
        self._rights: OrderedDict[tuple[str, str], tuple[int, Right]] = OrderedDict()
        self._noted: OrderedDict[tuple[str, str], tuple[int, int]] = OrderedDict()
        self._pieces: OrderedDict[tuple[str, int, int], bytes] = OrderedDict()
        self._piece_bytes = 0
        self._sent: Counter[str] = Counter()
        self._refused: Counter[str] = Counter()

    async def by_stream(self, device_id: str, name: str) -> Right:
        """What a stream's name stands for. Raises as `by_digest`."""
        return await self._right(device_id, name, lambda sha256: stream_id(sha256) == name)

    async def by_digest(self, device_id: str, sha256: str) -> Right:
        """The device's right to these bytes.

        Raises:
            NotAuthorized: `not_for_this_device`: no execution of it names them, whether or not they are there.
            Unavailable: `delivery_paused`: its rollout is paused or its wave is not open; or the catalog is away.
            NotFound, StorageError: the bytes are not there, or damaged.
        """
        return await self._right(device_id, sha256, lambda each: each == sha256)

    def refused(self, code: str) -> None:
        """Count a request for bytes that was refused for want of room."""
        self._refused[code] += 1

    async def read(self, right: Right, offset: int, length: int) -> bytes:
        """Bytes of it; fewer only at the end. Raises NotFound, StorageError."""
        key = (right.sha256, offset, length)
        data = self._pieces.get(key)
        if data is None:
            data = await trio.to_thread.run_sync(right.blob.read, offset, length, limiter=self._reading)
            if key not in self._pieces:
                self._pieces[key] = data
                self._piece_bytes += len(data)
        self._pieces.move_to_end(key)
        while self._piece_bytes > DELIVERY_PIECE_BYTES_MAX:
            self._piece_bytes -= len(self._pieces.popitem(last=False)[1])
        return data

    async def sent(self, right: Right, way: str, sent_bytes: int, end_offset: int) -> None:
        """Count what went out, and have the execution know now and then how far it is.

        Args:
            end_offset: Where the last byte of it ends in the file.
        """
        self._sent[way] += sent_bytes
        key, now_ms = (right.device_id, right.execution_id), self._clock.mono_ms()
        due_at_ms, done_bytes = self._noted.get(key, (0, 0))
        done_bytes = max(done_bytes, end_offset)
        if now_ms < due_at_ms and done_bytes < right.size_bytes:
            self._noted[key] = (due_at_ms, done_bytes)
            return
        self._noted[key] = (now_ms + DELIVERY_NOTE_MS, done_bytes)
        self._noted.move_to_end(key)
        if len(self._noted) > DELIVERY_RIGHT_COUNT_MAX:
            self._noted.popitem(last=False)
        await self._progress.note_blocks(*key, done_bytes, right.size_bytes)

    def statistics(self) -> DeliveryStatistics:
        return DeliveryStatistics(
            sent_bytes=dict(self._sent),
            refused=dict(self._refused),
            rights=len(self._rights),
            budget=self.budgets.statistics(),
        )

    async def _right(self, device_id: str, name: str, fits: Callable[[str], bool]) -> Right:
        key, now_ms = (device_id, name), self._clock.mono_ms()
        until_ms, known = self._rights.get(key, (0, None))
        if known is not None and now_ms < until_ms:
            return known
        try:
            async with self._looking:
                found = await self._look_up(device_id, fits)
        except HomeportError as error:
            self._rights.pop(key, None)
            self._refused[error.code] += 1
            raise
        self._rights[key] = (now_ms + DELIVERY_RIGHT_MS, found)
        self._rights.move_to_end(key)
        if len(self._rights) > DELIVERY_RIGHT_COUNT_MAX:
            self._rights.popitem(last=False)
        return found

    async def _look_up(self, device_id: str, fits: Callable[[str], bool]) -> Right:
        def ask(catalog: Catalog) -> tuple[str, str, str, int, tuple[str, str]] | None:
            is_later = False
            for each in open_executions(catalog, device_id):
                what = share(State(each.state), is_admitted=each.is_admitted)
                sha256 = each.origin_sha256 if what is Share.ORIGIN else each.target_sha256
                if not sha256 or not fits(sha256) or what is Share.NOTHING:
                    continue
                if what is Share.LATER:
                    is_later = True
                    continue
                title = artifact_title(catalog, sha256) or ("firmware", sha256)
                return each.execution_id, each.rollout_id, sha256, each.bandwidth_bytes_s, title
            if is_later:
                raise Unavailable(
                    "The update of this device is paused, or not due yet.",
                    hint="Ask again in a minute, or when it is notified.",
                    code="delivery_paused",
                )
            return None

        found = await self._catalog.read(ask, pool="devices")
        if found is None:
            raise NotAuthorized(
                "No update of this device that is under way has these bytes.",
                hint="Ask for the job anew (jobs/$next/get); its document names what this device may have.",
                code="not_for_this_device",
            )
        execution_id, rollout_id, sha256, bandwidth_bytes_s, (title, filename) = found
        blob = await trio.to_thread.run_sync(self._blobs.open_blob, sha256, limiter=self._reading)
        return Right(
            device_id=device_id,
            execution_id=execution_id,
            rollout_id=rollout_id,
            sha256=sha256,
            size_bytes=blob.size_bytes,
            title=title,
            filename=filename,
            rollout_bytes_s=bandwidth_bytes_s,
            blob=blob,
        )
