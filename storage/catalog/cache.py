"""`LookupCache`: look-ups in the catalog that every request needs (users, sessions, tokens, devices), kept in memory.

Theory of operation. `get` answers from memory what was read less than the time to live ago, and reads the rest through
a pool of the catalog, for a short time only. What it keeps is kept with the rows that it was made of; the moment a
writer of this process has committed a change of one of them, it is forgotten, before the write returns to whoever
asked for it. So the time to live only bounds what a change from outside of this process could do.

When the catalog fails CACHE_STRIKE_COUNT_MAX times in a row (locked, slow, damaged), the cache takes it for away: from
then on what it knows is served from memory at once, however old (the last known good), for `last_known_good_ms`, and a
single look-up a second tries the catalog again. What it does not know, and everything after that time, is
`Unavailable` at once: 503 with Retry-After over HTTP, never a hang.

Guarantees: what was changed or forgotten is not served again from memory, in no state, also when it was being read
while it changed; what is not in the catalog is not remembered, so asking for names at random fills nothing; memory is
bounded by `entry_count_max`, the entry unused for longest goes.

Must not know: what the values mean. A value is as it was when it was read: whoever gets it compares what depends on
the time (an expiry) with the clock, each time.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Generic, TypeVar

import trio

from appliance.core import logs
from appliance.core.clock import Clock
from appliance.core.errors import StorageError, Unavailable
from appliance.core.limits import (
    CACHE_ENTRY_COUNT_MAX,
    CACHE_LAST_KNOWN_GOOD_MS,
    CACHE_LOAD_TIMEOUT_MS,
    CACHE_RETRY_AFTER_MS,
    CACHE_STRIKE_COUNT_MAX,
    CACHE_TTL_MS,
)
from storage.catalog.catalog import Catalog
from storage.catalog.database import Change

if TYPE_CHECKING:
    from storage.catalog.asynchronous import AsyncCatalog, Pool

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

_RATE_SLOT_MS: Final = 10_000
_RATE_SLOT_COUNT: Final = 6
"""`fallback_ratio` is of the last minute."""

_log = logs.get(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheStatistics:
    """Numbers of one cache since the start.

    Attributes:
        entries: Kept now.
        lookups_total: Keys that were asked for.
        hits_total: Of them answered from memory because they were fresh.
        loads_total: Reads of the catalog.
        failures_total: Of them those that failed.
        fallbacks_total: Keys answered with the last known good.
        refused_total: Look-ups that ended in Unavailable.
        forgotten_total: Entries forgotten because of a change.
        away: Whether the catalog is taken for away.
        fallback_ratio: Share of the keys asked for in the last minute that were answered with the last known good, 0..1.
    """

    entries: int
    lookups_total: int
    hits_total: int
    loads_total: int
    failures_total: int
    fallbacks_total: int
    refused_total: int
    forgotten_total: int
    away: bool
    fallback_ratio: float


class _Entry(Generic[V]):
    __slots__ = ("loaded_at_mono_ms", "rows", "value")

    def __init__(self, value: V, rows: frozenset[Change], loaded_at_mono_ms: int) -> None:
        self.value = value
        self.rows = rows
        self.loaded_at_mono_ms = loaded_at_mono_ms


@dataclass(eq=False, slots=True)
class _Reading(Generic[K]):
    """What was changed and forgotten while the catalog was being read."""

    rows: set[Change] = field(default_factory=set)
    keys: set[K] = field(default_factory=set)
    all_forgotten: bool = False


class LookupCache(Generic[K, V]):
    """See the module's docstring. Used from one event loop, for as long as the catalog is open.

    Args:
        name: In metrics and the log, such as "sessions".
        catalog: Read from, and listened to for changes.
        load: Reads the values of some keys in a thread; a key that it leaves out is not there.
        rows_of: The rows that a value was made of. Rows of tables that are not replicated (of this node only) are told
            by `CatalogDatabase.touched`, which the methods of such a table call.
        pool: Whose connections.
        ttl_ms: How long a value is served without looking again.
        last_known_good_ms: How long, since the catalog went away, it is served without having looked.
        load_timeout_ms: For one read of the catalog, with waiting for a connection.
    """

    def __init__(
        self,
        name: str,
        catalog: AsyncCatalog,
        load: Callable[[Catalog, Sequence[K]], Mapping[K, V]],
        *,
        rows_of: Callable[[K, V], Iterable[Change]],
        clock: Clock,
        pool: Pool = "auth",
        ttl_ms: int = CACHE_TTL_MS,
        last_known_good_ms: int = CACHE_LAST_KNOWN_GOOD_MS,
        load_timeout_ms: int = CACHE_LOAD_TIMEOUT_MS,
        retry_after_ms: int = CACHE_RETRY_AFTER_MS,
        entry_count_max: int = CACHE_ENTRY_COUNT_MAX,
    ) -> None:
        self._name = name
        self._catalog = catalog
        self._loader = load
        self._rows_of = rows_of
        self._clock = clock
        self._pool: Pool = pool
        self._ttl_ms = ttl_ms
        self._last_known_good_ms = last_known_good_ms
        self._load_timeout_ms = load_timeout_ms
        self._retry_after_ms = retry_after_ms
        self._entry_count_max = entry_count_max
        self._entries: OrderedDict[K, _Entry[V]] = OrderedDict()
        self._keys_by_row: dict[Change, set[K]] = {}
        self._readings: set[_Reading[K]] = set()
        self._strike_count = 0
        self._failed_since_mono_ms = 0
        self._retry_at_mono_ms = 0
        self._failure = ""
        self._lookups = self._hits = self._loads = self._failures = 0
        self._fallbacks = self._refused = self._forgotten = 0
        self._slots: deque[tuple[int, int, int]] = deque(maxlen=_RATE_SLOT_COUNT)
        """Of the last minute: number of the slot, keys asked for, fallbacks."""
        catalog.subscribe(self._changed)
        catalog.add_cache(name, self.statistics)

    async def get(self, key: K) -> V | None:
        """The value of a key, None if there is none.

        Raises:
            Unavailable: `catalog_unreadable`: the catalog can't be read, and this is not known or too old.
        """
        return (await self.get_many((key,))).get(key)

    async def get_many(self, keys: Iterable[K]) -> dict[K, V]:
        """The values of those of the keys that there are. Raises as `get`, for all keys together."""
        now_ms = self._clock.mono_ms()
        found: dict[K, V] = {}
        wanted: list[K] = []
        for key in dict.fromkeys(keys):
            entry = self._entries.get(key)
            if entry is not None and now_ms - entry.loaded_at_mono_ms < self._ttl_ms:
                self._entries.move_to_end(key)
                found[key] = entry.value
            else:
                wanted.append(key)
        self._hits += len(found)
        self._count(now_ms, lookups=len(found) + len(wanted))
        if wanted:
            found |= await self._look(wanted)
        return found

    def forget(self, key: K) -> None:
        """Read this key again before it is served again; for what no row of the catalog says."""
        for reading in self._readings:
            reading.keys.add(key)
        self._drop(key)

    def forget_all(self) -> None:
        """Read everything again before it is served again."""
        for reading in self._readings:
            reading.all_forgotten = True
        self._forgotten += len(self._entries)
        self._entries.clear()
        self._keys_by_row.clear()

    def statistics(self) -> CacheStatistics:
        return CacheStatistics(
            entries=len(self._entries),
            lookups_total=self._lookups,
            hits_total=self._hits,
            loads_total=self._loads,
            failures_total=self._failures,
            fallbacks_total=self._fallbacks,
            refused_total=self._refused,
            forgotten_total=self._forgotten,
            away=self._is_away,
            fallback_ratio=self._fallback_ratio(),
        )

    @property
    def _is_away(self) -> bool:
        return self._strike_count >= CACHE_STRIKE_COUNT_MAX

    async def _look(self, keys: Sequence[K]) -> dict[K, V]:
        """Ask the catalog while that may help, then memory."""
        while not self._is_away or self._clock.mono_ms() >= self._retry_at_mono_ms:
            if self._is_away:
                # Whoever asks next meanwhile is served at once: one look-up finds out for all.
                self._retry_at_mono_ms = self._clock.mono_ms() + self._retry_after_ms
            try:
                return await self._read(keys)
            except (Unavailable, StorageError) as error:
                self._note_failure(error)
        return self._last_known_good(keys)

    async def _read(self, keys: Sequence[K]) -> dict[K, V]:
        reading: _Reading[K] = _Reading()
        self._readings.add(reading)
        began_ms = self._clock.mono_ms()
        self._loads += 1
        try:
            with trio.move_on_after(self._load_timeout_ms / 1000) as waiting:
                loaded = await self._catalog.read(
                    lambda catalog: self._loader(catalog, keys),
                    pool=self._pool,
                    timeout_ms=self._load_timeout_ms,
                )
        finally:
            self._readings.discard(reading)
        if waiting.cancelled_caught:
            raise Unavailable(
                f"The catalog did not answer within {self._load_timeout_ms} ms.",
                hint="Try again; if it stays so, look at the disk and at homeport_catalog_ metrics.",
                code="catalog_timeout",
            )
        self._note_success()
        for key in keys:
            self._drop(key, is_change=False)
            if key in loaded:
                rows = frozenset(self._rows_of(key, loaded[key]))
                if not (reading.all_forgotten or key in reading.keys or rows & reading.rows):
                    self._keep(key, _Entry(loaded[key], rows, began_ms))
        return dict(loaded)

    def _note_failure(self, error: Unavailable | StorageError) -> None:
        now_ms = self._clock.mono_ms()
        self._failures += 1
        self._failure = error.message
        if self._strike_count == 0:
            self._failed_since_mono_ms = now_ms
        self._strike_count += 1
        self._retry_at_mono_ms = now_ms + self._retry_after_ms
        if self._strike_count == CACHE_STRIKE_COUNT_MAX:
            _log.warning(
                "the catalog is away: the last known good is served", cache=self._name, code=error.code
            )

    def _note_success(self) -> None:
        if self._is_away:
            away_ms = self._clock.mono_ms() - self._failed_since_mono_ms
            _log.info("the catalog is back", cache=self._name, away_ms=away_ms)
        self._strike_count = 0

    def _last_known_good(self, keys: Sequence[K]) -> dict[K, V]:
        now_ms = self._clock.mono_ms()
        away_ms = now_ms - self._failed_since_mono_ms
        entries = self._entries
        if away_ms >= self._last_known_good_ms or not all(key in entries for key in keys):
            self._refused += 1
            raise Unavailable(
                f"The catalog can't be read for {away_ms // 1000} s: {self._failure}",
                hint="Try again; if it stays so, run 'homeport doctor' on the box.",
                code="catalog_unreadable",
            )
        self._fallbacks += len(keys)
        self._count(now_ms, fallbacks=len(keys))
        return {key: entries[key].value for key in keys}

    def _changed(self, changes: tuple[Change, ...]) -> None:
        for reading in self._readings:
            reading.rows.update(changes)
        for change in changes:
            for key in tuple(self._keys_by_row.get(change, ())):
                self._drop(key)

    def _keep(self, key: K, entry: _Entry[V]) -> None:
        self._entries[key] = entry
        for row in entry.rows:
            self._keys_by_row.setdefault(row, set()).add(key)
        while len(self._entries) > self._entry_count_max:
            self._drop(next(iter(self._entries)), is_change=False)

    def _drop(self, key: K, *, is_change: bool = True) -> None:
        entry = self._entries.pop(key, None)
        if entry is None:
            return
        self._forgotten += is_change
        for row in entry.rows:
            keys = self._keys_by_row[row]
            keys.discard(key)
            if not keys:
                del self._keys_by_row[row]

    def _count(self, now_ms: int, *, lookups: int = 0, fallbacks: int = 0) -> None:
        self._lookups += lookups
        slot = now_ms // _RATE_SLOT_MS
        if self._slots and self._slots[-1][0] == slot:
            _, lookups_before, fallbacks_before = self._slots.pop()
            lookups, fallbacks = lookups + lookups_before, fallbacks + fallbacks_before
        self._slots.append((slot, lookups, fallbacks))

    def _fallback_ratio(self) -> float:
        oldest = self._clock.mono_ms() // _RATE_SLOT_MS - _RATE_SLOT_COUNT
        recent = [slot for slot in self._slots if slot[0] > oldest]
        lookups = sum(slot[1] for slot in recent)
        return min(1.0, sum(slot[2] for slot in recent) / lookups) if lookups else 0.0
