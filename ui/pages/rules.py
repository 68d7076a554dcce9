"""Rules: what is looked for, where, how bad it is, whether it is on and how many alarms it has; and rules that come as a file."""

from __future__ import annotations

from collections import Counter
from typing import Final

from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from appliance.alarms.rule_desk import import_rules
from appliance.core.errors import HomeportError, NotFound
from appliance.core.limits import PAGE_ITEM_COUNT_MAX
from appliance.core.limits_alarms import RULE_FILE_BYTES_MAX
from appliance.management.alarms import ACTIVE
from appliance.management.permissions import Scope
from appliance.management.rule_file import read as read_file
from storage.catalog import Catalog
from storage.catalog.rules import WrittenRule
from ui import auth
from ui.pages.alarm_views import RuleView
from ui.pages.format import plural
from ui.pages.rule_sentence import rule_sentence, scope_words
from ui.pages.scoped import scope_of
from ui.pages.shell import Handler, Shell, problem_text
from ui.pages.views import Notice
from ui.pages.watch_attention import watch_attention
from ui.pages.watch_words import left_out_text
from ui.problem import status_of

URL: Final = "/alarms/rules"
_NOTICES: Final = {
    "saved": "Saved. It holds for every reading from now on.",
    "removed": "The rule is gone. What it has found stays in the history.",
    "on": "It is on, for every reading from now on.",
    "off": "It is off. Its active alarms are withdrawn.",
    "imported": "The rules of the file are here.",
}


async def show(shell: Shell, request: Request) -> Response:
    """`GET /alarms/rules`."""
    return await _page(shell, request)


def switching(is_enabled: bool) -> Handler:
    """`POST /alarms/rules/{id}/enable` or `disable`. Raises NotFound: `rule_unknown`."""

    async def switch(shell: Shell, request: Request) -> Response:
        rule_id = request.path_params["rule_id"]
        by = (await auth.actor_of(request)).name
        async with shell.services.rules.changing() as position:
            await shell.write(
                request,
                "rule.edit",
                lambda catalog: catalog.edit_rule(rule_id, is_enabled=is_enabled, position=position, by=by),
            )
        shell.alarms.changed()
        return RedirectResponse(f"{URL}?done={'on' if is_enabled else 'off'}", 303)

    return switch


async def bring(shell: Shell, request: Request) -> Response:
    """`POST /alarms/rules/import` with the file, or its text in rules: all of it, or what is wrong with it."""
    content, text = await _chosen(request)
    by = (await auth.actor_of(request)).name
    try:
        file = read_file(content)
        async with shell.services.rules.changing() as position:
            done = await shell.write(
                request,
                "rule.import",
                lambda catalog: import_rules(catalog, file, position=position, by=by),
            )
    except NotFound:
        raise
    except HomeportError as error:
        return await _page(
            shell, request, problem=problem_text(error), status=status_of(error), imported=text
        )
    counts = ",".join(str(len(each)) for each in (done.made, done.changed, done.unchanged))
    return RedirectResponse(f"{URL}?done=imported&counts={counts}", 303)


async def _chosen(request: Request) -> tuple[bytes, str]:
    """The file that was chosen, or else the text that was pasted; and the text, to be shown again."""
    form = await request.form()
    upload, text = form.get("file"), form.get("rules")
    if isinstance(upload, UploadFile) and upload.filename:
        return await upload.read(RULE_FILE_BYTES_MAX + 1), ""
    pasted = text if isinstance(text, str) else ""
    return pasted.encode(), pasted


def notice_of(request: Request) -> Notice | None:
    """What was done, for the page that is shown next."""
    done = request.query_params.get("done", "")
    text = _NOTICES.get(done)
    if text is None:
        return None
    counts = request.query_params.get("counts", "").split(",")
    if done == "imported" and len(counts) == 3 and all(each.isascii() and each.isdigit() for each in counts):
        made, changed, unchanged = (int(each[:6]) for each in counts)
        text = f"{plural(made, 'rule')} made, {changed} changed, {unchanged} as they were."
    return Notice(tone="good", text=text)


def rule_view(rule: WrittenRule, active: int = 0) -> RuleView:
    """A rule as a row."""
    return RuleView(
        rule_id=rule.rule_id,
        name=rule.name,
        says=rule_sentence(rule.definition),
        scope=scope_words(rule.definition.scope),
        severity=rule.definition.severity,
        is_enabled=rule.is_enabled,
        is_built_in=rule.is_built_in,
        active=active,
    )


def active_by_rule(catalog: Catalog, scope: Scope) -> Counter[str]:
    """Rule id → how many of its alarms are active, within the first thousands."""
    found: Counter[str] = Counter()
    cursor: str | None = None
    while True:
        page = catalog.list_alarms(
            states=sorted(ACTIVE), scope=scope, limit=PAGE_ITEM_COUNT_MAX, cursor=cursor
        )
        found.update(each.rule_id for each in page.alarms)
        cursor = page.next_cursor
        if cursor is None:
            return found


async def _page(
    shell: Shell, request: Request, *, problem: str = "", status: int = 200, imported: str = ""
) -> Response:
    scope = await scope_of(request)
    rules, active = await shell.services.catalog.read(
        lambda catalog: (catalog.list_rules(), active_by_rule(catalog, scope))
    )
    watch = shell.services.pipeline.statistics().watch
    return await shell.render(
        request,
        "rules.html",
        status=status,
        title="Rules",
        section="rules",
        rules=[rule_view(each, active[each.rule_id]) for each in rules],
        left_out=left_out_text(watch, {each.rule_id: each.name for each in rules}),
        watching=watch_attention(watch, is_whole_site=scope is None),
        imported=imported,
        problem=problem,
        notice=notice_of(request) if not problem else None,
        may_manage="rules.manage" in await shell.permissions_of(request),
    )
