"""Commands from their being sent to their end: said once to a device that listens, ended when their time is up.

A command is marked as sent in the catalog, and only then said. What the broker knows that nobody got is put back; when the broker can't
say, it stays sent. So a node that dies at any moment says no command twice: the worst is one that was marked and never said, which is
unanswered at its deadline. Each device's commands are said in the order in which they were given.

Must not know: the broker, SQL, pages.
"""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

import trio

from appliance.core import logs
from appliance.core.clock import Clock
from appliance.core.errors import Conflict, HomeportError, LimitExceeded, StorageError, Unavailable
from appliance.core.ids import RandomBytes
from appliance.core.limits_twins import (
    COMMAND_BATCH_COUNT_MAX,
    COMMAND_DEAF_DEVICE_COUNT_MAX,
    COMMAND_DEAF_TRY_COUNT_MAX,
    COMMAND_DEAF_TRY_WINDOW_S,
    COMMAND_KEPT_MS,
    COMMAND_PRUNE_INTERVAL_MS,
    COMMAND_PUSH_COUNT_MAX,
    COMMAND_WAIT_COUNT_MAX,
    COMMAND_WAIT_S_MAX,
)
from appliance.core.token_bucket import BucketTable, Quota
from appliance.management.audit import SYSTEM, Act
from appliance.management.commands import ENDED, CommandState, CommandWish, decode_answer, message
from appliance.management.twin_json import encode
from appliance.twins.listening import Heard, Listening, beginning
from appliance.twins.writer import BatchWriter
from storage.catalog import AsyncCatalog, Catalog, Change
from storage.catalog.commands import Command

_BY: Final = Act(action="command.move", actor=SYSTEM)
"""Commands keep their own history of what becomes of them (storage/catalog/auditing.py)."""
_ID_BYTES: Final = 10
RETRY_MS: Final = 1_000
"""After the catalog or the broker could not be asked."""
LOOK_INTERVAL_MS: Final = 60_000
"""At most between two looks at the deadlines: the wall clock may have been set meanwhile."""

