"""The editor of a rule: first its kind, then only the fields that the kind has; tried on past readings before it is saved."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from appliance.core.errors import HomeportError, NotFound
from appliance.core.limits import PAGE_FORM_FIELD_COUNT_MAX
from appliance.core.limits_alarms import RULE_NAME_LENGTH_MAX
from appliance.management.alarms import ACTIVE
from appliance.management.node_watches import WATCHES
from appliance.management.rule import RuleDefinition
from storage.catalog import Catalog
from storage.catalog.rules import RuleVersion, WrittenRule
from ui import auth
from ui.pages.addresses import rule_url
from ui.pages.alarm_words import SEVERITY_SAYS
from ui.pages.rule_form import RuleForm, empty, of_definition, of_request
from ui.pages.rule_kinds import KINDS
from ui.pages.rule_sentence import rule_sentence, scope_words
from ui.pages.rules import URL, notice_of, rule_view
from ui.pages.scope_form import choices, counted
from ui.pages.scoped import scope_of
from ui.pages.shell import Shell, form_of, problem_text
from ui.pages.telemetry_facts import metrics_to_choose
from ui.pages.typed import check_typed
from ui.problem import status_of

METRIC_DEVICE_COUNT: Final = 50
"""Devices whose metrics are offered."""
UNTRIED: Final = frozenset({"connection", "node"})
"""Kinds that can't be tried: a test compares them with those of appliance/alarms/rule_try.py."""
RANGES: Final = {"24h": "24 hours", "7d": "7 days"}


@dataclass(frozen=True, slots=True)
class VersionView:
    """A version: what it says, or that the rule was off from then on."""

    version: int
    says: str
    changed_at_ms: int
    changed_by: str


async def show_new(shell: Shell, request: Request) -> Response:
    """`GET /alarms/rules/new?kind=&device=&metric=`: the kinds, or the form of one."""
    query = request.query_params
    kind = query.get("kind", "")
    if kind not in KINDS:
        return await shell.render(
            request, "rule_kinds.html", title="New rule", section="rules", kinds=KINDS.values()
        )
    form = replace(empty(kind), devices=query.get("device", "")[:300], metric=query.get("metric", "")[:300])
    if not form.devices and kind != "node":
        form = replace(form, all="1")
    return await editor(shell, request, form)


async def show_one(shell: Shell, request: Request) -> Response:
    """`GET /alarms/rules/{id}`. Raises NotFound: `rule_unknown`."""
    rule_id = request.path_params["rule_id"]
    rule = await shell.services.catalog.read(lambda catalog: catalog.get_rule(rule_id))
    return await editor(shell, request, of_definition(rule.name, rule.definition), rule=rule)


async def save_new(shell: Shell, request: Request) -> Response:
    """`POST /alarms/rules` with the editor's fields."""
    return await _save(shell, request, "")


async def save(shell: Shell, request: Request) -> Response:
    """`POST /alarms/rules/{id}` with the editor's fields. Raises NotFound: `rule_unknown`."""
    return await _save(shell, request, request.path_params["rule_id"])


async def remove(shell: Shell, request: Request) -> Response:
    """`POST /alarms/rules/{id}/remove` with confirm. Raises NotFound: `rule_unknown`. Conflict: `rule_built_in`."""
    rule_id = request.path_params["rule_id"]
    confirm = (await form_of(request)).get("confirm", "")
    rule = await shell.services.catalog.read(lambda catalog: catalog.get_rule(rule_id))
    by = (await auth.actor_of(request)).name
    try:
        check_typed(confirm, "remove")
        async with shell.services.rules.changing() as position:
            await shell.write(
                request,
                "rule.remove",
                lambda catalog: catalog.remove_rule(rule_id, position=position, by=by),
            )
    except NotFound:
        raise
    except HomeportError as error:
        form = of_definition(rule.name, rule.definition)
        return await editor(
            shell, request, form, rule=rule, problem=problem_text(error), status=status_of(error)
        )
    shell.alarms.changed()
    return RedirectResponse(f"{URL}?done=removed", 303)


