"""Bounds of tracing (appliance/tracing, docs/TRACING.md), each with its arithmetic."""

from __future__ import annotations

from typing import Final

TRACE_STATE_BYTES_MAX: Final = 512
"""W3C Trace Context §3.3.1.5 asks for at least 512 characters to be passed on; what is longer is left out of spans."""
TRACES_PER_BLOCK_MAX: Final = 64
"""A trace's context takes 80 bytes of its block: 5 KiB of the 48 that a batch leaves free for what it does not count."""
TRACE_WANTED_COUNT_MAX: Final = 64
"""Devices of which the next reading is to be traced, at a time; looked for in each block while there are any."""
TRACE_WANTED_MS: Final = 900_000
"""So long a device's next reading is waited for; most report every 15 min at least."""
SPAN_RING_COUNT_MAX: Final = 4096
"""Spans that wait to be taken further, per process: 1 KB each with their attributes, 4 MB."""
SPANS_PER_MESSAGE_MAX: Final = 1024
"""Spans that the broker tells the node at a time, each second: 100 traces/s have 300 of them."""
SPAN_NAME_CHARS_MAX: Final = 128
SPAN_ATTRIBUTE_COUNT_MAX: Final = 32
SPAN_TEXT_CHARS_MAX: Final = 1024
"""Of an attribute's value; a topic may have 65,535 bytes."""
TRACE_BOOK_COUNT_MAX: Final = 512
"""Traces of devices that are kept in memory: of 12 spans of 1 KB each 6 MB."""
TRACE_BOOK_OTHER_COUNT_MAX: Final = 64
"""Traces of requests alone, which nobody looks for by a device."""
TRACE_SPAN_COUNT_MAX: Final = 256
"""Spans of one trace that are kept: a device may use one trace for all that it ever does."""
TRACE_LINK_COUNT_MAX: Final = 4096
"""Series whose newest traced reading is remembered until a rule has seen it."""
TRACE_AGE_MS_MAX: Final = 86_400_000
"""Older messages that are read again, to fill a new store, say, are not traced once more."""
OTLP_BATCH_COUNT_MAX: Final = 512
"""Spans of one request to a collector: about 200 KB."""
OTLP_INTERVAL_S: Final = 2.0
"""At most every so often spans are sent."""
OTLP_TIMEOUT_S: Final = 10.0
OTLP_ATTEMPT_COUNT_MAX: Final = 4
"""With pauses of 1, 2 and 4 s: so long a collector may be away without losing anything; new spans gather in the ring meanwhile."""
OTLP_PAUSE_S_MAX: Final = 30.0
"""Of what a collector asks for by Retry-After."""
OTLP_HEADER_FILE_BYTES_MAX: Final = 8192
