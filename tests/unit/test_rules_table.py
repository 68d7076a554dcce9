"""Columns that grow, shrink, and come back from bytes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import pytest

from appliance.core.arrays import I64, Mask
from appliance.core.errors import StorageError
from appliance.rules.table import Table


class Pair(Table):
    COLUMNS: ClassVar[Mapping[str, tuple[str, float]]] = {
        "number": ("i8", -1),
        "flag": ("?", False),
        "both": ("(2,)i8", 0),
    }
    number: I64
    flag: Mask
    both: I64


def test_slots_are_added_with_what_is_given_and_what_they_begin_with() -> None:
    table = Pair()
    assert table.add(2, number=np.array([5, 6])).tolist() == [0, 1]
    table.flag[1] = True
    assert table.add(1, flag=True).tolist() == [2]
    assert table.number.tolist() == [5, 6, -1]
    assert table.flag.tolist() == [False, True, True]
    assert table.both.shape == (3, 2)


def test_a_column_that_was_replaced_is_the_one_that_grows() -> None:
    table = Pair()
    table.add(10)
    table.number = np.arange(10)
    table.add(1, number=99)
    assert table.number.tolist() == [*range(10), 99]


def test_slots_that_are_let_go_close_up() -> None:
    table = Pair()
    table.add(4, number=np.arange(4))
    table.keep(np.array([True, False, False, True]))
    assert (table.count, table.number.tolist()) == (2, [0, 3])
    table.add(1)
    assert table.number.tolist() == [0, 3, -1]


def test_columns_come_back_from_bytes_and_can_be_written() -> None:
    table, other = Pair(), Pair()
    table.add(3, number=np.arange(3), both=np.arange(6).reshape(3, 2))
    other.restore(3, table.columns())
    other.number[0] = 7
    assert other.number.tolist() == [7, 1, 2]
    assert other.both.tolist() == [[0, 1], [2, 3], [4, 5]]


@pytest.mark.parametrize("name", ["number", "both"])
def test_a_column_of_another_length_is_refused_and_nothing_changes(name: str) -> None:
    table, other = Pair(), Pair()
    table.add(3)
    columns = table.columns()
    with pytest.raises(StorageError, match=f"column {name}"):
        other.restore(3, {**columns, name: columns[name][:-1]})
    with pytest.raises(StorageError):
        other.restore(3, {each: data for each, data in columns.items() if each != name})
    with pytest.raises(StorageError):
        other.restore(-1, columns)
    assert other.count == 0
