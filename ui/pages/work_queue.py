"""The work queue: devices that only a person can help, each with why, since when, its next step and the buttons for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from appliance.core.errors import HomeportError, NotFound, Unavailable, UsageError
from appliance.core.limits import PAGE_ROW_COUNT_DEFAULT
from appliance.core.limits_updates import ROLLOUT_REASON_LENGTH_MAX
from appliance.management.execution import Execution
from appliance.management.permissions import Scope
from appliance.updates.desk import Operation, possible
from storage.catalog import Catalog
from storage.catalog.device_firmware import DeviceFirmware
from storage.catalog.execution_lists import Drift
from ui import auth
from ui.live import sse
from ui.live.hub import Frame
from ui.pages.error_words import error_next, error_text
from ui.pages.execution_facts import execution_view
from ui.pages.execution_words import words_of
from ui.pages.format import visible
from ui.pages.live_page import stream
from ui.pages.rollout_views import ActView, DriftView, WorkItemView
from ui.pages.scoped import scope_of
from ui.pages.shell import Shell, form_of, problem_text
from ui.pages.templating import partial
from ui.pages.views import Notice
from ui.problem import status_of

URL: Final = "/firmware/work-queue"
DIGEST_LENGTH: Final = 12
DRIFT_COUNT: Final = 100
"""Devices that run something else, on this page; all of them are in the API."""
_ACTS: Final = {
    Operation.MARK_RECOVERED: ActView(
        key=Operation.MARK_RECOVERED, label="Mark it recovered", is_primary=True
    ),
    Operation.RETRY: ActView(key=Operation.RETRY, label="Retry the update"),
    Operation.RETRY_ROLLBACK: ActView(key=Operation.RETRY_ROLLBACK, label="Send it back again"),
    Operation.ACCEPT: ActView(key=Operation.ACCEPT, label="Leave it on the old version"),
    Operation.REPLACE_DEVICE: ActView(
        key=Operation.REPLACE_DEVICE, label="Another device takes its place", asks=True
    ),
    Operation.IGNORE: ActView(key=Operation.IGNORE, label="Ignore it", asks=True),
}
"""What can be done here, in the order of the buttons."""
_DONE: Final = {
    Operation.MARK_RECOVERED: "Marked recovered.",
    Operation.RETRY: "It is told again as soon as it can be reached.",
    Operation.RETRY_ROLLBACK: "It is told to go back as soon as it can be reached.",
    Operation.ACCEPT: "It stays on the old version.",
    Operation.REPLACE_DEVICE: "It is not waited for any more. Replace the device on its own page.",
    Operation.IGNORE: "Ignored, with your reason in its history.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """What the stream keeps up to date."""

    items: tuple[WorkItemView, ...]
    next_url: str


async def show(shell: Shell, request: Request) -> Response:
    """`GET /firmware/work-queue?rollout=&after=`."""
    return await _page(shell, request)


async def live(shell: Shell, request: Request) -> Response:
    """`GET /live/firmware/work-queue` with the page's query."""
    identity = await auth.require(request)
    shown: Body | None = None

    async def render(frame: Frame) -> list[bytes]:
        nonlocal shown
        body = await _body(shell, request, identity.scope)
        if body == shown and not frame.is_first:
            return []
        shown = body
        html = shell.templates.render(
            "work_queue_body.html",
            items=body.items,
            next_url=body.next_url,
            csrf=identity.csrf_token,
            now_ms=shell.services.clock.now_ms(),
        )
        return [sse.event(partial("work-queue", html), seq=frame.seq)]

    return stream(shell, request, None, render)


async def act(shell: Shell, request: Request) -> Response:
    """`POST /firmware/work-queue/{execution_id}` with act and perhaps a reason. Raises NotFound: `execution_unknown`."""
    form = await form_of(request)
    execution_id = request.path_params["execution_id"]
    scope = await scope_of(request)
    reason = form.get("reason", "").strip()[:ROLLOUT_REASON_LENGTH_MAX]
    try:
        operation = next((each for each in _ACTS if each == form.get("act")), None)
        if operation is None:
            raise UsageError("There is no such act.", hint="Use the buttons.", code="body_invalid")
        if _ACTS[operation].asks and not reason:
            raise UsageError(
                "There is no reason.", hint="Say why: it stands in its history.", code="body_invalid"
            )
        updates = shell.services.updates
        if updates is None:
            raise Unavailable("Updates are starting.", hint="Try again in a moment.", code="updates_away")
        await shell.services.catalog.read(
            lambda catalog: catalog.visible_execution(execution_id, scope=scope)
        )
        await updates.operate(execution_id, operation, await auth.actor_of(request), reason=reason)
    except NotFound:
        raise
    except HomeportError as error:
        return await _page(shell, request, problem=problem_text(error), status=status_of(error))
    shell.updates.changed()
    return RedirectResponse(f"{URL}?done={operation}", 303)


