"""Endpoints about rules: what is watched for. Trying one out stands in rule_tries.py."""

from __future__ import annotations

from msgspec import UNSET

from appliance.alarms.rule_desk import Imported, filed, import_rules
from appliance.management import rule_file
from storage.catalog import Catalog
from storage.catalog.rules import RuleVersion, WrittenRule
from ui.api import rule_structs as structs
from ui.api.endpoint import Call, Endpoint, Reply
from ui.auth import actor_of


def rule_answer(written: WrittenRule) -> structs.Rule:
    return structs.Rule(
        rule_id=written.rule_id,
        name=written.name,
        kind=_kind(written),
        enabled=written.is_enabled,
        built_in=written.is_built_in,
        definition=written.definition,
        definition_version=written.version,
        created_by=written.created_by,
        created_at_ms=written.created_at_ms,
        updated_at_ms=written.updated_at_ms,
        version=str(written.row_version),
    )


def _kind(written: WrittenRule) -> structs.Kind:
    kind: structs.Kind = written.definition.condition.__struct_config__.tag  # type: ignore[assignment]
    return kind


def _fits(written: WrittenRule, query: structs.RuleQuery) -> bool:
    wanted = query.q.casefold()
    return (
        (not query.kind or _kind(written) in query.kind)
        and (not query.severity or written.definition.severity in query.severity)
        and (query.enabled is None or query.enabled == written.is_enabled)
        and (not wanted or wanted in f"{written.name}\n{written.definition.metric}".casefold())
    )


async def list_rules(call: Call) -> Reply:
    query: structs.RuleQuery = call.query
    written = await call.services.catalog.read(lambda catalog: catalog.list_rules())
    fitting = [each for each in written if _fits(each, query)]
    behind = [each for each in fitting if query.cursor is None or each.name > query.cursor]
    shown = behind[: query.limit]
    return Reply(
        content=structs.RulePage(
            rules=tuple(map(rule_answer, shown)),
            count=len(fitting),
            next_cursor=shown[-1].name if len(behind) > len(shown) else None,
        )
    )


async def get_rule(call: Call) -> Reply:
    rule_id = call.path["rule_id"]
    found = await call.services.catalog.read(lambda catalog: catalog.get_rule(rule_id))
    return Reply(content=rule_answer(found), version=str(found.row_version))


async def add_rule(call: Call) -> Reply:
    wish: structs.NewRule = call.body
    by = (await actor_of(call.request)).name
    async with call.services.rules.changing() as position:
        made = await call.write(
            lambda catalog: catalog.add_rule(
                wish.name, wish.definition, is_enabled=wish.enabled, position=position, by=by
            )
        )
    return Reply(content=rule_answer(made), version=str(made.row_version))


async def edit_rule(call: Call) -> Reply:
    wish: structs.RuleEdit = call.body
    rule_id = call.path["rule_id"]
    by = (await actor_of(call.request)).name
    async with call.services.rules.changing() as position:

        def write(catalog: Catalog) -> WrittenRule:
            call.expect(str(catalog.get_rule(rule_id).row_version))
            return catalog.edit_rule(
                rule_id,
                name=None if wish.name is UNSET else wish.name,
                definition=None if wish.definition is UNSET else wish.definition,
                is_enabled=None if wish.enabled is UNSET else wish.enabled,
                position=position,
                by=by,
            )

        edited = await call.write(write)
    return Reply(content=rule_answer(edited), version=str(edited.row_version))


async def remove_rule(call: Call) -> Reply:
    rule_id = call.path["rule_id"]
    by = (await actor_of(call.request)).name
    async with call.services.rules.changing() as position:
        await call.write(lambda catalog: catalog.remove_rule(rule_id, position=position, by=by))
    return Reply(content=None)


async def list_rule_versions(call: Call) -> Reply:
    rule_id = call.path["rule_id"]

    def read(catalog: Catalog) -> list[RuleVersion]:
        found = catalog.rule_history(rule_id)
        if not found:
            catalog.get_rule(rule_id)
        return found

    versions = await call.services.catalog.read(read)
    return Reply(
        content=structs.RuleVersions(
            versions=tuple(
                structs.RuleVersion(
                    name=each.name,
                    definition_version=each.version,
                    definition=each.definition,
                    from_epoch=each.epoch,
                    from_seq=each.from_seq,
                    changed_by=each.changed_by,
                    changed_at_ms=each.changed_at_ms,
                )
                for each in versions
            )
        )
    )


