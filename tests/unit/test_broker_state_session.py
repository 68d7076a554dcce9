"""A session's own few rules."""

from __future__ import annotations

from broker.state.session import LastWill, Session


def session(expiry_s: int) -> Session:
    return Session("c", "site", expiry_s=expiry_s, queue_messages_max=10, queue_bytes_max=100)


def test_whether_it_outlives_its_connection() -> None:
    made = session(0)
    assert (made.is_durable, made.outbound.is_durable) == (False, False)
    made.set_expiry(5)
    assert (made.is_durable, made.outbound.is_durable, made.expiry_s) == (True, True, 5)
    assert session(1).outbound.is_durable
    made.set_expiry(0)
    assert (made.is_durable, made.outbound.is_durable) == (False, False)


def test_a_will_waits_no_longer_than_the_session_lasts() -> None:
    made = session(10)
    assert made.will_delay_s() == 0
    made.will = LastWill(topic=b"t", payload=b"", flags=0, properties=b"", delay_s=7)
    assert made.will_delay_s() == 7
    made.set_expiry(3)
    assert made.will_delay_s() == 3
    made.set_expiry(0)
    assert made.will_delay_s() == 0
