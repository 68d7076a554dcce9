"""Endpoints about the archive: how it is, its days, checking one, bringing one back into the store."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from appliance.core.errors import NotFound, Unavailable, UsageError
from storage.archive.layout import day_number, day_text
from storage.telemetry.batch import DAY_MS
from ui.api import archive_structs
from ui.api.endpoint import Call, Endpoint, Reply
from ui.services import ArchiveKeeper, Services
from ui.storage_room import disk_room_bytes


def keeper_of(services: Services) -> ArchiveKeeper:
    """The node's keeper. Raises Unavailable: it has none yet."""
    if services.keeper is None:
        raise Unavailable(
            "The archive is not open yet.", hint="Ask again in a moment.", code="archive_closed"
        )
    return services.keeper


def day_of(text: str) -> int:
    """A day of a request. Raises UsageError: `day_invalid`."""
    try:
        return day_number(text)
    except ValueError as error:
        raise UsageError(
            f"“{text[:32]}” is no day.", hint="Write it as 2026-11-27.", code="day_invalid"
        ) from error


def check_until(services: Services, until: str) -> int:
    """The day until which a restored day stays. Raises UsageError: `day_invalid`: it is over."""
    day = day_of(until)
    if day < services.clock.now_ms() // DAY_MS:
        raise UsageError(
            f"{until} is over: the day would leave the store again at once.",
            hint="Choose today or a later day.",
            code="day_invalid",
        )
    return day


def day_answer(view: Any) -> archive_structs.ArchiveDay:
    """A DayView."""
    return archive_structs.ArchiveDay(
        day=day_text(view.day),
        where=view.where,
        generation=view.generation,
        hot_rows=view.hot_rows,
        pending_rows=view.pending_rows,
        archived_rows=view.archived_rows,
        archived_bytes=view.archived_bytes,
        verified_at_ms=view.verified_at_ms,
        faults=_faults(view.faults),
        restored_until=None if view.restored_until is None else day_text(view.restored_until),
    )


def _faults(found: Iterable[tuple[str, str]]) -> tuple[archive_structs.Fault, ...]:
    return tuple(archive_structs.Fault(file=file, problem=problem) for file, problem in found)


async def get_archive(call: Call) -> Reply:
    keeper = keeper_of(call.services)
    now, size = keeper.statistics(), keeper.size
    forecast = keeper.forecast(await disk_room_bytes(call.services))
    return Reply(
        content=archive_structs.ArchiveStatus(
            state=now.state,
            step=now.step,
            done_parts=now.progress[0],
            part_count=now.progress[1],
            paused_because=now.paused_because,
            incident=now.incident,
            hint=now.hint,
            store_used_bytes=size.used_bytes,
            store_free_bytes=size.free_bytes,
            store_bytes_per_day=round(forecast.store_bytes_per_day),
            archive_bytes=now.archive_bytes,
            archive_rows=now.archive_rows,
            archive_days=now.archive_days,
            archive_bytes_per_day=round(forecast.archive_bytes_per_day),
            faulty_days=now.faulty_days,
            unarchived_days=now.unarchived_days,
            days_left=forecast.days_left,
            cooled_total=now.cooled_total,
        )
    )


async def list_archive_days(call: Call) -> Reply:
    query: archive_structs.DaysQuery = call.query
    before = day_of(query.before) if query.before else None
    found = [v for v in reversed(keeper_of(call.services).days()) if before is None or v.day < before]
    shown = found[: query.limit]
    return Reply(
        content=archive_structs.ArchiveDayPage(
            days=tuple(map(day_answer, shown)),
            next_before=day_text(shown[-1].day) if len(found) > len(shown) else None,
        )
    )


async def verify_archive_day(call: Call) -> Reply:
    day = day_of(call.path["day"])
    keeper = keeper_of(call.services)
    _check_known(keeper, day)
    async with call.noted(object_kind="archive", object_id=day_text(day)):
        faults = await keeper.verify(day)
    return Reply(
        content=archive_structs.Verified(
            day=day_text(day), faults=_faults((fault.file, fault.problem) for fault in faults)
        )
    )


async def restore_archive_day(call: Call) -> Reply:
    wish: archive_structs.Restoring = call.body
    day, until = day_of(call.path["day"]), check_until(call.services, wish.until)
    keeper = keeper_of(call.services)
    _check_known(keeper, day)
    async with call.noted(object_kind="archive", object_id=day_text(day), detail=f"until {day_text(until)}"):
        rows = await keeper.restore(day, until)
    return Reply(content=archive_structs.Restored(day=day_text(day), until=day_text(until), row_count=rows))


def _check_known(keeper: ArchiveKeeper, day: int) -> None:
    """Before it is noted that something is done to it. Raises NotFound: `archive_day_unknown`."""
    if not any(view.day == day and view.generation is not None for view in keeper.days()):
        raise NotFound(
            f"{day_text(day)} is not in the archive.",
            hint="Look at the list of days; they are UTC days.",
            code="archive_day_unknown",
        )


_TAGS = ("archive",)
ENDPOINTS = (
    Endpoint(
        method="GET",
        path="/archive",
        handler=get_archive,
        needs="archive.read",
        summary="The archive, its keeper, the store's size and how long the disk lasts",
        answer=archive_structs.ArchiveStatus,
        tags=_TAGS,
    ),
    Endpoint(
        method="GET",
        path="/archive/days",
        handler=list_archive_days,
        needs="archive.read",
        summary="List days with where their readings lie, the newest first",
        query=archive_structs.DaysQuery,
        answer=archive_structs.ArchiveDayPage,
        tags=_TAGS,
    ),
    Endpoint(
        method="POST",
        path="/archive/days/{day}/verify",
        handler=verify_archive_day,
        needs="archive.manage",
        action="archive.verify",
        is_bulk=True,
        summary="Read a day's files back and compare them with what was written; answers when done",
        answer=archive_structs.Verified,
        errors=(404, 422, 507),
        tags=_TAGS,
    ),
    Endpoint(
        method="POST",
        path="/archive/days/{day}/restore",
        handler=restore_archive_day,
        needs="archive.manage",
        action="archive.restore",
        is_bulk=True,
        summary="Bring a day back into the store until a date; answers when done",
        body=archive_structs.Restoring,
        answer=archive_structs.Restored,
        errors=(404, 409, 507),
        tags=_TAGS,
    ),
)
