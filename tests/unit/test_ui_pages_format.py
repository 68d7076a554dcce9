"""Numbers and ages as people read them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ui.pages import format as fmt

NARROW = "\u202f"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (21.374, "21.37"),
        (21.0, "21"),
        (1.8249, "1.825"),
        (0.00123, "0.0012"),
        (1_204_331, f"1{NARROW}204{NARROW}331"),
        (12_345.678, f"12{NARROW}345.7"),
        (-3.5, "−3.5"),
        (0, "0"),
        (1e-9, "1e−09"),
        (2.5e15, "2.5e+15"),
        (True, "on"),
        (False, "off"),
        ("text", "text"),
        (None, "no value"),
        (math.nan, "not a number"),
        (math.inf, "∞"),
        (-math.inf, "−∞"),
    ],
)
def test_values(value: fmt.Value, text: str) -> None:
    assert fmt.value_text(value) == text


@given(st.one_of(st.floats(), st.integers(-(2**63), 2**63), st.booleans(), st.text(), st.none()))
def test_any_value_has_a_text(value: fmt.Value) -> None:
    assert isinstance(fmt.value_text(value), str)


@given(st.text())
def test_visible_text_hides_nothing(text: str) -> None:
    assert all(c.isprintable() or c in "\n\t" for c in fmt.visible(text))


@given(st.one_of(st.none(), st.integers(-(2**62), 2**62)), st.integers(-(2**62), 2**62))
def test_any_time_has_an_age_an_instant_and_a_stamp(at_ms: int | None, now_ms: int) -> None:
    assert fmt.age_text(at_ms, now_ms)
    if at_ms is not None:
        assert fmt.instant_text(at_ms)
        fmt.iso_text(at_ms)


def test_a_time_ahead_of_ours_says_so() -> None:
    assert fmt.age_text(1_010_000, 1_000_000) == "ahead of our clock"
    assert fmt.age_text(1_001_000, 1_000_000) == "just now"


def test_instants_are_utc_with_milliseconds() -> None:
    assert fmt.instant_text(1_700_000_000_123) == "2023-11-14 22:13:20.123 UTC"
    assert fmt.iso_text(1_700_000_000_123) == "2023-11-14T22:13:20.123+00:00"


@pytest.mark.parametrize(
    ("duration_ms", "text"),
    [
        (0, "0 ms"),
        (999, "999 ms"),
        (1_500, "1.5 s"),
        (42_000, "42 s"),
        (90_000, "2 min"),
        (5_400_000, "1.5 h"),
        (10**9, "12 days"),
    ],
)
def test_durations(duration_ms: int, text: str) -> None:
    assert fmt.duration_text(duration_ms) == text


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (204 * 2**20, "204 MiB"), (2**45, "32.0 TiB")],
)
def test_sizes(size_bytes: int, text: str) -> None:
    assert fmt.bytes_text(size_bytes) == text


@pytest.mark.parametrize(
    ("rate", "text"),
    [(0.0, "0"), (0.25, "0.25"), (4.8, "4.8"), (482.4, "482"), (123_456.0, f"123{NARROW}456")],
)
def test_rates(rate: float, text: str) -> None:
    assert fmt.rate_text(rate) == text


def test_plurals() -> None:
    assert fmt.plural(1, "device") == "1 device"
    assert fmt.plural(2, "device") == "2 devices"
    assert fmt.plural(0, "device is", "devices are") == "0 devices are"
