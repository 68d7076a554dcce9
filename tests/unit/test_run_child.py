from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import trio
import trio.testing

from appliance.core.limits import HEARTBEAT_INTERVAL_MS, STATUS_CHARACTERS_MAX
from appliance.run import child
from appliance.run.child import ChildLink
from appliance.run.link_messages import DESCRIPTOR_VARIABLE, FromChild, ToChild, decode_from_child, encode


@contextmanager
def link_pair() -> Iterator[tuple[ChildLink, trio.socket.SocketType, list[int]]]:
    """A child's link, the supervisor's end of it, and the exit codes the child left with."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    left: list[int] = []
    with ours, theirs:
        yield ChildLink(theirs, leave=left.append), trio.socket.from_stdlib_socket(ours), left


async def _hear(supervisor: trio.socket.SocketType) -> FromChild:
    with trio.fail_after(20):
        return decode_from_child(await supervisor.recv(65_536))


async def test_the_first_heartbeat_comes_at_once_and_others_follow(
    autojump_clock: trio.testing.MockClock,
) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        ours.setblocking(False)
        async with trio.open_nursery() as nursery:
            await nursery.start(ChildLink(theirs).serve)
            assert decode_from_child(ours.recv(1000)).heartbeat
            for _ in range(3):
                with pytest.raises(BlockingIOError):
                    ours.recv(1000)
                await trio.sleep(HEARTBEAT_INTERVAL_MS / 1000 + 0.001)
                assert decode_from_child(ours.recv(1000)).heartbeat
            nursery.cancel_scope.cancel()


async def test_ready_and_status_are_told() -> None:
    with link_pair() as (link, supervisor, _left):
        await link.ready("serving", announce=["a", "b"])
        assert await _hear(supervisor) == FromChild(ready=True, status="serving", announce=("a", "b"))
        await link.status("x" * 1000)
        assert (await _hear(supervisor)).status == "x" * STATUS_CHARACTERS_MAX


async def test_the_supervisors_word_sets_stopping() -> None:
    with link_pair() as (link, supervisor, left):
        async with trio.open_nursery() as nursery:
            await nursery.start(link.serve)
            assert not link.stopping.is_set()
            await supervisor.send(encode(ToChild(drain=True)))
            with trio.fail_after(20):
                await link.stopping.wait()
            nursery.cancel_scope.cancel()
        assert left == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_sets_stopping(number: signal.Signals) -> None:
    link = ChildLink(None)
    async with trio.open_nursery() as nursery:
        await nursery.start(link.serve)
        os.kill(os.getpid(), number)
        with trio.fail_after(20):
            await link.stopping.wait()
        nursery.cancel_scope.cancel()


async def test_the_supervisors_end_sets_stopping_and_a_drain_that_never_ends_is_cut(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(child, "DRAIN_DEADLINE_MS", 50)
    left = threading.Event()
    codes: list[int] = []

    def leave(code: int) -> None:
        codes.append(code)
        left.set()

    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        link = ChildLink(theirs, leave=leave)
        async with trio.open_nursery() as nursery:
            await nursery.start(link.serve)
            ours.close()
            with trio.fail_after(20):
                await link.stopping.wait()
            await link.status("nobody hears it, and that is fine")
            await trio.to_thread.run_sync(left.wait, 5.0)
            nursery.cancel_scope.cancel()
    assert codes == [child.EXIT_ORPHANED]


async def test_a_drain_that_ends_is_not_cut() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    left: list[int] = []
    with theirs:
        link = ChildLink(theirs, leave=left.append)
        async with trio.open_nursery() as nursery:
            await nursery.start(link.serve)
            ours.close()
            with trio.fail_after(20):
                await link.stopping.wait()
            nursery.cancel_scope.cancel()
    for thread in threading.enumerate():
        if isinstance(thread, threading.Timer):
            thread.join(5.0)  # Its cancelled wait ends at once; were it not cancelled, this would fail.
            assert not thread.is_alive()
    assert left == []


async def test_the_descriptor_is_taken_out_of_the_environment() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    environ = {DESCRIPTOR_VARIABLE: str(theirs.detach())}
    with ours:
        link = ChildLink.from_environment(environ)
        assert environ == {}
        await link.ready("up")
        assert decode_from_child(ours.recv(1000)).ready
        link.close()


async def test_without_a_supervisor_nothing_is_sent() -> None:
    link = ChildLink.from_environment({})
    await link.ready("up")
    link.close()
    await link.status("up")
    assert not link.stopping.is_set()
