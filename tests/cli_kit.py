"""The command line of a box whose node serves its socket, as a person types it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import trio
from click.testing import CliRunner, Result
from hypercorn.config import Config as ServerConfig
from hypercorn.trio import serve

from appliance.cli import main
from tests.node_kit import running_node
from ui.auth import LocalTrust

Ask = Callable[..., Awaitable[Result]]


@asynccontextmanager
async def typed(folder: Path, verb: str) -> AsyncIterator[Ask]:
    """A node with an empty catalog; what is yielded runs `homeport VERB` with the arguments it gets, and `stdin`."""
    config = folder / "homeport.toml"
    config.write_text('[node]\ndata_dir = "data"\nrun_dir = "run"\n')
    for name in ("run", "data"):
        (folder / name).mkdir()

    def run(*arguments: str, stdin: str | None) -> Result:
        words = [verb, *arguments, "--config", str(config)]
        return CliRunner().invoke(main, words, input=stdin, catch_exceptions=False)

    async def ask(*arguments: str, stdin: str | None = None) -> Result:
        return await trio.to_thread.run_sync(partial(run, *arguments, stdin=stdin))

    async with running_node(folder) as node, trio.open_nursery() as nursery:
        server = ServerConfig()
        server.bind = [f"unix:{folder / 'run' / 'node.sock'}"]
        server.errorlog = None
        stop = trio.Event()
        await nursery.start(partial(serve, LocalTrust(node.app), server, shutdown_trigger=stop.wait))  # type: ignore[arg-type]
        yield ask
        stop.set()
