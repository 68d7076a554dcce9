"""Strangers: who gives way, and who is left alone."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
import trio
import trio.testing

from appliance.core.clock import ManualClock
from broker.strangers import MOVING_MS, SILENT_MS, Stranger, Strangers
from tests.broker_kit import wait_until


class Hall:
    """Strangers with real connections behind them."""

    def __init__(self, count_max: int) -> None:
        self.clock = ManualClock()
        self.strangers = Strangers(count_max, self.clock)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.sockets: list[socket.socket] = [self.listener]

    async def enter(self) -> tuple[Stranger, socket.socket]:
        stranger = await self.strangers.enter()
        theirs = socket.create_connection(self.listener.getsockname())
        ours, _ = self.listener.accept()
        stranger.sock = ours
        self.sockets += [ours, theirs]
        return stranger, theirs

    async def one_more(self) -> Stranger:
        """Somebody who waits until a place is free."""
        with trio.fail_after(60):
            return await self.strangers.enter()


@pytest.fixture
def hall() -> Iterator[Hall]:
    hall = Hall(2)
    yield hall
    for sock in hall.sockets:
        sock.close()


def gives_way(stranger: Stranger) -> bool:
    return stranger.scope.cancel_called


def received(sock: socket.socket | None) -> None:
    """Wait until what was sent has arrived."""
    assert sock is not None
    sock.settimeout(10)
    assert sock.recv(100, socket.MSG_PEEK)


async def test_places_are_bounded_and_given_back_once(hall: Hall) -> None:
    first, _ = await hall.enter()
    await hall.enter()
    assert len(hall.strangers) == 2
    with trio.move_on_after(0.05) as waiting:
        await hall.strangers.enter()
    assert waiting.cancelled_caught
    hall.strangers.leave(first)
    hall.strangers.leave(first)
    assert len(hall.strangers) == 1
    await hall.one_more()
    assert len(hall.strangers) == 2


async def test_a_place_that_is_free_is_taken_without_a_round_of_the_event_loop(hall: Hall) -> None:
    with trio.testing.assert_no_checkpoints():
        await hall.strangers.enter()


async def test_the_silent_one_gives_way_and_not_the_older_one_that_speaks(hall: Hall) -> None:
    speaks, its_client = await hall.enter()
    silent, _ = await hall.enter()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(hall.one_more)
        hall.clock.advance(SILENT_MS - 1)
        await trio.testing.wait_all_tasks_blocked()
        assert not gives_way(silent)
        its_client.send(b"hello")
        received(speaks.sock)
        hall.clock.advance(1)
        await wait_until(lambda: gives_way(silent))
        assert not gives_way(speaks)
        hall.strangers.leave(silent)


async def test_whoever_only_drips_has_to_go_in_the_end(hall: Hall) -> None:
    drips = [await hall.enter() for _ in range(2)]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(hall.one_more)
        for at_ms in range(0, MOVING_MS, 1000):
            for stranger, client in drips:
                client.send(b"x")
                received(stranger.sock)
                stranger.look(hall.clock.mono_ms())
                assert not gives_way(stranger), at_ms
            hall.clock.advance(1000)
        await wait_until(lambda: gives_way(drips[0][0]))
        hall.strangers.leave(drips[0][0])


async def test_whoever_is_on_its_way_out_is_not_asked_again(hall: Hall) -> None:
    first, _ = await hall.enter()
    second, _ = await hall.enter()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(hall.one_more)
        first.scope.cancel()
        hall.clock.advance(SILENT_MS)
        await wait_until(lambda: gives_way(second))
        hall.strangers.leave(second)


def test_what_is_no_tcp_connection_counts_as_silent() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.send(b"hello")
        stranger = Stranger(0, 0, sock=ours)
        stranger.look(5)
        assert stranger.heard_mono_ms == 0
    stranger.look(6)
    assert stranger.heard_mono_ms == 0
