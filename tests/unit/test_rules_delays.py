"""On-delay and off-delay: one slot, whose condition is said by hand. Times are milliseconds."""

from __future__ import annotations

import numpy as np

from appliance.rules.delays import KEEP, Delayed, Moves


class Slot:
    """A slot with its delays; what moved, as (time, whether it was raised, the time of the move before)."""

    def __init__(self, on_ms: int = 0, off_ms: int = 0) -> None:
        self.table = Delayed()
        self.table.add(1, on_ms=on_ms, off_ms=off_ms)
        self.moved: list[tuple[int, bool, int]] = []

    def feed(self, *said: tuple[int, int], behind_ms: int = 0) -> None:
        """(observed, code)."""
        observed = np.array([at for at, _ in said], np.int64)
        self._take(
            self.table.feed(
                np.zeros(1, np.int64),
                np.array([len(said)]),
                np.array([code for _, code in said], np.int8),
                observed=observed,
                received=observed + behind_ms,
                measures=np.zeros(len(said)),
                values=np.zeros(len(said)),
            )
        )

    def tick(self, horizon_ms: int) -> None:
        self._take(self.table.tick(horizon_ms))

    def _take(self, moves: Moves | None) -> None:
        if moves is not None:
            columns = (moves.at_ms, moves.raised, moves.before_ms)
            self.moved += list(zip(*(each.tolist() for each in columns), strict=True))


def test_without_delays_it_moves_with_its_readings() -> None:
    slot = Slot()
    slot.feed((100, 0), (200, 1), (300, KEEP), (400, 1), (500, 0), (600, 1))
    assert slot.moved == [(200, True, 0), (500, False, 200), (600, True, 500)]


def test_a_delay_that_runs_out_between_two_readings_moves_at_its_deadline() -> None:
    slot = Slot(on_ms=50, off_ms=70)
    slot.feed((100, 1), (400, 0), (900, 1))
    assert slot.moved == [(150, True, 0), (470, False, 150)]
    slot.tick(949)
    assert len(slot.moved) == 2
    slot.tick(950)
    assert slot.moved[2:] == [(950, True, 470)]
    slot.tick(2_000)
    assert len(slot.moved) == 3


def test_what_ends_at_the_deadline_prevents_it_and_what_goes_on_meets_it() -> None:
    ends, goes_on = Slot(on_ms=50), Slot(on_ms=50)
    ends.feed((100, 1), (150, 0))
    goes_on.feed((100, 1), (150, 1))
    assert ends.moved == []
    assert goes_on.moved == [(150, True, 0)]


def test_it_begins_anew_each_time() -> None:
    slot = Slot(on_ms=50)
    slot.feed((100, 1), (140, 0), (145, 1), (190, 1))
    assert slot.moved == []
    slot.feed((195, 1))
    assert slot.moved == [(195, True, 0)]


def test_a_clock_that_is_behind_is_waited_for() -> None:
    slot = Slot(on_ms=50)
    slot.feed((100, 1), behind_ms=10_000)
    slot.tick(10_149)
    assert slot.moved == []
    slot.feed((140, 0), behind_ms=10_000)
    slot.tick(20_000)
    assert slot.moved == []


def test_a_reading_that_comes_too_late_changes_nothing_of_it_whether_a_tick_came_before_or_not() -> None:
    ticked, untold = Slot(on_ms=50), Slot(on_ms=50)
    for slot in (ticked, untold):
        slot.feed((100, 1))
    ticked.tick(150)
    for slot in (ticked, untold):
        slot.feed((140, 0), behind_ms=1_000)
    assert ticked.moved == untold.moved == [(150, True, 0), (150, False, 150)]


def test_what_is_too_much_to_tell_is_told_by_its_ends() -> None:
    slots = np.array([0, 0, 0, 1, 2, 2])
    columns = {name: np.arange(6) for name in ("at_ms", "since_ms", "before_ms", "pair")}
    moves = Moves(
        slots=slots,
        raised=np.array([True, False, True, True, True, False]),
        measure=np.zeros(6),
        value=np.zeros(6),
        **columns,
    )
    ends = moves.ends()
    assert ends.slots.tolist() == [0, 1, 2, 2]
    assert ends.at_ms.tolist() == [2, 3, 4, 5]
    assert ends.raised.tolist() == [True, True, True, False]
    assert ends.ends().at_ms.tolist() == ends.at_ms.tolist()
