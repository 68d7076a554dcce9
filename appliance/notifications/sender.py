"""Sends notifications: each on disk as `sending` before its first byte leaves, and with its outcome afterwards.

Theory of operation. One task for each target that has something to be sent, one at a time, so that what is told of an alarm keeps its
order; at most NOTIFICATION_SENDING_COUNT_MAX attempts at once. A target that does not answer waits for itself alone: its pause grows from
a second to a quarter of an hour, others go on. One that answers and refuses has only that one notification tried again later. What nobody took for
a day is given up, and says so. A row or a target that nothing can be made of is logged, noted as refused, and holds nobody else up. What a killed node was sending is sent again under the same key: the receiver drops it if it had arrived.

A row's state moves in the catalog, in transactions of the writer; of what a target is sent in a row, the end of one and the beginning of the next are one
transaction.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Final, Literal, Protocol, TypeVar

import trio

from appliance.core import logs
from appliance.core.clock import Clock
from appliance.core.errors import StorageError, Unavailable, UsageError
from appliance.core.limits_notifications import (
    NOTIFICATION_ATTEMPT_TIMEOUT_S,
    NOTIFICATION_GIVE_UP_MS,
    NOTIFICATION_LOOK_INTERVAL_S,
    NOTIFICATION_RETRY_FIRST_MS,
    NOTIFICATION_RETRY_MS_MAX,
    NOTIFICATION_SENDING_COUNT_MAX,
)
from appliance.management.audit import Act
from appliance.notifications.sent import Sent, line
from appliance.tracing.links import alarm_context, notification_context
from appliance.tracing.recorder import Recorder, wall_us
from appliance.tracing.span import SpanKind
from storage.catalog import AsyncCatalog
from storage.catalog.catalog import Catalog
from storage.catalog.notification_targets import NotificationTarget
from storage.catalog.notifications import NewNotification, Notification

SEND_ACT: Final = Act(action="notification.send")
_AT_A_TIME_COUNT: Final = 50
"""Of one target, before others that wait have their turn."""
_CATALOG_RETRY_S: Final = 1.0
_GATHER_S: Final = 0.01
"""After a change, before it is looked what that means: what many transactions a second make is looked at a hundred times."""
_GIVE_UP_ATTEMPT_COUNT: Final = 8
"""At least: a clock that was set right by years makes nothing a day old."""
GONE: Final = "The target is switched off, gone, or of a newer release."
_log = logs.get(__name__)
T = TypeVar("T")
End = Literal["waiting", "sent", "given_up", "withdrawn"]


class Way(Protocol):
    """Sends one notification to one target (appliance/notifications/ways.py)."""

    async def send(self, target: NotificationTarget, notification: Notification) -> Sent: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ended:
    """How a row is to be left."""

    notification_id: str
    state: End
    outcome: str = ""
    error: str = ""
    next_at_ms: int | None = None
    hurry: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SenderStatistics:
    """Numbers since the start.

    Attributes:
        attempts: By kind of target and outcome (sent, failed).
        given_up: By kind.
        sending: Now. pausing: Targets that do not answer and are not asked for now.
    """

    attempts: dict[tuple[str, str], int]
    given_up: dict[str, int]
    sending: int
    pausing: int


def retry_ms(failures: int, random: Callable[[], float]) -> int:
    """How long to wait after so many failures, from 1: doubling from 1 s to 15 min, of which a random part is taken away, up to half."""
    full = min(NOTIFICATION_RETRY_MS_MAX, NOTIFICATION_RETRY_FIRST_MS << min(failures - 1, 20))
    return round(full * (1 - random() / 2))


class Sender:
    """See the module's docstring.

    Args:
        random: 0 to 1, for the spread of pauses.
        recorder: Takes the attempts of traced notifications.
    """

    def __init__(
        self,
        catalog: AsyncCatalog,
        way: Way,
        *,
        clock: Clock,
        random: Callable[[], float],
        recorder: Recorder | None = None,
    ) -> None:
        self._recorder = recorder or Recorder()
        self._catalog = catalog
        self._way = way
        self._clock = clock
        self._random = random
        self._slots = trio.CapacityLimiter(NOTIFICATION_SENDING_COUNT_MAX)
        self._serving: set[str] = set()
        self._failures: dict[str, int] = {}
        self._pause_until_mono_ms: dict[str, int] = {}
        self._wake = trio.Event()
        self._attempts: Counter[tuple[str, str]] = Counter()
        self._given_up: Counter[str] = Counter()

    def wake(self) -> None:
        """There may be something to send."""
        self._wake.set()

    def forget_pause(self, target_id: str) -> None:
        """A target was changed or answers again: ask it at once."""
        self._failures.pop(target_id, None)
        self._pause_until_mono_ms.pop(target_id, None)
        self.wake()

    def statistics(self) -> SenderStatistics:
        now_mono_ms = self._clock.mono_ms()
        return SenderStatistics(
            attempts=dict(self._attempts),
            given_up=dict(self._given_up),
            sending=len(self._serving),
            pausing=sum(until > now_mono_ms for until in self._pause_until_mono_ms.values()),
        )

    async def run(self) -> None:
        """Send what waits. Runs until cancelled."""
        now_ms = self._clock.now_ms()
        await self._write(lambda catalog: catalog.resume_notifications(now_ms))
        async with trio.open_nursery() as nursery:
            while True:
                self._wake = trio.Event()
                wait_s = await self._start_targets(nursery)
                # Not for ever: a clock that was set makes things due.
                with trio.move_on_after(wait_s):
                    await self._wake.wait()
                await trio.sleep(_GATHER_S)

    async def _start_targets(self, nursery: trio.Nursery) -> float:
        """Serve targets that are due; returns how long to wait for others, seconds."""
        now_ms, now_mono_ms = self._clock.now_ms(), self._clock.mono_ms()
        try:
            due, next_at_ms = await self._catalog.read(lambda reader: reader.targets_to_serve(now_ms))
        except (Unavailable, StorageError) as error:
            _log.warning("what is to be sent can't be read; tried again", reason=str(error))
            return _CATALOG_RETRY_S
        waits_ms = [NOTIFICATION_LOOK_INTERVAL_S * 1000]
        if next_at_ms is not None:
            waits_ms.append(next_at_ms - now_ms)
        for target_id in due:
            pause_ms = self._pause_until_mono_ms.get(target_id, now_mono_ms) - now_mono_ms
            if pause_ms > 0:
                waits_ms.append(pause_ms)
            elif target_id not in self._serving:
                self._serving.add(target_id)
                nursery.start_soon(self._serve, target_id)
        return max(0, min(waits_ms)) / 1000

    async def _serve(self, target_id: str) -> None:
        """Send what waits for a target, until nothing does, it fails, or others wait for its place."""
        try:
            async with self._slots:
                ended: _Ended | None = None
                for left in reversed(range(_AT_A_TIME_COUNT)):
                    begun, target = await self._write(partial(self._step, target_id, ended))
                    if begun is None:
                        return
                    ended = await self._attempt(target, begun)
                    if target_id in self._pause_until_mono_ms or not left:
                        break
                if ended is not None:
                    last = ended
                    await self._write(lambda catalog: _end(catalog, last))
        except Exception as error:  # noqa: BLE001 - see tests/test_tidy.py
            # Nothing can be made of the target or of its row: it waits, all others are served.
            _log.error("a target that can't be served", target=target_id, exc_info=error)
            self._pause(target_id)
        finally:
            self._serving.discard(target_id)
            self.wake()

    def _step(
        self, target_id: str, ended: _Ended | None, catalog: Catalog
    ) -> tuple[Notification | None, NotificationTarget | None]:
        """In one transaction: leave the one before as it ended, begin the next."""
        if ended is not None:
            _end(catalog, ended)
        try:
            target = catalog.find_target(target_id)
        except UsageError:
            target = None
        return catalog.begin_next_notification(target_id, self._clock.now_ms()), target

    async def _attempt(self, target: NotificationTarget | None, notification: Notification) -> _Ended:
        """One attempt, and what is to become of the row."""
        if target is None or not target.is_enabled:
            return _Ended(notification_id=notification.notification_id, state="withdrawn", outcome=GONE)
        with logs.trace(notification.trace_id) if notification.trace_id else nullcontext():
            return await self._attempt_at(target, notification)

    async def _attempt_at(self, target: NotificationTarget, notification: Notification) -> _Ended:
        sent = await self._send(target, notification)
        if sent.is_sent:
            was_failing = self._failures.pop(target.target_id, 0) > 0
            self._pause_until_mono_ms.pop(target.target_id, None)
            return _Ended(
                notification_id=notification.notification_id,
                state="sent",
                outcome=sent.words,
                hurry=was_failing,
            )
        return self._failed(target, notification, sent)

    def _failed(self, target: NotificationTarget, notification: Notification, sent: Sent) -> _Ended:
        now_ms = self._clock.now_ms()
        if not sent.is_answer:
            self._pause(target.target_id)
        _log.info(
            "a notification was not taken",
            target=target.name,
            notification=notification.notification_id,
            attempt=notification.attempts,
            reason=sent.words,
        )
        is_late = now_ms - notification.created_at_ms >= NOTIFICATION_GIVE_UP_MS
        if is_late and notification.attempts >= _GIVE_UP_ATTEMPT_COUNT:
            self._given_up[target.kind] += 1
            return _Ended(notification_id=notification.notification_id, state="given_up", error=sent.words)
        pause_ms = retry_ms(notification.attempts, self._random)
        if sent.retry_after_s is not None:
            pause_ms = max(pause_ms, min(sent.retry_after_s * 1000, NOTIFICATION_RETRY_MS_MAX))
        return _Ended(
            notification_id=notification.notification_id,
            state="waiting",
            error=sent.words,
            next_at_ms=now_ms + pause_ms,
        )

    def _pause(self, target_id: str) -> None:
        """Leave a target alone for a while, longer with each failure in a row."""
        failures = self._failures[target_id] = self._failures.get(target_id, 0) + 1
        self._pause_until_mono_ms[target_id] = self._clock.mono_ms() + retry_ms(failures, self._random)

    async def try_now(self, target: NotificationTarget, new: NewNotification, *, by: Act) -> Notification:
        """Send one at once, whatever else waits, and only once; returns the row with its outcome.

        Raises:
            Unavailable, StorageError: the catalog can't be written.
        """
        begun = await self._catalog.write(lambda catalog: catalog.begin_notification(new), by=by)
        sent = await self._send(target, begun)
        if sent.is_sent:
            self.forget_pause(target.target_id)
        ended = _Ended(
            notification_id=new.key,
            state="sent" if sent.is_sent else "given_up",
            outcome=sent.words if sent.is_sent else "",
            error="" if sent.is_sent else sent.words,
        )
        await self._write(lambda catalog: _end(catalog, ended))
        return await self._catalog.read(lambda reader: reader.get_notification(new.key))

    async def _send(self, target: NotificationTarget, notification: Notification) -> Sent:
        sent = Sent(is_sent=False, words=f"No answer within {NOTIFICATION_ATTEMPT_TIMEOUT_S} s.")
        began_us = wall_us()
        with trio.move_on_after(NOTIFICATION_ATTEMPT_TIMEOUT_S):
            try:
                sent = await self._way.send(target, notification)
            except Exception as error:  # noqa: BLE001 - see tests/test_tidy.py
                # As one that was refused: it is tried again and given up some day, and others go on.
                _log.error(
                    "a notification that can't be sent",
                    target=target.name,
                    notification=notification.notification_id,
                    exc_info=error,
                )
                words = line(f"A defect of Homeport: {type(error).__name__}: {error}.")
                sent = Sent(is_sent=False, words=words, is_answer=True)
        self._attempts[target.kind, "sent" if sent.is_sent else "failed"] += 1
        if notification.trace_id:
            self._trace(target, notification, sent, began_us)
        return sent

    def _trace(
        self, target: NotificationTarget, notification: Notification, sent: Sent, began_us: int
    ) -> None:
        trace_id, notification_id = notification.trace_id, notification.notification_id
        self._recorder.record(
            alarm_context(trace_id, notification.alarm_id),
            f"notify {target.kind}",
            began_us,
            wall_us(),
            {
                "homeport.notification.id": notification_id,
                "homeport.notification.step": notification.step,
                "homeport.notification.target": target.name,
                "homeport.notification.attempt": notification.attempts,
                "homeport.alarm.id": notification.alarm_id,
            },
            kind=SpanKind.CLIENT,
            span_id=notification_context(trace_id, notification_id, notification.attempts).span_id,
            error="" if sent.is_sent else sent.words,
        )

    async def _write(self, fn: Callable[[Catalog], T]) -> T:
        """Write until it is on disk: an outcome that is not would be sent again."""
        while True:
            try:
                return await self._catalog.write(fn, by=SEND_ACT)
            except (Unavailable, StorageError) as error:
                _log.warning("what was sent can't be written down; tried again", reason=str(error))
                await trio.sleep(_CATALOG_RETRY_S)


def _end(catalog: Catalog, ended: _Ended) -> None:
    catalog.end_notification(
        ended.notification_id,
        ended.state,
        outcome=ended.outcome,
        error=ended.error,
        next_at_ms=ended.next_at_ms,
    )
    if ended.hurry:
        row = catalog.get_notification(ended.notification_id)
        catalog.hurry_notifications(row.target_id, row.sent_at_ms or row.next_at_ms)
