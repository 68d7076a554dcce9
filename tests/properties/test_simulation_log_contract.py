"""The simulation's log and copy answer as the real ones do: both live through the same history, and every answer is compared.

Frames have other hashes in the two, so those are translated: by whoever wrote them, one after the other.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
from hypothesis import example, given, settings
from hypothesis import strategies as st

from appliance.core.clock import ManualClock
from appliance.core.limits import PAGE_BYTES
from replication.disk_work import Reading, Writing
from replication.effects import Append, NotThere, PackedChunk, Place, Read, Refused
from replication.messages import Wanted
from replication.packing import unpack as unpack_real
from replication.simulation.frames import ZERO_HASH, genesis, unpack
from replication.simulation.log_appending import append
from replication.simulation.log_model import SEGMENT_FRAME_COUNT, LogModel
from replication.simulation.log_reading import read
from storage.log.layout import genesis_hash
from storage.log.new_epoch import ask
from storage.log.writer import LogWriter
from storage.replicas.room import ReplicaRoom
from storage.replicas.streams import StreamHead, StreamId
from tests.storage_log_kit import NODE_ID, STREAM, QuickDisk, open_writer

ORIGIN = StreamId(NODE_ID.hex(), "telemetry")
ASIDE = StreamId(NODE_ID.hex(), "telemetry", "0badcafe")
BODY = b"b" * 40
FRAME_BYTES = len(BODY) + 160
SEGMENT_BYTES = PAGE_BYTES * (1 + SEGMENT_FRAME_COUNT)
WANTED: tuple[Wanted, ...] = ("frames", "frames", "frames", "segment", "footer")
SMALL = st.integers(0, 40)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), SMALL, SMALL, SMALL, SMALL),
        st.tuples(st.just("epoch"), SMALL, SMALL, SMALL, SMALL),
        st.tuples(st.just("clone"), SMALL, SMALL, SMALL, SMALL),
        st.tuples(st.sampled_from(["carry", "carry", "follow", "ask", "begin"]), SMALL, SMALL, SMALL, SMALL),
        st.tuples(st.sampled_from(["drop", "reopen", "aside"]), SMALL, SMALL, SMALL, SMALL),
    ),
    max_size=40,
)


class Holder:
    """A writer or a copier of one stream, twice: real files and models, by the real names."""

    def __init__(self, root: Path, *, is_writer: bool) -> None:
        self.root = root
        self.is_writer = is_writer
        self.logs: dict[StreamId, LogModel] = {}
        self.writer: LogWriter | None = None
        self.open()
        if is_writer:
            self.logs[ORIGIN] = LogModel(ORIGIN, is_own=True)
            self.logs[ORIGIN].begin_epoch(1)

    def open(self) -> None:
        if self.is_writer:
            self.writer = open_writer(self.root, segment_bytes=SEGMENT_BYTES)
            assert self.writer.wait_idle(10)
        else:
            self.room = ReplicaRoom(self.root, clock=ManualClock(), disk=QuickDisk())
            self.writing = Writing(self.room)
        self.reading = Reading(self.directory, disk=QuickDisk())

    def directory(self, stream: StreamId) -> Path:
        return self.root if self.is_writer else self.room.directory(stream)

    def close(self) -> None:
        self.reading.close()
        if self.writer is not None:
            self.writer.close()
        else:
            self.room.close()


class Pair:
    """Two writers of one stream, the second a copy of the first's disk, and two nodes that hold copies."""

    def __init__(self, root: Path) -> None:
        self.root = root
        first = genesis_hash(NODE_ID, STREAM)
        self.real: dict[bytes, bytes] = {ZERO_HASH: ZERO_HASH, b"": b"", genesis(ORIGIN): first}
        self.places = [Place(epoch=1, next_seq=1, hash=genesis(ORIGIN))]
        self.writers = [Holder(root / "w0", is_writer=True)]
        self.copies = [Holder(root / f"c{number}", is_writer=False) for number in range(2)]
        self.epoch = 1
        self.frame_total = 0
        self.is_over = False

    @property
    def holders(self) -> list[Holder]:
        return [*self.writers, *self.copies]

    # --- What happens -----------------------------------------------------------------------------------------

    def write(self, who: int, count: int, *_: int) -> None:
        holder = self.writers[who % len(self.writers)]
        log, writer = holder.logs[ORIGIN], holder.writer
        assert writer is not None
        for _each in range(1 + count % 11):
            self.frame_total += 1
            frame = log.make_frame(1 + count % 3, self.frame_total, BODY[:-8] + b"%8d" % self.frame_total)
            log.write(frame)
            log.sync()
            head = writer.append(frame.body, 1 + count % 3, frame.at_ms, frame.at_ms)
            self.real[frame.hash] = head.hash
            self.places.append(log.end)
        assert writer.wait_idle(10)
        log.seal()

    def begin_epoch(self, who: int, *_: int) -> None:
        holder = self.writers[who % len(self.writers)]
        self.epoch += 1
        holder.close()
        ask(QuickDisk(), holder.root, at_least=self.epoch)
        holder.open()
        holder.logs[ORIGIN].begin_epoch(self.epoch)
        holder.logs[ORIGIN].seal()
        self.places.append(holder.logs[ORIGIN].end)

    def clone(self, *_: int) -> None:
        if len(self.writers) == 2:
            return
        first = self.writers[0]
        first.close()
        shutil.copytree(first.root, self.root / "w1")
        first.open()
        other = Holder(self.root / "w1", is_writer=True)
        other.logs[ORIGIN] = first.logs[ORIGIN].copy()
        self.writers.append(other)

    def drop(self, who: int, which: int, *_: int) -> None:
        holder = self.copies[who % 2]
        for stream, log in holder.logs.items():
            seq = self.places[which * 7 % len(self.places)].next_seq
            assert bool(holder.room.log(stream).drop_before(seq, "for_room")) == log.drop_before(seq)

    def reopen(self, who: int, *_: int) -> None:
        holder = self.copies[who % 2]
        holder.close()
        holder.open()
        for log in holder.logs.values():
            log.crash()

    def aside(self, who: int, *_: int) -> None:
        holder = self.copies[who % 2]
        log = holder.logs.get(ORIGIN)
        if log is None or not log.segments:
            return
        if branch_named(ORIGIN, self.real[log.end.hash]) in holder.logs:
            return
        branch = holder.room.set_aside(ORIGIN)
        assert branch is not None
        holder.reading.forget(ORIGIN)
        holder.reading.forget(branch)
        assert self.real[log.end.hash].hex()[:8] == branch.branch
        log.stream = branch_named(ORIGIN, log.end.hash)
        log.crash()
        holder.logs[branch] = holder.logs.pop(ORIGIN)

    def carry(self, source: int, target: int, which: int, wanted: int) -> None:
        """A copy asks somebody who has the stream for what comes at some place, and appends what it gets."""
        place = self.places[which * 7 % len(self.places)]
        self._carry(source, target, ORIGIN, place, WANTED[wanted % len(WANTED)], 1 + which % 9)

    def follow(self, source: int, target: int, which: int, wanted: int) -> None:
        """As it goes on as a rule: from the copy's own end, under one of its names; and the footer that it lacks next."""
        holder = self.copies[target % 2]
        names = [*holder.logs, ORIGIN]
        name = names[which % len(names)]
        log = holder.logs.get(name)
        end = log.end if log is not None and log.segments else Place(epoch=0, next_seq=1, hash=ZERO_HASH)
        self._carry(source, target, name, end, "frames", 1 + which % 9)
        if log is not None and wanted % 2:
            sealed_seq = log.head().sealed_seq
            self._carry(source, target, name, replace(end, next_seq=sealed_seq), "footer", 1)

    def begin(self, source: int, target: int, which: int, _: int) -> None:
        """A branch is begun with the segment that holds a place."""
        place = self.places[which * 7 % len(self.places)]
        self._carry(source, target, ASIDE, place, "segment", 1 + which % 9)

    def ask(self, source: int, which: int, epoch: int, wanted: int) -> None:
        place = replace(self.places[which * 7 % len(self.places)], epoch=epoch % (self.epoch + 2))
        self._read(source, place, WANTED[wanted % len(WANTED)], 1 + which % 9)

    # --- How it is compared -----------------------------------------------------------------------------------

    def _read(
        self, source: int, place: Place, wanted: Wanted, pages: int
    ) -> tuple[PackedChunk, PackedChunk] | None:
        holder = self.holders[source % len(self.holders)]
        names = [*holder.logs]
        stream = names[source % len(names)] if names else ORIGIN
        log = holder.logs.get(stream) or LogModel(stream)
        asked = replace(place, hash=self.real[place.hash])
        real = holder.reading.read(
            Read(number=1, stream=stream, place=asked, bytes_max=pages * PAGE_BYTES, wanted=wanted)
        )
        model = read(log, place, pages * FRAME_BYTES, wanted)
        if isinstance(real, NotThere) or isinstance(model, NotThere):
            assert isinstance(model, NotThere), (real, model)
            assert real == replace(model, hash=self.real[model.hash]), (real, model)
            return None
        self._same_chunk(real, model)
        return real, model

    def _same_chunk(self, real: PackedChunk, model: PackedChunk) -> None:
        chunk, piece = unpack_real(real), unpack(model)
        assert piece is not None
        assert (chunk.epoch, chunk.segment_first_seq) == piece.key
        assert (chunk.first_seq, chunk.next_seq) == (piece.first_seq, piece.next_seq)
        assert (chunk.prev_hash, chunk.hash) == (self.real[piece.prev_hash], self.real[piece.hash])
        assert chunk.last_at_ms == piece.last_at_ms
        assert len(chunk.frames) == PAGE_BYTES * len(piece.frames)
        assert (chunk.header_page is None) == (piece.begins is None)
        assert (chunk.footer is None) == (piece.footer is None)

    def _carry(
        self, source: int, target: int, name: StreamId, place: Place, wanted: Wanted, pages: int
    ) -> None:
        found = self._read(source, place, wanted, pages)
        if found is None:
            return
        holder = self.copies[target % 2]
        log = holder.logs.setdefault(name, LogModel(name))
        real = holder.writing.append(Append(number=1, chunk=replace(found[0], stream=name)))
        model, branch = append(
            log, replace(found[1], stream=name), {each.stream: each for each in holder.logs.values()}
        )
        if isinstance(real, StreamHead):
            assert isinstance(model, StreamHead), (real, model)
            self._same_head(real, model, log)
        else:
            assert isinstance(model, Refused), (real, model)
            self._same_refusal(real, model, log)
        if branch is not None:
            holder.logs[self._branch_name(branch)] = branch

    def _same_head(self, real: StreamHead, model: StreamHead, log: LogModel) -> None:
        if log.segments and log.segments[-1].at == len(log.frames):
            # Nothing is written yet in the newest segment: the newest time is the frame's before, or none.
            real = msgspec.structs.replace(real, last_at_ms=0)
            model = msgspec.structs.replace(model, last_at_ms=0)
        assert real == msgspec.structs.replace(model, hash=self.real[model.hash]), (real, model)

    def _same_refusal(self, real: Refused, model: Refused, log: LogModel) -> None:
        assert real.reason == model.reason, (real, model)
        self._same_head(real.head, model.head, log)
        if model.fork_place is None:
            assert real.fork_place is None
        else:
            assert real.fork_place == replace(model.fork_place, hash=self.real[model.fork_place.hash])
            assert real.fork_hash == self.real[model.fork_hash]

    def _branch_name(self, branch: LogModel) -> StreamId:
        """What a branch is called on the disk: after a frame, which both know by another hash."""
        named = [frame for frame in branch.frames if frame.hash.hex()[:8] == branch.stream.branch]
        if not named:
            self.is_over = True  # the third of one name: it is called after a hash of a hash
            return branch.stream
        return branch_named(ORIGIN, self.real[named[0].hash])

    def compare(self) -> None:
        for holder in self.holders:
            if not holder.is_writer:
                # A chunk that is refused may leave an empty folder behind: nothing is held in it.
                there = {name for name in holder.room.streams() if holder.room.log(name).head().epoch}
                assert there == {name for name, log in holder.logs.items() if log.segments}
            for stream, log in holder.logs.items():
                if not log.segments:
                    continue
                model = log.head()
                real = holder.reading.head(stream) if holder.is_writer else holder.room.log(stream).head()
                self._same_head(real, model, log)

    def step(self, kind: str, numbers: tuple[int, int, int, int]) -> None:
        steps = {"epoch": self.begin_epoch}
        if not self.is_over:
            steps.get(kind, getattr(self, kind, None))(*numbers)  # type: ignore[misc]
        if not self.is_over:
            self.compare()


def branch_named(stream: StreamId, frame_hash: bytes) -> StreamId:
    return StreamId(stream.node_id, stream.name, frame_hash.hex()[:8])


@contextmanager
def pair() -> Iterator[Pair]:
    with TemporaryDirectory() as folder:
        made = Pair(Path(folder))
        try:
            yield made
        finally:
            for holder in made.holders:
                holder.close()


@example(
    steps=[
        # A branch is cut at the frame that it is named after.
        ("clone", 0, 0, 0, 0),
        ("write", 1, 0, 0, 0),
        ("epoch", 0, 0, 0, 0),
        ("follow", 1, 0, 0, 0),
        ("follow", 0, 0, 0, 0),
        ("follow", 0, 0, 0, 0),
    ]
)
@settings(max_examples=40)
@given(steps=STEPS)
def test_the_model_answers_as_the_log_and_the_copy(steps: list[tuple[str, int, int, int, int]]) -> None:
    with pair() as both:
        for kind, *numbers in steps:
            both.step(kind, tuple(numbers))  # type: ignore[arg-type]
