"""The engine of PostgreSQL: a row per piece. The key (stream, epoch, first sequence) is the fence, as the name of an object is in a store."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final

from psycopg import sql

from appliance.core.errors import NotFound
from appliance.core.limits_replication import TIER_LISTED_COUNT
from replication.tier.engine import OBJECT_BYTES_MAX, Fenced
from replication.tier.engines.names import check_key, stream_of
from replication.tier.engines.postgres_sessions import Session, Sessions
from replication.tier.engines.requests import EngineStatistics
from replication.tier.pieces import Piece, PieceName
from storage.replicas.streams import StreamId

_NAME: Final = "SELECT first_seq, prev_hash, next_seq, hash, octet_length(data), last_at_ms FROM {s}.frames"
_PUT: Final = (
    "INSERT INTO {s}.frames (stream, epoch, first_seq, prev_hash, next_seq, hash, last_at_ms, data)"
    " SELECT %(stream)s, %(epoch)s, %(first_seq)s, %(prev_hash)b, %(next_seq)s, %(hash)b, %(last_at_ms)s, %(data)b"
    " WHERE %(is_mending)s OR coalesce((SELECT next_seq = %(first_seq)s AND hash = %(prev_hash)b FROM {s}.frames"
    " WHERE stream = %(stream)s AND epoch = %(epoch)s ORDER BY first_seq DESC LIMIT 1), true)"
    " ON CONFLICT DO NOTHING"
)
_AT: Final = _NAME + " WHERE stream = %s AND epoch = %s AND first_seq = %s"
_LAST: Final = _NAME + " WHERE stream = %s AND epoch = %s ORDER BY first_seq DESC LIMIT 1"
_PAGE: Final = (
    "SELECT first_seq, prev_hash, next_seq, hash, octet_length(data), last_at_ms FROM {s}.frames"
    " WHERE stream = %(stream)s AND epoch = %(epoch)s AND next_seq > %(from_seq)s"
    " AND first_seq > %(after)s AND first_seq >= coalesce((SELECT max(first_seq) FROM {s}.frames WHERE stream = %(stream)s"
    " AND epoch = %(epoch)s AND first_seq <= %(from_seq)s), 0) ORDER BY first_seq LIMIT %(count)s"
)
_EPOCHS: Final = (
    # One step in the index for each epoch, where DISTINCT would read all pieces.
    "WITH RECURSIVE found AS ((SELECT stream, epoch FROM {s}.frames ORDER BY stream, epoch LIMIT 1) UNION ALL"
    " SELECT further.stream, further.epoch FROM found, LATERAL (SELECT stream, epoch FROM {s}.frames"
    " WHERE (stream, epoch) > (found.stream, found.epoch) ORDER BY stream, epoch LIMIT 1) further)"
    " SELECT stream, epoch FROM found"
)
_OBJECTS: Final = (
    "SELECT key FROM {s}.objects WHERE key > %(after)s AND key >= %(prefix)s AND starts_with(key, %(prefix)s)"
    " AND key <= %(prefix)s || '~' ORDER BY key LIMIT %(count)s"
)


class PostgresEngine:
    """The `Engine` over one schema of a database."""

    def __init__(self, sessions: Sessions, schema: str) -> None:
        self._sessions = sessions
        self._schema = sql.Identifier(schema)
        self._statements: dict[str, bytes] = {}

    @property
    def piece_bytes_max(self) -> int:
        return self._sessions.pace.piece_bytes_max

    def statistics(self) -> EngineStatistics:
        """What was asked of the server since it was opened."""
        return self._sessions.requests.statistics(self._sessions.pace.bytes_per_s)

    async def put(self, piece: Piece, *, is_mending: bool = False) -> None:
        name = piece.name
        place = (str(name.stream), name.epoch)
        arguments = {
            "stream": place[0],
            "epoch": name.epoch,
            "first_seq": name.first_seq,
            "prev_hash": name.prev_hash,
            "next_seq": name.next_seq,
            "hash": name.hash,
            "last_at_ms": name.last_at_ms,
            "data": piece.data,
            "is_mending": is_mending,
        }

        def put(session: Session) -> None:
            if session.execute(self._sql(_PUT), arguments).rowcount:
                return
            there = _name(
                name.stream, name.epoch, session.execute(self._sql(_AT), [*place, name.first_seq]).fetchone()
            )
            if there is not None and (there.prev_hash, there.next_seq, there.hash) == (
                name.prev_hash,
                name.next_seq,
                name.hash,
            ):
                return
            last = _name(name.stream, name.epoch, session.execute(self._sql(_LAST), place).fetchone())
            raise Fenced(
                f"A piece of {name.stream}, epoch {name.epoch}, that begins with {name.first_seq} doesn't follow what is in the tier.",
                last=last,
            )

        await self._sessions.run("put", put, size_bytes=len(piece.data))
        self._sessions.requests.put_bytes += len(piece.data)

    async def last(self, stream: StreamId, epoch: int) -> PieceName | None:
        def last(session: Session) -> PieceName | None:
            return _name(stream, epoch, session.execute(self._sql(_LAST), [str(stream), epoch]).fetchone())

        return await self._sessions.run("list", last)

    async def epochs(self) -> dict[StreamId, list[int]]:
        rows = await self._rows("list", _EPOCHS, {})
        found: dict[StreamId, list[int]] = {}
        for text, epoch in rows:
            stream = stream_of(*str(text).split("/", 1)) if "/" in text else None
            if stream is not None:
                found.setdefault(stream, []).append(int(epoch))
        return found

    async def pieces(self, stream: StreamId, epoch: int, from_seq: int = 0) -> AsyncIterator[PieceName]:
        after = -1
        while True:
            rows = await self._rows(
                "list",
                _PAGE,
                {
                    "stream": str(stream),
                    "epoch": epoch,
                    "from_seq": from_seq,
                    "after": after,
                    "count": TIER_LISTED_COUNT,
                },
            )
            for row in rows:
                name = _name(stream, epoch, row)
                assert name is not None
                after = name.first_seq
                yield name
            if len(rows) < TIER_LISTED_COUNT:
                return

    async def get(self, name: PieceName) -> bytes:
        rows = await self._rows(
            "get",
            "SELECT data FROM {s}.frames WHERE stream = %(stream)s AND epoch = %(epoch)s AND first_seq = %(first_seq)s",
            {"stream": str(name.stream), "epoch": name.epoch, "first_seq": name.first_seq},
        )
        if not rows:
            raise NotFound(
                f"The piece of {name.stream} that begins with {name.first_seq} is not in the tier.",
                hint="Another region or a peer may have it; the tier's audit puts it back.",
                code="piece_gone",
            )
        return self._got(rows)

    async def remove(self, name: PieceName) -> None:
        await self._do(
            "remove",
            "DELETE FROM {s}.frames WHERE stream = %(stream)s AND epoch = %(epoch)s AND first_seq = %(first_seq)s",
            {"stream": str(name.stream), "epoch": name.epoch, "first_seq": name.first_seq},
        )

    async def put_object(self, key: str, data: bytes) -> bool:
        check_key(key)
        assert len(data) <= OBJECT_BYTES_MAX
        # Once: a second try could not tell whether the first one was it that put what is there.
        count = await self._do(
            "put",
            "INSERT INTO {s}.objects (key, data) VALUES (%(key)s, %(data)b) ON CONFLICT DO NOTHING",
            {"key": key, "data": data},
            size_bytes=len(data),
            tries_max=1,
        )
        self._sessions.requests.put_bytes += len(data)
        return count == 1

    async def get_object(self, key: str) -> bytes | None:
        check_key(key)
        rows = await self._rows("get", "SELECT data FROM {s}.objects WHERE key = %(key)s", {"key": key})
        return self._got(rows) if rows else None

    async def objects(self, prefix: str = "") -> AsyncIterator[str]:
        after = ""
        while True:
            rows = await self._rows(
                "list", _OBJECTS, {"after": after, "prefix": prefix, "count": TIER_LISTED_COUNT}
            )
            for (key,) in rows:
                after = key
                yield key
            if len(rows) < TIER_LISTED_COUNT:
                return

    async def remove_object(self, key: str) -> None:
        check_key(key)
        await self._do("remove", "DELETE FROM {s}.objects WHERE key = %(key)s", {"key": key})

    async def _rows(self, kind: Any, statement: str, arguments: dict[str, Any]) -> list[tuple[Any, ...]]:
        def rows(session: Session) -> list[tuple[Any, ...]]:
            with session.cursor(binary=True) as cursor:
                return cursor.execute(self._sql(statement), arguments).fetchall()

        return await self._sessions.run(kind, rows)

    async def _do(self, kind: Any, statement: str, arguments: dict[str, Any], **bounds: int) -> int:
        def do(session: Session) -> int:
            return session.execute(self._sql(statement), arguments).rowcount

        return await self._sessions.run(kind, do, **bounds)

    def _got(self, rows: list[tuple[Any, ...]]) -> bytes:
        (data,) = rows[0]
        self._sessions.requests.got_bytes += len(data)
        return bytes(data)

    def _sql(self, statement: str) -> bytes:
        """With the schema in it; made once of each statement."""
        made = self._statements.get(statement)
        if made is None:
            made = self._statements[statement] = sql.SQL(statement).format(s=self._schema).as_bytes()
        return made


def _name(stream: StreamId, epoch: int, row: tuple[Any, ...] | None) -> PieceName | None:
    if row is None:
        return None
    first_seq, prev_hash, next_seq, last_hash, size_bytes, last_at_ms = row
    return PieceName(
        stream=stream,
        epoch=epoch,
        first_seq=first_seq,
        prev_hash=bytes(prev_hash),
        next_seq=next_seq,
        hash=bytes(last_hash),
        size_bytes=size_bytes,
        last_at_ms=last_at_ms,
    )
