"""`homeport query` against a node with a real store."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import trio
from click.testing import CliRunner, Result
from hypercorn.config import Config as ServerConfig
from hypercorn.trio import serve

from appliance.cli import main
from storage.telemetry.sql_box import SqlBox
from tests.broker_kit import wait_until
from tests.node_kit import running_node
from tests.sql_kit import store_with_readings
from ui.auth import LocalTrust


def _query(config: Path, *arguments: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(
        main, ["query", *arguments, "--config", str(config)], input=stdin, catch_exceptions=False
    )


@asynccontextmanager
async def _node(folder: Path) -> AsyncIterator[SqlBox]:
    """A node with a real store on its socket."""
    for name in ("run", "data"):
        (folder / name).mkdir()
    store = store_with_readings(folder / "data")
    box = SqlBox(store, timeout_ms=60_000)
    async with running_node(folder, sql=box) as node, trio.open_nursery() as nursery:
        server = ServerConfig()
        server.bind = [f"unix:{folder / 'run' / 'node.sock'}"]
        server.errorlog = None
        stop = trio.Event()
        await nursery.start(partial(serve, LocalTrust(node.app), server, shutdown_trigger=stop.wait))  # type: ignore[arg-type]
        yield box
        stop.set()
    box.close()
    store.close()


async def test_who_hangs_up_ends_the_question(tmp_path: Path) -> None:
    async with _node(tmp_path) as box:
        body = json.dumps({"sql": "SELECT count(*) FROM range(1000000000) a, range(1000000000) b"}).encode()
        head = f"POST /api/v1/query HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        async with await trio.open_unix_socket(tmp_path / "run" / "node.sock") as asker:
            await asker.send_all(head.encode() + body)
            await wait_until(lambda: box.statistics().running)
        # Long before its minute is over.
        await wait_until(lambda: not box.statistics().running)
        assert box.statistics().timeouts_total == 0


async def test_it_asks_the_node(tmp_path: Path) -> None:
    config_path = tmp_path / "homeport.toml"
    config_path.write_text('[node]\ndata_dir = "data"\nrun_dir = "run"\n')
    async with _node(tmp_path):

        async def query(*arguments: str, stdin: str | None = None) -> Result:
            return await trio.to_thread.run_sync(partial(_query, config_path, *arguments, stdin=stdin))

        count = "SELECT device, count(*) AS n, max(text) AS t FROM readings GROUP BY device ORDER BY device"
        shown = await query(count)
        assert shown.stdout.splitlines() == ["device  n   t", "d       30  m9", "e       2"]
        assert shown.stderr.startswith("2 rows, ")
        from_stdin = await query("-", "--json", stdin=count)
        assert json.loads(from_stdin.stdout)["rows"] == [["d", 30, "m9"], ["e", 2, None]]
        assert (await query("--csv", count)).stdout == "device,n,t\nd,30,m9\ne,2,\n"
        assert "observed_at" in (await query("--tables")).stdout
        cut = await query("SELECT i FROM range(20000) t(i)")
        assert "10000 rows, cut off: there are more" in cut.stderr

        refused = await query("SELECT * FROM dead_letters")
        assert refused.exit_code == 2
        assert "There is no table 'dead_letters' here." in refused.stderr
        assert (await query()).exit_code == 2
        assert (await query("SELECT 1", "--csv", "--json")).exit_code == 2
        too_long = await query("-", stdin="SELECT '" + "x" * 20_000 + "'")
        assert too_long.exit_code == 2
