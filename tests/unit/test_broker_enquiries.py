"""All who wait are asked about together, each gets its own answer, and who gives up holds nobody up."""

from __future__ import annotations

import threading

import pytest
import trio
import trio.testing

from appliance.core.errors import NotAuthorized
from appliance.management.access import Principal
from broker.enquiries import TOGETHER_MAX, Enquiries
from broker.identity import NOTHING
from broker.mqtt.packets import Connect

DEADLINE_S = 60.0


class Authenticator:
    """Knows everybody but those whose name begins with "un"; answers nobody while the gate is shut."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.asked: list[str] = []

    def authenticate(
        self, username: str | None, password: bytes | None, client_id: str, address: str
    ) -> Principal:
        assert username is not None
        self.asked.append(username)
        assert self.gate.wait(DEADLINE_S)
        if username == "broken":
            raise RuntimeError("a mistake of the program")
        if username.startswith("un"):
            raise NotAuthorized(f"{username} is unknown.", hint="", code="unknown_device")
        return Principal(name=username)

    def authenticate_certificate(
        self, common_name: str, proof: bytes, client_id: str, address: str
    ) -> Principal:
        raise AssertionError("nobody has a certificate here")


class Asking:
    """Enquiries under way, with what became of each."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.authenticator = Authenticator()
        self.limiter = trio.CapacityLimiter(4)
        self.enquiries = Enquiries(self.authenticator, self.limiter)
        self.found: dict[str, str] = {}
        self.scopes: dict[str, trio.CancelScope] = {}
        self._nursery = nursery

    async def _ask(self, name: str) -> None:
        with self.scopes[name]:
            try:
                connect = Connect(client_id=name, username=name, password=b"token")
                principal = await self.enquiries.identify(connect, "192.0.2.1", NOTHING)
                self.found[name] = principal.name
            except (NotAuthorized, RuntimeError) as error:
                self.found[name] = str(error)

    async def start(self, *names: str) -> None:
        """Begin, one after the other."""
        for name in names:
            self.scopes[name] = trio.CancelScope()
            self._nursery.start_soon(self._ask, name)
            await trio.testing.wait_all_tasks_blocked()

    async def until_asked(self, count: int) -> None:
        """Wait until the authenticator was asked so often."""
        while len(self.authenticator.asked) < count:  # noqa: ASYNC110 - a thread does it
            await trio.sleep(0.001)


async def test_a_lone_one_is_asked_about_at_once() -> None:
    with trio.fail_after(DEADLINE_S):
        async with trio.open_nursery() as nursery:
            asking = Asking(nursery)
            await asking.start("pump")
    assert asking.found == {"pump": "pump"}


async def test_whoever_comes_while_a_thread_is_away_goes_together_with_the_next() -> None:
    names = [f"pump-{index}" for index in range(TOGETHER_MAX + 10)]
    with trio.fail_after(DEADLINE_S):
        async with trio.open_nursery() as nursery:
            asking = Asking(nursery)
            asking.authenticator.gate.clear()
            await asking.start("first", *names)
            assert asking.limiter.borrowed_tokens == 1
            await asking.until_asked(1)
            assert asking.authenticator.asked == ["first"]
            asking.authenticator.gate.set()
    assert asking.found == {name: name for name in ("first", *names)}
    assert asking.authenticator.asked == ["first", *names]


async def test_each_gets_its_own_error() -> None:
    with trio.fail_after(DEADLINE_S):
        async with trio.open_nursery() as nursery:
            asking = Asking(nursery)
            asking.authenticator.gate.clear()
            await asking.start("first", "unknown", "pump", "unheard")
            asking.authenticator.gate.set()
    assert asking.found == {
        "first": "first",
        "unknown": "unknown is unknown.",
        "pump": "pump",
        "unheard": "unheard is unknown.",
    }


async def test_when_who_asks_gives_up_the_next_asks_anew() -> None:
    with trio.fail_after(DEADLINE_S):
        async with trio.open_nursery() as nursery:
            asking = Asking(nursery)
            asking.authenticator.gate.clear()
            await asking.start("first", "second", "third")
            await asking.until_asked(1)
            asking.scopes["second"].cancel()
            asking.scopes["first"].cancel()
            await asking.until_asked(2)
            asking.authenticator.gate.set()
    assert asking.found == {"third": "third"}
    assert asking.authenticator.asked == ["first", "third"]


async def test_who_gives_up_while_being_asked_about_leaves_the_others_their_answers() -> None:
    with trio.fail_after(DEADLINE_S):
        async with trio.open_nursery() as nursery:
            asking = Asking(nursery)
            asking.authenticator.gate.clear()
            await asking.start("first", "second", "third", "fourth")
            asking.authenticator.gate.set()
            await asking.until_asked(1)
            asking.scopes["third"].cancel()
    assert asking.found.keys() >= {"first", "second", "fourth"}
    assert all(name == found for name, found in asking.found.items())


async def test_a_mistake_of_the_program_is_not_swallowed_and_holds_nobody_up() -> None:
    with trio.fail_after(DEADLINE_S):
        async with trio.open_nursery() as nursery:
            asking = Asking(nursery)
            await asking.start("broken")
            await asking.until_asked(1)
            await asking.start("pump")
    assert asking.found == {"broken": "a mistake of the program", "pump": "pump"}


async def test_nothing_waits_any_more_at_the_end() -> None:
    with trio.fail_after(DEADLINE_S):
        async with trio.open_nursery() as nursery:
            asking = Asking(nursery)
            await asking.start(*(f"pump-{index}" for index in range(5)))
    assert len(asking.enquiries) == 0


async def test_a_thread_that_is_held_up_is_left_and_another_one_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reader answers from memory while the catalog's file holds one of its threads up."""
    monkeypatch.setattr("broker.enquiries.ENQUIRY_TIMEOUT_MS", 30)
    with trio.fail_after(DEADLINE_S):
        async with trio.open_nursery() as nursery:
            asking = Asking(nursery)
            stuck, asking.authenticator.gate = asking.authenticator.gate, threading.Event()
            await asking.start("first", "second")
            await asking.until_asked(1)
            # The next thread meets an open gate; the first one still waits at the shut one.
            shut, asking.authenticator.gate = asking.authenticator.gate, stuck
            while len(asking.found) < 2:  # noqa: ASYNC110 - a thread does it
                await trio.sleep(0.001)
            assert not shut.is_set()
            shut.set()
    assert asking.found == {"first": "first", "second": "second"}
