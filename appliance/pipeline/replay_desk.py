"""Reading dead letters again: asked for in the catalog, done by the pipeline's thread in parts, at positions of the log.

Theory of operation. A part is one transaction of the store: letters go, rows come, what is still dead stays with its new reason, and the part
itself is written down. The catalog is told afterwards. So a process that is killed anywhere goes on where it was: the store knows
which parts are done. A store that was begun anew does not: it stops at each position where a part was done, and the same letters
are read again by the mappings that held there, before it reads on. Doing a part twice changes nothing: its letters are gone, or as dead as before.

A new replay begins when the newest mappings hold where the cursor stands, and no backlog is being worked off.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import trio

from appliance.core import logs
from appliance.core.errors import HomeportError
from appliance.core.limits import REPLAY_PART_BYTES_MAX, REPLAY_PART_LETTER_COUNT_MAX
from appliance.management.audit import Act
from appliance.management.mapping import TopicRouter
from appliance.pipeline.directory import DeviceDirectory
from appliance.pipeline.kept_messages import KeptMessage, KeptMessages
from appliance.pipeline.mapping_sets import MappingSets
from appliance.pipeline.reading import Reading
from storage.catalog import AsyncCatalog
from storage.catalog.database import Change
from storage.catalog.replays import PartDone, Replay
from storage.telemetry.batch import DeadLetter
from storage.telemetry.letters import NOT_REPLAYED, LetterFilter, Position, ReplayPart, letters, parts
from storage.telemetry.replaying import asking
from storage.telemetry.store import TelemetryStore

POLL_S: Final = 1.0
"""How soon a store that has come to a part's place is noticed."""
_BEFORE_ANY: Final = (-1, 0)
_BY_NODE: Final = Act(action="dead_letters.replayed")

_log = logs.get(__name__)