def item_of(
    execution: Execution, said: DeviceFirmware | None, *, rollout_name: str, may_act: bool
) -> WorkItemView:
    """A device in the queue.

    Args:
        said: What it reported last.
    """
    is_since = said is not None and said.report.at_ms >= execution.state_since_ms
    reported = ""
    if said is not None:
        reported = said.report.version or said.report.digest[:DIGEST_LENGTH]
    operations = possible(execution)
    acts = tuple(
        act
        for operation, act in _ACTS.items()
        if operation in operations and (operation is not Operation.MARK_RECOVERED or is_since)
    )
    steps = [words_of(execution.state).next, error_next(execution.error)]
    if Operation.MARK_RECOVERED in operations:
        steps.append(
            f"It says that it runs {visible(reported)} now: if that is right, mark it recovered."
            if is_since
            else "It has not said since then what it runs: have it connect, and it can be marked recovered."
        )
    why = execution.manual_reason or error_text(execution.error, execution.error_text)
    return WorkItemView(
        e=execution_view(execution, rollout_name=rollout_name),
        why=why or words_of(execution.state).says,
        since_ms=execution.state_since_ms,
        next=" ".join(filter(None, steps)),
        reported=reported,
        reported_at_ms=said.report.at_ms if said is not None else None,
        acts=acts if may_act else (),
    )


def drift_view(found: Drift) -> DriftView:
    """A device that runs something else."""
    return DriftView(
        device_id=found.device_id,
        should_run=_names(found.should_version, found.should_digest, found.version),
        reports=_names(found.version, found.digest, found.should_version),
        reported_at_ms=found.reported_at_ms,
    )


def _names(version: str, digest: str, other_version: str) -> str:
    """A version, with the beginning of its digest where the version alone would not tell the two apart."""
    if version and version != other_version:
        return version
    return f"{version} ({digest[:DIGEST_LENGTH]}…)".strip()


async def _body(shell: Shell, request: Request, scope: Scope) -> Body:
    rollout_id, after = _chosen(request)
    may_act = "executions.operate" in await shell.permissions_of(request)

    def read(catalog: Catalog) -> Body:
        found = catalog.executions_in_need(
            rollout_id=rollout_id, scope=scope, cursor=after or None, limit=PAGE_ROW_COUNT_DEFAULT
        )
        names = {each.rollout_id: catalog.find_rollout(each.rollout_id) for each in found.executions}
        items = []
        for each in found.executions:
            rollout = names[each.rollout_id]
            said = catalog.device_firmware(each.device_id)
            name = rollout.name if rollout is not None else each.rollout_id
            items.append(item_of(each, said, rollout_name=name, may_act=may_act))
        more = {"rollout": rollout_id} if rollout_id else {}
        next_url = f"{URL}?{urlencode({**more, 'after': found.next_cursor})}" if found.next_cursor else ""
        return Body(items=tuple(items), next_url=next_url)

    return await shell.services.catalog.read(read)


def _chosen(request: Request) -> tuple[str, str]:
    query = request.query_params
    return query.get("rollout", "")[:128], query.get("after", "")[:128]


async def _page(shell: Shell, request: Request, *, problem: str = "", status: int = 200) -> Response:
    scope = await scope_of(request)
    rollout_id, after = _chosen(request)
    body = await _body(shell, request, scope)
    rollout, drift = await shell.services.catalog.read(
        lambda catalog: (
            catalog.find_rollout(rollout_id),
            tuple(map(drift_view, catalog.drift(scope=scope, limit=DRIFT_COUNT))),
        )
    )
    notice = _DONE.get(request.query_params.get("done", ""))  # type: ignore[call-overload]
    pairs = [(key, value) for key, value in (("rollout", rollout_id), ("after", after)) if value]
    return await shell.render(
        request,
        "work_queue.html",
        status=status,
        title="Work queue",
        section="work_queue",
        live_url=f"/live{URL}" + (f"?{urlencode(pairs)}" if pairs else ""),
        notice=Notice(tone="good", text=notice) if notice and not problem else None,
        problem=problem,
        rollout_name=rollout.name if rollout is not None else "",
        items=body.items,
        next_url=body.next_url,
        drift=drift,
    )
