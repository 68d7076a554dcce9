"""A box whose disk is an old one has its own records back from whoever has more, so that its history goes on where it ended. For trio."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from functools import partial
from pathlib import Path

import structlog
import trio

from appliance.core.clock import Clock
from appliance.core.config import Config
from appliance.core.errors import Unavailable
from appliance.run.epoch_doubts import end_of, own_logs
from storage.fleet.epoch_files import Behind, read_behind, write_behind
from storage.replicas.errors import ReplicaRefused
from storage.replicas.replica_log import ReplicaLog
from storage.replicas.streams import StreamHead, StreamId

Copy = Callable[[StreamId, ReplicaLog], Awaitable[StreamHead]]
"""Has what is more of a stream somewhere."""
log = structlog.get_logger(__name__)


class CatchingUp:
    """Of one node."""

    def __init__(self, config: Config, node_id: str, *, clock: Clock) -> None:
        self._data_dir, self._clock = config.node.data_dir, clock
        self._own = {StreamId(node_id, name): path for name, path in own_logs(config).items()}  # type: ignore[arg-type]

    async def catch_up(
        self, heads: Mapping[StreamId, StreamHead], copy: Copy, *, parted: Collection[StreamId] = ()
    ) -> None:
        """Have what others have more, where it goes on from what is here.

        Args:
            heads: How far others are. parted: Streams of which somebody was found to have another history.
        Raises:
            HomeportError: what may be better next time.
        """
        for stream, directory in self._own.items():
            found = heads.get(stream)
            if found is None:
                continue
            end = await trio.to_thread.run_sync(end_of, directory)
            if found.place <= end:
                continue
            if stream.name == "catalog" and read_behind(self._data_dir) is None:
                await trio.to_thread.run_sync(write_behind, self._data_dir, Behind(from_seq=end[1]))
            await self._copy(copy, stream, directory, parted)

    async def _copy(
        self, have: Copy, stream: StreamId, directory: Path, parted: Collection[StreamId]
    ) -> None:
        copy = await trio.to_thread.run_sync(partial(ReplicaLog.open, directory, stream, clock=self._clock))
        try:
            head = await have(stream, copy)
            log.info("this box has its own records back", stream=str(stream), next_seq=head.next_seq)
        except (ReplicaRefused, Unavailable) as error:
            if isinstance(error, Unavailable) and stream not in parted:
                raise
            log.warning(
                "another history of this box's own is elsewhere", stream=str(stream), reason=str(error)
            )
        finally:
            copy.close()
