"""Frames of the control socket."""

from __future__ import annotations

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.core.errors import RemoteProtocolError
from broker.control_messages import CONTROL_FRAME_BYTES_MAX, MessageReader, encode_message

SEVERAL = encode_message("hello", version=1) + encode_message("grew", epoch=1, next_seq=2**63)


@given(st.lists(st.integers(0, len(SEVERAL))))
def test_any_cutting_gives_the_same_messages(cuts: list[int]) -> None:
    reader = MessageReader()
    at = [0, *sorted(cuts), len(SEVERAL)]
    found = [m for i in range(len(at) - 1) for m in reader.receive_bytes(SEVERAL[at[i] : at[i + 1]])]
    assert found == [{"t": "hello", "version": 1}, {"t": "grew", "epoch": 1, "next_seq": 2**63}]


@given(st.binary(max_size=100))
def test_any_bytes_give_messages_or_an_error(data: bytes) -> None:
    try:
        messages = MessageReader().receive_bytes(len(data).to_bytes(4, "big") + data)
    except RemoteProtocolError:
        return
    assert all(isinstance(message["t"], str) for message in messages)


@pytest.mark.parametrize(
    "body",
    [msgpack.packb([1]), msgpack.packb({}), msgpack.packb({"t": 5}), msgpack.packb({1: 2}), b"\xc1", b""],
)
def test_what_is_no_message(body: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        MessageReader().receive_bytes(len(body).to_bytes(4, "big") + body)


def test_a_frame_that_is_too_long_is_refused_before_it_has_come() -> None:
    with pytest.raises(RemoteProtocolError):
        MessageReader().receive_bytes((CONTROL_FRAME_BYTES_MAX + 1).to_bytes(4, "big"))
