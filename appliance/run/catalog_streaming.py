"""Keeps the `catalog` stream up with the catalog on a box that belongs to a fleet; a box without peers has none of this.

A change is in the log some milliseconds after its commit. Rows leave the outbox later and many at once, since each removal is a
transaction of the catalog. What fails is tried again: the catalog that is locked or away, a full disk, a log that broke.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, Final

import trio

from appliance.core import logs
from appliance.core.clock import Clock
from appliance.core.config import Config
from appliance.core.errors import HomeportError, LogBroken
from appliance.identity import SiteKeys
from appliance.management.audit import Act
from appliance.run import layout
from appliance.run.writing_permit import WritingPermit
from storage.catalog import AsyncCatalog, Catalog, Change
from storage.catalog.merging import Arrived, Followed
from storage.catalog.outbox import OUTBOX_BATCH_COUNT_MAX
from storage.catalog.rows import OutboxRow
from storage.catalog_stream.rebuilding import own_records
from storage.catalog_stream.stream_writer import CatalogStreamWriter
from storage.fleet.epoch_files import read_behind, remove_behind
from storage.fleet.roster_file import fleet_folder
from storage.log.signer import Signer

LOOK_INTERVAL_S: Final = 2.0
"""How often it is looked whether the box belongs to a fleet by now."""
GATHER_S: Final = 0.02
"""After a commit, for the ones that come right behind it: at most 50 blocks a second."""
IDLE_S: Final = 10.0
FORGET_COUNT: Final = 2_000
"""Rows that are in the log are removed from the outbox once there are so many, or nothing has changed for a while."""
RETRY_S: Final = 5.0
_FORGET: Final = Act(action="catalog.outbox_forget")
_MERGE: Final = Act(action="catalog.merge")

_log = logs.get(__name__)


class CatalogStreaming:
    """Make it, then `run` it.

    Args:
        directory: Of the stream, data_dir/log/catalog.
    """

    def __init__(
        self,
        catalog: AsyncCatalog,
        directory: Path,
        *,
        data_dir: Path,
        node_id: bytes,
        signer: Signer,
        clock: Clock,
        permit: WritingPermit,
    ) -> None:
        self._catalog = catalog
        self._permit = permit
        self._data_dir, self._directory, self._node_id = data_dir, directory, node_id
        self._folder = fleet_folder(data_dir)
        self._open = partial(CatalogStreamWriter.open, directory, node_id=node_id, signer=signer, clock=clock)
        self._writer: CatalogStreamWriter | None = None
        self._changed = trio.Event()
        self._forgotten = 0
        self._failures = 0
        self._last_failure = ""

    def statistics(self) -> dict[str, Any]:
        """Numbers of the stream; nothing but zeros where the box has no peers."""
        writer = self._writer.statistics() if self._writer is not None else None
        return {
            "position": writer.position if writer else 0,
            "blocks_total": writer.blocks_total if writer else 0,
            "records_total": writer.records_total if writer else 0,
            "left_out_total": writer.left_out_total if writer else 0,
            "failures_total": self._failures,
        }

    async def run(self) -> None:
        """Until cancelled."""
        while not await trio.to_thread.run_sync(self._folder.is_dir):  # noqa: ASYNC110 - another process makes it
            await trio.sleep(LOOK_INTERVAL_S)
        stop = self._catalog.subscribe(self._note)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._watch_permit)
                while True:
                    await self._try_to_follow()
        finally:
            stop()
            with trio.CancelScope(shield=True):
                await self._close()

    async def _try_to_follow(self) -> None:
        try:
            await self._follow()
        except HomeportError as error:
            self._failures += 1
            if error.message != self._last_failure:
                _log.error(
                    "changes of the catalog are not in the log yet", reason=error.message, hint=error.hint
                )
            self._last_failure = error.message
            if isinstance(error, LogBroken):
                await self._close()
            await trio.sleep(RETRY_S)

    async def _follow(self) -> None:
        if self._writer is None:
            await self._permit.wait(self._say_why)
            self._writer = await trio.to_thread.run_sync(self._open)
            position = self._writer.position
            await self._take_back(position)
            await self._catalog.write(lambda writer: writer.outbox_raise(position), by=_FORGET)
            await self._forget()
        while not self._permit.withdrawn.is_set():
            self._changed = trio.Event()
            await self._write_all(self._writer)
            with trio.move_on_after(IDLE_S) as idle:
                await self._changed.wait()
            if idle.cancelled_caught:
                await self._forget()
                await trio.to_thread.run_sync(self._writer.seal_if_due)
            await trio.sleep(GATHER_S)
        await self._close()

    async def _write_all(self, writer: CatalogStreamWriter) -> None:
        while True:
            rows = await self._catalog.read(partial(_rows_after, position=writer.position), pool="pipeline")
            if not rows:
                return
            is_all = len(rows) < OUTBOX_BATCH_COUNT_MAX
            # A block under way is finished when this is cancelled: it takes some milliseconds.
            left_out = await trio.to_thread.run_sync(partial(writer.append, rows, is_all=is_all))
            for position, reason in left_out:
                _log.error(
                    "a change of the catalog is too large for the log", position=position, reason=reason
                )
            self._last_failure = ""
            if writer.position - self._forgotten >= FORGET_COUNT:
                await self._forget()

    async def _watch_permit(self) -> None:
        while True:
            await self._permit.watch()
            self._changed.set()

    async def _take_back(self, position: int) -> None:
        """Have in the catalog what its own stream has more, where this box is an older one than its log."""
        behind = await trio.to_thread.run_sync(read_behind, self._data_dir)
        if behind is None:
            return
        read = partial(own_records, self._directory, from_seq=behind.from_seq, node_id=self._node_id.hex())
        for followed, records in await trio.to_thread.run_sync(read):
            await self._catalog.write(partial(_apply_own, followed=followed, records=records), by=_MERGE)
        # What waits in the outbox has numbers that the log has used: it comes behind them.
        await self._catalog.write(lambda writer: writer.outbox_move_behind(position), by=_FORGET)
        await trio.to_thread.run_sync(remove_behind, self._data_dir)
        _log.warning("the catalog has what its log had more", from_seq=behind.from_seq)

    async def _say_why(self, why: str) -> None:
        """Of what is waited for the permit itself tells."""

    async def _forget(self) -> None:
        assert self._writer is not None
        position = self._writer.position
        if position > self._forgotten:
            await self._catalog.write(lambda writer: writer.outbox_forget(position), by=_FORGET)
            self._forgotten = position

    async def _close(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            await trio.to_thread.run_sync(writer.close)

    def _note(self, changes: tuple[Change, ...]) -> None:
        self._changed.set()


def make_catalog_streaming(
    config: Config, catalog: AsyncCatalog, keys: SiteKeys, clock: Clock
) -> CatalogStreaming:
    """The node's."""
    return CatalogStreaming(
        catalog,
        layout.catalog_log(config),
        data_dir=config.node.data_dir,
        node_id=keys.node_id,
        signer=keys.signer,
        clock=clock,
        permit=WritingPermit(config, clock=clock),
    )


def _rows_after(reader: Catalog, *, position: int) -> list[OutboxRow]:
    return reader.outbox_after(position)


def _apply_own(catalog: Catalog, *, followed: Followed, records: list[Arrived]) -> None:
    catalog.apply_records(followed, records)
    catalog.forget_followed(followed.node_id)