_log = logs.get(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandStatistics:
    """Since the start.

    Attributes:
        waiting_requests: That wait for an answer now.
        sent_total: Commands that were said. answered_total: Of them, those with an answer in time. late_total: With one that was late.
        put_back_total: Marked as sent, and put back because nobody got them. ended_total: By the clock, or with their device.
    """

    waiting_requests: int
    sent_total: int
    answered_total: int
    late_total: int
    put_back_total: int
    ended_total: int


@dataclass(slots=True, eq=False)
class _Held:
    """What those wait for who wait for a device's commands, and how many hold it."""

    changed: trio.Event = field(default_factory=trio.Event)
    by_count: int = 0


class CommandDesk:
    """See the module's docstring. Used from one event loop; nothing is said or ended but while `run` runs."""

    def __init__(
        self,
        catalog: AsyncCatalog,
        writer: BatchWriter,
        listening: Listening,
        *,
        clock: Clock,
        random_bytes: RandomBytes = secrets.token_bytes,
    ) -> None:
        self._catalog = catalog
        self._writer = writer
        self._listening = listening
        self._clock = clock
        self._random_bytes = random_bytes
        self._due: dict[str, None] = {}
        """Devices to which something may be due."""
        self._again: dict[str, None] = {}
        """Those that could not be told just now."""
        self._tries = BucketTable(
            Quota("command-tries", COMMAND_DEAF_TRY_COUNT_MAX, COMMAND_DEAF_TRY_WINDOW_S),
            count_max=COMMAND_DEAF_DEVICE_COUNT_MAX,
        )
        """Of devices that listen, and not for commands."""
        self._unheard: list[str] = []
        """Commands that nobody got, until that is written."""
        self._wake = trio.Event()
        self._waiting: dict[str, _Held] = {}
        self._waiting_count = 0
        self._is_released = False
        self._look_at_mono_ms = 0
        self._prune_at_mono_ms = 0
        self.tidies_by = clock.now_ms  # as of AlarmDesk
        self._commanded: set[str] = set()
        """Devices that were sent something since the last removal of old commands."""
        self._is_device_gone = True
        self._sent = 0
        self._answered = 0
        self._late = 0
        self._put_back = 0
        self._ended = 0
        self._subscribers: list[Callable[[Sequence[str]], None]] = []

    # --- for the API and the pages ----------------------------------------------------------------------------

    def new_id(self) -> str:
        """An id for a command: 80 random bits."""
        return self._random_bytes(_ID_BYTES).hex()

    def add(self, catalog: Catalog, device_id: str, wish: CommandWish, *, created_by: str) -> Command:
        """Queue a command, in the transaction of whoever sends it; `look` once that is committed.

        Raises:
            Conflict: `device_away`: nobody listens, and it is not to wait. And as CommandTable.add_command.
        """
        wish.check()
        command = catalog.add_command(self.new_id(), device_id, wish, created_by=created_by)
        if wish.when_away == "refuse" and device_id not in self._listening:
            raise Conflict(
                f"The device “{device_id}” is not listening for commands now.",
                hint="Send it later, or have it queued until it expires (when_away: queue).",
                code="device_away",
            )
        return command

    def look(self, device_ids: Sequence[str]) -> None:
        """Commands were queued for these devices, or taken back: say them if they listen, and set the clock anew."""
        self._commanded.update(device_ids)
        for device_id in device_ids:
            if device_id in self._listening:
                self._due[device_id] = None
        self._look_at_mono_ms = 0
        self._wake.set()
        self._tell(device_ids)

    async def wait(self, device_id: str, command_id: str, *, wait_s: float) -> Command:
        """The command, as soon as it has ended, or how it stands after so many seconds (COMMAND_WAIT_S_MAX at most).

        Raises:
            NotFound: `command_unknown`. Unavailable: the catalog is busy.
        """
        with trio.move_on_after(min(wait_s, COMMAND_WAIT_S_MAX)):
            while True:
                # Held before it is read: what changes meanwhile sets it.
                with self._change_of(device_id) as changed:
                    command = await self._read(device_id, command_id)
                    is_full = self._waiting_count >= COMMAND_WAIT_COUNT_MAX
                    if command.state in ENDED or self._is_released or is_full:
                        return command
                    self._waiting_count += 1
                    try:
                        await changed.wait()
                    finally:
                        self._waiting_count -= 1
        return await self._read(device_id, command_id)

    @contextmanager
    def _change_of(self, device_id: str) -> Iterator[trio.Event]:
        """What is set by the next change of a device's commands; kept for as long as anybody holds it."""
        held = self._waiting.setdefault(device_id, _Held())
        held.by_count += 1
        try:
            yield held.changed
        finally:
            held.by_count -= 1
            if not held.by_count and self._waiting.get(device_id) is held:
                del self._waiting[device_id]

    def release(self) -> None:
        """Have nobody wait any more: the node stops."""
        self._is_released = True
        self._tell(list(self._waiting))

    def subscribe(self, subscriber: Callable[[Sequence[str]], None]) -> Callable[[], None]:
        """Be told of the devices whose commands have changed; returns how to end it. It must be quick and not raise."""
        self._subscribers.append(subscriber)
        return lambda: self._subscribers.remove(subscriber)

    # --- for devices ------------------------------------------------------------------------------------------

    async def answered(self, device_id: str, command_id: str, payload: bytes) -> bytes:
        """Keep a device's answer to a command, and say how the command stands: `{state, late}`.

        Raises:
            UsageError: `command_answer_invalid`, `json_invalid`. NotFound: `command_unknown`. Conflict: `command_not_sent`.
        """
        answer = decode_answer(payload)

        def write(catalog: Catalog) -> tuple[bool, Command]:
            is_first = catalog.get_command(device_id, command_id).answered_at_ms is None
            return is_first, catalog.answer_command(device_id, command_id, answer)

        is_first, command = await self._writer.write(write)
        if is_first:
            self._late += command.is_late
            self._answered += not command.is_late
        self._tell([device_id])
        return encode({"state": str(command.state), "late": command.is_late})

    # --- the engine -------------------------------------------------------------------------------------------

    def note(self, events: Sequence[Heard]) -> None:
        """Hear of who begins to listen (Listeners.subscribe)."""
        for device_id in beginning(events):
            self._due[device_id] = None
        for event in events:
            if event.what == "gone":
                self._due.pop(event.principal, None)
        self._wake.set()

    async def run(self) -> None:
        """Say what is due and end what is overdue. Runs until cancelled."""
        ends = (self._listening.subscribe(self.note), self._catalog.subscribe(self._note_changes))
        try:
            while True:
                self._wake = trio.Event()
                try:
                    await self._say_due()
                    await self._keep_time()
                    pause_ms = max(0, self._look_at_mono_ms - self._clock.mono_ms())
                except (Unavailable, StorageError) as error:
                    _log.warning("commands have to wait", reason=error.message)
                    pause_ms = RETRY_MS
                with trio.move_on_after((min(pause_ms, RETRY_MS) if self._again else pause_ms) / 1000):
                    await self._wake.wait()
        finally:
            for end in ends:
                end()

    def _note_changes(self, changes: Sequence[Change]) -> None:
        if any(change.table == "devices" for change in changes):
            self._is_device_gone = True
            self._look_at_mono_ms = 0
            self._wake.set()

    async def _say_due(self) -> None:
        self._due |= {each: None for each in self._again if each in self._listening}
        self._again.clear()
        await self._put_back_unheard()
        while self._due:
            # What is queued while the catalog is read makes its device due again.
            taken = {each: self._due.pop(each) for each in list(self._due)[:COMMAND_BATCH_COUNT_MAX]}
            commands = None
            try:
                commands = await self._marked_as_sent([each for each in taken if self._may_try(each)])
            finally:
                if commands is None or len(commands) >= COMMAND_BATCH_COUNT_MAX:
                    self._due |= {each: None for each in taken if each in self._listening}
            await self._say(commands)

    def _may_try(self, device_id: str) -> bool:
        """Whether something may be marked for a device; one that took nothing some times has to wait, and is looked at again."""
        if not self._tries.bucket(device_id, self._clock.mono_ms()).wait_ms(self._clock.mono_ms()):
            return True
        self._again[device_id] = None
        return False

    async def _marked_as_sent(self, device_ids: Sequence[str]) -> list[Command]:
        if not device_ids or not await self._catalog.read(
            lambda reader: reader.has_queued_commands(device_ids), pool="devices"
        ):
            return []
        return await self._catalog.write(
            lambda catalog: catalog.send_due_commands(device_ids, limit=COMMAND_BATCH_COUNT_MAX), by=_BY
        )

    async def _say(self, commands: Sequence[Command]) -> None:
        """Say commands that are marked as sent, each device's in their order; put back what nobody got."""
        by_device: dict[str, list[Command]] = {}
        for command in commands:
            by_device.setdefault(command.device_id, []).append(command)
        left = deque(by_device.values())
        async with trio.open_nursery() as nursery:
            for _ in range(min(len(left), COMMAND_PUSH_COUNT_MAX)):
                nursery.start_soon(self._say_some, left)
        if by_device:
            self._look_at_mono_ms = 0
            self._tell(list(by_device))
        await self._put_back_unheard()

    async def _say_some(self, left: deque[list[Command]]) -> None:
        while left:
            commands = deque(left.popleft())
            while commands and await self._is_said(commands[0]):
                self._sent += 1
                commands.popleft()
            if commands and commands[0].device_id not in self._again:
                self._tries.bucket(commands[0].device_id, self._clock.mono_ms()).take()
            # Behind one that nobody got nothing is said: the order stays.
            self._unheard += [command.command_id for command in commands]

    async def _put_back_unheard(self) -> None:
        unheard = tuple(self._unheard)
        if unheard:
            await self._catalog.write(lambda catalog: catalog.put_back_commands(unheard), by=_BY)
            del self._unheard[: len(unheard)]
            self._put_back += len(unheard)

    async def _is_said(self, command: Command) -> bool:
        """Say it; False where it is certain that nobody got it."""
        payload = message(method=command.method, params=command.params, expires_at_ms=command.expires_at_ms)
        try:
            return await self._listening.push(command.device_id, [(f"cmd/{command.command_id}", payload)]) > 0
        except LimitExceeded as error:
            _log.warning("a command can't be said now", device=command.device_id, reason=error.message)
            self._again[command.device_id] = None
            return False
        except HomeportError as error:
            _log.warning(
                "whether a command was said is not known", device=command.device_id, reason=error.message
            )
            return True

    async def _keep_time(self) -> None:
        if self._clock.mono_ms() < self._look_at_mono_ms:
            return
        while True:
            next_ms = await self._catalog.read(
                lambda reader: reader.next_command_deadline_ms(), pool="devices"
            )
            is_over = next_ms is not None and next_ms <= self._clock.now_ms()
            if not is_over and not self._is_device_gone:
                break
            self._is_device_gone = False
            ended = await self._catalog.write(
                lambda catalog: catalog.end_overdue_commands(limit=COMMAND_BATCH_COUNT_MAX), by=_BY
            )
            self._is_device_gone |= len(ended) >= COMMAND_BATCH_COUNT_MAX
            self._ended += len(ended)
            self._tell(ended)
        left_ms = LOOK_INTERVAL_MS if next_ms is None else next_ms - self._clock.now_ms()
        self._look_at_mono_ms = self._clock.mono_ms() + min(LOOK_INTERVAL_MS, max(1, left_ms))
        await self._remove_old()

    async def _remove_old(self) -> None:
        """Once an hour, and until there is no more: what is old, and what is too much of devices that were sent some since."""
        now_mono_ms = self._clock.mono_ms()
        if now_mono_ms < self._prune_at_mono_ms:
            return
        device_ids = list(self._commanded)[:COMMAND_BATCH_COUNT_MAX]
        removed = await self._catalog.write(
            lambda catalog: catalog.remove_old_commands(
                device_ids, before_ms=self.tidies_by() - COMMAND_KEPT_MS, limit=COMMAND_BATCH_COUNT_MAX
            ),
            by=_BY,
        )
        if removed < COMMAND_BATCH_COUNT_MAX:
            self._commanded.difference_update(device_ids)
            if not self._commanded:
                self._prune_at_mono_ms = now_mono_ms + COMMAND_PRUNE_INTERVAL_MS

    async def _read(self, device_id: str, command_id: str) -> Command:
        return await self._catalog.read(lambda reader: reader.get_command(device_id, command_id))

    def _tell(self, device_ids: Sequence[str]) -> None:
        """Have those hear of it who wait for commands of these devices."""
        for device_id in set(device_ids):
            held = self._waiting.pop(device_id, None)
            if held is not None:
                held.changed.set()
        if device_ids:
            for subscriber in tuple(self._subscribers):
                subscriber(device_ids)

    async def counts(self) -> dict[CommandState, int]:
        """How many commands are kept in each state."""
        return await self._catalog.read(lambda reader: reader.count_commands())

    def statistics(self) -> CommandStatistics:
        return CommandStatistics(
            waiting_requests=self._waiting_count,
            sent_total=self._sent,
            answered_total=self._answered,
            late_total=self._late,
            put_back_total=self._put_back,
            ended_total=self._ended,
        )
