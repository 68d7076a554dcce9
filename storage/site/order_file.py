"""The order's file on disk: opened, checked, appended to, written anew.

Whoever uses an entry has had it fsynced. What a power cut or SIGKILL left behind the last whole entry was never used, and is cut off.
An entry that isn't whole with a whole one behind it is damage: its records have no place any more, which a reader is told.
After a failed write or fsync the descriptor is never used again: the next append writes a file beside, and renames it.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from appliance.core.errors import LogDamaged
from appliance.core.limits import PAGE_BYTES
from appliance.core.limits_site import SITE_ENTRY_COUNT_MAX, SITE_STREAM_COUNT_MAX
from storage.log.disk import Disk, write_all
from storage.site.order_format import (
    ENTRIES_OFFSET,
    ENTRY_BYTES,
    Entry,
    EntryKind,
    OrderHeader,
    crc_of,
    decode_entry,
    decode_header,
    encode_entry,
    encode_header,
    stream_of,
)

ORDER: Final = "order"
ORDER_NEW: Final = "order.new"
_READ_ENTRIES: Final = 4_096
_BYTES_MAX: Final = ENTRIES_OFFSET + (SITE_ENTRY_COUNT_MAX + 4 * SITE_STREAM_COUNT_MAX) * ENTRY_BYTES


class OrderFile:
    """One open file. For one thread at a time.

    Attributes:
        header: As read.
        site_seqs: Of each range, the first sequence; ascending. slots: Of each range, which entry of the file it is.
        streams: By number, (node id, branch); number 0 is not there.
        taken: By stream number, the newest entry that says how far it was taken.
        last: The newest range; None for none.
        damaged: Entries that are not whole.
    """

    def __init__(self, disk: Disk, directory: Path, descriptor: int, header: OrderHeader) -> None:
        self._disk = disk
        self._directory = directory
        self._descriptor = descriptor
        self.header = header
        self.site_seqs = array("Q")
        self.slots = array("I")
        self.streams: dict[int, tuple[str, str]] = {}
        self.taken: dict[int, Entry] = {}
        self.last: Entry | None = None
        self.damaged = 0
        self._count = 0
        self._crc = header.salt
        self._is_doubtful = False

    @staticmethod
    def open(disk: Disk, directory: Path) -> OrderFile | None:
        """The file with what it holds; a torn tail is cut. None where there is none.

        Raises:
            LogDamaged: `site_order_unusable`: neither copy of its header is whole.
            OSError: it can't be read or cut.
        """
        try:
            descriptor = disk.open(directory / ORDER, write=True)
        except FileNotFoundError:
            return None
        try:
            header = decode_header(disk.pread(descriptor, PAGE_BYTES, 0))
            if header is None:
                raise LogDamaged(
                    f"{directory / ORDER} is not the order of a site.",
                    hint="Move it away: the store is then built anew from the log.",
                    code="site_order_unusable",
                )
            found = OrderFile(disk, directory, descriptor, header)
            found._load()
        except BaseException:
            disk.close(descriptor)
            raise
        return found

    @staticmethod
    def create(disk: Disk, directory: Path, header: OrderHeader, entries: Iterable[Entry] = ()) -> OrderFile:
        """A new file in place of any that is there, durably.

        Raises:
            OSError: it can't be written; the one before is as it was.
        """
        disk.make_directory(directory)
        path = directory / ORDER_NEW
        descriptor = disk.open(path, write=True, create=True)
        try:
            disk.truncate(descriptor, 0)
            write_all(disk, descriptor, [encode_header(header)], 0)
            made = OrderFile(disk, directory, descriptor, header)
            several: list[Entry] = []
            for entry in entries:
                several.append(entry)
                if len(several) == _READ_ENTRIES:
                    made._write(several)
                    several = []
            made._write(several)
            disk.fsync(descriptor)
            disk.rename(path, directory / ORDER)
            disk.fsync_directory(directory)
        except BaseException:
            disk.close(descriptor)
            raise
        return made

    def __len__(self) -> int:
        return self._count

    def close(self) -> None:
        self._disk.close(self._descriptor)

    def append(self, entries: Sequence[Entry]) -> None:
        """Add entries, BATCH_COUNT_MAX at most, durably: they may be used when this returns.

        Raises:
            OSError: the disk failed or is full; none of them is there.
        """
        if self._is_doubtful:
            self._anew()
        try:
            self._write(entries, sync=True)
        except OSError:
            # What the disk has behind the last good entry is not known, nor whether a second fsync would tell.
            self._is_doubtful = True
            raise

    def entry(self, at: int) -> Entry | None:
        """Range `at` (an index into site_seqs); None when it is not whole any more. Raises OSError."""
        found = self._read(self.slots[at], 1)
        return found[0][1] if found else None

    def ranges(self, at: int) -> Iterable[Entry]:
        """All whole ranges from `at` on. Raises OSError."""
        slot = self.slots[at] if at < len(self.slots) else self._count
        while slot < self._count:
            for _, entry in self._read(slot, _READ_ENTRIES):
                if entry is not None and entry.kind == EntryKind.RANGE:
                    yield entry
            slot += _READ_ENTRIES

    def _read(self, slot: int, count: int) -> list[tuple[int, Entry | None]]:
        """Entries by their number in the file, None for one that isn't whole."""
        count = min(count, self._count - slot)
        start = ENTRIES_OFFSET + slot * ENTRY_BYTES
        # The CRC of the entry before is what the first one is checked with.
        lead = ENTRY_BYTES if slot else 0
        data = self._disk.pread(self._descriptor, lead + count * ENTRY_BYTES, start - lead)
        crc = crc_of(data[:ENTRY_BYTES]) if lead else self.header.salt
        found = []
        for at in range(lead, len(data) - ENTRY_BYTES + 1, ENTRY_BYTES):
            piece = data[at : at + ENTRY_BYTES]
            found.append((slot + (at - lead) // ENTRY_BYTES, decode_entry(piece, crc)))
            crc = crc_of(piece)
        return found

    def _load(self) -> None:
        size = self._disk.size(self._descriptor)
        self._count = max(0, min(size, _BYTES_MAX) - ENTRIES_OFFSET) // ENTRY_BYTES
        whole, broken = self._look_over()
        self._count = whole
        for slot in range(0, whole, _READ_ENTRIES):
            for number, entry in self._read(slot, _READ_ENTRIES):
                if entry is not None:
                    self._note(entry, number)
        self.damaged = sum(number < whole for number in broken)
        end = ENTRIES_OFFSET + whole * ENTRY_BYTES
        if size > end:
            self._disk.truncate(self._descriptor, end)
        # What was written and not synced by a process that was killed may be whole, and is about to be used.
        self._disk.fsync(self._descriptor)
        if whole:
            self._crc = crc_of(self._disk.pread(self._descriptor, ENTRY_BYTES, end - ENTRY_BYTES))

    def _look_over(self) -> tuple[int, list[int]]:
        """How many entries count, and which numbers are not whole. Of the last batch all count, or none does."""
        broken: list[int] = []
        last: tuple[int, Entry] | None = None
        for slot in range(0, self._count, _READ_ENTRIES):
            for number, entry in self._read(slot, _READ_ENTRIES):
                if entry is None:
                    broken.append(number)
                else:
                    last = number, entry
        if last is None:
            return 0, broken
        number, entry = last
        begin, end = number - entry.at, number - entry.at + entry.batch
        is_torn = number + 1 < end or any(begin <= each < end for each in broken)
        return (max(0, begin) if is_torn else number + 1), broken

    def _note(self, entry: Entry, number: int) -> None:
        if entry.kind == EntryKind.RANGE:
            self.site_seqs.append(entry.site_seq)
            self.slots.append(number)
            self.last = self.taken[entry.stream] = entry
        elif entry.kind == EntryKind.STREAM:
            self.streams[entry.stream] = stream_of(entry)
        elif entry.kind == EntryKind.TAKEN:
            self.taken[entry.stream] = entry

    def _write(self, entries: Sequence[Entry], *, sync: bool = False) -> None:
        data = bytearray()
        crc = self._crc
        for at, entry in enumerate(entries):
            placed = entry._replace(at=at, batch=len(entries)) if sync else entry._replace(at=0, batch=1)
            piece = encode_entry(placed, crc)
            crc = crc_of(piece)
            data += piece
        if data:
            offset = ENTRIES_OFFSET + self._count * ENTRY_BYTES
            write_all(self._disk, self._descriptor, [bytes(data)], offset)
            if sync:
                self._disk.fdatasync(self._descriptor)
        self._crc = crc
        for entry in entries:
            self._note(entry, self._count)
            self._count += 1

    def _anew(self) -> None:
        """Put what was good into a file of its own, and go on with that. Raises OSError."""
        good = OrderFile.create(self._disk, self._directory, self.header, self._all())
        self._disk.close(self._descriptor)
        self.__dict__.update(good.__dict__)

    def _all(self) -> Iterable[Entry]:
        for slot in range(0, self._count, _READ_ENTRIES):
            for _, entry in self._read(slot, _READ_ENTRIES):
                if entry is not None:
                    yield entry
