"""One rollout: its bar, waves and devices, live; what happened to it, and what people may do now."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from appliance.core.errors import Conflict, HomeportError, NotFound
from appliance.core.limits import PAGE_ROW_COUNT_DEFAULT
from appliance.management.permissions import Scope
from appliance.management.wave_counts import Standing
from appliance.updates import rollout_acts
from appliance.updates.rollout_acts import Author
from storage.catalog import Catalog
from storage.catalog.rollouts import Rollout, RolloutMove
from ui import auth, retrying
from ui.live import sse
from ui.live.hub import Frame
from ui.pages.addresses import rollout_url
from ui.pages.execution_facts import execution_view
from ui.pages.live_page import stream
from ui.pages.looks import Look
from ui.pages.rollout_facts import Looker, view_of, waves_of
from ui.pages.rollout_plan_words import (
    gate_text,
    limits_text,
    stop_text,
    targets_text,
    waves_text,
    window_text,
)
from ui.pages.rollout_views import ExecutionView, RolloutView, WaveView
from ui.pages.rollout_words import EVENTS, rollout_look, states_of
from ui.pages.rollouts import looker_of
from ui.pages.scoped import scope_of
from ui.pages.shell import Handler, Shell, form_of, problem_text
from ui.pages.templating import partial
from ui.pages.views import Notice
from ui.problem import status_of

HISTORY_COUNT: Final = 50
_NOTICES: Final = {
    "draft": "Saved as a draft. Nobody is updated before it is submitted and started.",
    "awaiting_approval": "Submitted. A second person has to approve it.",
    "ready": "Ready to start.",
    "running": "Started.",
    "resumed": "Resumed.",
    "paused": "Paused. Whoever is installing finishes.",
    "stopping": "Stopping. Whoever is installing finishes.",
    "stopped": "Stopped.",
    "retried": "The devices that failed are tried again.",
    "rolling_back": "The devices are told to go back.",
}
Act = Callable[[Catalog, str, Author, int], Rollout]
SIMPLE_ACTS: Final[dict[str, Act]] = {
    "submit": rollout_acts.submit,
    "start": rollout_acts.start,
    "pause": lambda catalog, rollout_id, author, now_ms: rollout_acts.pause(catalog, rollout_id, author, ""),
    "resume": rollout_acts.resume,
}
"""What a button does at once, besides approving; what wants a reason or a typed confirmation is in rollout_confirm.py."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DidView:
    """A move of the rollout; `who` is "" for Homeport itself."""

    what: str
    look: Look
    who: str
    reason: str
    at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """What the stream keeps up to date."""

    r: RolloutView
    waves: tuple[WaveView, ...]
    rows: tuple[ExecutionView, ...]
    history: tuple[DidView, ...]
    kind: str
    first_url: str
    next_url: str


async def show(shell: Shell, request: Request) -> Response:
    """`GET /firmware/rollouts/{id}?kind=&after=`. Raises NotFound: `rollout_unknown`."""
    return await page(shell, request)


async def live(shell: Shell, request: Request) -> Response:
    """`GET /live/firmware/rollouts/{id}` with the page's query. Raises NotFound: `rollout_unknown`."""
    identity = await auth.require(request)
    rollout_id = request.path_params["rollout_id"]
    kind, after = _chosen(request)
    seen = request.query_params.get("seen", "")[:32]
    shown: Body | None = None

    async def render(frame: Frame) -> list[bytes]:
        nonlocal shown
        looker = await looker_of(shell, request)
        body = await shell.services.catalog.read(
            lambda catalog: _body(
                catalog, catalog.get_rollout(rollout_id), identity.scope, looker, kind, after
            )
        )
        if body == shown and not frame.is_first:
            return []
        shown = body
        html = shell.templates.render(
            "rollout_body.html",
            **_context(body),
            seen=seen,
            csrf=identity.csrf_token,
            now_ms=shell.services.clock.now_ms(),
        )
        return [sse.event(partial("rollout", html), seq=frame.seq)]

    await shell.services.catalog.read(lambda catalog: catalog.get_rollout(rollout_id))
    return stream(shell, request, None, render)


def doing(name: str) -> Handler:
    """`POST /firmware/rollouts/{id}/NAME`: what is done at once. Raises NotFound: `rollout_unknown`."""

    async def act(shell: Shell, request: Request) -> Response:
        rollout_id = request.path_params["rollout_id"]
        author = Author((await auth.require(request)).user_id)
        now_ms = shell.services.clock.now_ms()
        fn = SIMPLE_ACTS.get(name) or _approving((await form_of(request)).get("seen", ""))
        try:
            rollout = await shell.write(
                request, f"rollout.{name}", lambda catalog: fn(catalog, rollout_id, author, now_ms)
            )
        except NotFound:
            raise
        except HomeportError as error:
            return await page(shell, request, problem=problem_text(error), status=status_of(error))
        shell.updates.changed()
        done = "resumed" if name == "resume" else rollout.state
        return RedirectResponse(f"{rollout_url(rollout_id)}?done={done}", 303)

    return act


