"""How old a session may be for what an open browser must not give away."""

from __future__ import annotations

from pathlib import Path

from starlette.requests import Request

from appliance.core.limits import FRESH_SESSION_MS
from tests.node_kit import Node, running_node
from ui.pages.fresh_session import is_fresh, sign_in_again
from ui.pages.shell import Shell


def request_of(node: Node, cookie: str) -> Request:
    class App:
        state = type("State", (), {"services": node.services})

    headers = [(b"cookie", cookie.encode())]
    return Request(
        {"type": "http", "method": "GET", "path": "/x", "scheme": "https", "headers": headers, "app": App(),
         "client": ("192.0.2.7", 1), "query_string": b"", "server": ("box.test", 443)}
    )  # fmt: skip


async def test_fresh_for_a_quarter_of_an_hour_however_much_it_is_used(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node, node.admin() as client:
        shell = Shell(node.services)
        cookie = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
        node.clock.advance(FRESH_SESSION_MS - 1)
        assert await is_fresh(shell, request_of(node, cookie))
        await client.get("/")
        node.clock.advance(1)
        assert not await is_fresh(shell, request_of(node, cookie))
        answer = sign_in_again(request_of(node, cookie))
        assert answer.headers["location"] == "/sign-in?again=1&next=%2Fx"


async def test_a_clock_that_was_set_back_makes_no_session_fresh(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node, node.admin() as client:
        cookie = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
        node.clock.set_wall(node.clock.now_ms() - 1)
        assert not await is_fresh(Shell(node.services), request_of(node, cookie))
