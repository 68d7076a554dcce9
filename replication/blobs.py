"""Blobs by their SHA-256 (images of firmware) get to whoever should hold them. Sans-IO.

Who should hold what is told from outside (`wants`), as is what is held (`holds`). Connected peers are asked which of the wanted blobs they have;
a blob is fetched piece by piece from one of them, and goes on from the same byte at another when that one leaves. What came is written
as it comes; that it is what its name says is verified by whoever writes its last byte, and where it isn't it begins anew elsewhere.
Of what is watched it is known which peers said that they have it: they are asked until one does, and all again from time to time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Final, Literal

from appliance.core.limits_replication import (
    BLOB_ASK_COUNT_MAX,
    BLOB_FETCH_COUNT_MAX,
    BLOB_SERVED_COUNT_MAX,
    PULL_CREDIT_BYTES_MAX,
    SERVED_UNSENT_BYTES_MAX,
)
from replication.effects import Effect, ReadBlob, Send, WriteBlob
from replication.messages import BlobAsk, BlobEntry, BlobHave, BlobLacking, BlobMessage, BlobPart, BlobWant
from replication.randomness import Randomness
from replication.scheduling import Priority

ASK_INTERVAL_MS: Final = 60_000
"""Peers are asked again so often for what is wanted and nobody had."""
IDLE_MS: Final = 30_000
"""A piece of which nothing came for so long is asked for elsewhere."""
REST_MS: Final = 60_000
"""So long a peer isn't asked that gave wrong bytes, or none."""
WATCH_AGAIN_MS: Final = 3_600_000
"""So often all of what is watched is asked for anew: a holder lets go what it has no room for, and what rots."""
CHECK_INTERVAL_MS: Final = 1_000
Written = Literal["more", "whole", "wrong", "failed"]


@dataclass(slots=True)
class _Fetch:
    """A blob that is being fetched: what was written, and the piece that is under way."""

    blob: bytes
    size_bytes: int
    peer: str
    request: int
    offset: int
    touched_at_ms: int
    parts: list[bytes] = field(default_factory=list)
    got_bytes: int = 0
    writing: int = 0

    @property
    def piece_bytes(self) -> int:
        return min(PULL_CREDIT_BYTES_MAX, self.size_bytes - self.offset)


@dataclass(slots=True)
class _Peer:
    has: dict[bytes, None] = field(default_factory=dict)
    resting_until_ms: int = 0
    served: deque[BlobWant] = field(default_factory=deque)
    reading: int = 0
    unsent_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class BlobStatistics:
    """Of blobs: how many are held and wanted, and what went since the start."""

    held_count: int
    wanted_count: int
    fetched_total: int
    fetched_bytes_total: int
    wrong_total: int
    served_bytes_total: int
    watched_count: int