def _approving(seen: str) -> Act:
    """Approve, if it is still what the page has shown.

    Args:
        seen: The row's version when the page was made. What the stream keeps up to date has no part of the plan, and so sends that one too.
    """

    def approve(catalog: Catalog, rollout_id: str, author: Author, now_ms: int) -> Rollout:
        if str(catalog.get_rollout(rollout_id).version) != seen:
            raise Conflict(
                "It was changed since you read it.",
                hint="Look at what it does now, and approve that.",
                code="version_differs",
            )
        return rollout_acts.approve(catalog, rollout_id, author, now_ms)

    return approve


async def retry_failed(shell: Shell, request: Request) -> Response:
    """`POST /firmware/rollouts/{id}/retry-failed`. Raises NotFound: `rollout_unknown`."""
    rollout_id = request.path_params["rollout_id"]
    try:
        await retrying.retry_failed(shell.services, rollout_id, await auth.actor_of(request))
    except NotFound:
        raise
    except HomeportError as error:
        return await page(shell, request, problem=problem_text(error), status=status_of(error))
    shell.updates.changed()
    return RedirectResponse(f"{rollout_url(rollout_id)}?done=retried", 303)


async def instead(shell: Shell, request: Request) -> Response:
    """`GET /firmware/rollouts/{id}/NAME`: the address that an act which was refused leaves behind is loaded anew, or sent to a colleague."""
    return RedirectResponse(rollout_url(request.path_params["rollout_id"]), 303)


async def page(shell: Shell, request: Request, *, problem: str = "", status: int = 200) -> Response:
    """The whole page."""
    rollout_id = request.path_params["rollout_id"]
    scope = await scope_of(request)
    kind, after = _chosen(request)
    looker = await looker_of(shell, request)

    def read(catalog: Catalog) -> tuple[Rollout, Body]:
        rollout = catalog.get_rollout(rollout_id)
        return rollout, _body(catalog, rollout, scope, looker, kind, after)

    rollout, body = await shell.services.catalog.read(read)
    notice = _NOTICES.get(request.query_params.get("done", ""))
    seen = str(rollout.version)
    query = urlencode(
        [(key, value) for key, value in (("kind", kind), ("after", after), ("seen", seen)) if value]
    )
    plan = rollout.plan
    return await shell.render(
        request,
        "rollout.html",
        status=status,
        title=rollout.name,
        section="rollouts",
        live_url=f"/live{rollout_url(rollout_id)}?{query}",
        seen=seen,
        notice=Notice(tone="good", text=notice) if notice and not problem else None,
        problem=problem,
        targets=targets_text(rollout.targets) if scope is None else "Some of yours may be among them.",
        waves_words=waves_text(plan.waves),
        gate_words=gate_text(plan),
        stop_words=stop_text(plan),
        window_words=window_text(plan.window),
        limit_words=limits_text(plan, rollout.policy),
        **_context(body),
    )


def _context(body: Body) -> dict[str, Any]:
    return {
        "r": body.r,
        "waves": body.waves,
        "rows": body.rows,
        "history": body.history,
        "kind": body.kind,
        "first_url": body.first_url,
        "next_url": body.next_url,
    }


def _chosen(request: Request) -> tuple[str, str]:
    """The kind of state, and the execution after which the list goes on."""
    query = request.query_params
    kind = query.get("kind", "")
    return kind if states_of(kind) else "", query.get("after", "")[:128]


def _body(catalog: Catalog, rollout: Rollout, scope: Scope, looker: Looker, kind: str, after: str) -> Body:
    standings: list[Standing] = catalog.standings(rollout.rollout_id, scope=scope)
    artifact = catalog.find_rollout_artifact(rollout.artifact_id)
    url = rollout_url(rollout.rollout_id)
    found = catalog.list_executions(
        rollout_id=rollout.rollout_id,
        states=states_of(kind),
        scope=scope,
        cursor=after or None,
        limit=PAGE_ROW_COUNT_DEFAULT,
    )
    view = view_of(
        rollout,
        standings,
        artifact=f"{artifact.name} {artifact.version}" if artifact else "an artifact that was removed",
        looker=looker,
    )
    more = {"kind": kind} if kind else {}
    return Body(
        r=view,
        waves=waves_of(
            rollout, standings, standings if scope is None else catalog.standings(rollout.rollout_id)
        ),
        rows=tuple(execution_view(each, rollout_name=rollout.name) for each in found.executions),
        history=tuple(map(_did, catalog.rollout_history(rollout.rollout_id, limit=HISTORY_COUNT))),
        kind=kind,
        first_url=f"{url}?{urlencode(more)}#devices" if after else "",
        next_url=f"{url}?{urlencode({**more, 'after': found.next_cursor})}#devices"
        if found.next_cursor
        else "",
    )


def _did(move: RolloutMove) -> DidView:
    return DidView(
        what=EVENTS.get(move.event, move.event.replace("_", " ")),
        look=rollout_look(move.to_state),
        who=move.actor,
        reason=move.reason,
        at_ms=move.at_ms,
    )