async def form_sent(request: Request) -> tuple[RuleForm, str]:
    """What came, and the rule that it is for; "" for a new one."""
    sent = await request.form(max_files=0, max_fields=PAGE_FORM_FIELD_COUNT_MAX)
    rule_id = sent.get("rule_id", "")
    return of_request(sent), rule_id[:128] if isinstance(rule_id, str) else ""


async def editor(
    shell: Shell,
    request: Request,
    form: RuleForm,
    *,
    rule: WrittenRule | None = None,
    problem: str = "",
    status: int = 200,
    tried: Any = None,
    range_key: str = "24h",
) -> Response:
    """The page. Raises UsageError: `rule_invalid`: there is no such kind."""
    kind, scope = form.about, await scope_of(request)

    def read(catalog: Catalog) -> tuple[dict[str, Any], list[RuleVersion], int, list[str]]:
        context = {**choices(catalog, scope), **counted(catalog, form.scope(), scope)}
        first = catalog.list_devices(scope=scope, kind="device", limit=METRIC_DEVICE_COUNT).devices
        if rule is None:
            return context, [], 0, [each.device_id for each in first]
        active = catalog.count_alarms(rule_id=rule.rule_id, states=sorted(ACTIVE), scope=scope)
        return context, catalog.rule_history(rule.rule_id), active, [each.device_id for each in first]

    context, history, active, device_ids = await shell.services.catalog.read(read)
    return await shell.render(
        request,
        "rule.html",
        status=status,
        title=rule.name if rule is not None else "New rule",
        section="rules",
        charts=tried is not None and bool(tried.figures),
        kind=kind,
        form=form,
        rule=rule_view(rule, active) if rule is not None else None,
        versions=[_version(each) for each in history],
        problem=problem,
        notice=notice_of(request) if not problem else None,
        tried=tried,
        ranges=RANGES,
        range=range_key,
        severities=SEVERITY_SAYS,
        metrics=metrics_to_choose(shell.services.live, device_ids),
        name_length_max=RULE_NAME_LENGTH_MAX,
        node_watches=[
            (key, f"{each.title} (usual limit {each.limit:g} {each.unit}".rstrip() + ")")
            for key, each in WATCHES.items()
        ],
        is_tried=form.kind not in UNTRIED,
        save_url=rule_url(rule.rule_id) if rule is not None else URL,
        may_manage="rules.manage" in await shell.permissions_of(request),
        **context,
    )


async def _save(shell: Shell, request: Request, rule_id: str) -> Response:
    form, _ = await form_sent(request)
    rule = await shell.services.catalog.read(lambda catalog: catalog.get_rule(rule_id)) if rule_id else None
    by = (await auth.actor_of(request)).name
    try:
        name, definition = form.clean_name(), form.definition()
        async with shell.services.rules.changing() as position:

            def write(catalog: Catalog) -> WrittenRule:
                if rule_id:
                    return catalog.edit_rule(
                        rule_id, name=name, definition=definition, position=position, by=by
                    )
                return catalog.add_rule(name, definition, position=position, by=by)

            saved = await shell.write(request, "rule.edit" if rule_id else "rule.create", write)
    except NotFound:
        raise
    except HomeportError as error:
        return await editor(
            shell, request, form, rule=rule, problem=problem_text(error), status=status_of(error)
        )
    shell.alarms.changed()
    return RedirectResponse(f"{rule_url(saved.rule_id)}?done=saved", 303)


def _version(version: RuleVersion) -> VersionView:
    said: RuleDefinition | None = version.definition
    return VersionView(
        version=version.version,
        says="Off"
        if said is None
        else f"{said.severity}: {rule_sentence(said)}, for {scope_words(said.scope)}",
        changed_at_ms=version.changed_at_ms,
        changed_by=version.changed_by,
    )
