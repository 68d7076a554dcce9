"""The card about drills on the page “Sites”: what the newest found, in words, and the button for one now."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from appliance.core.errors import Conflict, NotFound
from appliance.management.audit import Act
from appliance.management.drill import SOURCES, DrillProgress, DrillReport, From, of
from ui import drill_acts
from ui.auth import actor_of
from ui.drill_desk import DrillsNow
from ui.pages.format import bytes_text, count_text, duration_text, plural, visible
from ui.pages.looks import DRILL, Look
from ui.pages.shell import Shell, form_of

SHOWN_COUNT: Final = 20
NAMED_COUNT: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class DrillRow:
    """A drill that has ended. `text` says what came of it; `notes` what is different or missing."""

    report: DrillReport
    look: Look
    by: str
    text: str
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DrillsView:
    """The card. `percent` is None where it isn't known how much there is to do; `newest` has one of each source."""

    running: DrillProgress | None
    running_text: str
    percent: int | None
    rows: tuple[DrillRow, ...]
    days: int
    due_at_ms: int | None
    cloud_days: int
    cloud_due_at_ms: int | None
    newest: tuple[DrillRow, ...]


def drills_view(now: DrillsNow) -> DrillsView:
    running = now.running
    newest = [_row(found[0]) for source in SOURCES if (found := of(now.kept, source))]
    return DrillsView(
        newest=tuple(sorted(newest, key=lambda row: row.report.begun_at_ms, reverse=True)),
        cloud_days=now.cloud_days,
        cloud_due_at_ms=now.cloud_due_at_ms,
        running=running,
        running_text="" if running is None else visible(running.step),
        percent=None
        if running is None or not running.total
        else min(100, 100 * running.done // running.total),
        rows=tuple(_row(each) for each in now.kept[:SHOWN_COUNT]),
        days=now.days,
        due_at_ms=now.due_at_ms,
    )


async def begin(shell: Shell, request: Request) -> Response:
    """`POST /sites/drill`, with `source`: one that is under way already is as good."""
    source: From = "cloud" if (await form_of(request)).get("source") == "cloud" else "peers"
    act = Act(action="drill.start", actor=await actor_of(request))
    try:
        await drill_acts.start(shell.services, act, source=source)
    except Conflict:
        pass  # somebody else was faster; the page shows it
    return RedirectResponse("/sites?done=drill", 303)


async def stop(shell: Shell, request: Request) -> Response:
    """`POST /sites/drill/stop`: one that has ended meanwhile is shown."""
    try:
        await drill_acts.stop(shell.services, Act(action="drill.stop", actor=await actor_of(request)))
    except NotFound:
        return RedirectResponse("/sites", 303)
    return RedirectResponse("/sites?done=drill-off", 303)


def _row(report: DrillReport) -> DrillRow:
    notes = [
        *report.differences[:NAMED_COUNT],
        *(f"Missing: {each}" for each in report.lacking[:NAMED_COUNT]),
    ]
    if report.difference_count > NAMED_COUNT:
        notes.append(f"{plural(report.difference_count, 'difference', 'differences')} in all.")
    if report.away:
        notes.append(f"Not reached, and may have more: {', '.join(report.away)}.")
    return DrillRow(
        report=report,
        look=DRILL[report.outcome],
        by="by itself" if report.is_scheduled else visible(report.by),
        text=visible(_text(report)),
        notes=tuple(visible(each) for each in (*notes, *report.notes)),
    )


def _text(report: DrillReport) -> str:
    if report.rpo_ms is None or report.serve_ms is None or report.whole_ms is None:
        return report.problem
    lost = (
        f"Would have been lost: {plural(report.rpo_records or 0, 'record')} of the last {duration_text(report.rpo_ms)}."
        if report.rpo_records
        else "Nothing would have been lost."
    )
    rows = sum(each.rows for each in report.tables)
    return (
        f"{lost} Devices could be served after {duration_text(report.serve_ms)}, all was there after"
        f" {duration_text(report.whole_ms)} ({bytes_text(report.bytes)} out of {', '.join(report.asked) or 'nobody'})."
        f" Compared: {plural(report.compared_records, 'record')} of {count_text(report.compared_series)} series,"
        f" {plural(rows, 'row')} of settings."
    )
