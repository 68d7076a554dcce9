"""Endpoints of the audit: reading it, a file of it, whether it is whole."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Final

import msgspec
import trio
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from appliance.core.errors import HomeportError
from appliance.core.limits import AUDIT_BATCH_COUNT
from appliance.identity.audit_check import AuditVerdict
from appliance.management.audit import AuditEntry
from appliance.management.audit_chain import ChainReport, SignedHead
from storage.catalog import Catalog
from storage.catalog.audit import AuditFilter
from ui import audit_export
from ui.api import audit_structs as structs
from ui.api.endpoint import Call, Endpoint, Reply
from ui.services import Services
from ui.times import parse_time_ms


def filter_of(query: structs.AuditQuery) -> AuditFilter:
    """The catalog's filter. Raises UsageError: `time_invalid`."""
    return AuditFilter(
        actor=query.actor,
        action=query.action,
        object_kind=query.object_kind,
        object_id=query.object_id,
        outcome=query.outcome,
        trace_id=query.trace_id,
        from_ms=parse_time_ms(query.from_, name="from") if query.from_ is not None else None,
        to_ms=parse_time_ms(query.to, name="to") if query.to is not None else None,
    )


def entry_answer(entry: AuditEntry) -> structs.AuditEntry:
    """An entry as the API shows it."""
    return structs.AuditEntry(
        entry_id=entry.entry_id,
        seq=entry.seq,
        origin=entry.origin,
        at_ms=entry.at_ms,
        actor=entry.actor,
        actor_kind=entry.actor_kind,
        address=entry.address,
        action=entry.action,
        object_kind=entry.object_kind,
        object_id=entry.object_id,
        outcome=entry.outcome,
        before=msgspec.json.decode(entry.before) if entry.before is not None else None,
        after=msgspec.json.decode(entry.after) if entry.after is not None else None,
        detail=entry.detail,
        trace_id=entry.trace_id,
        previous_hash=entry.previous_hash,
        hash=entry.hash,
    )


def verdict_answer(services: Services, verdict: AuditVerdict) -> structs.AuditVerdict:
    """What a check found, as the API shows it."""
    return structs.AuditVerdict(
        ok=verdict.fault is None,
        checked_at_ms=verdict.checked_at_ms,
        entry_count=verdict.entry_count,
        key_id=services.keys.signer.key_id.hex(),
        chains=tuple(map(_chain, verdict.chains)),
    )


def _chain(report: ChainReport) -> structs.AuditChain:
    fault = report.fault
    return structs.AuditChain(
        origin=report.origin,
        entry_count=report.entry_count,
        newest_seq=report.newest_seq,
        newest_hash=report.newest_hash,
        signed_seq=report.signed_seq,
        signed_at_ms=report.signed_at_ms,
        fault=structs.AuditFault(
            entry_id=fault.entry_id, seq=fault.seq, code=fault.code, message=fault.message, at_ms=fault.at_ms
        )
        if fault
        else None,
    )


async def list_audit(call: Call) -> Reply:
    query: structs.AuditListQuery = call.query
    wanted = filter_of(query)
    page = await call.services.catalog.read(
        lambda catalog: catalog.list_audit(wanted, cursor=query.cursor, limit=query.limit)
    )
    return Reply(
        content=structs.AuditPage(
            entries=tuple(map(entry_answer, page.entries)), next_cursor=page.next_cursor
        )
    )


async def verify_audit(call: Call) -> Reply:
    query: structs.AuditVerifyQuery = call.query
    verdict = await call.services.audit.check(query.head or "")
    return Reply(content=verdict_answer(call.services, verdict))


async def export_audit(call: Call) -> Reply:
    query: structs.AuditExportQuery = call.query
    wanted = filter_of(query)
    said: dict[str, Any] = {
        key: value
        for key, value in msgspec.to_builtins(query).items()
        if value is not None and key != "format"
    }
    desk = call.services.audit
    desk.take_export_place()
    try:
        async with call.noted(
            object_kind="audit", object_id=query.format, detail=f"filter {msgspec.json.encode(said).decode()}"
        ):
            head, problem = None, ""
            try:
                head = await desk.head()
            except HomeportError as error:
                # A broken chain is just what somebody wants to export and look at.
                problem = error.message
            origins = await call.services.catalog.read(lambda catalog: catalog.audit_origins())
    except BaseException:
        desk.give_export_place()
        raise
    response = _Export(
        _body(call.services, query.format, wanted, origins, head, problem, said),
        media_type=audit_export.MEDIA[query.format],
        headers={"content-disposition": f'attachment; filename="homeport-audit.{query.format}"'},
        ended=desk.give_export_place,
    )
    return Reply(content=None, response=response)


class _Export(StreamingResponse):
    """A stream that says when it has ended, whether it was sent or broken off."""

    def __init__(self, body: AsyncIterator[bytes], *, ended: Callable[[], None], **rest: Any) -> None:
        super().__init__(body, **rest)
        self._ended = ended

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._ended()


async def _body(
    services: Services,
    format_: audit_export.Format,
    wanted: AuditFilter,
    origins: Sequence[str],
    head: SignedHead | None,
    problem: str,
    said: dict[str, Any],
) -> AsyncIterator[bytes]:
    """The file, a batch at a time; between two batches no connection to the catalog is held."""
    yield audit_export.first_line(format_)
    count = 0
    try:
        for origin in origins:
            after = 0
            while True:

                def read(catalog: Catalog, origin: str = origin, after: int = after) -> list[AuditEntry]:
                    return catalog.audit_chain(
                        origin, after_seq=after, limit=AUDIT_BATCH_COUNT, filter_=wanted
                    )

                batch = await services.catalog.read(read)
                if head is not None and origin == head.origin:
                    # What came in since is of the next export: the head is of the last entry in this one.
                    batch = [entry for entry in batch if entry.seq <= head.seq]
                if not batch:
                    break
                after = batch[-1].seq
                count += len(batch)
                yield await trio.to_thread.run_sync(audit_export.lines, format_, batch)
    except HomeportError as error:
        # The status is sent already: the file says itself that it is not whole.
        head, problem = None, f"The export broke off: {error.message}"
    yield audit_export.last_line(format_, head, problem=problem, count=count, filtered=said)


_TAGS: Final = ("audit",)
ENDPOINTS = (
    Endpoint(
        method="GET",
        path="/audit",
        handler=list_audit,
        needs="audit.read",
        summary="Who did what, the newest first",
        query=structs.AuditListQuery,
        answer=structs.AuditPage,
        codes={422: ("cursor_invalid", "time_invalid")},
        tags=_TAGS,
    ),
    Endpoint(
        method="GET",
        path="/audit/export",
        handler=export_audit,
        needs="audit.read",
        action="audit.export",
        summary="The audit as a file, with the signed head at its end; is itself in the audit",
        query=structs.AuditExportQuery,
        media=tuple(audit_export.MEDIA.values()),
        codes={422: ("time_invalid",), 429: ("audit_export_count",)},
        tags=_TAGS,
    ),
    Endpoint(
        method="GET",
        path="/audit/verify",
        handler=verify_audit,
        needs="audit.read",
        summary="Whether the audit is whole: every hash, every signature, and a head that you remember",
        query=structs.AuditVerifyQuery,
        answer=structs.AuditVerdict,
        errors=(409,),
        codes={409: ("audit_check_running",), 422: ("audit_head_invalid",)},
        tags=_TAGS,
    ),
)
