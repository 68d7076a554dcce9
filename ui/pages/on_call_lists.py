"""The form of an on-call list: of which alarms whom is told, when they have their turn, and when nobody is to be woken."""

from __future__ import annotations

from typing import Any, Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from appliance.core.errors import HomeportError, NotFound
from appliance.core.limits import PAGE_FORM_FIELD_COUNT_MAX
from appliance.core.limits_notifications import ON_CALL_LIST_NAME_LENGTH_MAX
from appliance.management.on_call import OnCallDefinition
from appliance.management.windows import DAYS
from storage.catalog import Catalog
from storage.catalog.on_call_lists import OnCallRow
from ui.pages.alarm_words import SEVERITY_SAYS
from ui.pages.notifications import URL
from ui.pages.on_call_form import OnCallForm, of_definition, of_request
from ui.pages.scope_form import choices, counted
from ui.pages.scoped import scope_of
from ui.pages.shell import Shell, form_of, problem_text
from ui.pages.typed import check_typed
from ui.problem import status_of

DAY_WORDS: Final = dict(zip(DAYS, ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"), strict=True))


async def show_new(shell: Shell, request: Request) -> Response:
    """`GET /alarms/notifications/lists/new`: with what most sites want."""
    return await _page(shell, request, of_definition("", OnCallDefinition()))


async def show_one(shell: Shell, request: Request) -> Response:
    """`GET /alarms/notifications/lists/{id}`. Raises NotFound: `on_call_unknown`."""
    row = await _row(shell, request)
    return await _page(
        shell, request, of_definition(row.name, row.definition, is_enabled=row.is_enabled), row=row
    )


async def save_new(shell: Shell, request: Request) -> Response:
    """`POST /alarms/notifications/lists` with the form's fields."""
    return await _save(shell, request, None)


async def save(shell: Shell, request: Request) -> Response:
    """`POST /alarms/notifications/lists/{id}`. Raises NotFound: `on_call_unknown`."""
    return await _save(shell, request, await _row(shell, request))


async def remove(shell: Shell, request: Request) -> Response:
    """`POST /alarms/notifications/lists/{id}/remove` with confirm. Raises NotFound: `on_call_unknown`."""
    row = await _row(shell, request)
    confirm = (await form_of(request)).get("confirm", "")
    try:
        check_typed(confirm, "remove")
        await shell.write(request, "on_call_list.remove", lambda catalog: catalog.remove_on_call(row.list_id))
    except HomeportError as error:
        form = of_definition(row.name, row.definition, is_enabled=row.is_enabled)
        return await _page(
            shell, request, form, row=row, problem=problem_text(error), status=status_of(error)
        )
    return RedirectResponse(f"{URL}?done=list_removed", 303)


async def _row(shell: Shell, request: Request) -> OnCallRow:
    list_id = request.path_params["list_id"]
    return await shell.services.catalog.read(lambda catalog: catalog.get_on_call(list_id))


async def _save(shell: Shell, request: Request, row: OnCallRow | None) -> Response:
    form = of_request(await request.form(max_files=0, max_fields=PAGE_FORM_FIELD_COUNT_MAX))
    desk = shell.services.notifications
    try:
        definition = form.definition()

        def write(catalog: Catalog) -> OnCallRow:
            if row is None:
                return desk.add_on_call(
                    catalog, name=form.clean_name(), definition=definition, is_enabled=form.is_enabled == "1"
                )
            return desk.edit_on_call(
                catalog,
                row.list_id,
                name=form.clean_name(),
                definition=definition,
                is_enabled=form.is_enabled == "1",
            )

        await shell.write(request, "on_call_list.create" if row is None else "on_call_list.edit", write)
    except NotFound as error:
        if error.code == "on_call_unknown":
            raise
        return await _page(
            shell, request, form, row=row, problem=problem_text(error), status=status_of(error)
        )
    except HomeportError as error:
        return await _page(
            shell, request, form, row=row, problem=problem_text(error), status=status_of(error)
        )
    return RedirectResponse(f"{URL}?done=list_saved", 303)


async def _page(
    shell: Shell,
    request: Request,
    form: OnCallForm,
    *,
    row: OnCallRow | None = None,
    problem: str = "",
    status: int = 200,
) -> Response:
    scope = await scope_of(request)

    def read(catalog: Catalog) -> dict[str, Any]:
        context = {**choices(catalog, scope), **counted(catalog, form.scope.scope(), scope)}
        return {**context, "targets": [(each.target_id, each.name) for each in catalog.list_targets()]}

    site = await shell.site.get()
    return await shell.render(
        request,
        "on_call_list.html",
        status=status,
        title=row.name if row is not None else "New on-call list",
        section="notifications",
        list=form,
        form=form.scope,
        row=row,
        severities=SEVERITY_SAYS,
        days=DAY_WORDS,
        zone=site.time_zone,
        save_url=f"{URL}/lists/{row.list_id}" if row is not None else f"{URL}/lists",
        name_length_max=ON_CALL_LIST_NAME_LENGTH_MAX,
        problem=problem,
        **await shell.services.catalog.read(read),
    )