class ReplayPipeline(Protocol):
    """What is asked of the pipeline."""

    async def replay(
        self, messages: Sequence[KeptMessage], known: Collection[str], part: ReplayPart
    ) -> ReplayPart:
        """See Pipeline.replay."""

    @property
    def reading(self) -> Reading:
        """Where the store is: its position, and whether there is a backlog."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayStatistics:
    """Since the process began. `waiting`: replays that are not done."""

    waiting: int
    parts_total: int
    letters_total: int
    messages_total: int


class ReplayDesk:
    """Carries out replays; `prepare` it before the pipeline runs, then `run` it, once. From the event loop.

    Args:
        kept: Of the log, for this desk alone.
    """

    def __init__(
        self,
        *,
        catalog: AsyncCatalog,
        pipeline: ReplayPipeline,
        store: TelemetryStore,
        sets: MappingSets,
        directory: DeviceDirectory,
        kept: KeptMessages,
        poll_s: float = POLL_S,
    ) -> None:
        self._catalog = catalog
        self._pipeline = pipeline
        self._store = store
        self._sets = sets
        self._directory = directory
        self._kept = kept
        self._poll_s = poll_s
        self._limiter = trio.CapacityLimiter(1)
        self._asked = trio.Event()
        self._replays: tuple[Replay, ...] = ()
        self._is_stale = True
        self._parts_total = 0
        self._letters_total = 0
        self._messages_total = 0
        self._unsubscribe = catalog.subscribe(self._note)

    def _note(self, changes: tuple[Change, ...]) -> None:
        if any(change.table == "replays" for change in changes):
            self._is_stale = True
            self._asked.set()

    def statistics(self) -> ReplayStatistics:
        return ReplayStatistics(
            waiting=sum(replay.state == "requested" for replay in self._replays),
            parts_total=self._parts_total,
            letters_total=self._letters_total,
            messages_total=self._messages_total,
        )

    async def prepare(self) -> None:
        """Know where a rebuild must stop, now and whenever the store is opened anew. Raises StorageError, Unavailable."""
        await self._look()
        self._sets.when_loaded(self._stop)

    async def run(self) -> None:
        """Until cancelled. What can't be done now is tried again."""
        try:
            while True:
                try:
                    await self._turn()
                except HomeportError as error:
                    # The catalog, the store or the log are away: what is half done, the store knows.
                    _log.info("replays wait", reason=error.message)
                with trio.move_on_after(self._poll_s):
                    await self._asked.wait()
                self._asked = trio.Event()
        finally:
            self._unsubscribe()

    async def _look(self) -> None:
        if self._is_stale:
            self._is_stale = False
            try:
                self._replays = tuple(await self._catalog.read(lambda c: c.replays_of_log(), pool="pipeline"))
            except HomeportError:
                self._is_stale = True
                raise

    async def _turn(self) -> None:
        await self._look()
        position = self._pipeline.reading.position
        if not self._replays or position is None:
            return
        again = self._stop(await self._done())
        for part in again:
            if part.at_seq == position[1]:
                await self._do(part)
        if any(part.at_seq >= position[1] for part in again):
            return
        for replay in self._replays:
            if replay.state == "requested":
                await self._carry_on(replay)

    def _stop(self, done: Sequence[ReplayPart]) -> list[ReplayPart]:
        """Have reading stop where parts must be done again; gives these parts, the earliest first. From any thread."""
        known = {(part.replay_id, part.number) for part in done}
        head_seq = self._pipeline.reading.head_seq
        again = [
            ReplayPart(
                replay_id=replay.replay_id,
                number=number,
                epoch=part.epoch,
                at_seq=part.at_seq,
                after=part.after,
                through=part.through,
            )
            for replay in self._replays
            for number, part in enumerate(replay.parts, start=1)
            # What lies behind the head is of a log that is gone.
            if (replay.replay_id, number) not in known and part.at_seq <= head_seq
        ]
        again.sort(key=lambda part: (part.at_seq, part.replay_id, part.number))
        self._sets.stop_at([part.at_seq for part in again])
        return again

    async def _do(self, part: ReplayPart) -> None:
        """A part once more, where it was done first."""
        replay = next(each for each in self._replays if each.replay_id == part.replay_id)
        found = await self._letters(replay, part.after, part.through)
        await self._read_again(found, part)
        self._stop(await self._done())

    async def _carry_on(self, replay: Replay) -> None:
        """Parts of a replay until it is done, or must wait."""
        mine = await self._done(replay.replay_id)
        if len(mine) > len(replay.parts):
            await self._tell(replay, mine, is_done=False)
        while True:
            position = self._pipeline.reading.position
            if (
                position is None
                or self._pipeline.reading.behind is not None
                or position[1] < self._sets.newest.from_seq
            ):
                return
            after = mine[-1].through if mine else _BEFORE_ANY
            found = _bounded(await self._letters(replay, after, (replay.epoch, replay.at_seq - 1)))
            if not found:
                await self._tell(replay, mine, is_done=True)
                return
            part = ReplayPart(
                replay_id=replay.replay_id,
                number=len(mine) + 1,
                epoch=0,
                at_seq=0,
                after=after,
                through=(found[-1].epoch, found[-1].seq),
            )
            mine.append(await self._read_again(found, part))
            await self._tell(replay, mine, is_done=False)

    async def _read_again(self, found: Sequence[DeadLetter], part: ReplayPart) -> ReplayPart:
        """Have the pipeline do a part.

        Raises:
            Unavailable: not now, or not here. StorageError: the store failed.
        """
        messages = await trio.to_thread.run_sync(self._messages, found, limiter=self._limiter)
        position = (part.epoch, part.at_seq) if part.at_seq else self._sets.newest.position
        router = TopicRouter(self._sets.set_at(*position).mappings, defaults=())
        devices = sorted({router.route(message.topic).device for message in messages} - {""})
        known = set(await self._directory.known(devices))
        strangers = [device for device in devices if device not in known]
        if strangers:
            known.update(await self._directory.first_contact(strangers))
        asked = ReplayPart(
            replay_id=part.replay_id,
            number=part.number,
            epoch=part.epoch,
            at_seq=part.at_seq,
            after=part.after,
            through=part.through,
            letters=len(found),
        )
        done = await self._pipeline.replay(messages, known, asked)
        self._parts_total += 1
        self._letters_total += done.letters
        self._messages_total += done.messages
        return done

    def _messages(self, found: Sequence[DeadLetter]) -> list[KeptMessage]:
        """The letters' messages, whole, in the order of the log; those that nobody has whole any more are left out."""
        logged = self._kept.at((letter.epoch, letter.seq) for letter in found)
        messages = []
        for letter in found:
            message = logged.get((letter.epoch, letter.seq))
            payload = letter.payload if message is None else message.payload
            if payload is None or len(payload) != letter.payload_bytes:
                continue
            messages.append(
                KeptMessage(
                    epoch=letter.epoch,
                    seq=letter.seq,
                    received_at_ms=letter.received_at_ms,
                    topic=letter.topic.encode(),
                    payload=payload,
                    client_id=letter.client_id,
                    principal=letter.device if message is None else message.principal,
                    boot_id=letter.boot_id,
                    is_noted=letter.is_noted,
                )
            )
        return messages

    async def _letters(self, replay: Replay, after: Position, through: Position) -> list[DeadLetter]:
        wanted = LetterFilter(reason=replay.reason, pattern=replay.pattern, device=replay.device_id)

        def read() -> list[DeadLetter]:
            with asking(self._store) as connection:
                return letters(
                    connection,
                    wanted,
                    after=after,
                    through=through,
                    limit=REPLAY_PART_LETTER_COUNT_MAX,
                    without=NOT_REPLAYED,
                )

        return await trio.to_thread.run_sync(read, limiter=self._limiter)

    async def _done(self, replay_id: str | None = None) -> list[ReplayPart]:
        def read() -> list[ReplayPart]:
            with asking(self._store) as connection:
                return parts(connection, replay_id)

        return await trio.to_thread.run_sync(read, limiter=self._limiter)

    async def _tell(self, replay: Replay, mine: Sequence[ReplayPart], *, is_done: bool) -> None:
        """Write into the catalog how far a replay is."""
        written = [
            PartDone(epoch=part.epoch, at_seq=part.at_seq, after=part.after, through=part.through)
            for part in mine
        ]
        await self._catalog.write(
            lambda catalog: catalog.note_replay(
                replay.replay_id,
                parts=written,
                letters=sum(part.letters for part in mine),
                messages=sum(part.messages for part in mine),
                rows=sum(part.rows for part in mine),
                still_dead=sum(part.still_dead for part in mine),
                state="done" if is_done else "requested",
            ),
            by=_BY_NODE,
        )
        await self._look()


def _bounded(found: Sequence[DeadLetter]) -> list[DeadLetter]:
    """As many of the first letters as one part may hold, by the size of their messages; at least one."""
    size = 0
    for count, letter in enumerate(found):
        size += letter.payload_bytes
        if size > REPLAY_PART_BYTES_MAX:
            return list(found[: max(1, count)])
    return list(found)
