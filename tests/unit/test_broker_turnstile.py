"""The turnstile: so many a round of the event loop, and everybody in the end."""

from __future__ import annotations

import trio

from broker.turnstile import Turnstile


class Rounds(trio.abc.Instrument):
    """Counts what is done in each round of the event loop."""

    def __init__(self) -> None:
        self.now = self.most = 0

    def before_io_wait(self, timeout: float) -> None:
        self.most, self.now = max(self.most, self.now), 0


async def test_a_round_has_no_more_of_them_than_places() -> None:
    turnstile, rounds = Turnstile(3), Rounds()

    async def work() -> None:
        async with turnstile:
            rounds.now += 1

    trio.lowlevel.add_instrument(rounds)
    try:
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(work)
    finally:
        trio.lowlevel.remove_instrument(rounds)
    assert rounds.most == 3


async def test_whoever_fails_or_is_cancelled_gives_its_place_back() -> None:
    turnstile = Turnstile(1)

    async def fail() -> None:
        async with turnstile:
            raise ValueError

    for _ in range(3):
        try:
            await fail()
        except ValueError:
            continue
    async with turnstile:
        with trio.CancelScope() as scope:
            scope.cancel()
            async with turnstile_of_another_task(turnstile):
                raise AssertionError("it was cancelled while it waited")
    async with turnstile:
        pass


class turnstile_of_another_task:  # noqa: N801 - it stands where the turnstile does
    """Waits for the turnstile in a task of its own."""

    def __init__(self, turnstile: Turnstile) -> None:
        self._turnstile = turnstile

    async def __aenter__(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._wait)

    async def _wait(self) -> None:
        async with self._turnstile:
            raise AssertionError("there was no place")

    async def __aexit__(self, *_: object) -> None:
        raise AssertionError("it never came in")
