"""A child of the supervisor that behaves, or misbehaves, as its first argument says."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable

import trio

from appliance.core import logs
from appliance.run.child import ChildLink


async def serve(link: ChildLink) -> None:
    """Does everything right."""
    await link.ready(f"pid {os.getpid()}", announce=["https://127.0.0.1:1", "setup code GN2HG-CVRBY"])
    await link.stopping.wait()


async def quiet(link: ChildLink) -> None:
    """Does everything right and announces nothing."""
    await link.ready(f"pid {os.getpid()}")
    await link.stopping.wait()


async def crash(link: ChildLink) -> None:
    """Ends before it is ready."""
    os._exit(3)


async def crash_when_ready(link: ChildLink) -> None:
    await link.ready("for a moment", announce=["https://127.0.0.1:1", "setup code GN2HG-CVRBY"])
    os._exit(4)


async def hang(link: ChildLink) -> None:
    """Blocks its event loop for good."""
    await link.ready(f"pid {os.getpid()}")
    time.sleep(3600)  # noqa: ASYNC251 - that is the point


async def deaf(link: ChildLink) -> None:
    """Never ends by itself."""
    await link.ready(f"pid {os.getpid()}")
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    await trio.sleep_forever()


async def babble(link: ChildLink) -> None:
    """Sends what is no message, then does everything right."""
    descriptor = int(sys.argv[2])
    os.write(descriptor, b"\xff not a message")
    await serve(link)


async def leave_a_grandchild(link: ChildLink) -> None:
    """Starts a process of its own and dies without ending it."""
    grandchild = os.fork()
    if grandchild == 0:
        time.sleep(3600)  # noqa: ASYNC251
    await link.ready(f"pid {grandchild}")
    await link.stopping.wait()


BEHAVIOURS: dict[str, Callable[[ChildLink], Awaitable[None]]] = {
    function.__name__: function
    for function in (serve, quiet, crash, crash_when_ready, hang, deaf, babble, leave_a_grandchild)
}


async def main(behaviour: str) -> None:
    link = ChildLink.from_environment()
    async with trio.open_nursery() as nursery:
        await nursery.start(link.serve)
        await BEHAVIOURS[behaviour](link)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    logs.set_up(process="stand-in", level="info", format="json")
    if sys.argv[1] == "babble":
        sys.argv.append(os.environ["HOMEPORT_SUPERVISOR_FD"])
    trio.run(main, sys.argv[1])
