"""Endpoints about mappings: by which topics and payloads become readings, and trying one out."""

from __future__ import annotations

from msgspec import UNSET

from appliance.management.field_text import parse_fields
from appliance.management.mapping import DEFAULT_MAPPINGS, FieldRule, TopicMapping
from appliance.management.readings import HINT_OF_REASON
from appliance.pipeline.try_out import Tried
from storage.catalog import Catalog
from storage.catalog.mappings import WrittenMapping
from ui.api import mapping_structs as structs
from ui.api.endpoint import Call, Endpoint, Reply
from ui.api.telemetry import QUALITY_WORDS
from ui.mapping_desk import PAYLOAD_SHOWN_BYTES, mapping_of, try_mapping

_HINTS = {str(reason): hint for reason, hint in HINT_OF_REASON.items()}


def mapping_answer(written: WrittenMapping) -> structs.Mapping:
    mapping = written.mapping
    return structs.Mapping(
        mapping_id=written.mapping_id,
        position=written.position,
        pattern=mapping.pattern,
        format=mapping.format,
        metric=mapping.metric or "",
        fields=tuple(
            structs.AnsweredField(path=each.path, metric=each.metric, scale=each.scale, offset=each.offset)
            for each in mapping.fields
        ),
        only_fields=mapping.only_fields,
        note=written.note,
        created_at_ms=written.created_at_ms,
        updated_at_ms=written.updated_at_ms,
        version=str(written.version),
    )


def _fixed(mapping: TopicMapping) -> structs.FixedMapping:
    return structs.FixedMapping(pattern=mapping.pattern, format=mapping.format, metric=mapping.metric or "")


def _rules(fields: tuple[structs.Field, ...]) -> tuple[FieldRule, ...]:
    return tuple(
        FieldRule(path=each.path, metric=each.metric, scale=each.scale, offset=each.offset) for each in fields
    )


async def list_mappings(call: Call) -> Reply:
    desk = call.services.mappings
    written = await call.services.catalog.read(lambda catalog: catalog.list_mappings())
    newest = desk.sets.newest
    return Reply(
        content=structs.MappingList(
            mappings=tuple(map(mapping_answer, written)),
            configured=tuple(map(_fixed, desk.configured)),
            defaults=tuple(map(_fixed, DEFAULT_MAPPINGS)),
            set_number=newest.number,
            from_epoch=newest.epoch,
            from_seq=newest.from_seq,
        )
    )


async def get_mapping(call: Call) -> Reply:
    mapping_id = call.path["mapping_id"]
    found = await call.services.catalog.read(lambda catalog: catalog.get_mapping(mapping_id))
    return Reply(content=mapping_answer(found), version=str(found.version))


async def add_mapping(call: Call) -> Reply:
    wish: structs.NewMapping = call.body
    mapping = mapping_of(
        pattern=wish.pattern,
        format=wish.format,
        metric=wish.metric,
        fields=_rules(wish.fields),
        only_fields=wish.only_fields,
    )
    async with call.services.mappings.changing() as record:

        def write(catalog: Catalog) -> WrittenMapping:
            made = catalog.add_mapping(mapping, note=wish.note, position=wish.position)
            record(catalog)
            return made

        made = await call.write(write)
    return Reply(content=mapping_answer(made), version=str(made.version))


async def edit_mapping(call: Call) -> Reply:
    wish: structs.MappingEdit = call.body
    mapping_id = call.path["mapping_id"]
    async with call.services.mappings.changing() as record:

        def write(catalog: Catalog) -> WrittenMapping:
            before = catalog.get_mapping(mapping_id)
            call.expect(str(before.version))
            old = before.mapping
            changed = mapping_of(
                pattern=old.pattern if wish.pattern is UNSET else wish.pattern,
                format=old.format if wish.format is UNSET else wish.format,
                metric=(old.metric or "") if wish.metric is UNSET else wish.metric,
                fields=old.fields if wish.fields is UNSET else _rules(wish.fields),
                only_fields=old.only_fields if wish.only_fields is UNSET else wish.only_fields,
            )
            edited = catalog.edit_mapping(
                mapping_id,
                mapping=changed,
                note=None if wish.note is UNSET else wish.note,
                position=None if wish.position is UNSET else wish.position,
            )
            record(catalog)
            return edited

        edited = await call.write(write)
    return Reply(content=mapping_answer(edited), version=str(edited.version))


