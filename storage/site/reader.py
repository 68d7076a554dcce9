"""Reads a site as one log: as LogReader, over the own stream and the copies of others', in the order that is kept.

Theory of operation. Blocks are given out as they are, but with the site's numbers and epoch, and each names the block that comes before it
on the site: so a cursor sees one chain. The chain of each stream is checked where it is read (within a segment by its reader, and at
both ends of a range against the hashes in the order).

What a stream can't give is refused as LogReader refuses it, with the range in the site's numbers. Only the own stream may say that it
isn't ready yet: a copy that is away holds nobody up.
"""

from __future__ import annotations

from dataclasses import replace

from appliance.core.errors import CursorBeyondHead, CursorExpired, LogDamaged, StorageError, Unavailable
from appliance.core.limits import READ_BYTES_DEFAULT
from storage.log.block import Block
from storage.log.disk import Disk
from storage.log.head import Head
from storage.log.reader import LogReader
from storage.site.order import SiteOrder
from storage.site.order_format import NO_HASH
from storage.site.places import OWN, Place
from storage.site.taking import AssuredReader

_HINT = "Go on behind it; a holder of a copy may have the range."


class SiteReader:
    """See the module. For one thread at a time; readers share the order, so take one for each cursor.

    Args:
        takes_turns: What this one reads is what the order grows by: for the pipeline.
    """

    def __init__(self, order: SiteOrder, *, takes_turns: bool = False, disk: Disk | None = None) -> None:
        self._order = order
        self._disk = disk
        self._takes_turns = takes_turns
        self._own = LogReader(order.own_log, disk=disk)
        self._others: dict[int, AssuredReader] = {}
        self._reach_seq = 1

    def head(self) -> Head:
        """As LogReader."""
        if self._takes_turns:
            self._order.take(self._reach_seq)
        own = self._own.head()
        return own if self._order.is_plain else self._order.head(own)

    def first_seq(self) -> int:
        """As LogReader: before it everything is gone. What is gone behind it is damage to whoever reads it."""
        if self._order.is_plain:
            return self._own.first_seq()
        first_seqs = {number: self._stream(number).first_seq() for number in self._order.numbers()}
        return self._order.kept_from(first_seqs)

    def read(self, seq: int, *, bytes_max: int = READ_BYTES_DEFAULT) -> list[Block]:
        """As LogReader."""
        while True:
            place = None if self._order.is_plain else self._order.place(seq)
            if place is None:
                blocks = self._own.read(seq, bytes_max=bytes_max)
                is_good = self._order.is_plain
            elif place.after is None:
                blocks = self._read_open(place, seq, bytes_max)
                # It is what comes next only as long as nobody has closed that end meanwhile.
                is_good = self._order.end()[0] == place.first
            else:
                blocks = self._read_closed(place, place.after, seq, bytes_max)
                is_good = True
            if is_good:
                self._reach_seq = max(self._reach_seq, blocks[-1].next_seq if blocks else seq)
                return blocks

    def seq_at_time(self, time_ms: int) -> int:
        """As LogReader: the earliest such block in the order of the site."""
        if self._order.is_plain:
            return self._own.seq_at_time(time_ms)
        found = [self.head().next_seq]
        for number in self._order.numbers():
            at = self._order.position(number, self._stream(number).seq_at_time(time_ms))
            if at is not None:
                found.append(at)
        return min(found)

    def close(self) -> None:
        self._own.close()
        for reader in self._others.values():
            reader.close()
        self._others.clear()

    def _stream(self, number: int) -> LogReader:
        if number == OWN:
            return self._own
        found = self._others.get(number)
        if found is None:
            found = self._others[number] = AssuredReader(self._order.directory_of(number), disk=self._disk)
        return found

    def _read_open(self, place: Place, seq: int, bytes_max: int) -> list[Block]:
        own_seq = place.seq + seq - place.first
        try:
            blocks = self._own.read(own_seq, bytes_max=bytes_max)
        except CursorExpired as error:
            raise self._gone(error, place, seq) from error
        except LogDamaged as error:
            raise _on_site(error, place, seq) from error
        return _given(blocks, place, "")

    def _read_closed(self, place: Place, after: int, seq: int, bytes_max: int) -> list[Block]:
        """Blocks of a range, none beyond its end."""
        end_seq = place.seq + after - place.first
        own_seq = place.seq + seq - place.first
        assert place.epoch is not None
        reader = self._stream(place.stream)
        if isinstance(reader, AssuredReader):
            reader.assure(place.epoch, end_seq)
        try:
            blocks = reader.read(own_seq, bytes_max=bytes_max)
        except CursorExpired as error:
            raise self._gone(error, place, seq) from error
        except LogDamaged as error:
            raise _on_site(error, place, seq) from error
        except (CursorBeyondHead, Unavailable) as error:
            if place.stream == OWN:
                raise
            raise _refused(place, seq, after, error.message) from error
        found: list[Block] = []
        for block in blocks:
            if block.first_seq >= end_seq:
                break
            problem = _problem(block, place, end_seq)
            if problem:
                if found:
                    break
                raise _refused(place, seq, place.first + min(block.next_seq, end_seq) - place.seq, problem)
            found.append(block)
        if not found:
            raise _refused(place, seq, after, "they are others than those that were read before")
        return _given(found, place, self._order.node_of(place.stream))

    def _gone(self, error: CursorExpired, place: Place, seq: int) -> StorageError:
        """Expired, where nothing before it is kept; a gap to go on behind otherwise."""
        first_seq = self.first_seq()
        if seq < first_seq:
            return CursorExpired(
                f"Record {seq} of the site is no longer kept; the oldest is {first_seq}.",
                next_seq=first_seq,
                hint=f"Go on at {first_seq} and count what was skipped.",
            )
        until = place.first + max(error.next_seq, place.seq) - place.seq
        return _refused(place, seq, max(until, seq + 1), "they are no longer kept here")


