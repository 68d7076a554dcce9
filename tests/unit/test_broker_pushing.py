"""Pushes go to the broker together; each learns what became of it."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing

from appliance.core.errors import LimitExceeded, NotFound, Unavailable
from appliance.core.limits_requests import PUSH_BYTES_MAX, PUSH_MESSAGE_COUNT_MAX, PUSH_TOGETHER_COUNT_MAX
from broker import pushing as module
from broker.pushing import Pushing


class Broker:
    """Answers with how many messages each push had; is held up for as long as `gate` is shut."""

    def __init__(self) -> None:
        self.questions: list[list[Any]] = []
        self.gate = trio.Event()
        self.error: Exception | None = None

    async def ask(self, question: str, *, pushes: list[Any]) -> dict[str, Any]:
        assert question == "push"
        self.questions.append(pushes)
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return {"delivered": [len(messages) for _, messages in pushes]}


async def test_those_that_wait_go_together() -> None:
    broker, got = Broker(), dict[int, int]()
    pushing = Pushing(broker.ask)

    async def push(number: int) -> None:
        got[number] = await pushing.push(f"d{number}", [("t", b"x")] * (number % 3))

    async with trio.open_nursery() as nursery:
        for number in range(600):
            nursery.start_soon(push, number)
        await trio.testing.wait_all_tasks_blocked()
        broker.gate.set()
    assert got == {number: number % 3 for number in range(600)}
    assert [len(each) for each in broker.questions] == [PUSH_TOGETHER_COUNT_MAX, PUSH_TOGETHER_COUNT_MAX, 88]


async def test_together_they_are_bounded_by_bytes() -> None:
    broker = Broker()
    pushing = Pushing(broker.ask)
    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(pushing.push, "d", [("t", bytes(PUSH_BYTES_MAX // 2 - 1))])
        await trio.testing.wait_all_tasks_blocked()
        broker.gate.set()
    assert [len(each) for each in broker.questions] == [2, 2]


async def test_what_is_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    broker = Broker()
    pushing = Pushing(broker.ask)
    for messages in ([("t", b"")] * (PUSH_MESSAGE_COUNT_MAX + 1), [("t", bytes(PUSH_BYTES_MAX))]):
        with pytest.raises(LimitExceeded) as refused:
            await pushing.push("d", messages)
        assert refused.value.code == "push_too_large"
    monkeypatch.setattr(module, "PUSH_WAITING_COUNT_MAX", 1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pushing.push, "a", [("t", b"")])
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(pushing.push, "b", [("t", b"")])
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(LimitExceeded) as refused:
            await pushing.push("c", [("t", b"")])
        assert refused.value.code == "pushes_waiting"
        broker.gate.set()


async def test_all_learn_that_the_broker_can_not_be_asked() -> None:
    broker = Broker()
    broker.error = NotFound("Gone.", hint="Look.", code="gone")
    broker.gate.set()
    with pytest.raises(NotFound):
        await Pushing(broker.ask).push("d", [])


async def test_whoever_gives_up_takes_nobody_with_it() -> None:
    broker, failed = Broker(), list[str]()
    pushing = Pushing(broker.ask)

    async def push(name: str, scope: trio.CancelScope) -> None:
        with scope:
            try:
                await pushing.push(name, [("t", b"")])
            except Unavailable:
                failed.append(name)

    first, second, third = trio.CancelScope(), trio.CancelScope(), trio.CancelScope()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(push, "a", first)
        await trio.testing.wait_all_tasks_blocked()
        for name, scope in (("b", second), ("c", third)):
            nursery.start_soon(push, name, scope)
            await trio.testing.wait_all_tasks_blocked()
        first.cancel()  # Its question is on its way: nobody will know what became of it.
        await trio.testing.wait_all_tasks_blocked()
        assert [each[0] for each in broker.questions[1]] == ["b", "c"]
        second.cancel()  # It has asked for c, too.
        await trio.testing.wait_all_tasks_blocked()
        assert failed == ["c"]
    assert not pushing._waiting
