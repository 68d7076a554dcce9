"""Notifications in the catalog: what was to be sent, how far it is, and what came of it.

    waiting ──▶ sending ──▶ sent
       │           ├──▶ waiting      it failed; tried again at next_at_ms
       │           └──▶ given_up
       └──▶ withdrawn                nobody need know any more

The key is the row's id, so that a notification is made once, whoever asks for it how often. It is `sending` on disk before its first byte
leaves; one that is found so at a start is sent again under the same key.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

from appliance.core.errors import NotFound, UsageError
from appliance.core.limits_notifications import NOTIFICATION_RETRY_MS_MAX, NOTIFICATION_WAITING_COUNT_MAX
from storage.catalog.database import CatalogDatabase, Value
from storage.catalog.homes import OWN_ORIGIN

State = Literal["waiting", "sending", "sent", "given_up", "withdrawn"]
STATES: Final[tuple[State, ...]] = get_args(State)
OPEN: Final = ("waiting", "sending")
_RETRY_AHEAD_MS_MAX: Final = 2 * NOTIFICATION_RETRY_MS_MAX
_FREE: Final = (
    f"n.state IN ('waiting', 'sending') AND n.state = 'waiting' AND n.{OWN_ORIGIN} AND (n.alarm_id = '' OR NOT EXISTS (SELECT 1 FROM notifications AS o "  # noqa: S608
    "WHERE o.alarm_id = n.alarm_id AND o.target_id = n.target_id AND o.state IN ('waiting', 'sending') AND o.origin = n.origin AND o.rowid < n.rowid))"
)
"""It waits, and nothing earlier of its alarm is open. The first condition names what the index is of."""
OVERTAKEN: Final = "A later repetition was due before this was sent."
TOO_MANY: Final = f"More than {NOTIFICATION_WAITING_COUNT_MAX} wait for this target already."


@dataclass(frozen=True, slots=True, kw_only=True)
class NewNotification:
    """One to be made.

    Attributes:
        key: The idempotency key.
        body: JSON (management/notification_body.py).
    """

    key: str
    alarm_id: str
    episode: int
    step: str
    target_id: str
    target_name: str
    body: str
    due_at_ms: int
    trace_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """One as it is. Times are UTC ms.

    Attributes:
        error: Why the last attempt failed. outcome: What the receiver said.
    """

    notification_id: str
    alarm_id: str
    episode: int
    step: str
    target_id: str
    target_name: str
    state: State
    body: str
    attempts: int
    due_at_ms: int
    next_at_ms: int
    error: str
    outcome: str
    created_at_ms: int
    sent_at_ms: int | None
    trace_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NotificationPage:
    """Notifications, the newest first; `next_cursor` is None at the end."""

    notifications: tuple[Notification, ...]
    next_cursor: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NotificationCounts:
    """How they stand.

    Attributes:
        by_state: Of all that are kept.
        oldest_waiting_due_at_ms: Of those that are open, the one that has waited longest; None without one.
        given_up_recently: Those that nobody got, tries left out, by when they were tried last.
    """

    by_state: dict[str, int]
    oldest_waiting_due_at_ms: int | None
    given_up_recently: int


class NotificationTable(CatalogDatabase):
    """Methods of the catalog about notifications."""

    def make_notifications(
        self, wanted: Iterable[NewNotification], room: dict[str, int] | None = None
    ) -> int:
        """Make those that there are not yet; returns how many were made.

        Of a target that has too many open already they are given up at once, and say so.

        Args:
            room: By target, how many more may be open; kept up here, for several calls of one transaction.
        """
        made = 0
        room = {} if room is None else room
        now_ms = self._clock.now_ms()
        for each in wanted:
            if each.target_id not in room:
                room[each.target_id] = NOTIFICATION_WAITING_COUNT_MAX - self.open_notification_count(
                    each.target_id
                )
            fits = room[each.target_id] > 0
            count = self.execute(
                "INSERT INTO notifications (notification_id, alarm_id, episode, step, target_id, target_name, state, body, "
                "due_at_ms, next_at_ms, error, created_at_ms, trace_id, origin, hlc) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (notification_id) DO NOTHING",
                (
                    each.key,
                    each.alarm_id,
                    each.episode,
                    each.step,
                    each.target_id,
                    each.target_name,
                    "waiting" if fits else "given_up",
                    each.body,
                    each.due_at_ms,
                    now_ms,
                    "" if fits else TOO_MANY,
                    now_ms,
                    each.trace_id,
                    self.origin,
                    self.hlc,
                ),
            )
            made += count
            room[each.target_id] -= count
        return made

    def open_notification_count(self, target_id: str) -> int:
        """How many of a target are waiting or being sent."""
        found = self.row(
            "SELECT count(*) FROM notifications WHERE target_id = ? AND state IN ('waiting', 'sending')",
            (target_id,),
        )
        assert found is not None
        return int(found[0])

    def withdraw_notifications(self, alarm_id: str, why: str) -> int:
        """Nobody need be told any more what of an alarm still waits, but that it is over; returns how many those were."""
        return self.execute(
            "UPDATE notifications SET state = 'withdrawn', outcome = ?, origin = ?, hlc = ? "
            "WHERE alarm_id = ? AND state = 'waiting' AND step NOT LIKE 'cleared%'",
            (why, self.origin, self.hlc, alarm_id),
        )

    def withdraw_repetitions(self, alarm_id: str) -> int:
        """A repetition is due: earlier ones that still wait say no more than it does; returns how many those were."""
        return self.execute(
            "UPDATE notifications SET state = 'withdrawn', outcome = ?, origin = ?, hlc = ? "
            "WHERE alarm_id = ? AND state = 'waiting' AND step LIKE 'repeated/%'",
            (OVERTAKEN, self.origin, self.hlc, alarm_id),
        )

    def told_targets(self, alarm_id: str, episode: int, round_suffix: str) -> list[str]:
        """The targets that are, or are still to be, told of an alarm in a round, and not that it is over.

        Args:
            round_suffix: What step names of the round end in: ".2", or "" for the first.
        """
        found = self.rows(
            "SELECT DISTINCT target_id, step FROM notifications WHERE alarm_id = ? AND episode = ? "
            "AND state IN ('waiting', 'sending', 'sent') ORDER BY created_at_ms, target_id",
            (alarm_id, episode),
        )
        steps = ((row["target_id"], row["step"].partition(".")) for row in found)
        told = (
            target
            for target, (step, dot, number) in steps
            if dot + number == round_suffix and not step.startswith("cleared")
        )
        return list(dict.fromkeys(told))

    # --- Sending -------------------------------------------------------------------------------------------

    def resume_notifications(self, now_ms: int) -> int:
        """What a node that ended was sending waits again; returns how many those were."""
        return self.execute(
            "UPDATE notifications SET state = 'waiting', next_at_ms = ?, error = ?, origin = ?, hlc = ? WHERE state = 'sending' "  # noqa: S608
            f"AND {OWN_ORIGIN}",
            (now_ms, "Homeport ended while it was sent; it may have arrived.", self.origin, self.hlc),
        )

    def targets_to_serve(self, now_ms: int) -> tuple[list[str], int | None]:
        """Targets that something is to be sent to by now, and when the first of the rest is to be."""
        found = self.rows(
            "SELECT t.target_id, (SELECT n.next_at_ms FROM notifications AS n WHERE n.target_id = t.target_id "  # noqa: S608 - our own words
            f"AND {_FREE} ORDER BY n.next_at_ms LIMIT 1) AS next_at_ms FROM (SELECT DISTINCT target_id FROM notifications "
            "WHERE state IN ('waiting', 'sending')) AS t WHERE next_at_ms IS NOT NULL ORDER BY next_at_ms",
        )
        latest_ms = now_ms + _RETRY_AHEAD_MS_MAX  # beyond that the clock was set back meanwhile
        due = [row["target_id"] for row in found if not now_ms < row["next_at_ms"] <= latest_ms]
        later = [row["next_at_ms"] for row in found if now_ms < row["next_at_ms"] <= latest_ms]
        return due, min(later, default=None)

    def begin_next_notification(self, target_id: str, now_ms: int) -> Notification | None:
        """Take the next one of a target to be sent, as `sending`; None for none.

        What is told of one alarm keeps its order: nothing is taken while an earlier one of it is open.
        """
        found = self.row(
            f"SELECT n.* FROM notifications AS n WHERE n.target_id = ? AND {_FREE} "  # noqa: S608 - our own words
            "AND (n.next_at_ms <= ? OR n.next_at_ms > ?) ORDER BY n.next_at_ms, n.rowid LIMIT 1",
            (target_id, now_ms, now_ms + _RETRY_AHEAD_MS_MAX),
        )
        if found is None:
            return None
        self.execute(
            "UPDATE notifications SET state = 'sending', attempts = attempts + 1, origin = ?, hlc = ? WHERE notification_id = ?",
            (self.origin, self.hlc, found["notification_id"]),
        )
        return self.get_notification(found["notification_id"])

    def begin_notification(self, new: NewNotification) -> Notification:
        """Make one that is sent at once (a try)."""
        self.make_notifications([new])
        self.execute(
            "UPDATE notifications SET state = 'sending', attempts = 1, origin = ?, hlc = ? WHERE notification_id = ?",
            (self.origin, self.hlc, new.key),
        )
        return self.get_notification(new.key)

    def end_notification(
        self,
        notification_id: str,
        state: Literal["waiting", "sent", "given_up", "withdrawn"],
        *,
        outcome: str = "",
        error: str = "",
        next_at_ms: int | None = None,
    ) -> bool:
        """What came of sending it; returns whether it was being sent.

        Args:
            next_at_ms: Of `waiting`: when it is tried again.
        """
        now_ms = self._clock.now_ms()
        return bool(
            self.execute(
                "UPDATE notifications SET state = ?, outcome = ?, error = ?, next_at_ms = coalesce(?, next_at_ms), "
                "sent_at_ms = ?, origin = ?, hlc = ? WHERE notification_id = ? AND state = 'sending'",
                (
                    state,
                    outcome,
                    error,
                    next_at_ms,
                    now_ms if state == "sent" else None,
                    self.origin,
                    self.hlc,
                    notification_id,
                ),
            )
        )

    def hurry_notifications(self, target_id: str, now_ms: int) -> int:
        """Try again now what waits for a target that answers again; returns how many those are."""
        return self.execute(
            "UPDATE notifications SET next_at_ms = ?, origin = ?, hlc = ? "
            "WHERE target_id = ? AND state IN ('waiting', 'sending') AND state = 'waiting' AND next_at_ms > ?",
            (now_ms, self.origin, self.hlc, target_id, now_ms),
        )

    # --- Looking -------------------------------------------------------------------------------------------

    def get_notification(self, notification_id: str) -> Notification:
        """One of them.

        Raises:
            NotFound: `notification_unknown`.
        """
        found = self.row("SELECT * FROM notifications WHERE notification_id = ?", (notification_id,))
        if found is None:
            raise NotFound(
                f"There is no notification “{notification_id[:100]}”.",
                hint="Look at the list of notifications.",
                code="notification_unknown",
            )
        return _notification(found)

    def list_notifications(
        self,
        *,
        limit: int,
        cursor: str | None = None,
        states: tuple[str, ...] = (),
        alarm_id: str | None = None,
        target_id: str | None = None,
        since_ms: int | None = None,
    ) -> NotificationPage:
        """The newest first.

        Args:
            cursor: `next_cursor` of the page before.
            since_ms: Made from then on.
        Raises:
            UsageError: `cursor_invalid`.
        """
        where, values = ["1"], list[Value]()
        if states:
            where.append("state IN (SELECT value FROM json_each(?))")
            values.append(json.dumps(list(states)))
        for column, value in (("alarm_id", alarm_id), ("target_id", target_id)):
            if value is not None:
                where.append(f"{column} = ?")
                values.append(value)
        if since_ms is not None:
            where.append("created_at_ms >= ?")
            values.append(since_ms)
        if cursor is not None:
            where.append("(created_at_ms, notification_id) < (?, ?)")
            values += _cursor(cursor)
        sql = f"SELECT * FROM notifications WHERE {' AND '.join(where)} ORDER BY created_at_ms DESC, notification_id DESC LIMIT ?"  # noqa: S608
        found = self.rows(sql, (*values, limit + 1))
        page = tuple(map(_notification, found[:limit]))
        more = len(found) > limit
        last = page[-1] if page else None
        return NotificationPage(
            notifications=page,
            next_cursor=f"{last.created_at_ms}-{last.notification_id}" if more and last else None,
        )

    def notification_counts(self, since_ms: int) -> NotificationCounts:
        """How they stand.

        Args:
            since_ms: From when on those that were given up count as recent.
        """
        by_state = {
            row[0]: row[1] for row in self.rows("SELECT state, count(*) FROM notifications GROUP BY state")
        }
        oldest = self.row("SELECT min(due_at_ms) FROM notifications WHERE state IN ('waiting', 'sending')")
        given_up = self.row(
            # Not by when they were made: what is given up was tried for a day.
            "SELECT count(*) FROM notifications WHERE state = 'given_up' AND max(created_at_ms, next_at_ms) >= ? "
            "AND step NOT LIKE 'test/%'",
            (since_ms,),
        )
        assert oldest is not None
        assert given_up is not None
        return NotificationCounts(
            by_state=by_state, oldest_waiting_due_at_ms=oldest[0], given_up_recently=given_up[0]
        )

    def remove_old_notifications(self, before_ms: int, *, keep_count: int, limit: int) -> int:
        """Remove those that are done and older than that, or more than are kept; returns how many went."""
        return self.execute(
            "DELETE FROM notifications WHERE notification_id IN (SELECT notification_id FROM notifications "
            "WHERE state NOT IN ('waiting', 'sending') AND (created_at_ms < ? OR created_at_ms < "
            "(SELECT created_at_ms FROM notifications ORDER BY created_at_ms DESC LIMIT 1 OFFSET ?)) "
            "ORDER BY created_at_ms LIMIT ?)",
            (before_ms, keep_count, limit),
        )


def _notification(row: Any) -> Notification:
    return Notification(**{name: row[name] for name in Notification.__slots__})


def _cursor(text: str) -> list[Value]:
    at_ms, _, notification_id = text.partition("-")
    if not (at_ms.isascii() and at_ms.isdigit() and len(at_ms) <= 15 and notification_id):
        raise UsageError(
            "The cursor is none of this list.",
            hint="Give the `next_cursor` of the page before.",
            code="cursor_invalid",
        )
    return [int(at_ms), notification_id]