def _problem(block: Block, place: Place, end_seq: int) -> str:
    """Why a block isn't the one that was read when the order was made; "" when it is."""
    if block.first_seq < place.seq or block.next_seq > end_seq:
        return "they are in other blocks than those that were read before"
    if block.epoch != place.epoch:
        return f"they are of epoch {block.epoch} now"
    if block.next_seq == end_seq and place.end_hash not in (NO_HASH, block.hash):
        return "the last of them is another one than was read before"
    return ""


def _given(blocks: list[Block], place: Place, node_id: str) -> list[Block]:
    """Blocks as the site has them."""
    shift = place.first - place.seq
    found = []
    for block in blocks:
        prev_hash = block.prev_hash
        if block.first_seq == place.seq and place.first > 1:
            prev_hash = place.before_hash if place.before_hash != NO_HASH else b""
        found.append(
            replace(
                block,
                epoch=place.site_epoch if place.epoch is not None else block.epoch + place.site_epoch,
                first_seq=block.first_seq + shift,
                prev_hash=prev_hash,
                origin=node_id,
                is_of_site=True,
            )
        )
    return found


def _on_site(error: LogDamaged, place: Place, seq: int) -> LogDamaged:
    """A stream's damage in the site's numbers, within the range."""
    shift = place.first - place.seq
    if error.next_seq <= error.first_seq:
        return error
    first, after = max(place.first, error.first_seq + shift), error.next_seq + shift
    if place.after is not None:
        after = min(after, place.after)
    return LogDamaged(
        error.message,
        first_seq=min(first, seq),
        next_seq=max(after, seq + 1),
        hint=error.hint,
        code=error.code,
    )


def _refused(place: Place, first: int, after: int, why: str) -> LogDamaged:
    if place.after is not None:
        after = min(after, place.after)
    return LogDamaged(
        f"Records {first} to {after - 1} of the site can't be read: {why}.",
        first_seq=first,
        next_seq=after,
        hint=_HINT,
    )
