"""Storage: where each day's readings lie, how long they are kept, what the keeper does, erasures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from appliance.core.errors import HomeportError, UsageError
from appliance.management.audit import Act
from appliance.management.retention import FOR_EVER, RetentionClass
from storage.archive.layout import day_text
from storage.telemetry.batch import DAY_MS
from ui import auth
from ui.api.archive import check_until, day_of, keeper_of
from ui.api.retention import read_retention
from ui.pages.looks import Look
from ui.pages.shell import Shell, form_of, problem_text
from ui.pages.views import Notice
from ui.problem import status_of
from ui.storage_room import disk_room_bytes

DAY_COUNT: Final = 60
ERASURE_COUNT: Final = 20
RESTORE_DAYS: Final = 7
"""How long a restored day stays unless another date is chosen."""
WHERE: Final[dict[str, Look]] = {
    "hot": Look("in the store", "info", "idle"),
    "both": Look("store and archive", "ok", "good"),
    "part": Look("partly in the archive", "ok", "good"),
    "archived": Look("in the archive", "ok", "good"),
}
KEEPER: Final[dict[str, Look]] = {
    "starting": Look("starting", "info", "idle"),
    "idle": Look("nothing to do", "ok", "good"),
    "working": Look("working", "turn", "good"),
    "paused": Look("waiting", "info", "idle"),
    "failing": Look("failing", "bad", "bad"),
}
_EMPTY_WISH: Final = {
    "class_id": "",
    "metric": "",
    "hot_days": "90",
    "archive_days": "730",
    "position": "",
}
_DONE: Final = {
    "class": "Saved. The keeper goes by it from now on.",
    "removed": "Removed. Its metrics are of the next class that fits.",
    "restore": "The day is being brought back; the keeper says how far it is.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DayRow:
    """A day as it is shown. look: Where it lies. faults: In words."""

    day: str
    look: Look
    readings: int
    pending: int
    bytes: int
    verified_at_ms: int | None
    faults: tuple[str, ...]
    restored_until: str
    may_restore: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassRow:
    """A retention class as it is shown. archive_bytes: None for no end."""

    class_id: str
    metric: str
    hot_days: int
    archive_days: int
    rows_per_day: int
    store_bytes: int
    archive_bytes: int | None
    is_default: bool


async def show(shell: Shell, request: Request) -> Response:
    """`GET /storage?before=`. Raises Unavailable: the archive is not open yet."""
    text = _DONE.get(request.query_params.get("done", ""))
    return await _page(shell, request, notice=Notice(tone="good", text=text) if text else None)


async def change_class(shell: Shell, request: Request) -> Response:
    """`POST /storage/retention` with class_id, metric, hot_days, archive_days and perhaps position; or remove."""
    form = await form_of(request)
    class_id = form.get("class_id", "").strip()
    try:
        if "remove" in form:
            await shell.write(
                request, "retention.remove", lambda catalog: catalog.remove_retention_class(class_id)
            )
            return RedirectResponse("/storage?done=removed#retention", 303)
        wish = RetentionClass(
            class_id=class_id,
            metric=form.get("metric", "").strip(),
            hot_days=_whole(form, "hot_days"),
            archive_days=_whole(form, "archive_days"),
        )
        position = _whole(form, "position") if form.get("position", "").strip() else None
        await shell.write(
            request,
            "retention.set",
            lambda catalog: catalog.set_retention_class(wish, position=position),
        )
    except HomeportError as error:
        return await _page(shell, request, status=status_of(error), problem=problem_text(error), wish=form)
    return RedirectResponse("/storage?done=class#retention", 303)


async def restore(shell: Shell, request: Request) -> Response:
    """`POST /storage/restore` with day and until: begins; the page shows how far it is."""
    form = await form_of(request)
    try:
        day, until = day_of(form.get("day", "")), check_until(shell.services, form.get("until", ""))
        act = Act(action="archive.restore", actor=await auth.actor_of(request))
        async with shell.services.audit.noted(
            act, object_kind="archive", object_id=day_text(day), detail=f"until {day_text(until)}"
        ):
            keeper_of(shell.services).restore_soon(day, until)
    except HomeportError as error:
        return await _page(shell, request, status=status_of(error), problem=problem_text(error))
    return RedirectResponse("/storage?done=restore", 303)


async def _page(
    shell: Shell,
    request: Request,
    *,
    status: int = 200,
    problem: str = "",
    notice: Notice | None = None,
    wish: dict[str, str] | None = None,
) -> Response:
    services = shell.services
    keeper = keeper_of(services)
    now_day = services.clock.now_ms() // DAY_MS
    retention = await read_retention(services)
    forecast = keeper.forecast(await disk_room_bytes(services))
    views = list(reversed(keeper.days()))
    before = request.query_params.get("before", "")
    if before:
        last = day_of(before)
        views = [view for view in views if view.day < last]
    shown = views[:DAY_COUNT]
    erasures = await services.catalog.read(lambda reader: reader.list_erasures(limit=ERASURE_COUNT))
    statistics = keeper.statistics()
    taken = {each.class_id: each for each in forecast.classes}
    return await shell.render(
        request,
        "storage.html",
        status=status,
        title="Storage",
        section="storage",
        problem=problem,
        notice=notice,
        keeper=statistics,
        keeper_look=KEEPER[statistics.state],
        size=keeper.size,
        forecast=forecast,
        is_rate_known=forecast.store_bytes_per_day > 0,
        days=[day_row(view) for view in shown],
        next_url=f"/storage?before={quote(day_text(shown[-1].day))}" if len(views) > len(shown) else "",
        until=day_text(now_day + RESTORE_DAYS),
        today=day_text(now_day),
        classes=[_class_row(each, taken.get(each.class_id), retention.default) for each in retention.all()],
        wish={**_EMPTY_WISH, **(wish or {})},
        erasures=erasures,
        lateness_hours=services.config.store.lateness_hours,
    )


def day_row(view: Any) -> DayRow:
    """A DayView as it is shown."""
    return DayRow(
        day=day_text(view.day),
        look=WHERE[view.where],
        readings=max(view.hot_rows, view.archived_rows + view.pending_rows),
        pending=view.pending_rows,
        bytes=view.archived_bytes,
        verified_at_ms=view.verified_at_ms,
        faults=tuple(f"{file or 'manifest'}: {problem}" for file, problem in view.faults),
        restored_until="" if view.restored_until is None else day_text(view.restored_until),
        may_restore=view.where in ("part", "archived"),
    )


def _class_row(each: RetentionClass, taken: Any, default: RetentionClass) -> ClassRow:
    archive_bytes = taken.archive_bytes if taken is not None else 0.0
    return ClassRow(
        class_id=each.class_id,
        metric=each.metric,
        hot_days=each.hot_days,
        archive_days=each.archive_days,
        rows_per_day=round(taken.rows_per_day) if taken is not None else 0,
        store_bytes=round(taken.store_bytes) if taken is not None else 0,
        archive_bytes=None
        if archive_bytes is None or each.archive_days == FOR_EVER
        else round(archive_bytes),
        is_default=each is default,
    )


def _whole(form: dict[str, str], name: str) -> int:
    text = form.get(name, "").strip()
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise UsageError(
            f"{name.replace('_', ' ').capitalize()}: “{text[:32]}” is no whole number.",
            hint="Write days as a number such as 90.",
            code="body_invalid",
        )
    return int(text)
