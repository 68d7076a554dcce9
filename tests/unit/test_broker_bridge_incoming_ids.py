"""broker/bridge/incoming_ids.py"""

from __future__ import annotations

from broker.bridge.incoming_ids import IncomingIds


def news(ids: IncomingIds) -> bool:
    """Whether something has changed since this was asked last."""
    has_news, ids.has_news = ids.has_news, False
    return has_news


def test_a_message_is_begun_taken_and_released() -> None:
    ids = IncomingIds()
    ids.begin([5, 6], 100)
    assert ids.begun == {5: 100, 6: 100}
    assert 5 not in ids
    ids.took([5, 6])
    assert ids.taken == [5, 6]
    assert 5 in ids
    assert not ids.begun
    ids.release(5)
    assert ids.taken == [6]


def test_what_was_begun_is_settled_by_what_the_log_has() -> None:
    ids = IncomingIds([1], {5: 100, 6: 100})
    ids.settle([6, 77])
    assert ids.taken == [1, 6]
    assert not ids.begun


def test_changes_are_told_and_nothing_else() -> None:
    ids = IncomingIds([1])
    ids.release(2)
    assert not news(ids)
    ids.release(1)
    assert news(ids)
    ids.forget()
    assert not news(ids)
    ids.begin([3], 1)
    assert news(ids)
    ids.forget()
    assert news(ids)
    assert not ids.begun
