"""Messages about a link: there and back, and any bytes at all."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.core.errors import RemoteProtocolError
from appliance.core.limits_replication import (
    LINK_HELLO_BYTES_MAX,
    ROSTER_CARD_LENGTH_MAX,
    ROSTER_CERTIFICATE_BYTES_MAX,
    ROSTER_DECOMMISSION_LENGTH_MAX,
    ROSTER_NODE_COUNT_MAX,
    ROSTER_SIGNATURE_BYTES_MAX,
    WIRE_MESSAGE_BYTES_MAX,
)
from replication.link.messages import (
    Hello,
    LinkMessage,
    Ping,
    Pong,
    Refused,
    RenewAnswer,
    RenewAsk,
    RosterDigest,
    RosterEntries,
    Welcome,
    decode_link_message,
    encode_link_message,
    is_link_message,
)
from replication.link.roster_exchange import messages_of
from replication.messages import AskHeads, encode_message
from tests.unit.test_management_fleet import A, B, entry

SAID = (1, A, A, A, B, "0.1", 5, entry(A).signed)
MESSAGES: list[LinkMessage] = [
    Hello(*SAID),
    Welcome(*SAID),
    Refused("clone", "two of it"),
    Ping(1),
    Pong(1),
    RosterDigest(known={A: (0, 1, 2)}),
    RosterEntries((entry(A).signed,)),
    RenewAsk(b"csr"),
    RenewAnswer(b"", "no"),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_there_and_back(message: LinkMessage) -> None:
    data = encode_link_message(message)
    assert decode_link_message(data) == message
    assert is_link_message(data)


def test_other_messages_are_told_apart() -> None:
    assert not is_link_message(encode_message(AskHeads(A)))
    assert not is_link_message(b"")


@given(st.binary(max_size=200) | st.binary(max_size=60).map(lambda data: b"\x93\x07" + data))
def test_any_bytes_are_a_message_or_none(data: bytes) -> None:
    try:
        decode_link_message(data)
    except RemoteProtocolError:
        assert True


@pytest.mark.parametrize(
    "data",
    [
        b"\x92\x04\xcf" + b"\xff" * 8,
        b"\x92\x07\xdd\xff\xff\xff\xff",
        b"\x91" * 5_000,
        encode_link_message(RosterEntries((entry(A).signed,) * 33)),
        encode_link_message(Refused("r" * 61, "")),
    ],
)
def test_what_is_out_of_bounds_is_no_message(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        decode_link_message(data)


def test_the_largest_of_each_kind_is_within_a_message() -> None:
    largest = msgspec.structs.replace(
        entry(A).signed,
        certificate=bytes(ROSTER_CERTIFICATE_BYTES_MAX),
        card="c" * ROSTER_CARD_LENGTH_MAX,
        card_signature=bytes(ROSTER_SIGNATURE_BYTES_MAX),
        decommission="d" * ROSTER_DECOMMISSION_LENGTH_MAX,
        decommission_signature=bytes(ROSTER_SIGNATURE_BYTES_MAX),
    )
    assert len(encode_link_message(Hello(*SAID[:-1], largest))) <= LINK_HELLO_BYTES_MAX
    known = {f"{number:032x}": (1, 2**53, 2**53) for number in range(ROSTER_NODE_COUNT_MAX)}
    assert len(encode_link_message(RosterDigest(known))) <= WIRE_MESSAGE_BYTES_MAX
    some = [entry(f"{number:032x}", addresses=("a" * 200,) * 8) for number in range(100)]
    told = list(messages_of(some))
    assert all(len(encode_link_message(message)) <= WIRE_MESSAGE_BYTES_MAX for message in told)
    assert [signed for message in told for signed in message.entries] == [each.signed for each in some]