async def export_rules(call: Call) -> Reply:
    written = await call.services.catalog.read(lambda catalog: catalog.list_rules())
    return Reply(content=structs.RuleFile(homeport_rules=rule_file.FORMAT, rules=tuple(filed(written))))


async def bring_rules(call: Call) -> Reply:
    wish: structs.RuleImport = call.body
    file = rule_file.checked(rule_file.RuleFile(homeport_rules=wish.homeport_rules, rules=wish.rules))
    by = (await actor_of(call.request)).name

    async with call.services.rules.changing() as position:
        done: Imported = await call.write(
            lambda catalog: import_rules(catalog, file, position=position, by=by)
        )
    return Reply(
        content=structs.RulesImported(made=done.made, changed=done.changed, unchanged=done.unchanged)
    )


_RULE = "/rules/{rule_id}"
_TAGS = ("rules",)
_UNKNOWN = {404: ("rule_unknown",)}
_INVALID = ("rule_invalid",)
_TOO_MANY = ("rule_count", "rule_version_count", "rule_changes_waiting")
ENDPOINTS = (
    Endpoint(
        method="GET",
        path="/rules",
        handler=list_rules,
        needs="rules.read",
        summary="List rules by name",
        query=structs.RuleQuery,
        answer=structs.RulePage,
        tags=_TAGS,
    ),
    Endpoint(
        method="POST",
        path="/rules",
        handler=add_rule,
        needs="rules.manage",
        action="rule.create",
        idempotent=True,
        summary="Add a rule; it holds from the log's head on",
        body=structs.NewRule,
        answer=structs.Rule,
        status=201,
        errors=(409, 422),
        codes={409: ("rule_name_taken",), 422: _INVALID, 429: _TOO_MANY},
        tags=_TAGS,
    ),
    Endpoint(
        method="GET",
        path="/rules/export",
        handler=export_rules,
        needs="rules.read",
        summary="All rules as a file",
        answer=structs.RuleFile,
        tags=_TAGS,
    ),
    Endpoint(
        method="POST",
        path="/rules/import",
        handler=bring_rules,
        needs="rules.manage",
        action="rule.import",
        idempotent=True,
        summary="Make or change the rules of a file; all of them or none",
        body=structs.RuleImport,
        answer=structs.RulesImported,
        errors=(409, 422),
        codes={422: ("rule_file_invalid", *_INVALID), 429: _TOO_MANY},
        tags=_TAGS,
    ),
    Endpoint(
        method="GET",
        path=_RULE,
        handler=get_rule,
        needs="rules.read",
        summary="Get a rule",
        etag=True,
        answer=structs.Rule,
        errors=(404,),
        codes=_UNKNOWN,
        tags=_TAGS,
    ),
    Endpoint(
        method="PATCH",
        path=_RULE,
        handler=edit_rule,
        needs="rules.manage",
        action="rule.edit",
        summary="Change a rule or switch it on or off; it holds from the log's head on",
        body=structs.RuleEdit,
        etag=True,
        answer=structs.Rule,
        errors=(404, 409, 422),
        codes={**_UNKNOWN, 409: ("rule_name_taken",), 422: _INVALID, 429: _TOO_MANY},
        tags=_TAGS,
    ),
    Endpoint(
        method="DELETE",
        path=_RULE,
        handler=remove_rule,
        needs="rules.manage",
        action="rule.remove",
        summary="Remove a rule; its alarms are withdrawn, their history stays",
        errors=(404, 409),
        codes={**_UNKNOWN, 409: ("rule_built_in",), 429: _TOO_MANY},
        tags=_TAGS,
    ),
    Endpoint(
        method="GET",
        path=f"{_RULE}/versions",
        handler=list_rule_versions,
        needs="rules.read",
        summary="What held for a rule, and from which record of the log on",
        answer=structs.RuleVersions,
        errors=(404,),
        codes=_UNKNOWN,
        tags=_TAGS,
    ),
)
