"""Types of the wire: reading and writing integers, strings, binary data."""

from __future__ import annotations

import pytest

from appliance.core.errors import LocalProtocolError, RemoteProtocolError
from broker.mqtt.wire import Cursor, decode_text, put_binary, put_text, put_uint, put_varint


@pytest.mark.parametrize(
    ("value", "data"),
    [
        (0, b"\x00"),
        (127, b"\x7f"),
        (128, b"\x80\x01"),
        (16_383, b"\xff\x7f"),
        (16_384, b"\x80\x80\x01"),
        (2_097_151, b"\xff\xff\x7f"),
        (2_097_152, b"\x80\x80\x80\x01"),
        (268_435_455, b"\xff\xff\xff\x7f"),
    ],
)
def test_varint_both_ways(value: int, data: bytes) -> None:
    """MQTT 5.0 §1.5.5, Table 1-1."""
    assert put_varint(value, "n") == data
    cursor = Cursor(data)
    assert cursor.varint("n") == value
    assert cursor.remaining == 0


@pytest.mark.parametrize(
    "data", [b"", b"\x80", b"\xff\xff\xff", b"\xff\xff\xff\xff\x01", b"\x80\x00", b"\x81\x80\x00"]
)
def test_varint_refused(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        Cursor(data).varint("n")
    assert caught.value.reason_code == 0x81


@pytest.mark.parametrize("value", [-1, 268_435_456])
def test_varint_out_of_range(value: int) -> None:
    with pytest.raises(LocalProtocolError, match="does not fit"):
        put_varint(value, "n")


def test_cursor_reads_in_order_up_to_its_end() -> None:
    cursor = Cursor(b"\x01\x00\x02\x00\x00\x00\x03\x00\x01a\x00\x01bXX", 0, 13)
    assert (cursor.u8("a"), cursor.u16("b"), cursor.u32("c")) == (1, 2, 3)
    assert (cursor.text("d"), cursor.binary("e")) == ("a", b"b")
    cursor.finish()
    for read in (cursor.u8, cursor.u16, cursor.u32, cursor.text, cursor.binary):
        with pytest.raises(RemoteProtocolError, match="The packet ends"):
            read("next field")


def test_cursor_finish_counts_what_is_left() -> None:
    with pytest.raises(RemoteProtocolError, match="2 bytes are left over"):
        Cursor(b"ab").finish()


def test_decode_text_keeps_the_byte_order_mark() -> None:
    assert decode_text(b"\xef\xbb\xbfa", "x") == "\ufeffa"


@pytest.mark.parametrize("data", [b"\xff", b"\xed\xa0\x80", b"a\0"])
def test_decode_text_refused(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        decode_text(data, "name")
    assert caught.value.reason_code == 0x81


def test_put_uint() -> None:
    assert put_uint(0xFFFF, 2, "n") == b"\xff\xff"
    for value in (-1, 0x1_0000):
        with pytest.raises(LocalProtocolError, match="2 bytes of the n"):
            put_uint(value, 2, "n")


def test_put_text_and_binary() -> None:
    assert put_text("é", "t") == b"\x00\x02\xc3\xa9"
    assert put_binary(bytes(65_535), "b")[:2] == b"\xff\xff"


@pytest.mark.parametrize(
    ("value", "words"), [("\ud800", "surrogate"), ("a\0", "U\\+0000"), ("é" * 32_768, "longer than")]
)
def test_put_text_refused(value: str, words: str) -> None:
    with pytest.raises(LocalProtocolError, match=words) as caught:
        put_text(value, "t")
    assert "report it" in caught.value.hint
