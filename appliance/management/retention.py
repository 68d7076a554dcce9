"""How long readings are kept, by their metric: classes with a pattern, and when a day of each is due. Pure.

A class says after how many days its readings leave the store (hot) and after how many they leave the archive. The first
class whose pattern fits a metric counts, in the order of their positions; what fits none is of the class `default`,
which the configuration sets. A day counts from its end: with 90 hot days, a day leaves the store when 90 whole days
have passed after it.

Must not know: files, tables.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from appliance.core.errors import UsageError
from appliance.core.limits import RETENTION_PATTERN_LENGTH_MAX

DEFAULT_CLASS: Final = "default"
FOR_EVER: Final = 0
"""As `archive_days`."""
_CLASS_ID: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
_PATTERN: Final = re.compile(r"[^\x00-\x1f\x7f]+")
_LIKE: Final = str.maketrans({"*": "%", "?": "_", "%": "\\%", "_": "\\_", "\\": "\\\\"})


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionClass:
    """Metrics that are kept equally long.

    Attributes:
        metric: A pattern: `*` stands for any characters, `?` for one.
        hot_days: In the store, at least 1. archive_days: In the archive, FOR_EVER for no end; counted from the day itself too.
    """

    class_id: str
    metric: str
    hot_days: int
    archive_days: int


@dataclass(frozen=True, slots=True)
class Retention:
    """All classes in their order, and the one for all other metrics."""

    classes: tuple[RetentionClass, ...]
    default: RetentionClass

    def named(self, class_id: str) -> RetentionClass:
        """The class of that id; the default one for an id that is no class (any more)."""
        return next((each for each in self.classes if each.class_id == class_id), self.default)

    def class_of(self, metric: str) -> RetentionClass:
        """The class that a metric is of."""
        return next((each for each in self.classes if fits(each.metric, metric)), self.default)

    def all(self) -> tuple[RetentionClass, ...]:
        """The classes and the default one, which comes last."""
        return (*self.classes, self.default)


def default_class(hot_days: int, archive_days: int) -> RetentionClass:
    """The class of what fits no other, by the configuration's values. What is in the store is in the archive at least as long."""
    kept_days = FOR_EVER if archive_days == FOR_EVER else max(hot_days, archive_days)
    return RetentionClass(class_id=DEFAULT_CLASS, metric="*", hot_days=hot_days, archive_days=kept_days)


def fits(pattern: str, metric: str) -> bool:
    """Whether a metric's name fits a pattern, capital letters being others than small ones."""
    parts = (".*" if c == "*" else "." if c == "?" else re.escape(c) for c in pattern)
    return re.fullmatch("".join(parts), metric, re.DOTALL) is not None


def like_pattern(pattern: str) -> str:
    """The pattern for SQL's LIKE with the escape character backslash."""
    return pattern.translate(_LIKE)


def is_over(day: int, today: int, kept_days: int) -> bool:
    """Whether so many whole days have passed after a day. Days since 1970-01-01 UTC."""
    return day + kept_days < today


def is_cold(day: int, today: int, retention_class: RetentionClass) -> bool:
    """Whether a day's readings of a class are to leave the store."""
    return is_over(day, today, retention_class.hot_days)


def is_expired(day: int, today: int, retention_class: RetentionClass) -> bool:
    """Whether a day's readings of a class are to leave the archive, and with it Homeport."""
    return retention_class.archive_days != FOR_EVER and is_over(day, today, retention_class.archive_days)


def check_class(wish: RetentionClass) -> None:
    """Refuse a class that can't be.

    Raises:
        UsageError: `retention_invalid`: the id, the pattern or the days.
    """
    problem = _problem(wish)
    if problem:
        raise UsageError(
            problem,
            hint="A class has an id such as vibration, a pattern such as vib_*, and days: hot at least 1, archive at least as many or 0 for ever.",
            code="retention_invalid",
        )


def _problem(wish: RetentionClass) -> str:
    if _CLASS_ID.fullmatch(wish.class_id) is None or wish.class_id == DEFAULT_CLASS:
        return f"“{wish.class_id[:64]}” is no id of a class: a to z, digits and dashes, 32 at most, and not {DEFAULT_CLASS}."
    if len(wish.metric) > RETENTION_PATTERN_LENGTH_MAX or _PATTERN.fullmatch(wish.metric) is None:
        return f"A pattern has 1 to {RETENTION_PATTERN_LENGTH_MAX} characters and no control characters."
    if wish.hot_days < 1 or wish.archive_days < 0:
        return "Days are whole numbers: hot at least 1, archive at least 0."
    if wish.archive_days != FOR_EVER and wish.archive_days < wish.hot_days:
        return f"{wish.archive_days} days in the archive are fewer than {wish.hot_days} in the store."
    return ""
