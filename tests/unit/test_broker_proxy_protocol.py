"""PROXY protocol headers: whole, cut anyhow, and whatever else comes."""

from __future__ import annotations

import ipaddress
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.core.errors import RemoteProtocolError
from appliance.core.limits import PROXY_HEADER_BYTES_MAX
from broker.proxy_protocol import FIXED_BYTES, Header, HeaderReader

SIGNATURE = bytes.fromhex("0d0a0d0a000d0a515549540a")
V4 = bytes([192, 0, 2, 7, 10, 0, 0, 1]) + struct.pack(">HH", 40_000, 1883)
V6 = ipaddress.ip_address("2001:db8::7").packed * 2 + struct.pack(">HH", 40_000, 1883)
TLV = b"\x04\0\x03abc"


def header(command: int = 0x21, family: int = 0x11, body: bytes = V4, length: int | None = None) -> bytes:
    return SIGNATURE + struct.pack(">BBH", command, family, len(body) if length is None else length) + body


def read(data: bytes, cuts: list[int]) -> tuple[Header | None, bytes]:
    """Feed bytes in pieces; the header, and what the reader left untouched."""
    reader = HeaderReader()
    pieces = iter(cuts)
    while data and reader.needed_bytes:
        size = min(next(pieces, 1), reader.needed_bytes)
        piece, data = data[:size], data[size:]
        found = reader.receive_bytes(piece)
        if found is not None:
            assert reader.needed_bytes == 0
            return found, data
    return None, data


CUTS = st.lists(st.integers(1, 40), max_size=600)


@pytest.mark.parametrize(
    ("data", "source"),
    [
        (header(), "192.0.2.7"),
        (header(body=V4 + TLV * 50), "192.0.2.7"),
        (header(family=0x21, body=V6), "2001:db8::7"),
        (header(family=0x31, body=bytes(216)), None),
        (header(family=0x00, body=b""), None),
        (header(family=0x00, body=TLV), None),
        (header(command=0x20, family=0x00, body=b""), None),
        (header(command=0x20, family=0xFF, body=b"anything"), None),
    ],
    ids=[
        "IPv4",
        "TLVs",
        "IPv6",
        "Unix",
        "unspecified",
        "unspecified with TLV",
        "LOCAL",
        "LOCAL with nonsense",
    ],
)
@given(cuts=CUTS, behind=st.binary(max_size=30))
def test_a_header_cut_anyhow(data: bytes, source: str | None, cuts: list[int], behind: bytes) -> None:
    assert read(data + behind, cuts) == (Header(source), behind), "not a byte behind it is taken"


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"PROXY TCP4 192.0.2.7 10.0.0.1 40000 1883\r\n", "proxy_version_1"),
        (b"PROXY UNKNOWN\r\n", "proxy_version_1"),
        (b"\x10\x10\0\4MQTT", "proxy_header_missing"),
        (b"\x16\x03\x01\x02\0", "proxy_header_missing"),
        (b"PROXX", "proxy_header_missing"),
        (header(command=0x22), "proxy_header_invalid"),
        (header(command=0x11), "proxy_header_invalid"),
        (header(family=0x12), "proxy_header_invalid"),
        (header(family=0x41), "proxy_header_invalid"),
        (header(body=V4[:-1]), "proxy_header_invalid"),
        (header(family=0x21, body=V4), "proxy_header_invalid"),
        (header(length=PROXY_HEADER_BYTES_MAX + 1)[:FIXED_BYTES], "proxy_header_invalid"),
        (header(command=0x20, length=0xFFFF)[:FIXED_BYTES], "proxy_header_invalid"),
    ],
)
@given(cuts=CUTS)
def test_what_is_refused_and_how(data: bytes, code: str, cuts: list[int]) -> None:
    with pytest.raises(RemoteProtocolError) as refused:
        read(data, cuts)
    assert refused.value.code == code
    assert refused.value.hint


def test_the_longest_header_there_is() -> None:
    body = V4 + bytes(PROXY_HEADER_BYTES_MAX - len(V4))
    assert read(header(body=body), [10_000])[0] == Header("192.0.2.7")


@given(
    data=st.one_of(st.binary(max_size=200), st.binary(max_size=60).map(lambda tail: SIGNATURE + tail)),
    cuts=CUTS,
)
def test_any_bytes_give_a_header_or_an_error_however_they_are_cut(data: bytes, cuts: list[int]) -> None:
    outcomes: list[object] = []
    for way in (cuts, [1000], []):
        try:
            outcomes.append(read(data, way))
        except RemoteProtocolError as error:
            outcomes.append((error.code, error.message))
    assert outcomes[0] == outcomes[1] == outcomes[2]
