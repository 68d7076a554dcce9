"""Which trace something belongs to, as W3C Trace Context writes it. Pure.

    00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01
    version, trace id, span id of the parent, flags: 01 is sampled

What is malformed is no context: the caller then makes its own, and nothing of what came is passed on in its name.

Source: W3C Trace Context §3.2 (traceparent), §3.3 (tracestate).
"""

from __future__ import annotations

import hashlib
import re
from typing import Final, NamedTuple

from appliance.core.ids import SPAN_ID_BYTES
from appliance.core.limits_tracing import TRACE_STATE_BYTES_MAX

TRACEPARENT_CHARS: Final = 55
"""Of version 00, which is the one that is written."""
_CHARS_MAX: Final = 512
"""A later version may have more behind the flags, of which nothing is known (§3.2.4)."""
_TRACEPARENT: Final = re.compile(
    r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-[\x21-\x7e]*)?",
    re.ASCII,
)
_TRACE_ID: Final = re.compile(r"(?!0{32})[0-9a-f]{32}", re.ASCII)
_SAMPLED: Final = 1


class TraceContext(NamedTuple):
    """A place in a trace.

    Attributes:
        trace_id: 32 hexadecimal digits. span_id: 16, of the span that is the parent of what follows.
        state: What the trace's other participants have to say (tracestate), "" for nothing.
    """

    trace_id: str
    span_id: str
    is_sampled: bool = True
    state: str = ""


def parse_traceparent(text: str, state: str = "") -> TraceContext | None:
    """A traceparent; None for one that is malformed.

    Args:
        state: The tracestate beside it; left out where it is longer than TRACE_STATE_BYTES_MAX or not printable.
    """
    found = _TRACEPARENT.fullmatch(text) if len(text) <= _CHARS_MAX else None
    if found is None or (found[1] == "00" and found[5] is not None):
        return None
    return TraceContext(found[2], found[3], bool(int(found[4], 16) & _SAMPLED), _bounded_state(state))


def format_traceparent(context: TraceContext) -> str:
    """As it stands in a header or a property."""
    return f"00-{context.trace_id}-{context.span_id}-{int(context.is_sampled):02x}"


def is_trace_id(text: str) -> bool:
    """Whether a text is a trace's id."""
    return _TRACE_ID.fullmatch(text) is not None


def derived_span_id(*parts: str | int) -> str:
    """A span's id that follows from what the span is about: whoever comes later names it as the parent without having been told,
    and a step that is done twice after a crash is the same span.
    """
    digest = hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()[: 2 * SPAN_ID_BYTES]
    return digest if digest.strip("0") else "0" * 15 + "1"


def _bounded_state(text: str) -> str:
    is_usable = len(text) <= TRACE_STATE_BYTES_MAX and text.isascii() and text.isprintable()
    return text.strip() if is_usable else ""
