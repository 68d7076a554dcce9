"""Places in the log: in order, counted, taken from the front, from the middle, and packed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from broker.state.positions import COMPACT_COUNT, Position, Positions


def positions(*seqs: int, size_bytes: int = 10) -> Positions:
    made = Positions()
    for seq in seqs:
        made.append(seq, size_bytes)
    return made


def seqs(made: Positions) -> list[int]:
    return [position.seq for position in made]


def test_nothing() -> None:
    empty = Positions()
    assert empty.first() is None
    assert not empty
    assert list(empty) == []
    assert empty.packed() == (b"", b"")
    assert empty.size_bytes == 0


def test_first_in_first_out() -> None:
    made = positions(5, 7)
    made.append(9, 1, is_retained=True)
    assert made.size_bytes == 21
    assert made.first() == Position(5, False)
    made.drop_first()
    made.drop_first()
    assert made.first() == Position(9, True)
    assert (len(made), made.size_bytes) == (1, 1)
    made.drop_first()
    assert made.first() is None
    assert made.size_bytes == 0


def test_packed_and_back() -> None:
    made = positions(1, 2, 3)
    made.append(2**62, 2**32 - 1, is_retained=True)
    made.drop_first()
    again = Positions(*made.packed())
    assert list(again) == [Position(2, False), Position(3, False), Position(2**62, True)]
    assert again.size_bytes == made.size_bytes == 20 + 2**32 - 1


def test_remove_wherever_they_are() -> None:
    made = positions(1, 2, 3, 4)
    made.append(3, 5, is_retained=True)
    made.drop_first()
    made.remove({1, 3, 99})
    assert seqs(made) == [2, 4]
    assert made.size_bytes == 20
    made.remove({99})
    assert seqs(made) == [2, 4]


def test_remove_before_spares_retained_ones() -> None:
    """They are of records long before, and only wait because of a subscription."""
    made = Positions()
    made.append(1, 10, is_retained=True)
    for seq in (5, 6, 7):
        made.append(seq, 10)
    made.remove_before(7)
    assert list(made) == [Position(1, True), Position(7, False)]
    assert made.size_bytes == 20


def test_in_front() -> None:
    made, others = positions(7, 8, size_bytes=1), positions(1, 2, 3)
    made.drop_first()
    others.drop_first()
    made.put_in_front(others)
    assert seqs(made) == [2, 3, 8]
    assert made.size_bytes == 21
    assert seqs(others) == [2, 3], "they are copied"


def test_memory_is_given_back() -> None:
    made = positions(*range(2 * COMPACT_COUNT))
    for _ in range(COMPACT_COUNT):
        made.drop_first()
    assert len(made._entries) == COMPACT_COUNT
    assert seqs(made) == list(range(COMPACT_COUNT, 2 * COMPACT_COUNT))
    assert made.size_bytes == COMPACT_COUNT * 10


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("append"), st.integers(0, 20)),
            st.tuples(st.just("drop"), st.just(0)),
            st.tuples(st.just("remove"), st.integers(0, 20)),
            st.tuples(st.just("before"), st.integers(0, 20)),
        )
    )
)
def test_like_a_list(steps: list[tuple[str, int]]) -> None:
    made, model = Positions(), list[int]()
    for step, seq in steps:
        if step == "append":
            made.append(seq, seq)
            model.append(seq)
        elif step == "drop" and model:
            made.drop_first()
            model.pop(0)
        elif step == "remove":
            made.remove({seq})
            model = [kept for kept in model if kept != seq]
        elif step == "before":
            made.remove_before(seq)
            model = [kept for kept in model if kept >= seq]
        assert seqs(made) == model
        assert made.size_bytes == sum(model)
        assert len(made) == len(model)
