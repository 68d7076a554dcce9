"""Mappings: the list in the order in which they are tried, and the editor with its try-out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from appliance.core.errors import HomeportError, UsageError
from appliance.core.limits import TRY_OUT_COUNT_MAX
from appliance.management.field_text import parse_fields, write_fields
from appliance.management.mapping import DEFAULT_MAPPINGS, FORMATS, TopicMapping
from appliance.management.readings import HINT_OF_REASON
from appliance.pipeline.try_out import Tried, TryOut
from storage.catalog import Catalog
from ui.mapping_desk import mapping_of, try_mapping
from ui.pages.dead_letters import payload_text
from ui.pages.device_facts import cut
from ui.pages.format import visible
from ui.pages.shell import Shell, form_of, problem_text
from ui.pages.views import MappingView, Notice, TriedRowView, TriedView, TryOutView
from ui.problem import status_of

TRY_COUNT: Final = 20
PAYLOAD_LENGTH: Final = 400
ROWS_SHOWN: Final = 12
_HINTS: Final = {str(reason): hint for reason, hint in HINT_OF_REASON.items()}
_SOURCES: Final = ("log", "dead_letters")
_NOTICES: Final = {
    "saved": "The mapping holds for every message from now on. Dead letters stay until they are read again.",
    "removed": "The mapping is gone. The readings that it gave stay.",
}
_NEW: Final = {
    "mapping_id": "",
    "pattern": "",
    "format": "json",
    "metric": "",
    "fields": "",
    "only_fields": "",
    "position": "",
    "note": "",
    "source": "log",
}


async def show(shell: Shell, request: Request) -> Response:
    """`GET /mappings`."""
    written = await shell.services.catalog.read(lambda catalog: catalog.list_mappings())
    desk = shell.services.mappings
    notice = _NOTICES.get(request.query_params.get("done", ""))
    return await shell.render(
        request,
        "mappings.html",
        title="Mappings",
        section="mappings",
        mappings=[
            _view(each.mapping, position=each.position, mapping_id=each.mapping_id, note=each.note)
            for each in written
        ],
        configured=[_view(each) for each in desk.configured],
        defaults=[_view(each) for each in DEFAULT_MAPPINGS],
        from_seq=desk.sets.newest.from_seq,
        notice=Notice(tone="good", text=notice) if notice else None,
    )


async def show_new(shell: Shell, request: Request) -> Response:
    """`GET /mappings/new?pattern=&source=`: an empty editor, or one that begins with a pattern and is tried at once."""
    query = request.query_params
    wish = {**_NEW, "pattern": query.get("pattern", ""), "source": query.get("source", "log")}
    return await _editor(shell, request, wish, is_tried=bool(wish["pattern"]))


async def show_one(shell: Shell, request: Request) -> Response:
    """`GET /mappings/{id}`: the editor with what is there. Raises NotFound: `mapping_unknown`."""
    mapping_id = request.path_params["mapping_id"]
    found = await shell.services.catalog.read(lambda catalog: catalog.get_mapping(mapping_id))
    mapping = found.mapping
    wish = {
        **_NEW,
        "mapping_id": mapping_id,
        "pattern": mapping.pattern,
        "format": mapping.format,
        "metric": mapping.metric or "",
        "fields": "\n".join(write_fields(mapping.fields)),
        "only_fields": "1" if mapping.only_fields else "",
        "position": str(found.position),
        "note": found.note,
    }
    return await _editor(shell, request, wish, is_tried=True)


async def try_out(shell: Shell, request: Request) -> Response:
    """`POST /mappings/try` with the editor's fields: what it would give. Nothing is changed."""
    return await _editor(shell, request, {**_NEW, **await form_of(request)}, is_tried=True)


async def save(shell: Shell, request: Request) -> Response:
    """`POST /mappings` with the editor's fields: a new mapping."""
    return await _save(shell, request, "")


async def edit(shell: Shell, request: Request) -> Response:
    """`POST /mappings/{id}` with the editor's fields. Raises NotFound: `mapping_unknown`."""
    return await _save(shell, request, request.path_params["mapping_id"])


async def remove(shell: Shell, request: Request) -> Response:
    """`POST /mappings/{id}/remove`. Raises NotFound: `mapping_unknown`."""
    mapping_id = request.path_params["mapping_id"]
    async with shell.services.mappings.changing() as record:

        def write(catalog: Catalog) -> None:
            catalog.remove_mapping(mapping_id)
            record(catalog)

        await shell.write(request, "mapping.remove", write)
    return RedirectResponse("/mappings?done=removed", 303)


