"""Payloads of a load run: varied, of one size, and stampable with time and number without encoding anew.

A telemetry payload holds placeholders of the width of what replaces them, so that stamping a whole window is two
replacements over one bytes object in C.
"""

from __future__ import annotations

import random
from typing import Final

TIME_MARK: Final = b"8888888888888"
"""Thirteen digits: milliseconds since 1970, until the year 2286."""
NUMBER_MARK: Final = b"77777777"
"""Eight leading digits of `seq`, replaced for each turn of the ring; three digits of ring position follow."""
NUMBER_FIRST: Final = 10_000_000
"""JSON numbers have no leading zero."""
TELEMETRY_RING_COUNT_MAX: Final = 1_000


def json_payloads(count: int, size_bytes: int, seed: int) -> list[bytes]:
    """JSON objects of exactly `size_bytes` each, no two with the same content.

    Args:
        count: How many.
        size_bytes: 60 or more: the fields alone take up to 56 bytes.
        seed: Of the numbers in them.
    """
    source = random.Random(seed)
    payloads = []
    for index in range(count):
        fields = b'{"n":%d,"temperature":%.2f,"humidity":%.1f,"pad":"' % (
            index,
            source.uniform(10, 30),
            source.uniform(30, 70),
        )
        fill = "".join(source.choices("abcdefghijklmnopqrstuvwxyz", k=max(size_bytes - len(fields) - 2, 0)))
        payloads.append(fields + fill.encode() + b'"}')
    return payloads


def telemetry_payloads(count: int, boot_id: str, seed: int) -> list[bytes]:
    """Readings of five values as docs/DEVICE_CONTRACT.md has them, with marks for `ts` and `seq`.

    Args:
        count: How many, up to 1,000 (three digits of `seq`).
        boot_id: The same in all of them.
        seed: Of the values.
    """
    assert count <= TELEMETRY_RING_COUNT_MAX
    source = random.Random(seed)
    return [
        b'{"ts":%b,"boot_id":"%b","seq":%b%03d,"v":{"temperature":%.2f,"humidity":%.2f,"power":%.1f,"voltage":%.1f,"battery":%.3f}}'
        % (
            TIME_MARK,
            boot_id.encode(),
            NUMBER_MARK,
            index,
            source.uniform(15, 25),
            source.uniform(40, 60),
            source.uniform(100, 900),
            source.uniform(225, 235),
            source.uniform(3, 4),
        )
        for index in range(count)
    ]


def stamp(packets: bytes, now_ms: int, turn: int) -> bytes:
    """Packets with time and number filled in.

    Args:
        packets: Slice of a ring of telemetry packets.
        now_ms: Wall time, ms.
        turn: How often the ring was gone through before.
    """
    return packets.replace(TIME_MARK, b"%013d" % now_ms).replace(NUMBER_MARK, b"%08d" % (NUMBER_FIRST + turn))
