"""Token buckets: the burst, how they fill, bounded tables, and who counts as one peer."""

from __future__ import annotations

import pytest

from appliance.core.token_bucket import Bucket, BucketTable, Quota, network_of

QUOTA = Quota("reads", 60, 60)


def _drain(bucket: Bucket, now_ms: int) -> int:
    taken = 0
    while bucket.wait_ms(now_ms) == 0:
        bucket.take()
        taken += 1
    return taken


def test_a_full_bucket_gives_what_its_quota_says_and_then_fills_evenly() -> None:
    bucket = Bucket(QUOTA, 0)
    assert _drain(bucket, 0) == 60
    assert bucket.wait_ms(0) == 1_000
    assert bucket.full_in_s(0) == 60
    assert _drain(bucket, 999) == 0
    assert _drain(bucket, 1_000) == 1
    assert _drain(bucket, 11_500) == 10
    assert _drain(bucket, 10**9) == 60, "it never holds more"


def test_a_window_admits_no_more_than_a_burst_and_what_fills_meanwhile() -> None:
    bucket = Bucket(QUOTA, 0)
    assert sum(_drain(bucket, now_ms) for now_ms in range(0, 60_001, 50)) == 120


def test_a_floor_is_left_for_others() -> None:
    bucket = Bucket(QUOTA, 0)
    taken = 0
    while bucket.wait_ms(0, floor=20) == 0:
        bucket.take()
        taken += 1
    assert taken == 40
    assert bucket.wait_ms(0, floor=20) == 1_000
    assert bucket.wait_ms(0) == 0


def test_a_table_forgets_the_one_unused_for_longest() -> None:
    table = BucketTable(QUOTA, count_max=2)
    for name in ("a", "b"):
        _drain(table.bucket(name, 0), 0)
    table.bucket("a", 0)
    table.bucket("c", 0)
    assert len(table) == 2
    assert table.bucket("a", 0).level(0) == 0
    assert table.bucket("b", 0).level(0) == 60


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        ("nonsense", ""),
    ],
)
def test_who_counts_as_one_peer(address: str, network: str) -> None:
    assert network_of(address) == network


def test_a_quota_without_a_limit_has_no_bucket() -> None:
    with pytest.raises(AssertionError):
        Bucket(Quota("none", 0), 0)