async def _save(shell: Shell, request: Request, mapping_id: str) -> Response:
    wish = {**_NEW, **await form_of(request), "mapping_id": mapping_id}
    try:
        mapping, position = _mapping(wish), _position(wish)
        async with shell.services.mappings.changing() as record:

            def write(catalog: Catalog) -> None:
                if mapping_id:
                    catalog.edit_mapping(mapping_id, mapping=mapping, note=wish["note"], position=position)
                else:
                    catalog.add_mapping(mapping, note=wish["note"], position=position)
                record(catalog)

            await shell.write(request, "mapping.edit" if mapping_id else "mapping.create", write)
    except HomeportError as error:
        return await _editor(
            shell, request, wish, is_tried=False, status=status_of(error), problem=problem_text(error)
        )
    return RedirectResponse("/mappings?done=saved", 303)


def _mapping(wish: Mapping[str, str]) -> TopicMapping:
    return mapping_of(
        pattern=wish["pattern"].strip(),
        format=wish["format"],
        metric=wish["metric"].strip(),
        fields=parse_fields(wish["fields"].splitlines()),
        only_fields=bool(wish["only_fields"]),
    )


def _position(wish: Mapping[str, str]) -> int | None:
    text = wish["position"].strip()
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 6):
        raise UsageError(
            "A position must be a whole number.", hint="1 is tried first.", code="mapping_position_invalid"
        )
    return int(text)


async def _editor(
    shell: Shell,
    request: Request,
    wish: Mapping[str, str],
    *,
    is_tried: bool,
    status: int = 200,
    problem: str = "",
) -> Response:
    tried = None
    source = wish["source"] if wish["source"] in _SOURCES else "log"
    if is_tried:
        try:
            tried = await try_mapping(
                shell.services,
                _mapping(wish),
                position=_position(wish),
                mapping_id=wish["mapping_id"],
                source=source,
                limit=min(TRY_COUNT, TRY_OUT_COUNT_MAX),
            )
        except HomeportError as error:
            status, problem = status_of(error), problem_text(error)
    mapping_id = wish["mapping_id"]
    return await shell.render(
        request,
        "mapping.html",
        status=status,
        title="Mapping" if mapping_id else "New mapping",
        section="mappings",
        wish={**wish, "source": source},
        formats=FORMATS,
        save_url=f"/mappings/{quote(mapping_id, safe='')}" if mapping_id else "/mappings",
        tried=_try_view(tried) if tried is not None else None,
        problem=problem,
    )


def _view(mapping: TopicMapping, *, position: int = 0, mapping_id: str = "", note: str = "") -> MappingView:
    return MappingView(
        mapping_id=mapping_id,
        position=position,
        pattern=visible(mapping.pattern),
        format=mapping.format,
        metric=visible(mapping.metric or ""),
        fields=tuple(visible(line) for line in write_fields(mapping.fields)),
        only_fields=mapping.only_fields,
        note=note,
    )


def _try_view(found: TryOut) -> TryOutView:
    return TryOutView(
        messages=tuple(map(_tried_view, found.tried)),
        fit_count=found.fit_count,
        looked_at=found.looked_at,
        is_whole=found.is_whole,
    )


def _tried_view(one: Tried) -> TriedView:
    payload, is_cut = payload_text(one.message.payload, PAYLOAD_LENGTH)
    return TriedView(
        topic=cut(one.message.topic.decode("utf-8", "replace"))[0],
        received_at_ms=one.message.received_at_ms,
        payload=payload or "(empty)",
        is_cut=is_cut,
        fits=one.fits,
        rows=tuple(
            TriedRowView(
                device_id=cut(row.device)[0],
                metric=cut(row.metric)[0],
                value=cut(_value_text(row.value))[0],
                observed_at_ms=row.observed_at_ms,
            )
            for row in one.rows[:ROWS_SHOWN]
        ),
        more=max(0, one.row_count - ROWS_SHOWN),
        reason=one.reason.replace("_", " "),
        hint=_HINTS.get(one.reason, ""),
        detail=cut(one.detail)[0],
        taken_by=visible(one.taken_by),
    )


def _value_text(value: float | bool | str) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else f"{value:.12g}"
