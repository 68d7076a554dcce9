"""The tier in a NATS JetStream cluster: one stream, a subject for each epoch, and the subject's last message as the fence. For trio.

What `put` returned for, a majority of the servers has synced: the leader answers no earlier where they have `sync_interval: always`, which is looked at when
connecting, each NATS_LOOK_S, and after a connection was lost. Names and layout: jetstream_names.py; who is believed: jetstream_calls.py.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import Final

import trio

from appliance.core.errors import NotFound
from appliance.core.limits_jetstream import (
    NATS_KNOWN_EPOCH_COUNT_MAX,
    NATS_LOOK_S,
    NATS_PIECE_BYTES,
    NATS_PROBE_COUNT_MAX,
)
from replication.tier.engine import OBJECT_BYTES_MAX, Fenced, TierAway, TierUnfit
from replication.tier.engines.jetstream_calls import Calls, Stored, WrongLast
from replication.tier.engines.jetstream_listing import listed
from replication.tier.engines.jetstream_names import (
    HEADER,
    epoch_of,
    header_of,
    key_of,
    mended_subject,
    name_of,
    object_subject,
    pieces_subject,
)
from replication.tier.engines.jetstream_places import Places
from replication.tier.engines.names import check_key
from replication.tier.engines.pace import Pace
from replication.tier.engines.requests import EngineStatistics
from replication.tier.pieces import Piece, PieceName
from storage.replicas.streams import StreamId

TRY: Final = "Homeport-Try"
"""Header of an object: whose it is, so that who did not hear the answer knows its own."""
_RACE_COUNT_MAX: Final = 100
"""So often somebody else may come first within one call."""


class _Epoch:
    """What is known of an epoch. Only with `lock` is it changed, and nothing of it is believed without asking the leader."""

    def __init__(self, prefix: str, stream: StreamId, epoch: int) -> None:
        self.stream, self.epoch = stream, epoch
        self.subject = pieces_subject(prefix, stream, epoch)
        self.mended_subject = mended_subject(prefix, stream, epoch)
        self.lock = trio.Lock()
        self.seq: int | None = None
        """Of the last message; None where it isn't known."""
        self.last: PieceName | None = None
        """Of that message."""
        self.places = Places()
        self.mended_seq: int | None = None
        """As `seq`, of those in a lost one's place."""
        self.mended: dict[int, tuple[int, PieceName]] = {}
        """Pieces that took a lost one's place, by the sequence that they begin with."""


