"""A box that was restored without its log's past has it from its peers, or from the cloud's regions, while it serves its devices.

The past is copied into a folder of its own, from the beginning on, as any copy is: every frame proves that it follows from the one before. When it ends with the
very frame that the log goes on from, it is whole, and takes its place when Homeport is started the next time (past_joining.py). It goes on where
it was after a restart.

Oldest first, although the newest would be wanted first: nothing of it can be used before all is there. A log has one chain and one beginning, the store's order and
the broker's state are made of it from there, and a running broker has it open; so it is put in place as a whole, and the store is built of it then, newest first
(appliance/pipeline/backlog.py).
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from functools import partial
from typing import Final, Protocol

import trio

from appliance.core import logs
from appliance.core.clock import Clock
from appliance.core.config import Config
from appliance.core.errors import HomeportError, StorageError, Unavailable
from appliance.core.limits_replication import DRILL_SPARE_BYTES
from appliance.management.replication_state import PastState
from appliance.run import layout
from appliance.run.past_joining import COPY, READY
from replication.fetching import Fetcher
from replication.guests import Guest, Guests
from replication.sources import Gap, OnGap, Progress
from storage.backup.disk_folder import write_file
from storage.log.disk import OsDisk
from storage.replicas.past import PastWanted, past_wanted
from storage.replicas.replica_log import ReplicaLog
from storage.replicas.streams import StreamHead, StreamId

RETRY_S: Final = 60.0
_log = logs.get(__name__)


class PastRegions(Protocol):
    """The cloud's regions, asked for a stream one after the other; what can't be had is told in the log of this program."""

    async def copy(
        self,
        stream: StreamId,
        into: ReplicaLog,
        *,
        until: tuple[int, int] | None = None,
        progress: Progress = lambda stream, done, total: None,
        on_gap: OnGap | None = None,
    ) -> StreamHead: ...


class PastFetching:
    """`run` it beside the replicator.

    Args:
        guests: Whose links it asks over.
        regions: What peers have not; None on a box that has none.
        is_alone: Whether nobody else could have what a region has lost: it is passed over then, as a restore does.
    """

    def __init__(
        self,
        config: Config,
        node_id: str,
        guests: Guests,
        *,
        clock: Clock,
        regions: PastRegions | None = None,
        is_alone: Callable[[], bool] = lambda: False,
    ) -> None:
        self._regions, self._is_alone = regions, is_alone
        self._config = config
        self._stream = StreamId(node_id, "telemetry")
        self._guests = guests
        self._clock = clock
        self._folder = layout.past(config)
        self.state: PastState | None = None
        """None where nothing is to come."""

    async def run(self) -> None:
        """Until all is here, or cancelled; what fails is tried again."""
        wanted = await trio.to_thread.run_sync(self._wanted)
        if wanted is None:
            return
        self.state = PastState(state="waiting", done=0, total=wanted.next_seq - 1)
        if (self._folder / READY).exists():
            self._ready()
            return
        _log.info("the log's past is had from peers or the cloud", records=wanted.next_seq - 1)
        while True:
            try:
                await self._fetch(wanted)
            except (HomeportError, OSError) as error:
                self._wait_for(str(error))
                await trio.sleep(RETRY_S)
            else:
                self._ready()
                _log.info("the log's past is here", hint="It takes its place when Homeport is started again.")
                return

    def _wanted(self) -> PastWanted | None:
        try:
            return past_wanted(OsDisk(), layout.telemetry_log(self._config))
        except (HomeportError, OSError) as error:
            _log.error("what is to come of the log can't be read", error=str(error))
            return None

    async def _fetch(self, wanted: PastWanted) -> None:
        directory = self._folder / COPY
        self._folder.mkdir(mode=0o700, exist_ok=True)
        log = await trio.to_thread.run_sync(
            partial(ReplicaLog.open, directory, self._stream, clock=self._clock)
        )
        until = (wanted.epoch, wanted.next_seq)
        try:
            try:
                head = await self._of_peers(log, until)
            except Unavailable:
                if self._regions is None:
                    raise
                head = log.head()
            if self._regions is not None and head.place < until:
                head = await self._of_regions(self._regions, log, until)
        finally:
            log.close()
        _check(head, wanted)
        content = {"epoch": wanted.epoch, "next_seq": wanted.next_seq, "hash": wanted.hash.hex()}
        await trio.to_thread.run_sync(write_file, self._folder / READY, json.dumps(content).encode())

    async def _of_peers(self, log: ReplicaLog, until: tuple[int, int]) -> StreamHead:
        fetchers: list[Fetcher] = []

        def listen(guest: Guest) -> Fetcher:
            fetchers.append(Fetcher(guest, first_request=guest.first_request))
            return fetchers[0]

        guest = self._guests.join(listen)
        try:
            return await fetchers[0].copy(self._stream, log, until=until, progress=self._progress)
        finally:
            guest.leave()

    async def _of_regions(self, regions: PastRegions, log: ReplicaLog, until: tuple[int, int]) -> StreamHead:
        full: list[StorageError] = []

        def progress(stream: StreamId, done: int, total: int) -> None:
            try:
                self._progress(stream, done, total)
            except StorageError as error:  # regions hold it for their own trouble
                full.append(error)
                raise

        copy = partial(regions.copy, self._stream, log, until=until, progress=progress)
        head = await copy()
        if head.place < until and not full and self._is_alone():
            head = await copy(on_gap=_tell_gap)
        if full:
            raise full[0]
        return head

    def _progress(self, stream: StreamId, done: int, total: int) -> None:
        assert self.state is not None
        self.state = PastState(state="fetching", done=min(done, self.state.total), total=self.state.total)
        disk = os.statvfs(self._config.node.data_dir)
        kept = disk.f_blocks * (100 - self._config.log.disk_low_percent) // 100
        if (disk.f_bavail - kept) * disk.f_frsize < DRILL_SPARE_BYTES:
            raise StorageError(
                "The disk would be so full of the log's past that the log itself gives way.",
                hint="Make some room; it goes on by itself.",
                code="past_no_space",
            )

    def _ready(self) -> None:
        assert self.state is not None
        self.state = PastState(state="ready", done=self.state.total, total=self.state.total)

    def _wait_for(self, problem: str) -> None:
        assert self.state is not None
        if problem != self.state.problem:
            _log.warning("the log's past does not come", reason=problem)
        self.state = PastState(state="waiting", done=self.state.done, total=self.state.total, problem=problem)


def _tell_gap(gap: Gap) -> None:
    _log.error(
        "records of the log's past are gone",
        first_seq=gap.first_seq,
        next_seq=gap.next_seq,
        reason=gap.why,
        hint="homeport log verify names them once the past is in its place.",
    )


def _check(head: StreamHead, wanted: PastWanted) -> None:
    """Raises Unavailable: `past_not_had`, StorageError: `past_differs`."""
    if head.place < (wanted.epoch, wanted.next_seq):
        raise Unavailable(
            f"Nobody who is reached has more of it than the records before {head.next_seq}.",
            hint="It goes on when a box or a region that has more is reached.",
            code="past_not_had",
        )
    if (head.next_seq, head.hash) != (wanted.next_seq, wanted.hash):
        raise StorageError(
            f"What peers have is another history than the one that the log goes on from: it is at {head.next_seq}, not {wanted.next_seq}.",
            hint="Look at the page Sites for two histories.",
            code="past_differs",
        )
