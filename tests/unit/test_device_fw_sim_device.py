"""The device on a virtual clock, against a scripted world: its promises hold whatever the network does."""

from __future__ import annotations

import json
import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device_fw_sim.device import STATUS_HANDLE, Device
from device_fw_sim.events import (
    TRANSITIONS,
    Acknowledged,
    Close,
    Command,
    Connect,
    Connected,
    ConnectionLost,
    DeviceOptions,
    Event,
    FallSilent,
    Moment,
    Publish,
    Refused,
    State,
)
from device_fw_sim.faults import Fault, FaultKind, FaultPlan
from device_fw_sim.limits import BACKOFF_MS_MAX, INFLIGHT_COUNT_MAX
from device_fw_sim.samplers import RecordingSampler, Timestamps

WALL_MS = 1_700_000_000_000


class World:
    """A virtual clock and a broker that is up or down; acknowledges after `ack_after_ms`, or never."""

    def __init__(
        self, device_options: DeviceOptions, *, seed: int = 1, faults: FaultPlan | None = None
    ) -> None:
        self.now_ms = 0
        self.is_up = True
        self.ack_after_ms: int | None = 20
        self.device = Device(device_options, source=random.Random(seed), now=self.moment, faults=faults)
        self.pending: list[tuple[int, int, Event]] = []
        self.published: list[tuple[int, Publish]] = []
        self.connects: list[int] = []
        self.commands: list[tuple[int, Command]] = []
        self.link = 0
        self.silent = False

    @property
    def moment(self) -> Moment:
        return Moment(mono_ms=self.now_ms, wall_ms=WALL_MS + self.now_ms)

    def run(self, until_ms: int) -> None:
        while True:
            due = [
                each
                for each in (self.device.next_deadline_ms(), *(at for at, *_ in self.pending))
                if each is not None
            ]
            at = min(due, default=until_ms)
            if at > until_ms or not due:
                self.now_ms = until_ms
                return
            self.now_ms = max(self.now_ms, at)
            ready = [each for each in self.pending if each[0] <= self.now_ms]
            self.pending = [each for each in self.pending if each[0] > self.now_ms]
            for _, link, event in ready:
                if link == self.link:
                    self.feed(event)
            self.obey(self.device.on_deadline(self.moment))

    def feed(self, event: Event) -> None:
        self.obey(self.device.receive(event, self.moment))

    def go_down(self) -> None:
        self.is_up = False
        self.link += 1
        self.feed(ConnectionLost())

    def obey(self, commands: list[Command]) -> None:
        for command in commands:
            self.commands.append((self.now_ms, command))
            match command:
                case Connect():
                    self.connects.append(self.now_ms)
                    self.link += 1
                    self.silent = False
                    self.pending.append(
                        (self.now_ms + 5, self.link, Connected() if self.is_up else ConnectionLost())
                    )
                case Publish():
                    assert not self.silent, "a silent device published"
                    self.published.append((self.now_ms, command))
                    if self.ack_after_ms is not None:
                        self.pending.append(
                            (self.now_ms + self.ack_after_ms, self.link, Acknowledged(handle=command.handle))
                        )
                case Close():
                    self.link += 1
                case FallSilent():
                    self.silent = command.silent

    def readings(self) -> list[dict[str, object]]:
        return [json.loads(each.payload) for _, each in self.published if each.handle != STATUS_HANDLE]

    def statuses(self) -> list[dict[str, object]]:
        return [json.loads(each.payload) for _, each in self.published if each.handle == STATUS_HANDLE]


OPTIONS = DeviceOptions(device_id="pump-1", interval_ms=1_000)


def fault(kind: FaultKind, *, after_ms: int = 10_000, for_ms: int = 20_000) -> FaultPlan:
    return FaultPlan([Fault(kind=kind, after_ms=after_ms, for_ms=for_ms)])


