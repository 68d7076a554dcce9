"""What must happen in the situations that fleets get into: parted for long, cut in one direction, lossy, slow."""

from __future__ import annotations

import pytest

from replication.membership.claims import Condition
from replication.membership.events import Became
from replication.simulation.body import Body
from replication.simulation.runner import run_seed
from replication.simulation.world import World


def started(world: World, *, write_interval_ms: int, body_bytes: int = 40) -> list[Body]:
    for body in world.bodies:
        body.write_interval_ms, body.body_bytes = write_interval_ms, body_bytes
        body.start()
    return world.bodies


def run(world: World, for_s: int) -> None:
    world.scheduler.run_until(world.scheduler.now_ms + 1_000 * for_s)


@pytest.mark.parametrize("parted_s", [1_200, pytest.param(21_600, marks=pytest.mark.long)])
def test_parted_for_long_both_sides_go_on_and_converge_in_the_time_that_the_bytes_take(parted_s: int) -> None:
    """Scenario 4."""
    world = World(4, 3)
    world.faults_ms = 10**9
    world.fault("parted", *world.bodies)
    first, second, third = started(world, write_interval_ms=1_500, body_bytes=1_000)
    for number in (0, 1):
        world.network.way(f"n{number}", "n2").quality.bytes_per_s = 50_000
    run(world, 30)
    for number in (0, 1):
        world.network.cut(f"n{number}", "n2", is_silent=True)
    run(world, parted_s)
    assert third.membership.condition(first.node_id) is Condition.DEAD
    assert first.gossip.rpo_ms(world.scheduler.now_ms, "node") < 10_000, "n1 is still there"
    assert third.gossip.rpo_ms(world.scheduler.now_ms, "node") >= parted_s * 1_000 - 60_000, (
        "and says how much it would lose"
    )
    backlog_bytes = sum(
        len(frame.body) + 250 for body in world.bodies for frame in body.disk.logs[body.own].frames
    )
    for number in (0, 1):
        world.network.heal(f"n{number}", "n2")
    run(world, 30)
    for body in world.bodies:
        body.write_interval_ms = 0
    run(world, 90 + backlog_bytes // 50_000)
    assert not world.judge.missing(world.fleet)
    assert not world.judge.breaches
    assert {body.gossip.rpo_ms(world.scheduler.now_ms) for body in (first, second, third)} == {0}


@pytest.mark.parametrize("seed", range(4))
def test_cut_in_one_direction_lossy_and_stopped_for_a_minute_nothing_flaps_and_no_epoch_is_claimed(
    seed: int,
) -> None:
    """Scenario 5."""
    world = World(seed, 5)
    bodies = started(world, write_interval_ms=4_000)
    seen: list[tuple[str, Became]] = []
    became = world.judge.became

    def watch(body: Body, event: Became) -> None:
        became(body, event)
        seen.append((body.name, event))

    world.judge.became = watch  # type: ignore[method-assign]
    for way in world.network.ways():
        way.quality.loss = 0.3
    run(world, 60)
    world.network.cut("n0", "n1", is_silent=True, is_one_way=True)
    run(world, 300)
    world.network.heal("n0", "n1")
    run(world, 120)
    assert not [event for _, event in seen if event.condition is Condition.DEAD]
    bodies[2].stall()
    run(world, 60)
    bodies[2].go_on()
    run(world, 120)
    dead = [(name, event.node) for name, event in seen if event.condition is Condition.DEAD]
    assert len(dead) == len(set(dead)), "at most once by each"
    assert {node for _, node in dead} <= {bodies[2].node_id}
    assert all(body.disk.epoch == 1 for body in bodies)
    for body in bodies:
        assert {body.membership.condition(other.node_id) for other in bodies} == {Condition.ALIVE}


@pytest.mark.parametrize("minutes", [10, pytest.param(60, marks=pytest.mark.long)])
def test_a_hundred_megabytes_on_fifty_kilobits_make_nobody_suspect_and_progress_never_stops(
    minutes: int,
) -> None:
    """Scenario 9. Two seconds of each way stand for what the network itself buffers."""
    world = World(9, 2)
    seen: list[Became] = []
    world.judge.became = lambda body, event: seen.append(event)  # type: ignore[method-assign]
    quality = world.network.way("n0", "n1").quality
    first, second = started(world, write_interval_ms=0)
    for number in range(1_000):
        # Frames of all sizes: the larger ones take most of a minute each.
        first.body_bytes = 200_000 if number % 20 == 10 else 95_000
        first.writer.write_block()
        first.disk.logs[first.own].sync()
    quality.bytes_per_s, quality.latency_ms = 6_250, 2_000
    before = -1
    for _ in range(minutes):
        run(world, 60)
        log = second.disk.logs.get(first.own)
        count = len(log.frames) if log is not None else 0
        assert count > before
        before = count
    assert {event.condition for event in seen} == {Condition.ALIVE}
    assert log is not None
    stored_bytes = sum(len(frame.body) for frame in log.frames)
    assert stored_bytes > minutes * 60 * 6_250 * 0.7, "most of the link went into it"


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("is_first_fast", [False, True])
def test_a_chain_on_slow_links_suspects_nobody_who_lives_and_finds_out_who_does_not(
    seed: int, is_first_fast: bool
) -> None:
    """Of three nodes the outer ones reach each other through the middle one only: an answer takes 5 s on a link, and 10 through it."""
    world = World(seed, 3, pairs=[(0, 1), (1, 2)])
    seen: list[Became] = []
    world.judge.became = lambda body, event: seen.append(event)  # type: ignore[method-assign]
    for way in world.network.ways()[is_first_fast:]:
        way.quality.bytes_per_s, way.quality.latency_ms = 6_250, 2_000
    first, _, last = bodies = started(world, write_interval_ms=0)
    for number in range(60):
        first.body_bytes = 200_000 if number % 20 == 10 else 95_000
        first.writer.write_block()
        first.disk.logs[first.own].sync()
    first.body_bytes = 40
    run(world, 1)
    for body in bodies:
        body.write_interval_ms = 4_000
        body.writer.write_later()
    run(world, 600)
    assert {event.condition for event in seen} == {Condition.ALIVE}
    last.crash()
    run(world, 180)
    assert [body.membership.condition(last.node_id) for body in bodies[:2]] == [Condition.DEAD] * 2


def test_tails_of_other_streams_pass_a_backlog_also_through_a_third_node() -> None:
    """Scenario 4 on 100 kbit/s: n2 has been away and reaches n0 and n3 by n1 only."""
    world = World(3, 4, pairs=[(0, 1), (1, 2), (1, 3)])
    world.faults_ms = 10**9
    world.fault("parted", *world.bodies)
    backlogged, relay, away, tail = world.bodies
    for body, interval_ms, body_bytes in (
        (backlogged, 1_000, 1_500),
        (relay, 1_000, 100),
        (away, 3_000, 100),
        (tail, 2_000, 100),
    ):
        body.write_interval_ms, body.body_bytes = interval_ms, body_bytes
        body.start()
    run(world, 5)
    world.network.cut("n1", "n2", is_silent=True)
    run(world, 1_800)
    quality = world.network.way("n1", "n2").quality
    quality.bytes_per_s, quality.latency_ms = 12_500, 200
    world.network.heal("n1", "n2")

    def age_s(writer: Body) -> float:
        copy = away.disk.logs[writer.own].head()
        missing = [
            frame for frame in writer.disk.logs[writer.own].frames[-400:] if frame.next_seq > copy.next_seq
        ]
        return (world.scheduler.now_ms - missing[0].at_ms) / 1_000 if missing else 0.0

    worst: dict[str, float] = {}
    while age_s(backlogged) > 60:
        run(world, 1)
        for body in (relay, tail):
            if body.name in worst or age_s(body) < 3:
                worst[body.name] = max(worst.get(body.name, 0.0), age_s(body))
    assert worst.keys() == {"n1", "n3"}, "their own backlogs were through before"
    assert max(worst.values()) < 10


def test_a_clock_that_jumps_stops_and_removes_nothing() -> None:
    """Scenario 10."""
    world = World(10, 3)
    bodies = started(world, write_interval_ms=2_000)
    for number, offset_ms in enumerate((-3_600_000, 86_400_000, -(10**15), 0)):
        bodies[number % 3].clock_offset_ms = offset_ms
        run(world, 60)
        counts = [len(body.disk.logs[bodies[0].own].frames) for body in bodies]
        assert max(counts) - min(counts) <= 2
    assert not world.judge.breaches
    for body in bodies:
        assert body.gossip.rpo_ms(world.scheduler.now_ms) < 10_000


def test_a_copy_whose_beginning_went_is_set_aside_when_its_writer_begins_anew_before_that() -> None:
    """It was restored from a backup that is older than what copies keep: what they have stays, and they hold what it writes."""
    outcome = run_seed(300, 3, ["little_kept", "old_snapshot"])
    assert not outcome.breaches
    world = World(7, 3)
    bodies = started(world, write_interval_ms=1_000)
    run(world, 10)
    first, second, _ = bodies
    image = first.disk.image()
    run(world, 60)
    copy = second.disk.logs[first.own]
    assert copy.drop_before(copy.end.next_seq)
    second.holds(first.own, copy)
    assert copy.dropped_seq > image.logs[first.own].end.next_seq
    world.judge.may_both_write(image)
    first.crash()
    first.disk = image
    first.disk.must_claim = True
    first.start()
    run(world, 60)
    for body in bodies:
        body.write_interval_ms = 0
    run(world, 90)
    assert second.disk.logs[first.own].head().is_same_place(first.disk.logs[first.own].head())
    assert any(stream.branch and log.frames == copy.frames for stream, log in second.disk.logs.items())
