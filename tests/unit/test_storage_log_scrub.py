"""storage/log/scrub.py: the whole log, again and again, slowly; any flipped bit is found and named."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.core.clock import ManualClock
from appliance.core.errors import LogDamaged
from storage.log import LogReader, OsDisk
from storage.log.scrub import PacedDisk, Scrubber
from storage.log.scrub_state import ScrubState, decode_scrub_state, encode_scrub_state, read_scrub_state
from storage.log.seal import read_footer
from storage.log.verify import verify
from tests.storage_log_kit import append_blocks, open_writer, read_all

INTERVAL_MS = 3_600_000


def a_log(directory: Path, blocks: int = 24) -> list[Path]:
    """Its sealed segments."""
    writer = open_writer(directory, segment_bytes=32 * 1024)
    append_blocks(writer, blocks)
    assert writer.wait_idle(10)
    writer.close()
    return sorted(directory.glob("*.seg"))


class Scrubbed:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.clock = ManualClock()
        self.paused_s: list[float] = []
        self.scrubber = self.again()

    def again(self) -> Scrubber:
        return Scrubber(self.directory, self.clock, interval_ms=INTERVAL_MS, pause=self.paused_s.append)

    def state(self) -> ScrubState:
        return read_scrub_state(self.directory)


def test_a_pass_reads_everything_within_its_interval_and_goes_on_after_a_restart(tmp_path: Path) -> None:
    segments = a_log(tmp_path)
    assert len(segments) > 2
    scrubbed = Scrubbed(tmp_path)
    began_ms = scrubbed.clock.now_ms()
    steps = 0
    while not scrubbed.state().last.ended_at_ms:
        wait_s = scrubbed.again().step()
        steps += 1
        if scrubbed.state().now.ended_at_ms:
            break
        assert 0 < wait_s < INTERVAL_MS / 1000
        scrubbed.clock.advance(int(wait_s * 1000) + 1)
    state = scrubbed.state()
    assert steps == state.last.segment_count == len(segments)
    assert state.last.bytes == sum(path.stat().st_size for path in segments)
    assert state.last.ended_at_ms - began_ms <= INTERVAL_MS
    assert (state.damaged_total, state.last.damaged) == (0, ())
    wait_s = scrubbed.scrubber.step()
    assert wait_s == pytest.approx((INTERVAL_MS - (scrubbed.clock.now_ms() - began_ms)) / 1000)
    assert scrubbed.state() == state, "nothing is read before the next pass is due"
    scrubbed.clock.advance(int(wait_s * 1000) + 1)
    scrubbed.scrubber.step()
    assert scrubbed.state().now.segment_count == 1
    assert scrubbed.state().last == state.last
    assert verify(tmp_path).ok, "the state's file is no part of the log"


def flip(path: Path, offset: int) -> None:
    path.chmod(0o600)
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes((byte ^ 4,)))
    path.chmod(0o400)


def frames_end(path: Path) -> int:
    with path.open("rb") as file:
        footer = read_footer(OsDisk(), file.fileno())
    assert footer is not None
    return footer.frames_end


PARTS: dict[str, Callable[[Path], int]] = {
    "first copy of the header": lambda path: 20,
    "second copy of the header": lambda path: 2048 + 70,
    "a frame's header": lambda path: 4096 + 24,
    "a frame's body": lambda path: 4096 + 96 + 7,
    "a frame's padding": lambda path: frames_end(path) - 1,
    "the footer": lambda path: frames_end(path) + 30,
    "the footer's hashes": lambda path: frames_end(path) + 200,
    "the end": lambda path: path.stat().st_size - 3,
}


@pytest.mark.parametrize("part", PARTS)
def test_a_flipped_bit_is_found_wherever_it_is_and_never_given_out(tmp_path: Path, part: str) -> None:
    segments = a_log(tmp_path)
    before = read_all(tmp_path)[0]
    flip(segments[1], PARTS[part](segments[1]))
    state = Scrubbed(tmp_path).scrubber.run_pass()
    assert state.damaged_total >= 1
    assert {each.segment for each in state.last.damaged} == {segments[1].name}
    report = verify(tmp_path)
    assert not report.ok
    named = [(each.first_seq, each.next_seq, each.offset) for each in report.damaged]
    assert {(each.first_seq, each.next_seq, each.offset) for each in state.last.damaged} <= set(named)
    got, refused = read_all(tmp_path)
    by_seq = {block.first_seq: block for block in before}
    assert all(dataclasses.asdict(block) == dataclasses.asdict(by_seq[block.first_seq]) for block in got)
    lost = {block.first_seq for block in before} - {block.first_seq for block in got}
    assert bool(lost) == (part in ("a frame's header", "a frame's body")) == bool(refused)


def test_a_reader_gets_an_error_for_the_range_that_the_scrubber_names(tmp_path: Path) -> None:
    segments = a_log(tmp_path)
    flip(segments[1], 4096 + 200)
    [damaged] = [
        each for each in Scrubbed(tmp_path).scrubber.run_pass().last.damaged if each.next_seq > each.first_seq
    ]
    reader = LogReader(tmp_path)
    with pytest.raises(LogDamaged) as error:
        reader.read(damaged.first_seq)
    assert (error.value.first_seq, error.value.next_seq) == (damaged.first_seq, damaged.next_seq)
    assert reader.read(damaged.next_seq)[0].first_seq == damaged.next_seq
    reader.close()


def test_a_mended_segment_is_forgotten_with_the_next_pass(tmp_path: Path) -> None:
    segments = a_log(tmp_path)
    flip(segments[0], 4096 + 200)
    scrubbed = Scrubbed(tmp_path)
    assert scrubbed.scrubber.run_pass().damaged_total
    flip(segments[0], 4096 + 200)
    assert scrubbed.scrubber.run_pass().damaged_total == 0


def test_reading_is_paced_and_past_the_cache(tmp_path: Path) -> None:
    path = tmp_path / "file"
    content = bytes(range(256)) * 64
    path.write_bytes(content)
    paused_s: list[float] = []
    disk = PacedDisk(4096, paused_s.append)
    descriptor = disk.open(path)
    assert disk.pread(descriptor, 100, 5000) == content[5000:5100]
    assert disk.pread(descriptor, 8192, 4096) == content[4096:12288]
    assert disk.pread(descriptor, 100, len(content) - 10) == content[-10:]
    assert disk.pread(descriptor, 0, 0) == b""
    assert paused_s[:2] == [1.0, 2.0]
    disk.close(descriptor)


def test_a_state_that_is_not_whole_begins_anew(tmp_path: Path) -> None:
    a_log(tmp_path)
    state = Scrubbed(tmp_path).scrubber.run_pass()
    data = encode_scrub_state(state)
    assert decode_scrub_state(data) == state
    for at in (0, 30, len(data) // 2, len(data) - 1):
        assert decode_scrub_state(data[:at] + bytes((data[at] ^ 1,)) + data[at + 1 :]) is None
    (tmp_path / "scrub").write_bytes(data[:50])
    assert read_scrub_state(tmp_path) == ScrubState()


def test_a_clock_that_jumps_does_no_harm(tmp_path: Path) -> None:
    a_log(tmp_path)
    scrubbed = Scrubbed(tmp_path)
    scrubbed.scrubber.run_pass()
    ended = scrubbed.state().last
    (tmp_path / "scrub").write_bytes(
        encode_scrub_state(
            ScrubState(now=dataclasses.replace(ended, began_at_ms=ended.began_at_ms + 10**12), last=ended)
        )
    )
    scrubbed.scrubber.step()
    assert scrubbed.state().now.segment_count == 1, (
        "a pass that ended in the future is no reason to wait for it"
    )


def test_nothing_to_read_is_a_pass_too(tmp_path: Path) -> None:
    assert Scrubbed(tmp_path).scrubber.run_pass().last.segment_count == 0