def test_connects_says_its_status_first_and_publishes_in_order() -> None:
    world = World(OPTIONS)
    world.run(60_000)
    first = world.published[0][1]
    assert (first.handle, first.topic) == (STATUS_HANDLE, "dm/pump-1/status")
    assert world.statuses()[0]["state"] == "online"
    readings = world.readings()
    assert [each["seq"] for each in readings] == list(range(1, 61))
    assert {each["boot_id"] for each in readings} == {world.device.boot_id}
    stamps = [each["ts"] for each in readings]
    assert stamps == sorted(stamps, key=str)
    assert world.published[1][1].topic == "dm/pump-1/telemetry"
    statistics = world.device.statistics()
    assert (statistics.sent, statistics.dropped, statistics.connects) == (60, 0, 1)


def test_the_will_names_the_session_of_its_status() -> None:
    world = World(OPTIONS)
    world.run(100)
    connect = next(each for _, each in world.commands if isinstance(each, Connect))
    will = json.loads(connect.will_payload)
    assert will["state"] == "offline"
    assert will["session"] == world.statuses()[0]["session"]
    assert connect.will_topic == "dm/pump-1/status"


def test_each_connection_has_a_session_of_its_own() -> None:
    world = World(OPTIONS)
    world.run(5_000)
    world.go_down()
    world.is_up = True
    world.run(20_000)
    sessions = [each["session"] for each in world.statuses()]
    assert len(sessions) == len(set(sessions)) == 2


def test_unacknowledged_readings_are_sent_again_with_their_seq_before_newer_ones() -> None:
    world = World(OPTIONS)
    world.run(5_000)
    world.ack_after_ms = None
    world.run(9_000)
    unacknowledged = world.device.statistics().sent - world.device.statistics().acknowledged
    assert unacknowledged > 0
    world.go_down()
    world.is_up, world.ack_after_ms = True, 20
    before = len(world.published)
    world.run(30_000)
    sequences = [int(str(each["seq"])) for each in world.readings()]
    resent = [json.loads(each.payload)["seq"] for _, each in world.published[before:] if each.handle]
    assert resent == sorted(resent)
    assert Counter(sequences).most_common(1)[0][1] == 2
    assert set(sequences) == set(range(1, max(sequences) + 1))
    assert world.device.statistics().resent == unacknowledged


def test_backoff_grows_to_five_minutes_and_resets_when_service_is_given() -> None:
    world = World(OPTIONS)
    world.is_up = False
    world.run(6 * 3_600_000)
    gaps = [after - before for before, after in zip(world.connects, world.connects[1:], strict=False)]
    assert max(gaps) <= BACKOFF_MS_MAX + 10
    assert max(gaps[:3]) <= 4_010
    assert max(gaps) > 200_000
    assert len(world.connects) < 6 * 3_600 / 100
    world.is_up = True
    world.run(world.now_ms + 700_000)
    world.go_down()
    assert (world.device.next_deadline_ms() or 0) - world.now_ms <= 1_000


def test_an_hour_is_kept_the_oldest_is_dropped_and_the_count_is_told() -> None:
    world = World(DeviceOptions(device_id="d", interval_ms=10_000))
    world.is_up = False
    world.run(2 * 3_600_000)
    statistics = world.device.statistics()
    assert statistics.taken == 720
    assert statistics.waiting in (360, 361)
    assert statistics.dropped == 720 - statistics.waiting
    world.is_up = True
    world.run(world.now_ms + 700_000)
    assert world.statuses()[-1]["dropped_count"] == world.device.statistics().dropped >= 359
    first = world.readings()[0]
    assert int(str(first["seq"])) > 359
    assert world.device.statistics().waiting <= 1


def test_no_more_in_flight_than_the_window() -> None:
    world = World(DeviceOptions(device_id="d", interval_ms=10))
    world.ack_after_ms = None
    world.run(5_000)
    assert len(world.readings()) == INFLIGHT_COUNT_MAX - 1


def test_receive_maximum_of_the_broker_wins() -> None:
    world = World(DeviceOptions(device_id="d", interval_ms=10))
    world.obey(world.device.on_deadline(world.moment))
    world.pending.clear()
    world.ack_after_ms = None
    world.feed(Connected(receive_maximum=4))
    world.run(5_000)
    assert len(world.readings()) == 3


