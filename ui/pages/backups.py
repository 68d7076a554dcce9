"""The page Backups: what was made and whether it is good, what is under way, where the next ones go, and how to come back."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from appliance.core.errors import HomeportError
from appliance.core.limits import PAGE_ROW_COUNT_DEFAULT
from appliance.management.audit import Act
from storage.backup.manifest import Manifest
from storage.catalog.backups import BackupRow
from ui import auth, backup_acts
from ui.backup_desk import BackupStatistics
from ui.live import sse
from ui.live.hub import Frame
from ui.pages.live_page import stream
from ui.pages.shell import Shell, form_of, problem_text
from ui.pages.templating import partial
from ui.pages.typed import check_typed
from ui.pages.views import Notice
from ui.problem import status_of

_NOTICES = {
    "begun": "It has begun. This page says how far it is.",
    "scheduled": "Backups are made there by themselves from now on.",
    "off": "No backups are made by themselves any more.",
    "removed": "The backup is removed.",
}
_KINDS = {
    "backup": "A backup is being made",
    "verify": "A backup is being read back",
    "restore test": "A backup is being restored for a test",
}
SCHEDULE = {
    "off": ("muted", "No folder is chosen: backups are made by hand only."),
    "waiting": ("good", "Backups are made by themselves."),
    "away": ("warn", "The disk is not connected. The backup that is due is made when it is back."),
    "due": ("warn", "A backup is due and begins within a minute."),
    "running": ("good", "Backups are made by themselves."),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupsView:
    """What the live part shows."""

    rows: tuple[BackupRow, ...]
    now: BackupStatistics
    running_text: str
    percent: int
    done: int
    total: int
    schedule_tone: str
    schedule_text: str


async def show(shell: Shell, request: Request) -> Response:
    """`GET /backups`."""
    return await _page(shell, request)


async def start(shell: Shell, request: Request) -> Response:
    """`POST /backups` with directory."""
    form = await form_of(request)
    wanted = form.get("directory", "").strip()
    try:
        act = Act(action="backup.start", actor=await auth.actor_of(request))
        await backup_acts.start(shell.services, act, Path(wanted) if wanted else None)
    except HomeportError as error:
        return await _page(
            shell, request, status=status_of(error), problem=problem_text(error), directory=wanted
        )
    return RedirectResponse("/backups?done=begun", 303)


async def schedule(shell: Shell, request: Request) -> Response:
    """`POST /backups/schedule` with directory; empty for none."""
    form = await form_of(request)
    wanted = form.get("directory", "").strip()
    try:
        act = Act(action="backup.schedule", actor=await auth.actor_of(request))
        await backup_acts.schedule(shell.services, act, Path(wanted) if wanted else None)
    except HomeportError as error:
        return await _page(
            shell, request, status=status_of(error), schedule_problem=problem_text(error), scheduled=wanted
        )
    return RedirectResponse(f"/backups?done={'scheduled' if wanted else 'off'}", 303)


async def show_one(shell: Shell, request: Request) -> Response:
    """`GET /backups/one?id=`: what is in it. Raises NotFound: `backup_unknown`."""
    return await _one(shell, request, request.query_params.get("id", ""))


async def verify(shell: Shell, request: Request) -> Response:
    """`POST /backups/verify` with id and restore_test. Raises NotFound: `backup_unknown`."""
    form = await form_of(request)
    backup_id = form.get("id", "")
    try:
        act = Act(action="backup.verify", actor=await auth.actor_of(request))
        restore_test = bool(form.get("restore_test"))
        await backup_acts.verify(shell.services, act, backup_id, restore_test=restore_test)
    except HomeportError as error:
        return await _one(shell, request, backup_id, status=status_of(error), problem=problem_text(error))
    return RedirectResponse("/backups?done=begun", 303)


async def remove(shell: Shell, request: Request) -> Response:
    """`POST /backups/remove` with id and confirm.

    Raises:
        UsageError: `not_confirmed`. NotFound: `backup_unknown`.
    """
    form = await form_of(request)
    backup_id = form.get("id", "")
    check_typed(form.get("confirm", ""), backup_id)
    try:
        act = Act(action="backup.remove", actor=await auth.actor_of(request))
        await backup_acts.remove(shell.services, act, backup_id)
    except HomeportError as error:
        return await _one(shell, request, backup_id, status=status_of(error), problem=problem_text(error))
    return RedirectResponse("/backups?done=removed", 303)


async def live(shell: Shell, request: Request) -> Response:
    """`GET /live/backups`: what is under way and what was made, where it has changed."""
    shown: BackupsView | None = None

    async def render(frame: Frame) -> list[bytes]:
        nonlocal shown
        view = await _view(shell)
        if view == shown and not frame.is_first:
            return []
        shown = view
        now_ms = shell.services.clock.now_ms()
        html = shell.templates.render("backups_body.html", view=view, now_ms=now_ms)
        return [sse.event(partial("backups", html), seq=frame.seq)]

    return stream(shell, request, None, render)


async def _view(shell: Shell) -> BackupsView:
    rows = await shell.services.catalog.read(lambda catalog: catalog.backups(PAGE_ROW_COUNT_DEFAULT))
    now = shell.services.backups.statistics()
    job = now.running
    tone, text = SCHEDULE["off" if now.directory is None else now.state]
    return BackupsView(
        rows=tuple(rows),
        now=now,
        running_text="" if job is None else _KINDS[job.kind],
        percent=0 if job is None or not job.total else min(99, 100 * job.done // job.total),
        done=0 if job is None else job.done,
        total=0 if job is None else job.total,
        schedule_tone=tone,
        schedule_text=text,
    )


async def _page(
    shell: Shell,
    request: Request,
    *,
    status: int = 200,
    problem: str = "",
    schedule_problem: str = "",
    directory: str = "",
    scheduled: str | None = None,
) -> Response:
    view = await _view(shell)
    chosen = "" if view.now.directory is None else str(view.now.directory)
    notice = _NOTICES.get(request.query_params.get("done", ""))
    backup = shell.services.config.backup
    return await shell.render(
        request,
        "backups.html",
        status=status,
        title="Backups",
        section="backups",
        live_url="/live/backups",
        view=view,
        directory=directory or chosen,
        scheduled=chosen if scheduled is None else scheduled,
        roots=", ".join(map(str, backup.directories)),
        interval_hours=backup.interval_hours,
        keep=backup.keep,
        problem=problem,
        schedule_problem=schedule_problem,
        notice=Notice(tone="good", text=notice) if notice else None,
    )


async def _one(
    shell: Shell, request: Request, backup_id: str, *, status: int = 200, problem: str = ""
) -> Response:
    row = await backup_acts.find(shell.services, backup_id)
    found: Manifest | None = None
    try:
        found = await backup_acts.contents(shell.services, backup_id)
    except HomeportError as error:
        problem = problem or problem_text(error)
    return await shell.render(
        request,
        "backup.html",
        status=status,
        title=f"Backup {backup_id}",
        section="backups",
        row=row,
        found=found,
        groups=_groups(found) if found is not None else (),
        problem=problem,
    )


def _groups(found: Manifest) -> tuple[tuple[str, int, int], ...]:
    """What is in it by kind: a word, how many files, how many bytes."""
    words = {
        "identity": "Keys and certificates",
        "catalog.db": "Catalog: devices, people, settings, audit",
        "log": "Log of readings",
        "archive": "Archive and snapshots",
        "artifacts": "Firmware images",
        "broker": "Sessions and retained messages",
        "cursors": "Positions of bridges",
        "config": "Configuration",
    }
    counts = {key: [0, 0] for key in words}
    for file in found.files:
        count = counts[file.name.partition("/")[0]]
        count[0] += 1
        count[1] += file.size
    return tuple((words[key], files, size) for key, (files, size) in counts.items() if files)
