"""Streams get to where they belong: pushed, pulled, around corners, after a cut; and what is safe is known where it matters."""

from __future__ import annotations

from tests.gossip_kit import MemoryLog, Weather, World, fleet

A, B, C, D = (f"{n:032x}" for n in (1, 2, 3, 4))


def test_what_is_written_is_pushed_at_once_and_safe_when_it_is_stored() -> None:
    world = World(1, fleet(2))
    world.link(A, B)
    world.run(200)
    world.write(A, records=3)
    machine = world.nodes[A].machine
    assert world.run(200, until=world.has_converged)
    world.run(50)
    assert machine.safe_seq(world.nodes[A].own) == 4
    assert machine.rpo_ms(world.now_ms) == 0


def test_nothing_is_safe_while_nobody_is_there_and_its_age_grows() -> None:
    world = World(1, fleet(2))
    world.write(A)
    world.run(60_000)
    machine = world.nodes[A].machine
    assert machine.rpo_ms(world.now_ms) == 60_000
    world.link(A, B)
    world.run(500)
    assert machine.rpo_ms(world.now_ms) == 0
    rpo = machine.statistics(world.now_ms).rpo["node"]
    assert rpo.now_ms == 0
    assert rpo.worst_24h_ms >= 60_000


def test_a_peer_that_comes_late_is_sent_everything() -> None:
    world = World(2, fleet(2))
    for _ in range(300):
        world.write(A, records=2, body=bytes(20_000))
    world.link(A, B)
    assert world.run(20_000, until=world.has_converged)


def test_a_stream_gets_around_a_corner_and_so_does_the_word_that_it_is_stored() -> None:
    world = World(3, fleet(3))
    world.link(A, B)
    world.link(B, C)
    world.run(500)
    world.write(A)
    assert world.run(15_000, until=world.has_converged)
    machine = world.nodes[A].machine
    assert world.run(30_000, until=lambda: C in machine.stored_by(world.nodes[A].own))
    assert machine.stored_by(world.nodes[A].own)[C] == (1, 2)


def test_a_backlog_of_one_stream_does_not_hold_up_the_tail_of_another() -> None:
    world = World(4, fleet(3), weather=Weather(delay_ms=(20, 40)))
    for _ in range(400):
        world.write(C, body=bytes(60_000))
    world.link(A, B)
    world.run(1000)
    world.link(C, B)
    for _ in range(20):
        world.write(A)
        assert world.run(
            1_000, until=lambda: len(set(list(world.heads(world.nodes[A].own).values())[:2])) == 1
        )
    assert world.run(60_000, until=lambda: world.nodes[B].machine.head(world.nodes[C].own).next_seq == 401)


def test_both_sides_of_a_cut_go_on_and_meet() -> None:
    world = World(5, fleet(4))
    for one in (A, B, C, D):
        for two in (A, B, C, D):
            if one < two:
                world.link(one, two)
    world.run(1000)
    for one in (A, B):
        for two in (C, D):
            world.cut(one, two)
    for _ in range(50):
        world.write(A, body=bytes(1000))
        world.write(C, body=bytes(1000))
        world.run(10_000)
    assert world.nodes[A].machine.rpo_ms(world.now_ms) == 0  # B has it
    for one in (A, B):
        for two in (C, D):
            world.link(one, two)
    assert world.run(10_000, until=world.has_converged)


def test_a_later_epoch_replaces_what_its_writer_lost() -> None:
    world = World(6, fleet(2))
    world.link(A, B)
    for _ in range(10):
        world.write(A)
        world.run(100)
    world.cut(A, B)
    own = world.nodes[A].own
    log = world.nodes[A].logs[own]
    del log.frames[6:]  # A was restored from an old copy
    world.write(A, epoch=2)
    world.link(A, B)
    assert world.run(10_000, until=world.has_converged)
    assert len(world.nodes[B].logs[own].replaced) == 4
    assert world.nodes[B].machine.forks.proofs == ()


def test_a_frame_that_was_sent_before_its_writer_looked_is_no_lost_disk() -> None:
    world = World(9, fleet(2))
    world.link(A, B)
    world.write(A)
    world.run(500)
    node = world.nodes[A]
    log = node.logs[node.own]
    told = log.write(1, world.now_ms)
    log.write(1, world.now_ms)  # on the disk, and read with the one before; the machine hears of it later
    world.give(A, node.machine.holds(node.own, told, world.now_ms))
    world.run(500)
    assert node.machine.ahead
    world.give(A, node.machine.holds(node.own, log.head(), world.now_ms))
    world.run(500)
    assert not node.machine.ahead
    assert node.machine.safe_seq(node.own) == 4
    assert node.machine.rpo_ms(world.now_ms) == 0


def test_a_fork_is_found_told_to_everybody_and_both_histories_are_kept() -> None:
    world = World(7, fleet(4))
    own = world.nodes[A].own
    world.link(A, B)
    for _ in range(5):
        world.write(A, body=b"common")
        world.run(100)
    world.cut(A, B)
    # D has what a clone of A wrote after the fifth frame.
    clone = MemoryLog(own)
    clone.frames, clone.epoch = list(world.nodes[A].logs[own].frames), 1
    for _ in range(4):
        clone.write(1, 5, b"clone")
    world.nodes[D].logs[own] = clone
    world.give(D, world.nodes[D].machine.holds(own, clone.head(), world.now_ms))
    for _ in range(3):
        world.write(A, body=b"original")
    world.link(A, B)
    world.link(B, C)
    world.link(C, D)
    world.run(60_000, until=lambda: all(node.machine.forks.proofs for node in world.nodes.values()))
    for node in world.nodes.values():
        assert node.machine.forks.frozen_at(own) is not None, node.name
        assert node.forks
    world.run(120_000)
    bodies = {
        bytes(frame.body)
        for name in (B, C)
        for stream, log in world.nodes[name].logs.items()
        for frame in log.frames
    }
    assert bodies == {b"common", b"clone", b"original"}
