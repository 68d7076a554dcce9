"""Dead letters as groups, as what a replay takes, and what a replay leaves of them.

A letter's pattern is its topic with `{device}` for the level that is its device: letters that one mapping would mend belong together. A
replay takes letters in the order of the log, in parts; each part is a row of `replays`, written in the transaction that stores
what became of its letters, so that the same part is never done twice over.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import duckdb

from storage.telemetry.arrow import ArrowTable
from storage.telemetry.batch import DeadLetter
from storage.telemetry.database import run

Position = tuple[int, int]
"""(epoch, sequence) of a record."""
_PATTERN: Final = (
    "array_to_string(list_transform(string_split(topic, '/'),"
    " lambda level: CASE WHEN level = device AND device <> '' THEN '{device}' ELSE level END), '/')"
)
_COLUMNS: Final = "epoch, seq, received_at, device, topic, client_id, reason, detail, payload, payload_bytes, boot_id, is_noted"
NOT_REPLAYED: Final = ("bad_status", "bad_session_record")
"""Reasons of records that are presence, not readings: what they said is over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LetterGroup:
    """Letters of one reason and pattern. Times are UTC ms.

    Attributes:
        sample: The newest of them.
    """

    reason: str
    pattern: str
    count: int
    first_at_ms: int
    last_at_ms: int
    sample: DeadLetter


@dataclass(frozen=True, slots=True, kw_only=True)
class LetterFilter:
    """Which letters: "" stands for any."""

    reason: str = ""
    pattern: str = ""
    device: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayPart:
    """One part of a replay: some letters, read again when the store's cursor stood at a record.

    Attributes:
        number: Counts up from 1 within the replay.
        epoch, at_seq: Where the cursor stood.
        after, through: Letters behind the first position up to the second one were taken, those that the filter means.
        letters: How many; messages of them became readings, duplicates were seen before, still_dead stay.
    """

    replay_id: str
    number: int
    epoch: int
    at_seq: int
    after: Position
    through: Position
    letters: int = 0
    messages: int = 0
    duplicates: int = 0
    rows: int = 0
    still_dead: int = 0


def groups(connection: duckdb.DuckDBPyConnection, limit: int) -> list[LetterGroup]:
    """Groups of all letters, the one with the newest letter first."""
    found = run(
        connection,
        f"WITH grouped AS (SELECT reason, {_PATTERN} AS pattern, count(*) AS n, min(received_at) AS first_at,"  # noqa: S608
        " max(received_at) AS last_at, max_by(id, (epoch, seq)) AS newest FROM dead_letters GROUP BY ALL)"
        " SELECT g.reason, g.pattern, g.n, g.first_at, g.last_at, d.epoch, d.seq, d.received_at, d.device, d.topic, d.client_id,"
        " d.reason, d.detail, d.payload, d.payload_bytes, d.boot_id, d.is_noted FROM grouped g JOIN dead_letters d ON d.id = g.newest"
        " ORDER BY d.epoch DESC, d.seq DESC LIMIT ?",
        [limit],
    )
    return [
        LetterGroup(
            reason=row[0],
            pattern=row[1],
            count=row[2],
            first_at_ms=row[3],
            last_at_ms=row[4],
            sample=DeadLetter(*row[5:]),
        )
        for row in found
    ]


def letters(
    connection: duckdb.DuckDBPyConnection,
    wanted: LetterFilter,
    *,
    after: Position = (-1, 0),
    through: Position = (2**62, 0),
    limit: int,
    newest_first: bool = False,
    without: Sequence[str] = (),
) -> list[DeadLetter]:
    """Letters that a filter means, in the order of the log or against it.

    Args:
        without: Reasons that are left out.
        after, through: Only those behind the first position, up to the second one.
    """
    order = "DESC" if newest_first else "ASC"
    found = run(
        connection,
        f"SELECT {_COLUMNS} FROM dead_letters WHERE ($reason = '' OR reason = $reason)"  # noqa: S608
        f" AND ($device = '' OR device = $device) AND ($pattern = '' OR {_PATTERN} = $pattern)"
        " AND NOT list_contains($without::VARCHAR[], reason)"
        " AND (epoch > $after_epoch OR (epoch = $after_epoch AND seq > $after_seq))"
        " AND (epoch < $through_epoch OR (epoch = $through_epoch AND seq <= $through_seq))"
        f" ORDER BY epoch {order}, seq {order} LIMIT $limit",
        {
            "reason": wanted.reason,
            "device": wanted.device,
            "pattern": wanted.pattern,
            "after_epoch": after[0],
            "after_seq": after[1],
            "through_epoch": through[0],
            "through_seq": through[1],
            "limit": limit,
            "without": list(without),
        },
    )
    return [DeadLetter(*row) for row in found]


def count_letters(connection: duckdb.DuckDBPyConnection) -> int:
    """How many are kept, those that stay after they were read again among them."""
    return int(run(connection, "SELECT count(*) FROM dead_letters")[0][0])


def take_letters(connection: duckdb.DuckDBPyConnection, positions: Sequence[Position]) -> None:
    """Remove the letters at these positions: what becomes of them is written in the same transaction."""
    table = ArrowTable(len(positions))
    table.add("epoch", "i64", array("q", (epoch for epoch, _ in positions)))
    table.add("seq", "u64", array("Q", (seq for _, seq in positions)))
    connection.register("incoming", table)
    run(
        connection,
        "DELETE FROM dead_letters USING incoming i WHERE dead_letters.epoch = i.epoch AND dead_letters.seq = i.seq",
    )
    connection.unregister("incoming")


def note_part(connection: duckdb.DuckDBPyConnection, part: ReplayPart) -> None:
    """Write down that a part is done."""
    columns = (
        part.replay_id,
        part.number,
        part.epoch,
        part.at_seq,
        *part.after,
        *part.through,
        part.letters,
        part.messages,
        part.duplicates,
        part.rows,
        part.still_dead,
    )
    run(connection, f"INSERT INTO replays VALUES ({', '.join('?' * len(columns))})", columns)  # noqa: S608


def parts(connection: duckdb.DuckDBPyConnection, replay_id: str | None = None) -> list[ReplayPart]:
    """What was done of a replay, or of all, in order."""
    found = run(
        connection,
        "FROM replays WHERE $id IS NULL OR replay_id = $id ORDER BY replay_id, number",
        {"id": replay_id},
    )
    return [
        ReplayPart(
            replay_id=row[0],
            number=row[1],
            epoch=row[2],
            at_seq=row[3],
            after=(row[4], row[5]),
            through=(row[6], row[7]),
            letters=row[8],
            messages=row[9],
            duplicates=row[10],
            rows=row[11],
            still_dead=row[12],
        )
        for row in found
    ]
