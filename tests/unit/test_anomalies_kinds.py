"""Measurements, meters and switches."""

from __future__ import annotations

import numpy as np
import pytest

from appliance.anomalies.columns import Flag, Row, new_rows
from appliance.anomalies.kinds import (
    becomes_meter,
    change,
    learn_decimals,
    learn_step,
    not_boolean,
    quantum,
)

F = np.float32


def _change(before: float, after: float, flags: int = 0) -> tuple[bool, bool, bool]:
    found = change(np.array([before]), np.array([after]), np.array([flags], np.uint8))
    return bool(found.is_move[0]), bool(found.is_reset[0]), bool(found.is_no_meter[0])


def test_the_last_digits_of_a_float_are_no_move() -> None:
    assert _change(21.5, np.nextafter(21.5, 0)) == (False, False, False)
    assert _change(0.0, 0.0) == (False, False, False)
    assert _change(0.0, 1e-12) == (True, False, False)


def test_only_a_meter_starts_anew_or_turns_out_to_be_none() -> None:
    assert _change(100, 3) == (True, False, False)
    assert _change(100, 3, Flag.COUNTER) == (True, True, False)
    assert _change(100, 90, Flag.COUNTER) == (True, False, True)
    assert _change(100, 110, Flag.COUNTER) == (True, False, False)


def test_one_great_change_does_not_make_great_changes_usual() -> None:
    step = np.zeros(1, F)
    for slot in range(200):
        moved = change(np.array([0.0]), np.array([1000.0 if slot == 100 else 1.0]), np.zeros(1, np.uint8))
        step = learn_step(step, moved, np.abs(moved.by).astype(F), np.array([slot], F))
        assert step[0] <= 1.21
    assert np.isclose(step[0], 1.0, atol=0.01)


def test_what_does_not_move_teaches_no_step() -> None:
    moved = change(np.array([5.0]), np.array([5.0]), np.zeros(1, np.uint8))
    assert learn_step(np.array([2.0], F), moved, np.zeros(1, F), np.array([50], F)).tolist() == [2.0]


def test_a_meter_is_what_only_rises_and_was_never_negative() -> None:
    rows = new_rows(5)
    rows[Row.STEP] = 2
    origin = np.array([100, -1, 100, 100, 100.0])
    after = np.array([120, 19, 120, 104, 120.0])
    flags = np.array([1, 1, 1 | Flag.FELL, 1, 0], np.uint8)
    age = np.full(5, 32, F)
    assert becomes_meter(rows, origin, after, flags, age).tolist() == [True, False, False, False, False]
    assert not becomes_meter(rows, origin, after, flags, age + 1).any(), "it is decided once"


def test_booleans_are_zero_and_one() -> None:
    assert not_boolean(np.array([0.0, 1.0, 0.5, -1.0])).tolist() == [False, False, True, True]


def test_decimals_are_the_most_that_were_seen() -> None:
    shown = {
        (83.0, 83.27, 83.3): 2,
        (0.0, 0.0): None,
        (0.0, 5.0): 0,
        (-40.0, 1e12): 0,
        (float(np.float32(21.1)),): 1,
        (float(np.float32(21.1)) * 1e6, 0.5): 1,
        (1 / 3,): 7,
        (3e-9,): 7,
    }
    for values, decimals in shown.items():
        known = np.zeros(1, np.uint8)
        for value in values:
            known = learn_decimals(known, np.array([value]))
        assert known.tolist() == [0 if decimals is None else decimals + 1], values


def test_a_quantum_is_what_the_last_decimal_is_worth_where_that_is_known() -> None:
    quanta = quantum(np.array([0, 1, 3, 7, 8], np.uint8))
    assert quanta.tolist() == pytest.approx([0, 1, 0.01, 1e-6, 0])
