"""The estimate's arithmetic, by hand."""

from __future__ import annotations

from ui.pages.storage_estimate import DAYS_MAX, ROW_BYTES, Disk, Load, estimate

GIB = 1 << 30
DISK = Disk(total_bytes=100 * GIB, free_bytes=90 * GIB, log_bytes=0, keep_percent=50, hold_percent=90)
LOAD = Load(messages_per_minute=1, payload_bytes=100, value_count=5)


def test_rates_are_what_the_page_says_they_are() -> None:
    found = estimate(LOAD, DISK, linger_ms=0)
    assert found.log_bytes_per_day == 1440 * 4096, "a lone message takes a page, as was measured"
    assert found.store_bytes_per_day == 1440 * 5 * ROW_BYTES
    assert found.room_bytes == 80 * GIB
    assert found.log_share_bytes == 50 * GIB


def test_before_the_log_has_its_share_both_grow() -> None:
    """Log and store grow alike: the room of 80 GiB is gone with 40 GiB each, below the log's share of 50."""
    found = estimate(LOAD, DISK, linger_ms=0, log_bytes_per_message=GIB, bytes_per_row=GIB / 5)
    assert found.days is not None
    assert abs(found.days - 80 / (2 * 1440)) < 1e-9


def test_once_the_log_has_its_share_only_the_store_grows() -> None:
    """The log takes 9 of 10 bytes: its 50 GiB are full after t, the store has the other 30 GiB to itself."""
    found = estimate(LOAD, DISK, linger_ms=0, log_bytes_per_message=9 * GIB, bytes_per_row=GIB / 5)
    assert found.days is not None
    assert abs(found.days - 30 / 1440) < 1e-9
    assert found.log_days is not None
    assert abs(found.log_days - 50 / (9 * 1440)) < 1e-9


def test_a_log_that_has_more_than_its_share_takes_no_more() -> None:
    full = Disk(
        total_bytes=100 * GIB, free_bytes=40 * GIB, log_bytes=60 * GIB, keep_percent=50, hold_percent=90
    )
    found = estimate(LOAD, full, linger_ms=0, log_bytes_per_message=GIB, bytes_per_row=GIB / 5)
    assert found.days is not None
    assert abs(found.days - 30 / 1440) < 1e-9


def test_a_full_disk_lasts_no_day_and_a_quiet_one_for_ever() -> None:
    full = Disk(total_bytes=100 * GIB, free_bytes=1 * GIB, log_bytes=0, keep_percent=50, hold_percent=90)
    assert estimate(LOAD, full, linger_ms=0).days == 0
    assert estimate(LOAD, DISK, linger_ms=0).days is None, f"more than {DAYS_MAX} days"
    messages_only = Load(messages_per_minute=60_000_000, payload_bytes=1000, value_count=0)
    assert estimate(messages_only, DISK, linger_ms=0).days is None, "the log alone never fills the disk"


def test_messages_that_come_together_share_a_block() -> None:
    """6,000 a second within 10 ms are 60 more beside the first: 61 × 200 bytes and 140 around them are four pages."""
    many = Load(messages_per_minute=360_000, payload_bytes=100, value_count=1)
    found = estimate(many, DISK, linger_ms=10)
    assert found.block_messages == 61
    assert found.log_bytes_per_message == 4 * 4096 / 61
