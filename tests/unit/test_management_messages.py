"""Messages as columns: how many, in which chunks, and the payloads of some."""

from __future__ import annotations

import numpy as np

from appliance.management.messages import Messages, Payloads, Routes


def messages(*parts: list[bytes]) -> Messages:
    count = sum(map(len, parts))
    return Messages(
        np.arange(count), Routes.of([]), np.zeros(count, np.int64), [Payloads.of(part) for part in parts]
    )


def test_chunks_and_payloads_over_parts() -> None:
    some = messages([b"a", b"b", b"c"], [b"d"])
    assert len(some) == 4
    assert [(first, stop, at) for first, stop, _, at in some.chunks(2)] == [(0, 2, 0), (2, 3, 2), (3, 4, 0)]
    assert some.payloads(np.array([0, 3, 2])) == [b"a", b"d", b"c"]
    assert len(messages()) == 0
