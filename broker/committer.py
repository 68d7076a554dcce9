"""Hands blocks to the log, one at a time, from a thread of its own; says when each is on disk.

The data plane goes on reading while a block is being written, but never gives a second one before the first has
returned: that is the log's rule of one frame in flight, and what makes group commit adapt by itself: the slower the
disk, the larger the next block.
"""

from __future__ import annotations

import os
import queue
import threading
from array import array
from collections.abc import Mapping
from typing import Final, Protocol

from appliance.core.errors import LogFull
from storage.log.columns import Kind, encode_columns
from storage.log.head import Head
from storage.log.traced import with_traces

from .mqtt.batch import Batch
from .tracer import Tracer

DELTA_MS_MAX: Final = 0xFFFF_FFFF


SPACE_RETRY_S: Final = 1.0
"""How often a block that found the disk full is offered again."""


class BlockLog(Protocol):
    """What is needed of `storage.log.LogWriter`."""

    def append(self, body: bytes, record_count: int, first_time_ms: int, last_time_ms: int) -> Head: ...


def batch_body(batch: Batch) -> tuple[bytes, int, int]:
    """Pack a batch.

    Returns:
        The block's body, the first and the last record's time (wall, ms).
    """
    count = len(batch)
    marks = [mark for mark in batch.time_marks if mark[0] < count]  # the last may have no record behind it
    times = [ms for _, ms in marks]
    first_ms, last_ms = min(times), max(times)
    kinds = bytearray((Kind.PUBLISH,)) * count
    for index, kind in batch.other_kinds.items():
        kinds[index] = kind
    ends = [*(start for start, _ in marks[1:]), count]
    deltas = array("I")
    for (start, ms), end in zip(marks, ends, strict=True):
        # A clock that was set while the batch was open may have leapt by years: no further than the column goes.
        deltas += array("I", (min(ms - first_ms, DELTA_MS_MAX),)) * (end - start)
    client_index = array("H")
    for slot, run in batch.client_runs:
        if run == 1:
            client_index.append(slot)
        else:
            client_index += array("H", (slot,)) * run
    flags: bytes = bytes(batch.flags)
    properties: Mapping[int, bytes] = batch.properties
    if batch.traces:
        flags, properties = with_traces(flags, properties, batch.traces)
    body = encode_columns(
        kinds=bytes(kinds),
        flags=flags,
        clients=batch.clients,
        client_index=client_index,
        topics=batch.topics,
        topic_index=array("H", batch.topic_index),
        packet_ids=batch.packet_id_column(),
        received_delta_ms=deltas,
        payloads=batch.payloads,
        properties=properties,
    )
    return body, first_ms, last_ms


class Committer:
    """One block in flight.

    Args:
        log: The writer; `append` blocks until the block is on disk.
        wake_fd: An eventfd that is written when a block is done.
        tracer: Asked which records of a block are traced, before it is written.

    A full disk is waited for: the block stays in flight, nothing is acknowledged, the batch behind it fills, and then
    nothing is read any more. When space returns everything goes on by itself.
    """

    def __init__(
        self,
        log: BlockLog,
        wake_fd: int,
        *,
        tracer: Tracer | None = None,
        space_retry_s: float = SPACE_RETRY_S,
    ) -> None:
        self._log = log
        self.tracer = tracer or Tracer()
        self._wake_fd = wake_fd
        self._space_retry_s = space_retry_s
        self._giving_up = threading.Event()
        self.full: LogFull | None = None
        """Why the block in flight waits, where the disk is full."""
        self._jobs: queue.SimpleQueue[tuple[bytes, int, int, int] | None] = queue.SimpleQueue()
        self._batch: Batch | None = None
        self._result: Head | Exception | None = None
        self._thread = threading.Thread(target=self._work, name="log-writer", daemon=True)
        self._thread.start()

    @property
    def is_idle(self) -> bool:
        return self._batch is None

    @property
    def is_done(self) -> bool:
        """Whether `take` has something. Asked before every wait: the eventfd may have been read for another reason."""
        return self._result is not None

    def submit(self, batch: Batch) -> None:
        """Write a batch; the committer must be idle."""
        assert self._batch is None
        self.tracer.choose(batch)
        body, first_ms, last_ms = batch_body(batch)
        self._batch = batch
        self._jobs.put((body, len(batch), first_ms, last_ms))

    def take(self) -> tuple[Batch, Head] | None:
        """The batch that has reached the disk since the last call, and the head after it.

        Raises:
            LogBroken: it has not, and nothing will any more; whatever else the log's append raises.
            LogFull: there was no room for it until `give_up`.
        """
        result, batch = self._result, self._batch
        if result is None or batch is None:
            return None
        self._result = self._batch = None
        if isinstance(result, Exception):
            raise result
        self.tracer.durable()
        return batch, result

    def give_up(self) -> None:
        """Wait for space no longer: from now on a full disk is an error."""
        self._giving_up.set()

    def close(self) -> None:
        """End the thread after the block in flight."""
        self.give_up()
        self._jobs.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            self._result = self._append(*job)
            self.full = None
            os.eventfd_write(self._wake_fd, 1)

    def _append(self, body: bytes, record_count: int, first_ms: int, last_ms: int) -> Head | Exception:
        while True:
            try:
                return self._log.append(body, record_count, first_ms, last_ms)
            except LogFull as error:
                self.full = error
                if self._giving_up.wait(self._space_retry_s):
                    return error
            except Exception as error:  # noqa: BLE001 - carried to the data plane, which ends the process with it
                return error
