"""The views that questions in SQL see, and the questions that are offered."""

from __future__ import annotations

from pathlib import Path

import pytest

from storage.telemetry.database import run
from storage.telemetry.sql_box import SqlBox
from storage.telemetry.sql_views import EXAMPLES, TABLES, make_views
from tests.sql_kit import store_with_readings


def test_the_columns_are_as_described(tmp_path: Path) -> None:
    store = store_with_readings(tmp_path)
    with store.reading() as connection:
        make_views(connection)
        make_views(connection)
        for table in TABLES:
            found = [tuple(row[:2]) for row in run(connection, f"DESCRIBE {table.name}")]
            assert found == [column[:2] for column in table.columns], table.name
            assert all(about for *_, about in table.columns)
            assert table.about
    store.close()


@pytest.mark.parametrize(("title", "text"), EXAMPLES)
async def test_the_examples_can_be_asked(tmp_path: Path, title: str, text: str) -> None:
    store = store_with_readings(tmp_path)
    box = SqlBox(store)
    answer = await box.ask(text)
    assert title
    assert answer.columns
    box.close()
    store.close()
