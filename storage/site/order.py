"""In which order a site's records are read by this node: made once, durable, the same ever after.

Theory of operation. The own stream is open at the end: what follows the last entry is whatever the own log has. So own records are
there at once and cost nothing. When others have some, a turn closes what of the own stream was there by now, adds a range of each
of the others, fsyncs, and the own stream goes on behind. Numbers of the site are dense: an entry's records follow those of the one before.

A box without others has no file, and its numbers are those of its own log; the first entry closes that log's records, so they stay.

Turns are taken while somebody reads at the end (`take`), at intervals, and of a bounded number of records: how far others are behind
shows in `statistics`, not in the distance to the head.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Final

from appliance.core import logs
from appliance.core.clock import Clock
from appliance.core.errors import StorageError, Unavailable
from appliance.core.limits_site import (
    SITE_COMPACT_ENTRIES_MIN,
    SITE_ENTRY_COUNT_MAX,
    SITE_LOOK_MS,
    SITE_RETRY_MS,
    SITE_STREAM_COUNT_MAX,
    SITE_TURN_MS,
    SITE_TURN_RECORDS_MAX,
)
from storage.log.disk import Disk, OsDisk
from storage.log.head import Head
from storage.site.branches import begin_of, histories
from storage.site.order_file import OrderFile
from storage.site.order_format import (
    BATCH_COUNT_MAX,
    Entry,
    EntryKind,
    OrderHeader,
    stream_entry,
)
from storage.site.other_stream import OtherStream
from storage.site.places import OWN, Place, head_of, kept_from, open_end, place_of, positions_of
from storage.site.statistics import SiteStatistics, StreamStatistics
from storage.site.taking import Piece, StreamStopped, Taking

STREAM: Final = "telemetry"
_LOST_EPOCH_AT_S: Final = 1_600_000_000
_log = logs.get(__name__)


class SiteOrder:
    """See the module. Of one process; used by any number of readers, from any thread.

    Args:
        directory: The order's own, `data_dir/site`. own_log: Folder of the own stream. own_id: 32 hexadecimal digits.
        replicas: Folder of the copies of others' streams (docs/LOG_FORMAT.md).
        nodes: Of this site, the own one may be among them; asked every two seconds.
        was_used: Something here was numbered by an order: if there is none, it was lost.
    Attributes:
        was_lost: There was an order, and it is gone: what was built by it must be built anew.
    """

    def __init__(
        self,
        directory: Path,
        *,
        own_log: Path,
        own_id: str,
        replicas: Path,
        nodes: Callable[[], Collection[str]],
        clock: Clock,
        disk: Disk | None = None,
        was_used: bool = False,
    ) -> None:
        self._directory = directory
        self._disk = disk or OsDisk()
        self._own_id = own_id
        self._replicas = replicas
        self._nodes = nodes
        self._clock = clock
        self._lock = threading.RLock()
        self.own_log = own_log
        self._own = Taking(own_log, self._disk)
        self._streams: dict[int, OtherStream] = {}
        self._known: dict[tuple[str, str], int] = {}
        self._turn_mono_ms = self._look_mono_ms = 0
        self._offset = 0
        self._turns_total = self._failures_total = 0
        self._incident = ""
        self.was_lost = False
        self._file = OrderFile.open(self._disk, directory)
        if self._file is None and was_used:
            self.was_lost = True
            # Above all epochs of before, so that what is known by position is not mistaken for something of this order.
            shift = max(1, clock.now_ms() // 1_000 - _LOST_EPOCH_AT_S)
            self._file = OrderFile.create(self._disk, directory, self._header(shift))
        if self._file is not None:
            for number, (node_id, branch) in self._file.streams.items():
                self._add(number, node_id, branch).is_named = True

    @property
    def is_plain(self) -> bool:
        """There is no order: the site's log is the own one."""
        return self._file is None

    def close(self) -> None:
        with self._lock:
            if self._file is not None:
                self._file.close()
            self._own.close()
            for stream in self._streams.values():
                stream.taking.close()

    # --- What readers ask -------------------------------------------------------------------------------

    def node_of(self, stream: int) -> str:
        """ "" for the own one."""
        return "" if stream == OWN else self._streams[stream].node_id

    def directory_of(self, stream: int) -> Path:
        return self.own_log if stream == OWN else self._streams[stream].directory

    def head(self, own: Head) -> Head:
        """The site's head, where the own stream's is `own`."""
        with self._lock:
            return own if self._file is None else head_of(self._file, own)

    def place(self, site_seq: int) -> Place:
        """Where a record is, or would be; there must be an order. Raises LogDamaged: its entry is; OSError."""
        with self._lock:
            assert self._file is not None
            return place_of(self._file, site_seq)

    def kept_from(self, first_seqs: dict[int, int]) -> int:
        """As places.kept_from; there must be an order. Raises OSError."""
        with self._lock:
            assert self._file is not None
            return kept_from(self._file, first_seqs)

    def end(self) -> tuple[int, int]:
        """(the site's number at which the own stream is open, what that is called there)."""
        with self._lock:
            return (1, 1) if self._file is None else open_end(self._file)

    def numbers(self) -> list[int]:
        """Of all streams that ever had a range."""
        with self._lock:
            return [OWN] if self._file is None else sorted({OWN, *self._file.taken})

    def position(self, stream: int, seq: int) -> int | None:
        """The site's number of a stream's record; None where it has none yet, or no more. Raises OSError."""
        with self._lock:
            if self._file is None:
                return seq
            for entry in self._file.ranges(0):
                if entry.stream == stream and entry.seq <= seq < entry.next_seq:
                    return entry.site_seq + seq - entry.seq
            end, own_next = open_end(self._file)
            return end + seq - own_next if stream == OWN and seq >= own_next else None

    def positions(self, site_seq: int) -> dict[Path, int]:
        """By folder, the first record of each stream that is not before a place of the site. Raises OSError."""
        with self._lock:
            if self._file is None:
                return {self.own_log: site_seq}
            found = positions_of(self._file, site_seq)
            return {self.directory_of(number): seq for number, seq in found.items()}

    # --- Turns ------------------------------------------------------------------------------------------

    def take(self, reach_seq: int) -> None:
        """Take a turn if it is time; nothing is raised: what goes wrong is kept for `statistics`, and own records go on.

        Args:
            reach_seq: How far somebody has read, in the site's numbers.
        """
        mono_ms = self._clock.mono_ms()
        if mono_ms < self._turn_mono_ms:
            return
        with self._lock:
            try:
                self._take(mono_ms, reach_seq)
                self._incident = ""
            except (StorageError, Unavailable, OSError) as error:
                self._turn_mono_ms = mono_ms + SITE_RETRY_MS
                self._failures_total += 1
                self._incident = getattr(error, "message", str(error))
                _log.error("the order of the site could not be written", error=self._incident)

    def _take(self, mono_ms: int, reach_seq: int) -> None:
        self._look(mono_ms)
        self._turn_mono_ms = mono_ms + (self._turn_ms() if self._streams else SITE_LOOK_MS)
        if not self._streams:
            return
        own = self._own.reader.published()
        if not own.epoch or self.head(own).next_seq - reach_seq > SITE_TURN_RECORDS_MAX:
            self._turn_mono_ms = mono_ms
            return
        found = self._of_others()
        if not found:
            return
        if len(self._file or ()) >= SITE_ENTRY_COUNT_MAX:
            raise StorageError(
                "The order of the site is full.", hint="See 'homeport doctor'.", code="site_order_full"
            )
        if self._file is None:
            self._file = OrderFile.create(self._disk, self._directory, self._header(0))
        self._add_entries(self._file, own, found)
        self._turns_total += 1
        if any(stream.waiting for stream in self._streams.values()):
            self._turn_mono_ms = mono_ms

    def _of_others(self) -> list[tuple[OtherStream, Piece]]:
        """What others have that wasn't taken yet, a share of each, another one first each time."""
        with_some: list[OtherStream] = []
        for stream in self._streams.values():
            stream.waiting = stream.taking.waiting(self._taken(stream))
            if stream.waiting:
                with_some.append(stream)
        found: list[tuple[OtherStream, Piece]] = []
        begun: set[str] = set()
        self._offset = (self._offset + 1) % max(1, len(with_some))
        in_turn = with_some[self._offset :] + with_some[: self._offset]
        # New branches of a stream begin one after the other, the longest first: what the next one shares with it is known by then.
        new = {each: each.first_seq() for each in in_turn if each.branch and self._taken(each) is None}
        for stream in sorted(in_turn, key=lambda each: (each not in new, new.get(each, 0))):
            if stream in new and stream.node_id in begun:
                continue
            pieces = self._of(stream, max(1, SITE_TURN_RECORDS_MAX // len(with_some)))
            found += [(stream, piece) for piece in pieces]
            stream.waiting -= min(stream.waiting, sum(piece.record_count for piece in pieces))
            if not pieces:
                stream.waiting = 0
            elif stream in new:
                begun.add(stream.node_id)
            if len(found) > BATCH_COUNT_MAX // 4:
                break
        return found

    def _of(self, stream: OtherStream, count_max: int) -> list[Piece]:
        taken = self._taken(stream)
        if stream.stopped and taken is not None:
            if stream.taking.reader.published().epoch <= stream.stopped_epoch:
                return []
            stream.stopped = ""
        try:
            begin = self._own_from(stream) if taken is None and stream.branch else 1
            return stream.taking.pieces(taken, count_max, begin=begin)
        except StreamStopped as error:
            stream.stopped, stream.stopped_epoch = error.message, stream.taking.reader.published().epoch
            _log.error("a copy does not go on where it was left", node=stream.node_id, error=error.message)
        except (StorageError, Unavailable, OSError) as error:
            # One copy that can't be read holds up neither the others nor the own stream.
            _log.warning("a copy can't be read", node=stream.node_id, error=str(error))
        return []

    def _own_from(self, stream: OtherStream) -> int:
        """Where a branch begins of which nothing was taken yet."""
        number = OWN if stream.node_id == self._own_id else self._known.get((stream.node_id, ""))
        whole = self._own if number == OWN else self._streams[number].taking if number is not None else None
        begun = [
            (each.number, each.taking.reader)
            for each in self._streams.values()
            if each.branch and each.node_id == stream.node_id and self._taken(each) is not None
        ]
        ranges = list(self._file.ranges(0)) if self._file is not None else []
        named = None if number is None or whole is None else (number, whole.reader)
        return begin_of(stream.taking.reader, named, begun, ranges)

    def _taken(self, stream: OtherStream) -> Entry | None:
        return self._file.taken.get(stream.number) if self._file is not None else None

    def _add_entries(self, file: OrderFile, own: Head, found: list[tuple[OtherStream, Piece]]) -> None:
        last = file.last
        site_seq, site_epoch = open_end(file)[0], last.site_epoch if last is not None else 0
        entries: list[Entry] = []

        def add(number: int, piece: Piece, epoch: int) -> None:
            nonlocal site_seq
            kind = EntryKind.RANGE
            entries.append(
                Entry(kind, number, epoch, piece.epoch, piece.record_count, site_seq, piece.seq, piece.hash)
            )
            site_seq += piece.record_count

        for piece in self._own.all_pieces(file.taken.get(OWN), own):
            site_epoch = max(site_epoch, piece.epoch + file.header.epoch_shift)
            add(OWN, piece, site_epoch)
        site_epoch = max(site_epoch, own.epoch + file.header.epoch_shift)
        for stream, piece in found:
            if not stream.is_named:
                entries.append(stream_entry(stream.number, stream.node_id, stream.branch))
                stream.is_named = True
            add(stream.number, piece, site_epoch)
        try:
            file.append(entries)
        except OSError:
            for stream, _ in found:
                stream.is_named = stream.number in file.streams
            raise

    def _turn_ms(self) -> int:
        entries = len(self._file) if self._file is not None else 0
        return SITE_TURN_MS[min(len(SITE_TURN_MS) - 1, len(SITE_TURN_MS) * entries // SITE_ENTRY_COUNT_MAX)]

    def _look(self, mono_ms: int) -> None:
        """Find the streams of others that are new."""
        if mono_ms < self._look_mono_ms:
            return
        self._look_mono_ms = mono_ms + SITE_LOOK_MS
        for node_id in sorted({*self._nodes(), self._own_id}):
            try:
                names = self._disk.names(self._replicas / node_id)
            except OSError:
                continue  # nothing of it was copied yet
            # Of the own stream there may be branches here as well: what another body of this node wrote.
            for branch in histories(names, STREAM, with_whole=node_id != self._own_id):
                if (node_id, branch) not in self._known and len(self._streams) < SITE_STREAM_COUNT_MAX:
                    self._add(max(self._streams, default=OWN) + 1, node_id, branch)

    def _add(self, number: int, node_id: str, branch: str) -> OtherStream:
        name = f"{STREAM}.{branch}" if branch else STREAM
        stream = OtherStream(number, node_id, branch, self._replicas / node_id / name, self._disk)
        self._streams[number] = stream
        self._known[node_id, branch] = number
        return stream

    def _header(self, epoch_shift: int) -> OrderHeader:
        return OrderHeader(
            secrets.randbits(32), epoch_shift, self._clock.now_ms(), bytes.fromhex(self._own_id)
        )

    # --- Housekeeping -----------------------------------------------------------------------------------

    def compact(self, needed_seq: int) -> None:
        """Forget ranges at the beginning whose records are gone; nothing before `needed_seq` is wanted by anybody.

        Raises:
            StorageError, OSError: the file is as it was.
        """
        with self._lock:
            file = self._file
            if file is None or len(file) < SITE_COMPACT_ENTRIES_MIN:
                return
            is_full = len(file) >= SITE_ENTRY_COUNT_MAX * 3 // 4
            first = {number: stream.taking.reader.first_seq() for number, stream in self._streams.items()}
            first[OWN] = self._own.reader.first_seq()
            gone = 0
            for entry in file.ranges(0):
                is_needed = entry.site_next_seq > needed_seq
                if is_needed or (entry.next_seq > first.get(entry.stream, 0) and not is_full):
                    break
                gone += 1
            # The last one stays, since its hash is what the next one follows.
            gone = min(gone, len(file.slots)) - 1
            if gone * 2 < len(file):
                return
            self._file = OrderFile.create(self._disk, self._directory, file.header, self._kept(file, gone))
            file.close()

    @staticmethod
    def _kept(file: OrderFile, gone: int) -> Iterator[Entry]:
        for number, (node_id, branch) in sorted(file.streams.items()):
            yield stream_entry(number, node_id, branch)
        for number, taken in sorted(file.taken.items()):
            yield taken._replace(kind=EntryKind.TAKEN, stream=number)
        yield from file.ranges(gone)

    def statistics(self) -> SiteStatistics:
        """From any thread."""
        with self._lock:
            file = self._file
            streams = tuple(
                StreamStatistics(
                    node_id=stream.node_id,
                    branch=stream.branch,
                    next_seq=taken.next_seq if (taken := self._taken(stream)) is not None else 0,
                    waiting=stream.waiting,
                    skipped=stream.taking.skipped,
                    stopped=stream.stopped,
                )
                for stream in sorted(self._streams.values(), key=lambda each: (each.node_id, each.branch))
            )
            return SiteStatistics(
                entries=len(file) if file is not None else 0,
                damaged=file.damaged if file is not None else 0,
                turns_total=self._turns_total,
                failures_total=self._failures_total,
                waiting=sum(each.waiting for each in streams),
                incident=self._incident,
                streams=streams,
            )