def test_a_broker_that_accepts_and_never_acknowledges_is_left() -> None:
    world = World(OPTIONS)
    world.ack_after_ms = None
    world.run(200_000)
    assert world.device.statistics().connects >= 3
    assert any(isinstance(each, Close) and each.abort for _, each in world.commands)


def test_a_broker_that_never_answers_connect_is_left() -> None:
    device = Device(OPTIONS, source=random.Random(1), now=Moment(0, WALL_MS))
    assert isinstance(device.on_deadline(Moment(0, WALL_MS))[0], Connect)
    late = device.on_deadline(Moment(20_000, WALL_MS + 20_000))
    assert late[0] == Close(abort=True)
    assert device.state is State.BACKING_OFF


def test_refusal_backs_off() -> None:
    world = World(OPTIONS)
    world.obey(world.device.on_deadline(world.moment))
    world.pending.clear()
    world.feed(Refused(reason_code=0x87))
    assert world.device.state is State.BACKING_OFF
    assert world.device.statistics().refusals == 1


def test_late_events_change_nothing() -> None:
    world = World(OPTIONS)
    world.run(3_000)
    before = world.device.statistics()
    for event in (Connected(), Refused(reason_code=1), Acknowledged(handle=999)):
        assert world.device.receive(event, world.moment) == []
    assert world.device.statistics() == before


def test_silent_device_sends_nothing_and_comes_back() -> None:
    world = World(OPTIONS, faults=fault(FaultKind.SILENT))
    world.run(60_000)
    quiet = [at for at, _ in world.published if 10_001 <= at < 30_000]
    assert quiet == []
    kinds = [type(each) for _, each in world.commands if not isinstance(each, Publish)]
    assert kinds[:4] == [Connect, FallSilent, Close, Connect]
    assert {int(str(each["seq"])) for each in world.readings()} == set(range(1, 61))


@pytest.mark.parametrize("kind", [FaultKind.DROP_OUT, FaultKind.OUTAGE])
def test_drop_out_closes_without_a_word_and_delivers_later(kind: FaultKind) -> None:
    world = World(OPTIONS, faults=fault(kind))
    world.run(60_000)
    closed = [(at, each) for at, each in world.commands if isinstance(each, Close)]
    assert closed[0] == (10_000, Close(abort=True))
    assert not [at for at in world.connects if 10_000 <= at < 30_000]
    assert world.device.statistics().acknowledged >= 58


def test_drop_out_from_the_start_connects_later() -> None:
    world = World(OPTIONS, faults=fault(FaultKind.DROP_OUT, after_ms=0))
    world.run(40_000)
    assert world.connects[0] >= 20_000


def test_stuck_values() -> None:
    world = World(OPTIONS, faults=fault(FaultKind.STUCK))
    world.run(29_000)
    values = [json.dumps(each["v"]) for each in world.readings()]
    assert len(set(values[:9])) == 9
    assert len(set(values[11:])) == 1


def test_spikes() -> None:
    world = World(DeviceOptions(device_id="d", interval_ms=100), faults=fault(FaultKind.SPIKE))
    world.run(30_000)
    temperatures = [each["v"]["temperature_celsius"] for each in world.readings()]  # type: ignore[index]
    spikes = [value for value in temperatures[105:] if value in (-127.0, 85.0, 850.0)]
    assert 5 < len(spikes) < 50
    assert not [value for value in temperatures[:95] if abs(value) > 60]


def test_wrong_clock() -> None:
    world = World(OPTIONS, faults=fault(FaultKind.CLOCK_WRONG))
    world.run(29_000)
    stamps = [int(str(each["ts"])) for each in world.readings()]
    assert all(stamp > WALL_MS for stamp in stamps[:9])
    assert all(stamp < 86_400_000 for stamp in stamps[11:])


def test_garbage_is_counted_and_still_acknowledged() -> None:
    world = World(OPTIONS, faults=fault(FaultKind.GARBAGE, after_ms=0, for_ms=60_000))
    world.run(60_100)
    statistics = world.device.statistics()
    assert 10 < statistics.garbage < 35
    assert statistics.acknowledged == 60


