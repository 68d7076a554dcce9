"""A live broker for the black-box tests: ours in a thread of this process, or any other by its address.

HOMEPORT_PROTOCOL_BROKER=host:port runs the same tests against another broker, to see what they say of it.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from queue import Queue

import pytest
import trio

from tests.broker_kit import running_broker

from .raw_client import Address, RawClient

START_DEADLINE_S = 30.0


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Address]:
    """(host, port) of a broker that lives as long as the test run."""
    other = os.environ.get("HOMEPORT_PROTOCOL_BROKER")
    if other is not None:
        host, _, its_port = other.rpartition(":")
        yield host, int(its_port)
        return
    started: Queue[tuple[int, trio.lowlevel.TrioToken, trio.Event]] = Queue()
    failures: list[BaseException] = []

    async def serve() -> None:
        async with running_broker(tmp_path_factory.mktemp("broker")) as running:
            stop = trio.Event()
            started.put((running.port, trio.lowlevel.current_trio_token(), stop))
            await stop.wait()

    def run() -> None:
        try:
            trio.run(serve)
        except BaseException as error:  # noqa: BLE001 - handed to the test run below
            failures.append(error)

    thread = threading.Thread(target=run, name="broker")
    thread.start()
    port, token, stop = started.get(timeout=START_DEADLINE_S)
    yield "127.0.0.1", port
    if failures:
        raise failures[0]
    trio.from_thread.run_sync(stop.set, trio_token=token)
    thread.join(START_DEADLINE_S)
    assert not thread.is_alive()
    if failures:
        raise failures[0]


@pytest.fixture
def bystander(broker: Address) -> Iterator[RawClient]:
    """A client that has nothing to do with it, and must not notice anything."""
    with RawClient(broker, 4) as client:
        client.connect("bystander")
        client.subscribe(("bystander/#", 1))
        yield client
        client.ping()
