"""What certificates ask an operator to look at."""

from __future__ import annotations

from dataclasses import replace

import pytest

from storage.catalog import CertificateCounts
from ui.pages.certificate_attention import DAY_MS, lines

WELL = CertificateCounts(valid=3, revoked=0, first_ends_at_ms=1, devices_ending=0, devices_ended=0)


def test_nothing_where_all_is_well() -> None:
    assert (
        lines(WELL, authority_left_ms=1000 * DAY_MS, authority_is_due=False, tls_left_ms=100 * DAY_MS) == ()
    )


@pytest.mark.parametrize(
    ("left_days", "tone", "word"),
    [(300, "warn", "ends in 300 days"), (50, "bad", "ends in 50 days"), (-1, "bad", "has ended")],
)
def test_the_authority(left_days: int, tone: str, word: str) -> None:
    (line,) = lines(
        WELL, authority_left_ms=left_days * DAY_MS, authority_is_due=True, tls_left_ms=100 * DAY_MS
    )
    assert line.tone == tone
    assert word in line.text
    assert "homeport ca renew" in line.text


def test_the_boxs_own_certificate() -> None:
    (line,) = lines(WELL, authority_left_ms=1000 * DAY_MS, authority_is_due=False, tls_left_ms=1 * DAY_MS)
    assert line.tone == "bad"
    assert "1 day:" in line.text


def test_devices() -> None:
    counts = replace(WELL, devices_ending=2, devices_ended=1)
    ended, ending = lines(
        counts, authority_left_ms=1000 * DAY_MS, authority_is_due=False, tls_left_ms=100 * DAY_MS
    )
    assert (ended.tone, ending.tone) == ("bad", "warn")
    assert "1 device has ended" in ended.text
    assert "2 devices ends soon" in ending.text