class JetStream:
    """An `Engine`."""

    def __init__(self, calls: Calls, look: Callable[[], Awaitable[None]]) -> None:
        """
        Args:
            look: Raises TierUnfit where the servers don't sync before they acknowledge.
        """
        self._calls = calls
        self._look = look
        self._looked_at = trio.current_time()
        self._looked_lost_count = calls.lost_count
        self._pace = Pace()
        self._epochs: OrderedDict[tuple[StreamId, int], _Epoch] = OrderedDict()

    @property
    def piece_bytes_max(self) -> int:
        return min(NATS_PIECE_BYTES, self._pace.piece_bytes_max)

    def statistics(self) -> EngineStatistics:
        """What was asked of the servers since they were connected to."""
        return self._calls.requests.statistics(self._pace.bytes_per_s)

    async def put(self, piece: Piece, *, is_mending: bool = False) -> None:
        await self._look_again()
        await self._put(piece, is_mending)
        # A server that was started again meanwhile may have other settings: then this was not kept as it must be.
        await self._look_again()

    async def _put(self, piece: Piece, is_mending: bool) -> None:
        about = self._of(piece.name.stream, piece.name.epoch)
        async with about.lock:
            if (
                about.seq is not None
                and about.last is not None
                and piece.name.follows(about.last)
                and not about.mended
            ):
                try:
                    return await self._append(about, piece)
                except WrongLast:
                    pass
            for _ in range(_RACE_COUNT_MAX):
                last = await self._last(about, is_sure=not is_mending)
                there = await self._there(about, piece.name.first_seq, last)
                if there is not None:
                    if is_same_place(there, piece.name):
                        return None
                    raise _fenced("Another piece is in its place.", last)
                try:
                    if last is None or piece.name.follows(last):
                        return await self._append(about, piece)
                    if is_mending:
                        return await self._mend(about, piece)
                except WrongLast:
                    about.mended_seq = None
                    continue
                raise _fenced("It does not follow the last piece.", last)
        raise TierAway("Others write to the same epoch without an end.", code="tier_away")

    async def last(self, stream: StreamId, epoch: int) -> PieceName | None:
        about = self._of(stream, epoch)
        async with about.lock:
            return await self._last(about)

    async def epochs(self) -> dict[StreamId, list[int]]:
        found: dict[StreamId, set[int]] = {}
        for kind in ("s", "m"):
            for subject in await self._calls.subjects(f"{self._calls.stream}.{kind}.>"):
                of = epoch_of(self._calls.stream, subject)
                if of is not None:
                    found.setdefault(of[0], set()).add(of[1])
        return {stream: sorted(found[stream]) for stream in sorted(found)}

    async def pieces(self, stream: StreamId, epoch: int, from_seq: int = 0) -> AsyncIterator[PieceName]:
        about = self._of(stream, epoch)
        async with about.lock:
            mended = await self._mended(about, is_fresh=True)
        waiting = deque(mended[first][1] for first in sorted(mended) if mended[first][1].next_seq > from_seq)
        async with aclosing(listed(self._calls, about.subject, about.places.before(from_seq))) as found:
            async for each in found:
                name = self._name(about, each.headers)
                about.places.add(name.first_seq, each.seq)
                while waiting and waiting[0].first_seq < name.first_seq:
                    yield waiting.popleft()
                if waiting and waiting[0].first_seq == name.first_seq:
                    waiting.popleft()
                if name.next_seq > from_seq:
                    yield name
        for name in waiting:
            yield name

    async def get(self, name: PieceName) -> bytes:
        found = await self._found(name)
        if found is None:
            raise NotFound(f"The piece {name.first_seq} of {name.stream} is not there.", code="piece_gone")
        self._calls.requests.got_bytes += len(found.data)
        return found.data

    async def remove(self, name: PieceName) -> None:
        found = await self._found(name)
        if found is None:
            return
        about = self._of(name.stream, name.epoch)
        async with about.lock:
            await self._calls.delete(found.seq)
            about.seq = about.mended_seq = None
            about.places.remove(name.first_seq)

    async def put_object(self, key: str, data: bytes) -> bool:
        check_key(key)
        assert len(data) <= OBJECT_BYTES_MAX
        subject, mine = object_subject(self._calls.stream, key), secrets.token_hex(16)
        await self._look_again()
        try:
            await self._calls.publish(subject, data, 0, {TRY: mine})
        except WrongLast as there:
            # The first answer may have been lost on its way.
            kept = await self._calls.message(there.seq)
            if kept is None or kept.headers.get(TRY.lower()) != mine:
                return False
        await self._look_again()
        return True

    async def get_object(self, key: str) -> bytes | None:
        check_key(key)
        subject = object_subject(self._calls.stream, key)
        seq = await self._calls.last_seq(subject)
        found = await self._calls.message(seq) if seq else None
        return None if found is None else found.data

    async def objects(self, prefix: str = "") -> AsyncIterator[str]:
        subjects = await self._calls.subjects(f"{self._calls.stream}.o.>")
        for key in sorted(key_of(self._calls.stream, subject) for subject in subjects):
            if key.startswith(prefix):
                yield key

    async def remove_object(self, key: str) -> None:
        check_key(key)
        await self._calls.purge(object_subject(self._calls.stream, key))

    async def _append(self, about: _Epoch, piece: Piece) -> None:
        expected, about.seq = about.seq or 0, None
        seq = await self._write(about.subject, piece, expected)
        about.seq, about.last = seq, piece.name
        about.places.add(piece.name.first_seq, seq)

    async def _mend(self, about: _Epoch, piece: Piece) -> None:
        expected, about.mended_seq = about.mended_seq or 0, None
        seq = await self._write(about.mended_subject, piece, expected)
        about.mended_seq = seq
        about.mended[piece.name.first_seq] = (seq, piece.name)

    async def _write(self, subject: str, piece: Piece, expected: int) -> int:
        began_at = trio.current_time()
        try:
            seq = await self._calls.publish(subject, piece.data, expected, {HEADER: header_of(piece.name)})
        except TierAway:
            self._pace.gave_up(len(piece.data), trio.current_time() - began_at)
            raise
        self._pace.took(len(piece.data), trio.current_time() - began_at)
        self._calls.requests.put_bytes += len(piece.data)
        return seq

    async def _last(self, about: _Epoch, *, is_sure: bool = True) -> PieceName | None:
        """The last piece of an epoch, as the leader has it; what is known of the epoch is right afterwards.

        Args:
            is_sure: Also that a piece that took a lost one's place was not removed by somebody else.
        """
        await self._refresh(about)
        if not is_sure and about.mended_seq is not None:
            return _top(about.last, about.mended)
        top = _top(about.last, await self._mended(about))
        if top is about.last or not is_sure:
            return top
        # It stands on a message that may have been removed: this is rare, and looked at.
        return _top(about.last, await self._mended(about, is_fresh=True))

    async def _refresh(self, about: _Epoch) -> None:
        for _ in range(_RACE_COUNT_MAX):
            seq = await self._calls.last_seq(about.subject)
            if seq == about.seq:
                return
            message = await self._calls.message(seq) if seq else None
            if seq and message is None:
                continue  # removed just now
            about.seq, about.last = seq, None if message is None else self._name(about, message.headers)
            if about.last is not None:
                about.places.add(about.last.first_seq, seq)
            return
        raise TierAway("Others remove from the same epoch without an end.", code="tier_away")

    async def _mended(self, about: _Epoch, *, is_fresh: bool = False) -> dict[int, tuple[int, PieceName]]:
        seq = await self._calls.last_seq(about.mended_subject)
        if seq != about.mended_seq or (seq and is_fresh):
            found: dict[int, tuple[int, PieceName]] = {}
            last_seq = 0
            async with aclosing(listed(self._calls, about.mended_subject, 0)) as messages:
                async for each in messages:
                    name = self._name(about, each.headers)
                    found[name.first_seq] = (each.seq, name)
                    last_seq = each.seq
            about.mended_seq, about.mended = last_seq, found
        return about.mended

    async def _there(self, about: _Epoch, first_seq: int, last: PieceName | None) -> PieceName | None:
        """The piece that begins with a sequence, where there is one."""
        if last is None or first_seq >= last.next_seq:
            return None
        if first_seq == last.first_seq:
            return last
        if first_seq in about.mended:
            mended = (await self._mended(about, is_fresh=True)).get(first_seq)
            if mended is not None:
                return mended[1]
        found = await self._search(about, first_seq)
        return None if found is None else self._name(about, found.headers)

    async def _found(self, name: PieceName) -> Stored | None:
        """The message of a piece."""
        about = self._of(name.stream, name.epoch)
        found = await self._at(about, name, about.places.exact(name.first_seq))
        if found is not None:
            return found
        async with about.lock:
            await self._refresh(about)
            mended = (await self._mended(about)).get(name.first_seq)
            found = await self._at(about, name, None if mended is None else mended[0])
            if found is not None:
                return found
            found = await self._search(about, name.first_seq)
        return found if found is not None and is_same_place(self._name(about, found.headers), name) else None

    async def _at(self, about: _Epoch, name: PieceName, seq: int | None) -> Stored | None:
        message = None if seq is None else await self._calls.message(seq)
        if message is None or message.subject not in (about.subject, about.mended_subject):
            return None
        return message if is_same_place(self._name(about, message.headers), name) else None

    async def _search(self, about: _Epoch, first_seq: int) -> Stored | None:
        """The message of the piece that begins with a sequence, among those that follow each other; looked for where it can only be."""
        if about.last is None or not about.seq or first_seq > about.last.first_seq:
            return None
        if first_seq == about.last.first_seq:
            return await self._calls.message(about.seq)
        known = about.places.exact(first_seq)
        if known is not None:
            message = await self._calls.message(known)
            if message is not None and message.subject == about.subject:
                return message
            about.places.remove(first_seq)
        gap = about.places.gap(first_seq, about.seq, about.last.first_seq)
        for step in range(NATS_PROBE_COUNT_MAX):
            guess = gap.guess(step)
            if guess is None:
                return None
            message = await self._calls.next_message(guess, about.subject)
            found = None if message is None else self._name(about, message.headers)
            if message is not None and found is not None:
                about.places.add(found.first_seq, message.seq)
                if found.first_seq == first_seq:
                    return message
            gap = gap.after(
                guess, None if message is None else message.seq, 0 if found is None else found.first_seq
            )
        return None

    def _name(self, about: _Epoch, headers: Mapping[str, str]) -> PieceName:
        name = name_of(about.stream, about.epoch, headers)
        if name is None:
            raise TierUnfit(
                f"In {about.subject} is a message that is no piece.",
                hint="Give the tier a stream of its own, in which nobody else writes.",
            )
        return name

    def _of(self, stream: StreamId, epoch: int) -> _Epoch:
        about = self._epochs.get((stream, epoch))
        if about is None:
            about = self._epochs[stream, epoch] = _Epoch(self._calls.stream, stream, epoch)
            for key in list(self._epochs)[: max(0, len(self._epochs) - NATS_KNOWN_EPOCH_COUNT_MAX)]:
                # Who has the lock of one that is forgotten goes on with it; the leader keeps two from writing at once.
                del self._epochs[key]
        self._epochs.move_to_end((stream, epoch))
        return about

    async def _look_again(self) -> None:
        lost_count, now = self._calls.lost_count, trio.current_time()
        if now - self._looked_at < NATS_LOOK_S and lost_count == self._looked_lost_count:
            return
        await self._look()
        self._looked_at, self._looked_lost_count = now, lost_count


def is_same_place(one: PieceName, other: PieceName) -> bool:
    """Whether two pieces hold the same records: the same frames sealed anew are other bytes."""
    return (one.first_seq, one.prev_hash, one.next_seq, one.hash) == (
        other.first_seq,
        other.prev_hash,
        other.next_seq,
        other.hash,
    )


def _top(last: PieceName | None, mended: dict[int, tuple[int, PieceName]]) -> PieceName | None:
    names = [name for _, name in mended.values()] + ([] if last is None else [last])
    return max(names, key=lambda name: (name.next_seq, name is last), default=None)


def _fenced(why: str, last: PieceName | None) -> Fenced:
    return Fenced(f"A piece was refused by the tier: {why}", last=last)
