"""Retained messages: what is kept for subscribers to come, and clearing one, which has to be typed."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from appliance.core.errors import NotFound, UsageError
from appliance.core.limits import PAGE_ROW_COUNT_DEFAULT
from ui import auth, broker_desk
from ui.pages.broker_views import RetainedView
from ui.pages.shell import Shell, form_of
from ui.pages.views import Notice

FILTER_LENGTH_MAX: Final = 64
CONFIRMATION: Final = "clear"
_NOTICES: Final = {"cleared": "The retained message is gone."}


async def show(shell: Shell, request: Request) -> Response:
    """`GET /broker/retained?q=&before=`: the newest first.

    Raises:
        Unavailable: the broker is away.
    """
    query = request.query_params
    chosen = query.get("q", "").strip()[:FILTER_LENGTH_MAX]
    page = await broker_desk.retained(
        shell.services, q=chosen, cursor=_position(query.get("before", "")), limit=PAGE_ROW_COUNT_DEFAULT
    )
    notice = _NOTICES.get(query.get("done", ""))
    following = [("q", chosen)] if chosen else []
    return await shell.render(
        request,
        "retained.html",
        title="Retained messages",
        section="broker",
        q=chosen,
        total=page.total,
        rows=[RetainedView.of(message) for message in page.retained],
        next_url=""
        if page.next_cursor is None
        else "/broker/retained?" + urlencode([*following, ("before", str(page.next_cursor))]),
        notice=Notice(tone="good", text=notice) if notice else None,
    )


async def show_clear(shell: Shell, request: Request) -> Response:
    """`GET /broker/retained/clear?seq=`: asks whether the message at that position is to go.

    Raises:
        NotFound: `retained_unknown`: it is gone, or a newer one took its place.
    """
    seq = _position(request.query_params.get("seq", ""))
    if seq is None:
        raise _gone()
    page = await broker_desk.retained(shell.services, q="", cursor=seq + 1, limit=1)
    if not page.retained or page.retained[0].seq != seq:
        raise _gone()
    return await shell.render(
        request,
        "retained_clear.html",
        title="Clear a retained message",
        section="broker",
        r=RetainedView.of(page.retained[0]),
        confirmation=CONFIRMATION,
    )


async def clear(shell: Shell, request: Request) -> Response:
    """`POST /broker/retained/clear` with topic, seq, and the confirmation as it was typed.

    Raises:
        UsageError: not confirmed. NotFound: `retained_unknown`. Unavailable: the broker is away or its disk is full.
    """
    actor = await auth.actor_of(request)
    form = await form_of(request)
    if form.get("confirm", "").strip().casefold() != CONFIRMATION:
        raise UsageError(
            f"The message was not cleared: “{CONFIRMATION}” was not typed.",
            hint="Go back, type it into the field, and try again.",
            code="not_confirmed",
        )
    topic, seq = form.get("topic", ""), _position(form.get("seq", ""))
    await broker_desk.clear_retained(shell.services, actor, topic, seq)
    return RedirectResponse("/broker/retained?done=cleared", 303)


def _position(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None


def _gone() -> NotFound:
    return NotFound(
        "That retained message is gone, or a newer one took its place.",
        hint="Look at the list of retained messages again.",
        code="retained_unknown",
    )
