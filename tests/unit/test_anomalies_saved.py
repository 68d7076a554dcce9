"""The saved state: what is refused, and with which words."""

from __future__ import annotations

import struct
import zlib

import pytest

from appliance.anomalies.columns import BYTES_A_SERIES, Columns
from appliance.anomalies.saved import Head, pack, unpack
from appliance.anomalies.season import Profiles
from appliance.core.errors import HomeportError, StorageError
from appliance.core.limits_anomalies import ANOMALY_SERIES_COUNT_MAX


def _head(series: int = 0, profiles: int = 0) -> Head:
    return Head(series=series, profiles=profiles, started_ms=-5, scored=2**40, left_out=3, highest=-1)


def test_what_is_packed_comes_back() -> None:
    columns = Columns()
    columns.grow(7)
    columns.origin[3] = 1.5
    data = pack(_head(7), columns.to_bytes(), Profiles().to_bytes())
    head, body, profiles = unpack(data)
    assert head == _head(7)
    assert len(body) == 7 * BYTES_A_SERIES
    again, learned = Columns(), Profiles()
    again.from_bytes(body, 7)
    learned.from_bytes(profiles)
    assert again.origin[3] == 1.5
    assert len(again) == 7
    assert len(learned) == 0


def _with_body(body: bytes, version: int = 1, magic: bytes = b"HPAN") -> bytes:
    return struct.pack("<4sHI", magic, version, zlib.crc32(body)) + body


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "has 0 bytes"),
        (b"\0" * 20, "has 20 bytes"),
        (_with_body(bytes(48), magic=b"NOPE"), "does not begin"),
        (_with_body(bytes(48), version=2), "version 2"),
        (_with_body(bytes(48))[:-1] + b"\1", "checksum"),
        (_with_body(struct.pack("<6q", ANOMALY_SERIES_COUNT_MAX + 1, 0, 0, 0, 0, 0)), "counts"),
        (_with_body(struct.pack("<6q", -1, 0, 0, 0, 0, 0)), "counts"),
        (_with_body(struct.pack("<6q", 0, 2**40, 0, 0, 0, 0)), "counts"),
        (_with_body(struct.pack("<6q", 1, 0, 0, 0, 0, 0)), "longer or shorter"),
    ],
)
def test_damaged_bytes_are_refused(data: bytes, why: str) -> None:
    with pytest.raises(StorageError, match=why) as refused:
        unpack(data)
    assert isinstance(refused.value, HomeportError)
    assert refused.value.code == "anomaly_state_damaged"
    assert refused.value.hint