def test_reconnect_loop_does_not_back_off() -> None:
    world = World(OPTIONS, faults=fault(FaultKind.RECONNECT_LOOP))
    world.run(40_000)
    during = [at for at in world.connects if 10_000 <= at < 30_000]
    assert 35 < len(during) < 110
    assert world.device.state is State.ONLINE
    assert world.connects[-1] < 32_000
    assert world.device.statistics().acknowledged >= 39


def test_stop_delivers_what_is_kept_and_takes_no_more() -> None:
    world = World(OPTIONS, faults=fault(FaultKind.DROP_OUT, for_ms=3_600_000))
    world.run(20_000)
    assert world.device.statistics().waiting > 0
    world.obey(world.device.stop(world.moment))
    world.run(40_000)
    assert world.device.exhausted
    assert world.device.statistics().waiting == 0
    statistics = world.device.statistics()
    assert statistics.sent == statistics.acknowledged == statistics.taken == 20


def test_stop_ends_silence() -> None:
    world = World(OPTIONS, faults=fault(FaultKind.SILENT, for_ms=3_600_000))
    world.run(20_000)
    assert world.silent
    world.obey(world.device.stop(world.moment))
    world.run(40_000)
    assert world.device.delivered


def test_close_says_goodbye_and_nothing_follows() -> None:
    world = World(OPTIONS)
    world.run(2_000)
    commands = world.device.close(world.moment)
    assert [type(each) for each in commands] == [Publish, Close]
    assert json.loads(commands[0].payload)["state"] == "offline"  # type: ignore[union-attr]
    assert world.device.next_deadline_ms() is None
    assert world.device.on_deadline(world.moment) == []


@pytest.mark.parametrize("ready", [False, True])
def test_close_without_a_connection(ready: bool) -> None:
    device = Device(OPTIONS, source=random.Random(1), now=Moment(0, WALL_MS))
    if ready:
        device.on_deadline(Moment(0, WALL_MS))
    assert device.close(Moment(0, WALL_MS)) == ([Close(abort=True)] if ready else [])


def test_recording_waits_instead_of_dropping() -> None:
    rows = ((index * 10, float(index)) for index in range(5_000))
    sampler = RecordingSampler(
        iter(rows), metric="m", speed=float("inf"), timestamps=Timestamps.NONE, start_mono_ms=0
    )
    world = World(OPTIONS)
    world.device = Device(OPTIONS, source=random.Random(1), now=world.moment, sampler=sampler)
    world.run(200_000)
    assert world.device.exhausted
    assert world.device.statistics().acknowledged == 5_000
    assert world.device.statistics().dropped == 0


def test_table_of_states_is_complete() -> None:
    assert set(TRANSITIONS) == set(State)
    assert TRANSITIONS[State.STOPPED] == frozenset()


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32),
    st.lists(st.tuples(st.integers(1, 40_000), st.sampled_from(["down", "up", "mute", "hear"])), max_size=15),
    st.lists(st.sampled_from(list(FaultKind)), max_size=2),
)
def test_nothing_is_lost_or_invented(
    seed: int, weather: list[tuple[int, str]], kinds: list[FaultKind]
) -> None:
    """Whatever the network and the planted faults do: once the broker is back, every reading taken was acknowledged once."""
    plan = FaultPlan([Fault(kind=kind, after_ms=5_000, for_ms=15_000, every_ms=60_000) for kind in kinds])
    world = World(DeviceOptions(device_id="d", interval_ms=2_000), seed=seed, faults=plan)
    for wait_ms, change in weather:
        world.run(world.now_ms + wait_ms)
        match change:
            case "down":
                world.go_down()
            case "up":
                world.is_up = True
            case "mute":
                world.ack_after_ms = None
            case "hear":
                world.ack_after_ms = 20
        statistics = world.device.statistics()
        assert statistics.taken == statistics.acknowledged + statistics.dropped + statistics.waiting
    world.is_up, world.ack_after_ms = True, 20
    world.obey(world.device.stop(world.moment))
    world.run(world.now_ms + 3_600_000)
    statistics = world.device.statistics()
    assert world.device.delivered
    assert statistics.taken == statistics.sent == statistics.acknowledged
    assert statistics.dropped == 0
