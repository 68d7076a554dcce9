"""Retention classes: how long readings of some metrics are kept. What they mean stands in appliance/management/retention.py."""

from __future__ import annotations

from typing import Any, Final

from appliance.core.errors import LimitExceeded, NotFound, UsageError
from appliance.core.limits import RETENTION_CLASS_COUNT_MAX, RETENTION_DAYS_MAX
from appliance.management.retention import RetentionClass, check_class
from storage.catalog.database import CatalogDatabase

_COLUMNS: Final = "class_id, metric, hot_days, archive_days"


class RetentionClassTable(CatalogDatabase):
    """Methods of the catalog about retention classes."""

    def retention_classes(self) -> tuple[RetentionClass, ...]:
        """All classes in the order in which they are tried."""
        found = self.rows(f"SELECT {_COLUMNS} FROM retention_classes ORDER BY position, class_id")  # noqa: S608
        return tuple(map(_class, found))

    def set_retention_class(self, wish: RetentionClass, *, position: int | None = None) -> RetentionClass:
        """Make a class, or change the one of that id.

        Args:
            position: Which it is to be, from 1; None for the last one, or to leave it where it is.
        Raises:
            UsageError: `retention_invalid`. LimitExceeded: `retention_class_count`.
        """
        check_class(wish)
        if max(wish.hot_days, wish.archive_days) > RETENTION_DAYS_MAX:
            raise UsageError(
                f"Readings are kept for {RETENTION_DAYS_MAX} days at most.",
                hint="0 days in the archive are for ever.",
                code="retention_invalid",
            )
        with self.transaction():
            classes = list(self.retention_classes())
            at = next((n for n, each in enumerate(classes) if each.class_id == wish.class_id), None)
            now_ms = self._clock.now_ms()
            if at is None:
                if len(classes) >= RETENTION_CLASS_COUNT_MAX:
                    raise LimitExceeded(
                        f"There are {RETENTION_CLASS_COUNT_MAX} classes of retention already.",
                        hint="Remove one, or widen the pattern of another.",
                        code="retention_class_count",
                    )
                at = len(classes)
                self.execute(
                    "INSERT INTO retention_classes (class_id, position, metric, hot_days, archive_days, created_at_ms,"
                    " updated_at_ms, origin, hlc) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (
                        wish.class_id,
                        at + 1,
                        wish.metric,
                        wish.hot_days,
                        wish.archive_days,
                        now_ms,
                        now_ms,
                        self.origin,
                        self.hlc,
                    ),
                )
                classes.append(wish)
            elif classes[at] != wish:
                self.execute(
                    "UPDATE retention_classes SET metric = ?, hot_days = ?, archive_days = ?, updated_at_ms = ?, origin = ?,"
                    " hlc = ? WHERE class_id = ?",
                    (
                        wish.metric,
                        wish.hot_days,
                        wish.archive_days,
                        now_ms,
                        self.origin,
                        self.hlc,
                        wish.class_id,
                    ),
                )
            if position is not None:
                classes.insert(max(0, position - 1), classes.pop(at))
            self._place([each.class_id for each in classes])
        return wish

    def remove_retention_class(self, class_id: str) -> None:
        """Remove a class: its metrics are of the next that fits.

        Raises:
            NotFound: `retention_unknown`.
        """
        with self.transaction():
            classes = [each.class_id for each in self.retention_classes()]
            if class_id not in classes:
                raise NotFound(
                    f"There is no retention class “{class_id[:64]}”.",
                    hint="Look at the list of classes; the default one is set in the configuration.",
                    code="retention_unknown",
                )
            self.execute("DELETE FROM retention_classes WHERE class_id = ?", (class_id,))
            self._place([each for each in classes if each != class_id])

    def _place(self, ids: list[str]) -> None:
        """Number the classes anew, changing those that move."""
        for position, class_id in enumerate(ids, start=1):
            self.execute(
                "UPDATE retention_classes SET position = ?, origin = ?, hlc = ? WHERE class_id = ? AND position <> ?",
                (position, self.origin, self.hlc, class_id, position),
            )


def _class(row: Any) -> RetentionClass:
    return RetentionClass(
        class_id=row["class_id"],
        metric=row["metric"],
        hot_days=row["hot_days"],
        archive_days=row["archive_days"],
    )
