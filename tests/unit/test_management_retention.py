"""Which class a metric is of, and when a day of it is due."""

from __future__ import annotations

import duckdb
import pytest

from appliance.core.errors import UsageError
from appliance.management.retention import (
    Retention,
    RetentionClass,
    check_class,
    default_class,
    fits,
    is_cold,
    is_expired,
    like_pattern,
)


def kept(class_id: str = "a", metric: str = "*", hot: int = 90, archive: int = 730) -> RetentionClass:
    return RetentionClass(class_id=class_id, metric=metric, hot_days=hot, archive_days=archive)


def test_the_first_class_that_fits_counts_and_the_rest_is_default() -> None:
    retention = Retention((kept("v", "vib_*"), kept("all-v", "v*")), default_class(90, 730))
    assert retention.class_of("vib_x").class_id == "v"
    assert retention.class_of("volt").class_id == "all-v"
    assert retention.class_of("celsius").class_id == "default"
    assert retention.named("v").metric == "vib_*"
    assert retention.named("was removed") is retention.default
    assert [each.class_id for each in retention.all()] == ["v", "all-v", "default"]


@pytest.mark.parametrize(
    ("pattern", "metric", "does_fit"),
    [
        ("*", "", True),
        ("vib_*", "vib_x", True),
        ("vib_*", "vibXx", False),
        ("t?", "t1", True),
        ("t?", "t12", False),
        ("a.b", "aXb", False),
        ("50%", "50%", True),
        ("50%", "500", False),
        ("T", "t", False),
        ("a\\b*", "a\\bc", True),
        ("*[0]", "x[0]", True),
        ("a*c", "a\nc", True),
        ("ä?", "äö", True),
    ],
)
def test_a_pattern_means_the_same_here_and_in_sql(pattern: str, metric: str, does_fit: bool) -> None:
    assert fits(pattern, metric) is does_fit
    (in_sql,) = duckdb.execute("SELECT ? LIKE ? ESCAPE '\\'", [metric, like_pattern(pattern)]).fetchall()[0]
    assert in_sql is does_fit


def test_a_day_is_kept_for_whole_days_after_its_end() -> None:
    one = kept(hot=1, archive=2)
    assert [is_cold(100, today, one) for today in (100, 101, 102)] == [False, False, True]
    assert [is_expired(100, today, one) for today in (101, 102, 103)] == [False, False, True]
    assert not is_expired(0, 30_000, kept(archive=0))


@pytest.mark.parametrize(
    "wish",
    [
        kept("default"),
        kept("A"),
        kept("a/b"),
        kept("x" * 33),
        kept(metric=""),
        kept(metric="a\nb"),
        kept(metric="x" * 257),
        kept(hot=0),
        kept(archive=-1),
        kept(hot=10, archive=9),
    ],
)
def test_what_can_not_be_a_class_is_refused(wish: RetentionClass) -> None:
    with pytest.raises(UsageError) as refused:
        check_class(wish)
    assert refused.value.code == "retention_invalid"
    assert refused.value.hint


def test_the_default_class_keeps_in_the_archive_what_is_in_the_store() -> None:
    assert default_class(90, 30).archive_days == 90
    assert default_class(90, 0).archive_days == 0
    assert default_class(90, 730).archive_days == 730


def test_for_ever_is_longer_than_any_days() -> None:
    check_class(kept(hot=10, archive=0))
