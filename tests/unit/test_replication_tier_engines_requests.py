"""What an engine was asked, by the kinds that are paid for."""

from __future__ import annotations

from replication.tier.engines.requests import Requests


def test_requests_are_counted_by_kind() -> None:
    requests = Requests()
    for kind in ("put", "put", "list"):
        requests.count(kind)
    requests.put_bytes += 7
    seen = requests.statistics(1_000.0)
    assert seen.requests == {"put": 2, "get": 0, "list": 1, "remove": 0}
    assert (seen.put_bytes, seen.got_bytes, seen.failed_count, seen.bytes_per_s) == (7, 0, 0, 1_000.0)
    assert (seen.per_day("put", 10), seen.per_day("get", 10), seen.per_day("put", 0)) == (17_280, 0, 0)
