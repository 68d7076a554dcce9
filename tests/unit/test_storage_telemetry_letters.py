"""Dead letters by reason and pattern, in order, and taken out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.telemetry.batch import Counts, Cursor, DeadLetter, StoreBatch
from storage.telemetry.letters import (
    LetterFilter,
    ReplayPart,
    groups,
    letters,
    note_part,
    parts,
    take_letters,
)
from storage.telemetry.store import TelemetryStore


def letter(seq: int, topic: str, device: str, reason: str = "bad_json", **more: object) -> DeadLetter:
    return DeadLetter(1, seq, 1_000 + seq, device, topic, "c", reason, "", b"x", 1, **more)  # type: ignore[arg-type]


LETTERS = [
    letter(1, "tele/a/S", "a"),
    letter(2, "tele/b/S", "b", boot_id="é", is_noted=True),
    letter(3, "x/a/a", "", boot_id=""),
    letter(4, "tele/a/S", "a", "bad_ts"),
    letter(5, "dm/a/status", "a", "bad_status"),
]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[TelemetryStore]:
    opened = TelemetryStore.open(tmp_path / "telemetry.duckdb")
    counts = Counts(records=5, dead_letters=5)
    opened.commit(
        StoreBatch(
            before=Cursor(), after=Cursor(1, 6, b"h", 0), counts=counts, blocks=[(5, 5)], dead_letters=LETTERS
        )
    )
    yield opened
    opened.close()


def test_letters_that_one_mapping_would_mend_are_a_group(store: TelemetryStore) -> None:
    with store.reading() as connection:
        found = groups(connection, 10)
        assert [(g.reason, g.pattern, g.count, g.first_at_ms, g.last_at_ms, g.sample.seq) for g in found] == [
            ("bad_status", "dm/{device}/status", 1, 1_005, 1_005, 5),
            ("bad_ts", "tele/{device}/S", 1, 1_004, 1_004, 4),
            ("bad_json", "x/a/a", 1, 1_003, 1_003, 3),
            ("bad_json", "tele/{device}/S", 2, 1_001, 1_002, 2),
        ]
        assert len(groups(connection, 2)) == 2


@pytest.mark.parametrize(
    ("wanted", "seqs"),
    [
        (LetterFilter(), [1, 2, 3, 4, 5]),
        (LetterFilter(reason="bad_json"), [1, 2, 3]),
        (LetterFilter(pattern="tele/{device}/S"), [1, 2, 4]),
        (LetterFilter(device="a", pattern="tele/{device}/S", reason="bad_ts"), [4]),
        (LetterFilter(device="nobody"), []),
    ],
)
def test_a_filter_means_what_it_says(store: TelemetryStore, wanted: LetterFilter, seqs: list[int]) -> None:
    with store.reading() as connection:
        assert [each.seq for each in letters(connection, wanted, limit=9)] == seqs
        assert [each.seq for each in letters(connection, wanted, limit=9, newest_first=True)] == seqs[::-1]


def test_letters_come_in_parts_and_whole(store: TelemetryStore) -> None:
    with store.reading() as connection:
        found = letters(connection, LetterFilter(), after=(1, 1), through=(1, 3), limit=9)
        assert found == LETTERS[1:3]
        assert [each.seq for each in letters(connection, LetterFilter(), after=(0, 99), limit=2)] == [1, 2]
        assert letters(connection, LetterFilter(), after=(2, 0), limit=2) == []
        assert [
            each.seq for each in letters(connection, LetterFilter(), limit=9, without=("bad_status",))
        ] == [1, 2, 3, 4]


def test_what_was_taken_is_gone_and_parts_are_remembered(store: TelemetryStore) -> None:
    part = ReplayPart(
        replay_id="r", number=1, epoch=1, at_seq=6, after=(-1, 0), through=(1, 4),
        letters=2, messages=1, duplicates=0, rows=3, still_dead=1,
    )  # fmt: skip
    with store.transaction() as connection:
        take_letters(connection, [(1, 1), (1, 4), (7, 7)])
        note_part(connection, part)
    with store.reading() as connection:
        assert [each.seq for each in letters(connection, LetterFilter(), limit=9)] == [2, 3, 5]
        assert (parts(connection), parts(connection, "r"), parts(connection, "other")) == ([part], [part], [])
