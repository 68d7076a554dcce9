"""What readers of a site get of a stream that forked: its own copy, and of each branch what is read nowhere else.

Where a branch begins to be something of its own is for the readers' own rule to say (storage/site/branches.py), over modelled logs.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

from appliance.core.errors import CursorExpired
from storage.log.reader import LogReader
from storage.replicas.streams import StreamHead, StreamId
from storage.site import branches

from .disk import Disk
from .frames import Frame
from .log_model import LogModel


@dataclass(frozen=True, slots=True)
class ModelReader:
    """Of a modelled log, what `own_from` asks of a reader."""

    log: LogModel

    def head(self) -> StreamHead:
        return self.log.head()

    def first_seq(self) -> int:
        return self.log.start.next_seq

    def read(self, seq: int, *, bytes_max: int = 0) -> list[Frame]:
        """The frame that holds a record; none behind the end.

        Raises:
            CursorExpired: it is before the oldest that is kept.
        """
        if seq < self.log.start.next_seq:
            raise CursorExpired(f"Record {seq} is not kept any more.", hint="Begin with the oldest.")
        at = bisect_right(self.log.frames, seq, key=lambda frame: frame.next_seq)
        return self.log.frames[at : at + 1]


def readable(disk: Disk, stream: StreamId) -> Counter[bytes]:
    """How often a reader of this disk comes upon each frame of a stream, by its hash."""
    return Counter(frame.hash for frame in _read(disk, stream))


def _read(disk: Disk, stream: StreamId) -> Iterator[Frame]:
    logs = [
        log
        for name, log in disk.logs.items()
        if (name.node_id, name.name) == (stream.node_id, stream.name) and log.frames
    ]
    whole: tuple[int, LogReader] | None = None
    begun: list[tuple[int, LogReader]] = []
    for number, log in enumerate(
        sorted(logs, key=lambda log: (bool(log.stream.branch), log.start.next_seq, log.stream))
    ):
        reader = cast("LogReader", ModelReader(log))
        begin = 1
        if log.stream.branch:
            begin = branches.begin_of(reader, whole, begun, ())
            begun.append((number, reader))
        else:
            whole = (number, reader)
        yield from (frame for frame in log.frames if frame.first_seq >= begin)
