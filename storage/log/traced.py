"""Which records of a block are traced, and as what: a user property that the broker puts behind a message's own, and a flag.

    properties of the message │ 26 00 0e "homeport-trace" 00 37 "00-<trace id>-<span id>-01"

The flag says that it is there, so that nothing a client sends is taken for it, and finding those that have none costs nothing. A release
that doesn't know the flag sees a user property more. Whoever forwards a message leaves it out: what a client published goes on unaltered
(MQTT 5.0 §3.3.2.3.7).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

FLAG_TRACED: Final = 0x20
"""Of a publish's flags, beside the fixed header's nibble and FLAG_KEPT_COPY."""
TRACEPARENT_BYTES: Final = 55
_MARK: Final = b"\x26\x00\x0ehomeport-trace\x00" + bytes((TRACEPARENT_BYTES,))
SUFFIX_BYTES: Final = len(_MARK) + TRACEPARENT_BYTES


def with_traces(
    flags: bytes, properties: Mapping[int, bytes], traces: Mapping[int, bytes]
) -> tuple[bytes, Mapping[int, bytes]]:
    """Flags and properties of a block of which some records are traced.

    Args:
        traces: Record → traceparent of version 00.
    """
    marked, merged = bytearray(flags), dict(properties)
    for index, traceparent in traces.items():
        assert len(traceparent) == TRACEPARENT_BYTES
        marked[index] |= FLAG_TRACED
        merged[index] = properties.get(index, b"") + _MARK + traceparent
    return bytes(marked), merged


def untraced(flags: int, properties: bytes) -> bytes:
    """A record's properties as they were published."""
    return properties[:-SUFFIX_BYTES] if _is_traced(flags, properties) else properties


def trace_of(flags: int, properties: bytes) -> bytes:
    """A record's traceparent, b"" for one that isn't traced."""
    return properties[-TRACEPARENT_BYTES:] if _is_traced(flags, properties) else b""


def _is_traced(flags: int, properties: bytes) -> bool:
    return bool(flags & FLAG_TRACED) and properties[-SUFFIX_BYTES:-TRACEPARENT_BYTES] == _MARK
