"""A list of devices from a file: what would be done, what was done, and every row that somebody has to look at."""

from __future__ import annotations

import base64
from collections.abc import AsyncGenerator, Iterable
from typing import Final

from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import Response

from appliance.core.errors import HomeportError, UsageError
from appliance.core.limits import PAGE_IMPORT_PROBLEM_COUNT_MAX
from appliance.management.device_csv import COLUMNS, csv_line
from appliance.management.import_report import ImportReport
from ui import auth
from ui.device_import import import_devices, rules_of
from ui.pages.scoped import scope_of
from ui.pages.shell import Shell, problem_text
from ui.problem import status_of

_PIECE_BYTES: Final = 64 * 1024


async def show(shell: Shell, request: Request) -> Response:
    """`GET /device-import`."""
    return await _page(shell, request)


async def run(shell: Shell, request: Request) -> Response:
    """`POST /device-import`, a form with the file and how to import it: the report."""
    form = await request.form()
    upload = form.get("file")
    try:
        if not isinstance(upload, UploadFile) or not upload.filename:
            raise UsageError("No file was chosen.", hint="Choose a CSV file.", code="body_invalid")
        rules = rules_of(
            shell.services,
            scope=await scope_of(request),
            update=form.get("update") == "1",
            tokens=form.get("tokens") == "1",
            dry_run=form.get("dry_run") == "1",
        )
        report = await import_devices(
            shell.services, _pieces(upload), rules, actor=await auth.actor_of(request)
        )
    except HomeportError as error:
        return await _page(shell, request, status=status_of(error), problem=problem_text(error))
    return await shell.render(
        request,
        "device_import_done.html",
        title="What would be done" if report.dry_run else "What was done",
        section="devices",
        report=report,
        counts=report.counts,
        shown=report.problems[:PAGE_IMPORT_PROBLEM_COUNT_MAX],
        problems_url=_download(_problem_lines(report)) if report.problems else "",
        tokens_url=_download(_token_lines(report)) if report.tokens else "",
    )


async def _page(shell: Shell, request: Request, *, status: int = 200, problem: str = "") -> Response:
    return await shell.render(
        request,
        "device_import.html",
        status=status,
        title="Import a list of devices",
        section="devices",
        header=",".join(COLUMNS),
        problem=problem,
    )


async def _pieces(upload: UploadFile) -> AsyncGenerator[bytes, None]:
    while piece := await upload.read(_PIECE_BYTES):
        yield piece


def _problem_lines(report: ImportReport) -> Iterable[str]:
    yield csv_line(("line", "device_id", "outcome", "column", "code", "reason", "hint"))
    for each in report.problems:
        yield csv_line(
            (
                str(each.line),
                each.device_id,
                each.outcome,
                each.column,
                each.code,
                each.reason,
                each.hint,
            )
        )


def _token_lines(report: ImportReport) -> Iterable[str]:
    yield csv_line(("device_id", "token"))
    for device_id, token in report.tokens:
        yield csv_line((device_id, token))


def _download(lines: Iterable[str]) -> str:
    """A link that holds what it leads to: nothing of it is kept on the box, and it works without JavaScript."""
    return "data:text/csv;charset=utf-8;base64," + base64.b64encode("".join(lines).encode()).decode()