async def remove_mapping(call: Call) -> Reply:
    mapping_id = call.path["mapping_id"]
    async with call.services.mappings.changing() as record:

        def write(catalog: Catalog) -> None:
            catalog.remove_mapping(mapping_id)
            record(catalog)

        await call.write(write)
    return Reply(content=None)


async def try_out_mapping(call: Call) -> Reply:
    query: structs.TryQuery = call.query
    found = await try_mapping(
        call.services,
        mapping_of(
            pattern=query.pattern,
            format=query.format,
            metric=query.metric,
            fields=parse_fields(query.field),
            only_fields=query.only_fields,
        ),
        position=query.position,
        mapping_id=query.mapping_id,
        source=query.source,
        limit=query.limit,
    )
    return Reply(
        content=structs.TryOut(
            messages=tuple(map(_tried, found.tried)),
            fit_count=found.fit_count,
            looked_at=found.looked_at,
            is_whole=found.is_whole,
        )
    )


def _tried(one: Tried) -> structs.Tried:
    return structs.Tried(
        epoch=one.message.epoch,
        seq=one.message.seq,
        received_at_ms=one.message.received_at_ms,
        topic=one.message.topic.decode("utf-8", "replace"),
        payload=one.message.payload[:PAYLOAD_SHOWN_BYTES],
        payload_bytes=len(one.message.payload),
        fits=one.fits,
        rows=tuple(
            structs.TriedRow(
                device=row.device,
                metric=row.metric,
                observed_at_ms=row.observed_at_ms,
                value=row.value,
                quality=QUALITY_WORDS[row.quality],
            )
            for row in one.rows
        ),
        row_count=one.row_count,
        reason=one.reason,
        hint=_HINTS.get(one.reason, ""),
        detail=one.detail,
        taken_by=one.taken_by,
    )


_MAPPING = "/mappings/{mapping_id}"
_TAGS = ("mappings",)
ENDPOINTS = (
    Endpoint(
        method="GET",
        path="/mappings",
        handler=list_mappings,
        needs="mappings.read",
        summary="List mappings in the order in which they are tried",
        answer=structs.MappingList,
        tags=_TAGS,
    ),
    Endpoint(
        method="POST",
        path="/mappings",
        handler=add_mapping,
        needs="mappings.manage",
        action="mapping.create",
        idempotent=True,
        summary="Add a mapping; it holds from the log's head on",
        body=structs.NewMapping,
        answer=structs.Mapping,
        status=201,
        tags=_TAGS,
    ),
    Endpoint(
        method="GET",
        path="/mappings/try",
        handler=try_out_mapping,
        needs="mappings.read",
        summary="What a mapping would make of recent messages, or of dead letters",
        query=structs.TryQuery,
        answer=structs.TryOut,
        tags=_TAGS,
    ),
    Endpoint(
        method="GET",
        path=_MAPPING,
        handler=get_mapping,
        needs="mappings.read",
        summary="Get a mapping",
        etag=True,
        answer=structs.Mapping,
        errors=(404,),
        tags=_TAGS,
    ),
    Endpoint(
        method="PATCH",
        path=_MAPPING,
        handler=edit_mapping,
        needs="mappings.manage",
        action="mapping.edit",
        summary="Change a mapping or its place; it holds from the log's head on",
        body=structs.MappingEdit,
        etag=True,
        answer=structs.Mapping,
        errors=(404,),
        tags=_TAGS,
    ),
    Endpoint(
        method="DELETE",
        path=_MAPPING,
        handler=remove_mapping,
        needs="mappings.manage",
        action="mapping.remove",
        summary="Remove a mapping; readings that it gave stay",
        errors=(404,),
        tags=_TAGS,
    ),
)
