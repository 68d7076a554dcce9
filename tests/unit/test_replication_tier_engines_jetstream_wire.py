"""NATS' protocol: whatever way the bytes are cut, the same comes out; what is none is refused; nothing can end a line that shouldn't."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from appliance.core.errors import RemoteProtocolError
from appliance.core.limits_jetstream import NATS_LINE_BYTES_MAX, NATS_MESSAGE_BYTES_MAX
from replication.tier.engines.jetstream_wire import (
    Event,
    Incoming,
    Info,
    Message,
    Ping,
    Pong,
    Refused,
    connect_line,
    publish_head,
    subscribe_line,
    unsubscribe_line,
)

HEADERS = b"NATS/1.0\r\nNats-Sequence: 7\r\nnats-sequence: 8\r\nno header\r\n\r\n"
SAID = (
    b'INFO {"version":"2.15.1"}\r\n'
    b"PING\r\n"
    b"+OK\r\n"
    b"msg a.b 1 3\r\nx\r\n\r\n"
    b"MSG a.b 12 reply.to 0\r\n\r\n"
    + b"HMSG a.b 1 %d %d\r\n%sbytes\r\n"
    % (len(HEADERS), len(HEADERS) + 5, HEADERS)
    + b"HMSG a 1 back 30 30\r\nNATS/1.0 503 No Responders\r\n\r\n\r\n"
    b"HMSG a 1 16 16\r\nNATS/1.0 404\r\n\r\n\r\n"
    b"PONG\r\n"
    b"-ERR 'Authorization Violation'\r\n"
)
MEANT: list[Event] = [
    Info(values={"version": "2.15.1"}),
    Ping(),
    Message(subject="a.b", subscription=1, data=b"x\r\n"),
    Message(subject="a.b", subscription=12, reply="reply.to"),
    Message(subject="a.b", subscription=1, headers={"nats-sequence": "7"}, data=b"bytes"),
    Message(subject="a", subscription=1, reply="back", status=503, reason="No Responders"),
    Message(subject="a", subscription=1, status=404),
    Pong(),
    Refused(reason="Authorization Violation"),
]


@given(st.lists(st.integers(0, len(SAID)), max_size=20))
@example([])
@example(list(range(len(SAID))))
def test_bytes_may_come_in_any_pieces(cuts: list[int]) -> None:
    incoming, found = Incoming(), []
    ends = [*sorted(cuts), len(SAID)]
    for start, end in zip([0, *ends], ends, strict=False):
        found += incoming.receive_bytes(SAID[start:end])
    assert found == MEANT


@given(st.binary(max_size=200))
def test_any_bytes_give_events_or_are_refused(data: bytes) -> None:
    for begin in (b"", b"MSG ", b"HMSG a 1 ", b"INFO ", b"HMSG a 1 12 12\r\n"):
        try:
            Incoming().receive_bytes(begin + data + b"\r\n")
        except RemoteProtocolError:
            pass


@pytest.mark.parametrize(
    "said",
    [
        b"HTTP/1.1 400 Bad Request\r\n",
        b"INFO nothing\r\n",
        b"INFO []\r\n",
        b"MSG a 1\r\n",
        b"MSG a 1 b c 5\r\n",
        b"MSG a x 5\r\n",
        b"MSG a 1 x\r\n",
        b"MSG \xff 1 5\r\n",
        b"MSG a 1 -1\r\n",
        b"MSG a 1 %d\r\n" % (NATS_MESSAGE_BYTES_MAX + 1),
        b"HMSG a 1 6 5\r\n",
        b"MSG a 1 1\r\nxx\r\n",
        b"HMSG a 1 9 9\r\nNATS/2.0\r\n\r\n",
        b"P" * (NATS_LINE_BYTES_MAX + 1),
        b"PING " + b" " * NATS_LINE_BYTES_MAX + b"\r\n",
    ],
)
def test_what_is_no_nats_or_too_large_is_refused(said: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        Incoming().receive_bytes(said)


def test_what_is_sent() -> None:
    assert (
        connect_line({"verbose": False, "user": "a\r\nb"})
        == b'CONNECT {"verbose":false,"user":"a\\r\\nb"}\r\n'
    )
    assert subscribe_line("_INBOX.a.*", 1) == b"SUB _INBOX.a.* 1\r\n"
    assert unsubscribe_line(3) == b"UNSUB 3\r\n"
    assert publish_head("a", "", {}, 5) == b"PUB a 5\r\n"
    assert publish_head("a", "b", {}, 0) == b"PUB a b 0\r\n"
    head = b"NATS/1.0\r\nX-Y: z 1\r\n\r\n"
    assert (
        publish_head("a", "b", {"X-Y": "z 1"}, 5) == b"HPUB a b %d %d\r\n" % (len(head), len(head) + 5) + head
    )


@given(st.text(max_size=50), st.text(max_size=50), st.text(max_size=50))
@example("a\r\nPUB", "a b", "c")
@example("ok", "X", "a\r\nPUB b 0")
def test_nothing_gets_out_of_its_place(subject: str, name: str, value: str) -> None:
    """A subject or header that could begin a line of its own is refused; so what is sent is taken apart as it was meant."""
    try:
        sent = publish_head(subject, "", {name: value}, 0)
    except ValueError:
        return
    line, _, head = sent.partition(b"\r\n")
    numbers = line.split(b" ")[-2:]
    assert [int(number) for number in numbers] == [len(head)] * 2
    (message,) = Incoming().receive_bytes(
        b"HMSG " + subject.encode() + b" 1 " + b" ".join(numbers) + b"\r\n" + head + b"\r\n"
    )
    assert isinstance(message, Message)
    assert (message.subject, message.headers) == (subject, {name.lower(): value.strip()})


@pytest.mark.parametrize("subject", ["", "a b", "a\r\n", "ä", "x" * 1_001])
def test_a_subject_that_is_none_is_a_mistake(subject: str) -> None:
    with pytest.raises(ValueError, match="no subject"):
        subscribe_line(subject, 1)
