from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.core.errors import LocalProtocolError
from appliance.core.limits import ANNOUNCE_LINE_COUNT_MAX, STATUS_CHARACTERS_MAX
from appliance.run.link_messages import FromChild, ToChild, decode_from_child, decode_to_child, encode


def test_messages_are_small_json_objects() -> None:
    assert encode(FromChild(heartbeat=True)) == b'{"heartbeat":true}'
    assert (
        encode(FromChild(ready=True, status="up", announce=("a",)))
        == b'{"ready":true,"status":"up","announce":["a"]}'
    )
    assert encode(ToChild(drain=True)) == b'{"drain":true}'


@given(
    st.builds(
        FromChild, heartbeat=st.booleans(), ready=st.booleans(), status=st.none() | st.text(max_size=200)
    )
)
def test_what_a_child_says_arrives_unchanged(message: FromChild) -> None:
    assert decode_from_child(encode(message)) == message


def test_what_the_supervisor_says_arrives_unchanged() -> None:
    assert decode_to_child(encode(ToChild(drain=True))).drain


@given(st.binary())
def test_any_bytes_are_a_message_or_a_protocol_error(data: bytes) -> None:
    for decode in (decode_from_child, decode_to_child):
        try:
            decode(data)
        except LocalProtocolError as error:
            assert error.hint


@pytest.mark.parametrize(
    "message",
    [
        FromChild(status="x" * (STATUS_CHARACTERS_MAX + 1)),
        FromChild(announce=("x",) * (ANNOUNCE_LINE_COUNT_MAX + 1)),
        FromChild(announce=("x" * 20_000,)),
    ],
)
def test_a_message_beyond_its_bounds_is_refused_by_its_sender(message: FromChild) -> None:
    with pytest.raises(LocalProtocolError):
        encode(message)
