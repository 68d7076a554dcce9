"""What of a stream comes next on the site: ranges that end where a block ends and lie in one epoch.

A stream is read as one cursor reads it (storage/log/reader.py): damage, a beginning that is gone and a later epoch mean here what they
mean there. What follows is proved to follow, by the hash of what was taken before.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from appliance.core.errors import CursorBeyondHead, CursorExpired, LogDamaged, StorageError, Unavailable
from storage.log.disk import Disk
from storage.log.head import NOTHING_YET, Head
from storage.log.names import live_segments, segments_in_order
from storage.log.reader import LogReader
from storage.site.order_format import NO_HASH, Entry


class AssuredReader(LogReader):
    """Reads a stream of which it is known that it goes at least so far.

    After a power cut a head file tells of an older head until its writer has looked at the segments. What stands in an order was
    durable before that, so it is there, whatever the file says.
    """

    def __init__(self, directory: Path, *, disk: Disk | None = None) -> None:
        super().__init__(directory, disk=disk)
        self.assured = NOTHING_YET

    def assure(self, epoch: int, next_seq: int) -> None:
        """A record before this one is about to be read."""
        if (epoch, next_seq) > (self.assured.epoch, self.assured.next_seq):
            self.assured = Head(epoch, next_seq, NO_HASH, next_seq, 0)

    def head(self) -> Head:
        try:
            found = super().head()
        except LogDamaged:
            if self.assured is NOTHING_YET:
                raise
            found = NOTHING_YET
        known = self.assured
        return known if (known.epoch, known.next_seq) > (found.epoch, found.next_seq) else found

    def published(self) -> Head:
        """The head as its writer says it. Raises LogDamaged."""
        return super().head()


class Piece(NamedTuple):
    """Records [seq, seq + record_count) of one epoch; the hash is that of the frame with which they end, zeros where it isn't known."""

    epoch: int
    seq: int
    record_count: int
    hash: bytes


class StreamStopped(StorageError):  # noqa: N818 - named as the others of the tree
    """A stream does not go on where it was left: nothing more is taken from it until a later epoch does."""

    default_code = "site_stream_stopped"


class Taking:
    """Looks at one stream. For one thread at a time.

    Attributes:
        skipped: Records that were passed over because their holder no longer has them.
    """

    def __init__(self, directory: Path, disk: Disk) -> None:
        self._directory = directory
        self._disk = disk
        self.reader = AssuredReader(directory, disk=disk)
        self.skipped = 0

    def close(self) -> None:
        self.reader.close()

    def waiting(self, taken: Entry | None) -> int:
        """Records that were not taken yet."""
        try:
            head = self.reader.published()
        except LogDamaged:
            return 0
        if taken is None:
            return head.next_seq - self.reader.first_seq() if head.epoch else 0
        if head.epoch > taken.epoch:
            return (
                max(1, head.next_seq - taken.next_seq) if self._start(taken, head)[0] < head.next_seq else 0
            )
        return max(0, head.next_seq - taken.next_seq) if head.epoch == taken.epoch else 0

    def all_pieces(self, taken: Entry | None, head: Head) -> list[Piece]:
        """Everything from where it was left up to a head, kept or not: of the own stream. Raises StorageError, Unavailable."""
        start = taken.next_seq if taken is not None else 1
        return self._split(start, head.next_seq, head.hash) if start < head.next_seq else []

    def pieces(self, taken: Entry | None, count_max: int, *, begin: int = 1) -> list[Piece]:
        """What comes next, up to the first end of a block at or after `count_max` records.

        Args:
            begin: The first record that is to be taken of a stream of which nothing was.
        Raises:
            StreamStopped: it doesn't go on from what was taken.
            StorageError, Unavailable: it can't be read now.
        """
        head = self.reader.published()
        if not head.epoch:
            return []
        start, expected = self._start(taken, head)
        start = max(start, begin) if taken is None else start
        if start >= head.next_seq:
            return []
        try:
            first = self.reader.read(start, bytes_max=1)[0]
            if expected != NO_HASH and first.prev_hash != expected:
                raise StreamStopped(
                    f"{self._directory} does not go on where it was left, at record {start}.",
                    hint="It is the copy of another log. What is in it since is not in the store until a new epoch begins.",
                )
            end, end_hash = self._end(start, count_max, head)
        except LogDamaged as error:
            end, end_hash = min(error.next_seq, head.next_seq), NO_HASH
            if end <= start:
                raise
        except (CursorExpired, CursorBeyondHead):
            return []  # it was removed or replaced this moment: looked at again
        self.skipped += start - taken.next_seq if taken is not None and start > taken.next_seq else 0
        return self._split(start, end, end_hash)

    def _start(self, taken: Entry | None, head: Head) -> tuple[int, bytes]:
        """The first record to take, and the hash of the frame before it as far as that is known."""
        first_seq = self.reader.first_seq()
        if taken is None:
            return first_seq, NO_HASH
        if head.epoch < taken.epoch:
            return head.next_seq, NO_HASH
        start, expected = taken.next_seq, taken.hash
        if head.epoch > taken.epoch:
            # A later epoch that begins before what was taken replaces it: its records are others.
            later = min((seq for epoch, seq in self._epochs() if epoch > taken.epoch), default=start)
            if later < start:
                start, expected = later, NO_HASH
        return (first_seq, NO_HASH) if start < first_seq else (start, expected)

    def _end(self, start: int, count_max: int, head: Head) -> tuple[int, bytes]:
        """Where a block ends, and its hash."""
        if head.next_seq - start <= count_max:
            return head.next_seq, head.hash
        end, end_hash = start, NO_HASH
        while end - start < count_max and end < head.next_seq:
            try:
                blocks = self.reader.read(end)
            except (LogDamaged, Unavailable):
                if end > start:
                    break
                raise
            for block in blocks:
                end, end_hash = block.next_seq, block.hash
                if end - start >= count_max:
                    break
        return end, end_hash

    def _split(self, start: int, end: int, end_hash: bytes) -> list[Piece]:
        """The range by epochs."""
        epochs = self._epochs()
        borders = [start, *(seq for _, seq in epochs if start < seq < end), end]
        found = []
        for first, after in pairwise(sorted(set(borders))):
            epoch = max(
                (each for each in epochs if each[1] <= first), default=epochs[0] if epochs else (1, 1)
            )[0]
            found.append(
                Piece(epoch, first, after - first, end_hash if after == end else self._before(after))
            )
        return found

    def _before(self, seq: int) -> bytes:
        try:
            return self.reader.read(seq, bytes_max=1)[0].prev_hash
        except StorageError:
            return NO_HASH

    def _epochs(self) -> list[tuple[int, int]]:
        """(epoch, its first record), ascending in both."""
        try:
            names = live_segments(segments_in_order(self._disk.names(self._directory)))
        except FileNotFoundError:
            return []
        first: dict[int, int] = {}
        for name in names:
            first.setdefault(name.epoch, name.first_seq)
        return list(first.items())
