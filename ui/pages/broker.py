"""The broker: how it does and who is connected, live; one client; disconnecting it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

import trio
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from appliance.core.errors import HomeportError, NotFound, UsageError
from appliance.core.limits import BROKER_ROWS_INTERVAL_MS, CLIENT_ID_BYTES_MAX, PAGE_ROW_COUNT_DEFAULT
from ui import auth, broker_desk, broker_numbers
from ui.api import broker_structs as structs
from ui.live import sse
from ui.live.hub import Frame
from ui.pages.broker_views import ClientView, attention, rows, rows_of, words
from ui.pages.disk_attention import disk_attention
from ui.pages.live_page import stream
from ui.pages.looks import BROKER, CLIENT, DISK
from ui.pages.shell import Shell, form_of
from ui.pages.templating import partial
from ui.pages.views import Chip, Notice

FILTER_LENGTH_MAX: Final = 64
CONFIRMATION: Final = "end"
"""Typed to end a session: what waits for it can't be brought back."""
_NOTICES: Final = {
    "kicked": "The client was disconnected. It may come back.",
    "ended": "The session is ended. The client begins anew when it comes back.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """What the URL asks for: connected clients, those that are away, or all; with a text in id, user name or address."""

    state: str = ""
    q: str = ""

    @classmethod
    def of(cls, request: Request) -> Filter:
        """What means nothing is left out, so that an old bookmark still shows a list."""
        query = request.query_params
        state = query.get("state", "")
        return cls(
            state=state if state in ("connected", "away") else "",
            q=query.get("q", "").strip()[:FILTER_LENGTH_MAX],
        )

    def query(self, *, state: str | None = None, after: str = "") -> str:
        """The query of a list like this one with another state, or from another client on."""
        pairs = (("state", self.state if state is None else state), ("q", self.q), ("after", after))
        encoded = urlencode([(key, value) for key, value in pairs if value])
        return f"?{encoded}" if encoded else ""


async def show(shell: Shell, request: Request) -> Response:
    """`GET /broker?state=&q=&after=`: the numbers are shown even while the broker is away, its clients are not."""
    chosen, after = Filter.of(request), _after(request)
    page: structs.ClientPage | None = None
    if shell.services.broker.connected:
        page = await _page(shell, chosen, after)
    numbers = _numbers(shell)
    notice = _NOTICES.get(request.query_params.get("done", ""))
    return await shell.render(
        request,
        "broker.html",
        title="Broker",
        section="broker",
        live_url="/live/broker" + chosen.query(after=after),
        filter=chosen,
        chips=_chips(numbers["b"], chosen),
        rows=rows(page) if page else (),
        is_away=page is None,
        total=page.total if page else 0,
        first_url="/broker" + chosen.query() if after else "",
        next_url="/broker" + chosen.query(after=page.next_cursor) if page and page.next_cursor else "",
        notice=Notice(tone="good", text=notice) if notice else None,
        may=await shell.permissions_of(request),
        **numbers,
    )


async def _page(shell: Shell, chosen: Filter, after: str) -> structs.ClientPage:
    return await broker_desk.clients(
        shell.services, q=chosen.q, state=chosen.state, cursor=after, limit=PAGE_ROW_COUNT_DEFAULT
    )


async def live(shell: Shell, request: Request) -> Response:
    """`GET /live/broker` with the page's own query: the numbers, and the rows that it shows, in their places."""
    services = shell.services
    shown: list[str] = []
    if services.broker.connected:
        page = await _page(shell, Filter.of(request), _after(request))
        shown = [one.client_id for one in page.clients]
    numbers_seen: object = None
    rows_at = trio.current_time()

    async def render(frame: Frame) -> list[bytes]:
        nonlocal numbers_seen, rows_at
        html = ""
        now_ms = services.clock.now_ms()
        state = (services.broker.connected, id(services.broker.statistics))
        if state != numbers_seen or frame.is_first:
            numbers_seen = state
            may = await shell.permissions_of(request)
            numbers = shell.templates.render("broker_numbers.html", now_ms=now_ms, may=may, **_numbers(shell))
            html = partial("broker", numbers)
        if shown and (frame.is_first or trio.current_time() >= rows_at):
            rows_at = trio.current_time() + BROKER_ROWS_INTERVAL_MS / 1000
            html += await _fresh_rows(shell, shown, now_ms)
        return [sse.event(html, seq=frame.seq)] if html else []

    return stream(shell, request, None, render)


async def _fresh_rows(shell: Shell, client_ids: list[str], now_ms: int) -> str:
    try:
        page = await broker_desk.clients_named(shell.services, client_ids)
    except HomeportError:
        return ""  # The numbers say that the broker is away; the rows stay as they are.
    views = rows_of(client_ids, page)
    return partial("clients", shell.templates.render("broker_clients.html", rows=views, now_ms=now_ms))


def _numbers(shell: Shell) -> dict[str, Any]:
    broker = broker_numbers.broker(shell.services)
    return {
        "b": broker,
        "attention": (*attention(broker), *disk_attention(shell.services.broker.statistics)),
        "disk_look": DISK.get(broker.disk.level),
        "broker_look": BROKER["serving" if broker.connected else "away"],
        "refused": words(broker.refused_by_code),
        "closed": words(broker.closed_by_reason),
    }


async def show_client(shell: Shell, request: Request) -> Response:
    """`GET /broker/client?id=`. In the query, since an id may be "..", which browsers take for a folder.

    Raises:
        NotFound: `client_unknown`.
    """
    client_id = request.query_params.get("id", "")
    detail = await broker_desk.client(shell.services, client_id)
    view = ClientView(client_id=client_id, facts=detail)
    return await shell.render(
        request,
        "broker_client.html",
        title=view.label,
        section="broker",
        live_url="/live" + view.url,
        c=view,
        d=detail,
        confirmation=CONFIRMATION,
    )


async def live_client(shell: Shell, request: Request) -> Response:
    """`GET /live/broker/client?id=`: one client's state; that it is gone, once it is."""
    client_id = request.query_params.get("id", "")[:CLIENT_ID_BYTES_MAX]
    services = shell.services
    asked_at = trio.current_time()

    async def render(frame: Frame) -> list[bytes]:
        nonlocal asked_at
        if not frame.is_first and trio.current_time() < asked_at:
            return []
        asked_at = trio.current_time() + BROKER_ROWS_INTERVAL_MS / 1000
        detail: structs.ClientDetail | None = None
        try:
            detail = await broker_desk.client(services, client_id)
        except NotFound:
            pass  # Shown as gone.
        except HomeportError:
            return []
        html = shell.templates.render(
            "broker_client_state.html",
            c=ClientView(client_id=client_id, facts=detail),
            d=detail,
            now_ms=services.clock.now_ms(),
        )
        return [sse.event(partial("client", html), seq=frame.seq)]

    return stream(shell, request, None, render)


async def kick(shell: Shell, request: Request) -> Response:
    """`POST /broker/client/kick` with client_id and confirm=yes.

    Raises:
        UsageError: not confirmed. NotFound: `client_unknown`. Unavailable: the broker is away.
    """
    actor = await auth.actor_of(request)
    form = await form_of(request)
    if form.get("confirm") != "yes":
        raise UsageError(
            "The client was not disconnected: the box was not ticked.",
            hint="Go back, tick it, and try again.",
            code="not_confirmed",
        )
    await broker_desk.kick(shell.services, actor, form.get("client_id", ""))
    return RedirectResponse("/broker?done=kicked", 303)


async def end_session(shell: Shell, request: Request) -> Response:
    """`POST /broker/client/end` with client_id, and the confirmation as it was typed.

    Raises:
        UsageError: not confirmed. NotFound: `client_unknown`. Unavailable: the broker is away.
    """
    actor = await auth.actor_of(request)
    form = await form_of(request)
    if form.get("confirm", "").strip().casefold() != CONFIRMATION:
        raise UsageError(
            f"The session was not ended: “{CONFIRMATION}” was not typed.",
            hint="Go back, type it into the field, and try again.",
            code="not_confirmed",
        )
    await broker_desk.end_session(shell.services, actor, form.get("client_id", ""))
    return RedirectResponse("/broker?done=ended", 303)


def _after(request: Request) -> str:
    return request.query_params.get("after", "")[:CLIENT_ID_BYTES_MAX]


def _chips(broker: structs.Broker, chosen: Filter) -> tuple[Chip, ...]:
    count_of = {
        "": broker.connections + broker.sessions.away,
        "connected": broker.connections,
        "away": broker.sessions.away,
    }
    return tuple(
        Chip(
            look=CLIENT[word] if word else None,
            count=count,
            url="/broker" + chosen.query(state=word),
            current=word == chosen.state,
        )
        for word, count in count_of.items()
    )
