"""What the keeper asks (appliance.pipeline.keeper.Conditions, ErasureCatalog): the catalog, the pipeline, the disk, the log."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

import trio

from appliance.core.config import StoreConfig
from appliance.management.audit import Act
from appliance.management.retention import Retention, default_class
from appliance.pipeline.pipeline import Pipeline
from appliance.pipeline.statistics import PipelineState
from storage.catalog import AsyncCatalog
from storage.catalog.erasures import Erasure, ErasureState

LAG_S_MAX: Final = 5.0
"""Readings that wait for longer come first."""


class _Broker(Protocol):
    @property
    def connected(self) -> bool: ...
    @property
    def statistics(self) -> Mapping[str, Any]: ...


class ArchiveConditions:
    """See the module.

    Args:
        first_seq: Reads the oldest record that the log has; blocks for a moment.
    """

    def __init__(
        self,
        config: StoreConfig,
        *,
        catalog: AsyncCatalog,
        pipeline: Pipeline,
        broker: _Broker,
        first_seq: Callable[[], int],
    ) -> None:
        self._default = default_class(config.hot_days, config.archive_days)
        self._catalog = catalog
        self._pipeline = pipeline
        self._broker = broker
        self._first_seq = first_seq

    async def retention(self) -> Retention:
        """The classes now. Raises Unavailable: the catalog is away."""
        classes = await self._catalog.read(lambda catalog: catalog.retention_classes(), pool="pipeline")
        return Retention(classes, self._default)

    def wait_because(self) -> str:
        """Why nothing may be done now, in words; "" when it may."""
        now = self._pipeline.statistics()
        if now.state is not PipelineState.RUNNING:
            return f"The store is {now.state.value}."
        if now.lag_s > LAG_S_MAX:
            return f"{now.behind_records} records of the log are stored first."
        if self._disk_level() == "read_only":
            return "The disk is full."
        return ""

    def is_disk_short(self) -> bool:
        """Whether the disk is filling up."""
        return self._disk_level() in ("low", "hold")

    async def erasures_in(self, state: ErasureState) -> list[Erasure]:
        """Those in a state, the oldest first. Raises Unavailable."""
        return await self._catalog.read(lambda catalog: catalog.erasures_in(state), pool="pipeline")

    async def note_erased(self, erasure_id: str, *, epoch: int, before_seq: int, reading_count: int) -> None:
        """Store and archive are done. Raises Unavailable."""
        await self._catalog.write(
            lambda catalog: catalog.note_erased(
                erasure_id, epoch=epoch, before_seq=before_seq, reading_count=reading_count
            ),
            by=Act(action="device.erase"),
        )

    async def note_complete(self, erasure_id: str) -> None:
        """The log is done too. Raises Unavailable."""
        await self._catalog.write(
            lambda catalog: catalog.note_complete(erasure_id), by=Act(action="device.erase")
        )

    async def first_seq(self) -> int:
        """The oldest record that the log has. Raises StorageError."""
        return await trio.to_thread.run_sync(self._first_seq)

    def _disk_level(self) -> str:
        log = self._broker.statistics.get("log") if self._broker.connected else None
        house = log.get("housekeeping") if isinstance(log, Mapping) else None
        return str(house.get("disk_level_name", "")) if isinstance(house, Mapping) else ""
