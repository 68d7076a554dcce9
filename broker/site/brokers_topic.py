"""`dm/site/brokers`: where a device finds the site's brokers, this one first, as a retained message.

A device keeps the list and tries the next one when this broker is gone (docs/DEVICE_CONTRACT.md). Each node says it of itself, so that
the first one is always the broker that the device is connected to; other nodes' are not brought here.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

TOPIC: Final = b"dm/site/brokers"
BROKER_COUNT_MAX: Final = 64
SERVER_REFERENCE_LENGTH_MAX: Final = 256


def brokers_payload(own: Sequence[str], others: Sequence[str]) -> bytes:
    """The message: `{"brokers": ["mqtts://a.example:8883", …]}`; empty, which removes it, where no other broker is known.

    Args:
        own, others: URLs; others in the order in which they are to be tried.
    """
    if not others:
        return b""
    brokers = list(dict.fromkeys((*own, *others)))[:BROKER_COUNT_MAX]
    return json.dumps({"brokers": brokers}, separators=(",", ":"), ensure_ascii=False).encode()


def server_reference(others: Sequence[str]) -> str:
    """The others as MQTT 5 names servers: host:port, with a space between (MQTT 5.0 §4.11); those over TLS first."""
    by_scheme = sorted(others, key=lambda url: urlsplit(url).scheme != "mqtts")
    reference = ""
    for url in by_scheme:
        more = f"{reference} {urlsplit(url).netloc}".strip()
        if len(more) > SERVER_REFERENCE_LENGTH_MAX:
            break
        reference = more
    return reference
