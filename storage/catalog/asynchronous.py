"""The catalog for an event loop: one writer with a bounded queue, and four separate pools of readers.

Separate, so that none can starve another: `api` for pages and the API, `pipeline` for mapping and rules, `auth` for
sign-ins and sessions. After a commit, subscribers in this process are told which rows changed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self, TypeVar, get_args

import trio

from appliance.core.clock import Clock
from appliance.core.limits import (
    CATALOG_READ_TIMEOUT_MS,
    CATALOG_READER_COUNT,
    CATALOG_READER_QUEUE_DEPTH_MAX,
    CATALOG_WAIT_TIMEOUT_MS,
    CATALOG_WRITE_TIMEOUT_MS,
    CATALOG_WRITER_QUEUE_DEPTH_MAX,
)
from appliance.management.audit import Act
from storage.catalog.cache import CacheStatistics
from storage.catalog.catalog import Catalog
from storage.catalog.database import Change
from storage.catalog.lending import Lender, LenderStatistics
from storage.catalog.loans import place_of
from storage.catalog.pool_watch import PoolWatch
from storage.catalog.together import ReadTogether

T = TypeVar("T")
Pool = Literal["api", "pipeline", "auth", "devices"]
POOLS: tuple[Pool, ...] = get_args(Pool)
Subscriber = Callable[[tuple[Change, ...]], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogStatistics:
    """Numbers of the catalog: the writer, the pools and caches by name, committed changes."""

    writer: LenderStatistics
    pools: dict[str, LenderStatistics]
    caches: dict[str, CacheStatistics]
    changes_total: int


class AsyncCatalog:
    """See the module's docstring. Made by `open` or, as a context, `opened`."""

    def __init__(self, path: Path, first: Catalog, *, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._subscribers: list[Subscriber] = []
        self._caches: dict[str, Callable[[], CacheStatistics]] = {}
        self._changes_total = 0
        self._writer = Lender(
            "writer",
            self._connect_writer,
            clock=clock,
            size=1,
            queue_depth_max=CATALOG_WRITER_QUEUE_DEPTH_MAX,
            wait_timeout_ms=CATALOG_WAIT_TIMEOUT_MS,
            opened=(first,),
        )
        self._pools = {
            name: Lender(
                name,
                self._connect_reader,
                clock=clock,
                size=CATALOG_READER_COUNT,
                queue_depth_max=CATALOG_READER_QUEUE_DEPTH_MAX,
                wait_timeout_ms=CATALOG_WAIT_TIMEOUT_MS,
            )
            for name in POOLS
        }
        self._together = ReadTogether(self._pools["devices"].lend)
        self.watch = PoolWatch(self._all_pools, clock=clock)
        """Whether a pool is nearly used up, once somebody runs it."""

    @classmethod
    async def open(cls, path: Path, *, clock: Clock, node_id: bytes) -> Self:
        """Open the catalog, create and migrate it where needed; `aclose` it at the end.

        Args:
            path: data_dir/"catalog.db".
            node_id: 16 bytes.
        Raises:
            StorageError: see Catalog.open.
        """
        first = await trio.to_thread.run_sync(lambda: Catalog.open(path, clock=clock, node_id=node_id))
        return cls(path, first, clock=clock)

    @classmethod
    @asynccontextmanager
    async def opened(cls, path: Path, *, clock: Clock, node_id: bytes) -> AsyncIterator[Self]:
        """`open`, and `aclose` on leaving."""
        catalog = await cls.open(path, clock=clock, node_id=node_id)
        try:
            yield catalog
        finally:
            await catalog.aclose()

    def _connect_writer(self) -> Catalog:
        raise AssertionError("the one writing connection is open from the beginning")

    def _connect_reader(self) -> Catalog:
        return Catalog.open_read_only(self._path, clock=self._clock)

    async def read(
        self,
        fn: Callable[[Catalog], T],
        *,
        pool: Pool = "api",
        timeout_ms: int = CATALOG_READ_TIMEOUT_MS,
    ) -> T:
        """Run a reading function in a thread.

        Args:
            fn: Gets a read-only Catalog; each of its queries sees what is committed then.
            pool: Whose connections; what devices ask is short, and is read together.
            timeout_ms: After which its queries are interrupted.
        Raises:
            Unavailable: `catalog_busy`, `catalog_locked`, `catalog_timeout`, `catalog_closed`; and what fn raises.
        """
        if pool == "devices":
            return await self._together.read(fn, timeout_ms=timeout_ms)
        return await self._pools[pool].lend(fn, timeout_ms=timeout_ms)

    async def write(
        self, fn: Callable[[Catalog], T], *, by: Act, timeout_ms: int = CATALOG_WRITE_TIMEOUT_MS
    ) -> T:
        """Run a writing function in a thread, in one transaction, after those that came before it.

        Args:
            by: What is done and by whom: every row it changes becomes an entry of the audit.

        Returns once it is on disk and subscribers were told. Raises as `read` does; then nothing was changed, unless the
        disk held it up for so long that it was left (`catalog_timeout`, "may still be done").
        """

        def whole(catalog: Catalog) -> tuple[T, tuple[Change, ...]]:
            with catalog.transaction(by):
                result = fn(catalog)
            return result, catalog.last_changes

        result, changes = await self._writer.lend(
            whole,
            timeout_ms=timeout_ms,
            who=place_of(fn),
            # Committed after whoever asked had gone: caches must hear of it all the same.
            when_left=lambda late: self._tell(late[1]),
        )
        self._tell(changes)
        return result

    def subscribe(self, subscriber: Subscriber) -> Callable[[], None]:
        """Be told of changed rows after each commit, in the event loop; returns how to end it.

        Args:
            subscriber: Quick, must not raise: it drops cache entries or sets an event.
        """
        self._subscribers.append(subscriber)
        return lambda: self._subscribers.remove(subscriber)

    def add_cache(self, name: str, statistics: Callable[[], CacheStatistics]) -> None:
        """Count a cache of look-ups among the catalog's statistics; its name is its own."""
        assert name not in self._caches, f"there is a cache {name} already"
        self._caches[name] = statistics

    def _tell(self, changes: tuple[Change, ...]) -> None:
        if changes:
            self._changes_total += len(changes)
            for subscriber in tuple(self._subscribers):
                subscriber(changes)

    def _all_pools(self) -> tuple[LenderStatistics, ...]:
        return tuple(lender.statistics() for lender in (self._writer, *self._pools.values()))

    def statistics(self) -> CatalogStatistics:
        return CatalogStatistics(
            writer=self._writer.statistics(),
            pools={name: pool.statistics() for name, pool in self._pools.items()},
            caches={name: statistics() for name, statistics in self._caches.items()},
            changes_total=self._changes_total,
        )

    async def aclose(self) -> None:
        """Let what has begun end, then close all connections, the writer's last."""
        for pool in self._pools.values():
            await pool.aclose()
        await self._writer.aclose()
