"""The engine of an S3-compatible object store: an object per piece, named by the sequence with which it begins.

What fences is `If-None-Match: *`: a store that overwrites all the same is refused when it is opened. Where a stream ends is found by listing
from the last piece that was seen, or by search where none was, so that a year of pieces is not listed to find its end.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Final, NamedTuple

import trio

from appliance.core.errors import HomeportError, NotFound
from appliance.core.limits_replication import (
    TIER_HEADS_AT_ONCE,
    TIER_LASTS_COUNT_MAX,
    TIER_LISTED_COUNT,
)
from replication.tier.engine import OBJECT_BYTES_MAX, Fenced, TierAway, TierUnfit
from replication.tier.engines.names import (
    OBJECTS,
    STREAMS,
    check_key,
    epoch_of,
    epoch_path,
    piece_path,
    place_before,
    seq_of,
    stream_of,
)
from replication.tier.engines.object_requests import AlreadyThere, Got, Listed, ObjectRequests
from replication.tier.engines.pace import Pace
from replication.tier.engines.requests import EngineStatistics
from replication.tier.envelope import HEAD_BYTES_MAX, MAGIC, PieceDamaged, name_of_piece
from replication.tier.pieces import Piece, PieceName
from storage.replicas.streams import SEQUENCE_MAX, StreamId

if TYPE_CHECKING:
    pass

PROBE: Final = "probe"


class ObjectStoreEngine:
    """The `Engine` over a bucket."""

    def __init__(self, ask: ObjectRequests, pace: Pace) -> None:
        self._ask, self._pace = ask, pace
        self._lasts: OrderedDict[tuple[StreamId, int], tuple[PieceName, str | None]] = OrderedDict()
        """The last piece of an epoch as last seen, and which version of the object that was."""

    @property
    def piece_bytes_max(self) -> int:
        return self._pace.piece_bytes_max

    def statistics(self) -> EngineStatistics:
        """What was asked of the store since it was opened."""
        return self._ask.requests.statistics(self._pace.bytes_per_s)

    async def probe(self) -> None:
        """Look whether the store refuses a second object of a name, and lets this box put, get and list.

        Raises:
            TierUnfit: it doesn't.
        """
        try:
            await self._ask.put(PROBE, b"homeport")
            await self._ask.put(PROBE, b"homeport")
        except AlreadyThere:
            pass
        else:
            raise TierUnfit(
                "The object store overwrites: it took a second object where it was told to refuse one.",
                hint="Two boxes could destroy each other's copies there. Use a store, or a release of it, that honours If-None-Match: *.",
                code="tier_unfit",
            )
        await self._ask.get(PROBE)
        await self._ask.list_page(STREAMS)

    async def put(self, piece: Piece, *, is_mending: bool = False) -> None:
        name = piece.name
        path = piece_path(name.stream, name.epoch, name.first_seq)
        if not is_mending:
            known = self._lasts.get((name.stream, name.epoch))
            if known is None or not name.follows(known[0]):
                last = await self.last(name.stream, name.epoch)
                if last is not None and not name.follows(last):
                    await self._is_there_or_fenced(name, path)
                    return
        try:
            version = await self._ask.put(path, piece.data)
        except AlreadyThere:
            if not (is_mending and await self._is_rubbish(path)):
                await self._is_there_or_fenced(name, path)
                return
            await self._ask.remove(path)
            version = await self._ask.put(path, piece.data)
        if not is_mending:
            self._remember(name, version)

    async def last(self, stream: StreamId, epoch: int) -> PieceName | None:
        """From the last one that is known on, which is seen by that to be there still; else by a search from the beginning."""
        known = self._lasts.get((stream, epoch))
        page = _NO_PAGE
        if known is not None:
            page = await self._page(stream, epoch, known[0].first_seq)
            if page.listed and page.first_seq != known[0].first_seq:
                page = _NO_PAGE
        if not page.listed:
            page = await self._page(stream, epoch, 0)
        page = await self._last_page(stream, epoch, page, SEQUENCE_MAX)
        for listed in reversed(page.listed):
            if known is not None and (_begins(listed), listed.version) == (known[0].first_seq, known[1]):
                return known[0]
            named = await self._name_at(stream, epoch, listed.path)
            if named is not None:
                self._remember(*named)
                return named[0]
        self._lasts.pop((stream, epoch), None)
        return None

    async def epochs(self) -> dict[StreamId, list[int]]:
        found: dict[StreamId, list[int]] = {}
        for node_id in await self._ask.folders(STREAMS):
            for name in await self._ask.folders(f"{STREAMS}/{node_id}"):
                stream = stream_of(node_id, name)
                if stream is None:
                    continue
                epochs = [epoch_of(digits) for digits in await self._ask.folders(f"{STREAMS}/{stream}")]
                if numbers := [epoch for epoch in epochs if epoch is not None]:
                    found[stream] = numbers
        return dict(sorted(found.items()))

    async def pieces(self, stream: StreamId, epoch: int, from_seq: int = 0) -> AsyncIterator[PieceName]:
        page = await self._page(stream, epoch, from_seq)
        found = page.listed
        if from_seq and (not found or page.first_seq != from_seq):
            # The piece that has the sequence begins somewhere before it.
            before = await self._last_page(stream, epoch, await self._page(stream, epoch, 0), from_seq)
            found = [listed for listed in before.listed if _begins(listed) <= from_seq][-1:] + found
        while found:
            for at in range(0, len(found), TIER_HEADS_AT_ONCE):
                for name in await self._names(stream, epoch, found[at : at + TIER_HEADS_AT_ONCE]):
                    if name is not None and name.next_seq > from_seq:
                        yield name
            found = (await self._page(stream, epoch, _begins(found[-1]) + 1)).listed if page.is_full else []

    async def get(self, name: PieceName) -> bytes:
        got = await self._ask.get(piece_path(name.stream, name.epoch, name.first_seq))
        if got is None:
            raise NotFound(
                f"The piece of {name.stream} that begins with {name.first_seq} is not in the tier.",
                hint="Another region or a peer may have it; the tier's audit puts it back.",
                code="piece_gone",
            )
        return got.data

    async def remove(self, name: PieceName) -> None:
        known = self._lasts.get((name.stream, name.epoch))
        if known is not None and known[0].first_seq == name.first_seq:
            del self._lasts[name.stream, name.epoch]
        await self._ask.remove(piece_path(name.stream, name.epoch, name.first_seq))

    async def put_object(self, key: str, data: bytes) -> bool:
        check_key(key)
        assert len(data) <= OBJECT_BYTES_MAX
        try:
            # Once: a second try could not tell whether the first one was it that put what is there.
            await self._ask.put(f"{OBJECTS}/{key}", data, tries_max=1)
        except AlreadyThere:
            return False
        return True

    async def get_object(self, key: str) -> bytes | None:
        check_key(key)
        got = await self._ask.get(f"{OBJECTS}/{key}")
        return None if got is None else got.data

    async def objects(self, prefix: str = "") -> AsyncIterator[str]:
        # Some stores list by folders, in which case a/b comes before a-b: all are gathered and put in order.
        folder = f"{OBJECTS}/{prefix}".rpartition("/")[0]
        keys: list[str] = []
        after = ""
        while page := await self._ask.list_page(folder, after):
            keys += [listed.path.removeprefix(f"{OBJECTS}/") for listed in page]
            after = page[-1].path
            if len(page) < TIER_LISTED_COUNT:
                break
        for key in sorted(keys):
            if key.startswith(prefix):
                yield key

    async def remove_object(self, key: str) -> None:
        check_key(key)
        await self._ask.remove(f"{OBJECTS}/{key}")

    async def _is_there_or_fenced(self, name: PieceName, path: str) -> None:
        """The same piece may be there already.

        Raises:
            Fenced: it isn't.
        """
        found = await self._name_at(name.stream, name.epoch, path)
        if found is not None and _is_same(found[0], name):
            return
        last = await self.last(name.stream, name.epoch)
        raise Fenced(
            f"A piece of {name.stream}, epoch {name.epoch}, that begins with {name.first_seq} doesn't follow what is in the tier.",
            last=last,
        )

    async def _page(self, stream: StreamId, epoch: int, from_seq: int) -> _Page:
        """The first pieces of an epoch that begin with a sequence or later."""
        page = await self._ask.list_page(epoch_path(stream, epoch), place_before(stream, epoch, from_seq))
        return _Page(
            [listed for listed in page if seq_of(listed.path) is not None], len(page) >= TIER_LISTED_COUNT
        )

    async def _last_page(self, stream: StreamId, epoch: int, page: _Page, last_seq: int) -> _Page:
        """A page that has the last piece which begins no later than `last_seq`: by steps that double, then by halving what is left."""
        if not page.listed:
            return page
        low, high = page.last_seq, last_seq
        step = max(low - page.first_seq, 1)
        while page.is_full and low < high:
            if high == last_seq and low + step < last_seq:
                middle, step = low + step, step * 2
            else:
                middle = (low + high + 1) // 2
            further = await self._page(stream, epoch, middle)
            if not further.listed or further.first_seq > last_seq:
                high = middle - 1
                # Most often the end is on the very next page.
                further = await self._page(stream, epoch, low + 1)
                if not further.listed or further.first_seq > last_seq:
                    return page
            page, low = further, further.last_seq
        return page

    async def _is_rubbish(self, path: str) -> bool:
        """Whether what is there is no piece of any release, so that nothing is lost with it."""
        got = await self._ask.get(path, len(MAGIC))
        return got is not None and not got.data.startswith(MAGIC[:-1])

    async def _name_at(self, stream: StreamId, epoch: int, path: str) -> tuple[PieceName, str | None] | None:
        """What a piece says of itself, and which version of the object that is; None where there is none that can be used."""
        got: Got | None = await self._ask.get(path, HEAD_BYTES_MAX)
        if got is None:
            return None
        try:
            name = name_of_piece(got.data, got.size_bytes)
        except PieceDamaged:
            return None
        if (name.stream, name.epoch, name.first_seq) != (stream, epoch, seq_of(path)):
            return None
        return name, got.version

    async def _names(self, stream: StreamId, epoch: int, page: list[Listed]) -> list[PieceName | None]:
        """The names of some pieces, asked for at the same time."""
        names: list[PieceName | None] = [None] * len(page)

        async def look(at: int) -> None:
            try:
                named = await self._name_at(stream, epoch, page[at].path)
            except (TierAway, TierUnfit) as error:
                errors.append(error)
                nursery.cancel_scope.cancel()
            else:
                names[at] = named and named[0]

        errors: list[HomeportError] = []
        async with trio.open_nursery() as nursery:
            for at in range(len(page)):
                nursery.start_soon(look, at)
        if errors:
            raise errors[0]
        return names

    def _remember(self, name: PieceName, version: str | None) -> None:
        self._lasts[name.stream, name.epoch] = (name, version)
        self._lasts.move_to_end((name.stream, name.epoch))
        if len(self._lasts) > TIER_LASTS_COUNT_MAX:
            self._lasts.popitem(last=False)


class _Page(NamedTuple):
    """Pieces of one listing, and whether there may be more."""

    listed: list[Listed]
    is_full: bool

    @property
    def first_seq(self) -> int:
        return _begins(self.listed[0])

    @property
    def last_seq(self) -> int:
        return _begins(self.listed[-1])


_NO_PAGE: Final = _Page([], False)


def _begins(listed: Listed) -> int:
    seq = seq_of(listed.path)
    assert seq is not None, listed
    return seq


def _is_same(one: PieceName, other: PieceName) -> bool:
    return (one.prev_hash, one.next_seq, one.hash) == (other.prev_hash, other.next_seq, other.hash)