class Blobs:
    """See the module. Every call gives what is to be done.

    Args:
        part_bytes: How large a part is good for a peer.
    """

    def __init__(self, rng: Randomness, now_ms: int, *, part_bytes: Callable[[str], int]) -> None:
        self._rng = rng
        self._part_bytes = part_bytes
        self._peers: dict[str, _Peer] = {}
        self._held: dict[bytes, int] = {}
        self._wanted: dict[bytes, int] = {}
        self._watched: dict[bytes, int] = {}
        self._holders: dict[bytes, set[str]] = {}
        self._offsets: dict[bytes, int] = {}
        self._fetches: dict[bytes, _Fetch] = {}
        self._reads: dict[int, tuple[str, BlobWant]] = {}
        self._number = rng.randrange(1, 2**30)
        self._ask_at_ms = now_ms + ASK_INTERVAL_MS
        self._watch_at_ms = now_ms + WATCH_AGAIN_MS
        self._check_at_ms: int | None = None
        self._out: list[Effect] = []
        self._fetched = self._fetched_bytes = self._wrong = self._served_bytes = 0

    def holds(self, blobs: Mapping[bytes, int], now_ms: int) -> list[Effect]:
        """All blobs that are held here, with their sizes. Those that are new are told to everybody: who lacks one may have asked before."""
        new = [BlobEntry(blob, size_bytes) for blob, size_bytes in blobs.items() if blob not in self._held]
        self._held = dict(blobs)
        for peer in self._peers:
            for at in range(0, len(new), BLOB_ASK_COUNT_MAX):
                self._send(peer, BlobHave(tuple(new[at : at + BLOB_ASK_COUNT_MAX])))
        return self._done(now_ms)

    def wants(
        self, blobs: Mapping[bytes, int], now_ms: int, *, offsets: Mapping[bytes, int] | None = None
    ) -> list[Effect]:
        """All blobs that this node should hold and lacks, with their sizes.

        Args:
            offsets: How much of each was written before.
        """
        new = [blob for blob in blobs if blob not in self._wanted]
        self._wanted = dict(blobs)
        self._offsets = {blob: offset for blob, offset in self._offsets.items() if blob in blobs}
        for blob in new:
            self._offsets[blob] = min((offsets or {}).get(blob, 0), blobs[blob])
        for blob in [blob for blob in self._fetches if blob not in blobs]:
            del self._fetches[blob]
        for peer in self._peers:
            self._ask(peer, new)
        self._fetch(now_ms)
        return self._done(now_ms)

    def watches(self, blobs: Mapping[bytes, int], now_ms: int) -> list[Effect]:
        """All blobs of which `holders` is to tell who has them, with their sizes."""
        new = [blob for blob in blobs if blob not in self._watched]
        self._watched = dict(blobs)
        for blob in [blob for blob in self._holders if blob not in blobs]:
            del self._holders[blob]
        for peer in self._peers:
            self._ask(peer, new)
        return self._done(now_ms)

    def holders(self, blob: bytes) -> frozenset[str]:
        """The peers that said that they have a watched blob; those that left since are among them."""
        return frozenset(self._holders.get(blob, ()))

    def connected(self, peer: str, now_ms: int) -> list[Effect]:
        """A node that is to be given, and may be asked for, blobs. What it had before counts once it says so again."""
        self._peers[peer] = _Peer()
        for holders in self._holders.values():
            holders.discard(peer)
        self._ask(peer, list(self._wanted | self._watched))
        return self._done(now_ms)

    def disconnected(self, peer: str, now_ms: int) -> list[Effect]:
        """It is gone; what it was asked for is fetched elsewhere."""
        self._peers.pop(peer, None)
        for fetch in [fetch for fetch in self._fetches.values() if fetch.peer == peer and not fetch.writing]:
            del self._fetches[fetch.blob]
        self._fetch(now_ms)
        return self._done(now_ms)

    def receive(self, peer: str, message: BlobMessage, now_ms: int) -> list[Effect]:
        """A message of a peer that is connected."""
        state = self._peers.get(peer)
        if state is None:
            return []
        match message:
            case BlobAsk(blobs=blobs):
                have = tuple(BlobEntry(blob, self._held[blob]) for blob in blobs if blob in self._held)
                if have:
                    self._send(peer, BlobHave(have))
            case BlobHave(blobs=entries):
                for entry in entries:
                    if self._watched.get(entry.blob) == entry.size_bytes:
                        self._holders.setdefault(entry.blob, set()).add(peer)
                    if self._wanted.get(entry.blob) == entry.size_bytes:
                        state.has[entry.blob] = None
                self._fetch(now_ms)
            case BlobWant():
                if len(state.served) >= BLOB_SERVED_COUNT_MAX:
                    self._send(peer, BlobLacking(message.request, message.blob, True))
                else:
                    state.served.append(message)
                    self._serve(peer, state)
            case BlobPart():
                self._part(peer, message, now_ms)
            case BlobLacking():
                self._lacking(peer, state, message, now_ms)
        return self._done(now_ms)

    def blob_read(self, effect: ReadBlob, data: bytes | None, size_bytes: int, now_ms: int) -> list[Effect]:
        """What was read for a peer; None where it can't be."""
        peer, want = self._reads.pop(effect.number)
        state = self._peers.get(peer)
        if state is None or not state.reading:
            return []
        state.reading -= 1
        if not data:
            self._send(peer, BlobLacking(want.request, want.blob, False))
        else:
            part_bytes = self._part_bytes(peer)
            for at in range(0, len(data), part_bytes):
                part = data[at : at + part_bytes]
                message = BlobPart(want.request, want.blob, size_bytes, want.offset + at, part)
                self._out.append(
                    Send(peer=peer, message=message, priority=Priority.REPAIR, size_bytes=len(part))
                )
                state.unsent_bytes += len(part)
                self._served_bytes += len(part)
        self._serve(peer, state)
        return self._done(now_ms)

    def blob_written(self, effect: WriteBlob, outcome: Written, now_ms: int) -> list[Effect]:
        """What came of writing a piece."""
        fetch = self._fetches.get(effect.blob)
        if fetch is None or fetch.writing != effect.number:
            return self._done(now_ms)
        fetch.writing = 0
        state = self._peers.get(fetch.peer)
        if outcome == "more":
            fetch.offset += len(effect.data)
            self._offsets[fetch.blob] = fetch.offset
            self._fetched_bytes += len(effect.data)
            if state is None:
                del self._fetches[fetch.blob]
            else:
                self._want(fetch, now_ms)
        elif outcome == "whole":
            self._fetched += 1
            self._fetched_bytes += len(effect.data)
            self._held[fetch.blob] = fetch.size_bytes
            self._forget(fetch.blob)
            for peer in self._peers:
                self._send(peer, BlobHave((BlobEntry(fetch.blob, fetch.size_bytes),)))
        else:
            self._wrong += outcome == "wrong"
            self._offsets[fetch.blob] = 0
            del self._fetches[fetch.blob]
            if state is not None:
                state.has.pop(fetch.blob, None)
                state.resting_until_ms = now_ms + REST_MS
        self._fetch(now_ms)
        return self._done(now_ms)

    def sent(self, peer: str, size_bytes: int, now_ms: int) -> list[Effect]:
        """So many bytes left for a peer."""
        state = self._peers.get(peer)
        if state is not None:
            state.unsent_bytes = max(0, state.unsent_bytes - size_bytes)
            self._serve(peer, state)
        return self._done(now_ms)

    def tick(self, now_ms: int) -> list[Effect]:
        """Time has come for something; harmless at any other time."""
        if now_ms >= self._ask_at_ms:
            self._ask_at_ms = now_ms + ASK_INTERVAL_MS
            if now_ms >= self._watch_at_ms:
                self._watch_at_ms = now_ms + WATCH_AGAIN_MS
                for holders in self._holders.values():
                    holders.difference_update(self._peers)
            missing = [blob for blob in self._wanted if blob not in self._fetches]
            missing += [blob for blob in self._watched if not self._holders.get(blob)]
            for peer in self._peers:
                self._ask(peer, missing)
        if self._check_at_ms is not None and now_ms >= self._check_at_ms:
            self._check_at_ms = None
            for fetch in list(self._fetches.values()):
                if not fetch.writing and now_ms - fetch.touched_at_ms >= IDLE_MS:
                    del self._fetches[fetch.blob]
                    if fetch.peer in self._peers:
                        self._peers[fetch.peer].resting_until_ms = now_ms + REST_MS
            self._fetch(now_ms)
        return self._done(now_ms)

    def next_at_ms(self) -> int | None:
        """When `tick` is due; None: not before something happens."""
        if not self._peers or not (self._wanted or self._watched):
            return None
        return self._ask_at_ms if self._check_at_ms is None else min(self._ask_at_ms, self._check_at_ms)

    def statistics(self) -> BlobStatistics:
        return BlobStatistics(
            held_count=len(self._held),
            wanted_count=len(self._wanted),
            fetched_total=self._fetched,
            fetched_bytes_total=self._fetched_bytes,
            wrong_total=self._wrong,
            served_bytes_total=self._served_bytes,
            watched_count=len(self._watched),
        )

    def _ask(self, peer: str, blobs: Sequence[bytes]) -> None:
        for at in range(0, len(blobs), BLOB_ASK_COUNT_MAX):
            self._send(peer, BlobAsk(tuple(blobs[at : at + BLOB_ASK_COUNT_MAX])))

    def _fetch(self, now_ms: int) -> None:
        """Begins to fetch what somebody has, a few at a time, in the order in which it was wanted."""
        for blob in islice(self._wanted, len(self._wanted)):
            if len(self._fetches) >= BLOB_FETCH_COUNT_MAX:
                return
            if blob in self._fetches:
                continue
            having = [
                peer
                for peer, state in self._peers.items()
                if blob in state.has and now_ms >= state.resting_until_ms
            ]
            if having:
                fetch = _Fetch(
                    blob, self._wanted[blob], self._rng.choice(having), 0, self._offsets.get(blob, 0), now_ms
                )
                self._fetches[blob] = fetch
                self._want(fetch, now_ms)

    def _want(self, fetch: _Fetch, now_ms: int) -> None:
        fetch.request, fetch.touched_at_ms = self._next_number(), now_ms
        fetch.parts, fetch.got_bytes = [], 0
        if fetch.piece_bytes:
            self._send(fetch.peer, BlobWant(fetch.request, fetch.blob, fetch.offset, fetch.piece_bytes))
        else:
            self._write(fetch)  # all was there before, but for being verified

    def _part(self, peer: str, part: BlobPart, now_ms: int) -> None:
        fetch = self._fetches.get(part.blob)
        if fetch is None or fetch.peer != peer or fetch.request != part.request or fetch.writing:
            return
        is_next = part.offset == fetch.offset + fetch.got_bytes
        room = fetch.piece_bytes - fetch.got_bytes
        if not is_next or not 0 < len(part.data) <= room or part.size_bytes != fetch.size_bytes:
            return
        fetch.parts.append(part.data)
        fetch.got_bytes += len(part.data)
        fetch.touched_at_ms = now_ms
        if fetch.got_bytes == fetch.piece_bytes:
            self._write(fetch)

    def _write(self, fetch: _Fetch) -> None:
        fetch.writing = self._next_number()
        self._out.append(
            WriteBlob(
                number=fetch.writing,
                blob=fetch.blob,
                size_bytes=fetch.size_bytes,
                offset=fetch.offset,
                data=b"".join(fetch.parts),
            )
        )
        fetch.parts = []

    def _lacking(self, peer: str, state: _Peer, message: BlobLacking, now_ms: int) -> None:
        fetch = self._fetches.get(message.blob)
        if fetch is None or fetch.peer != peer or fetch.request != message.request or fetch.writing:
            return
        del self._fetches[message.blob]
        if message.is_busy:
            state.resting_until_ms = now_ms + CHECK_INTERVAL_MS
        else:
            state.has.pop(message.blob, None)
        self._fetch(now_ms)

    def _serve(self, peer: str, state: _Peer) -> None:
        while state.served and not state.reading and state.unsent_bytes < SERVED_UNSENT_BYTES_MAX:
            want = state.served.popleft()
            if want.blob not in self._held:
                self._send(peer, BlobLacking(want.request, want.blob, False))
                continue
            number = self._next_number()
            self._reads[number] = (peer, want)
            state.reading += 1
            self._out.append(
                ReadBlob(number=number, blob=want.blob, offset=want.offset, bytes_max=want.credit_bytes)
            )

    def _forget(self, blob: bytes) -> None:
        del self._fetches[blob], self._wanted[blob]
        self._offsets.pop(blob, None)
        for state in self._peers.values():
            state.has.pop(blob, None)

    def _send(self, peer: str, message: BlobMessage) -> None:
        self._out.append(Send(peer=peer, message=message, priority=Priority.CONTROL))

    def _next_number(self) -> int:
        self._number = self._number % (2**32 - 2) + 1
        return self._number

    def _done(self, now_ms: int) -> list[Effect]:
        if self._check_at_ms is None and self._wanted and self._peers:
            self._check_at_ms = now_ms + CHECK_INTERVAL_MS
        out, self._out = self._out, []
        return out
