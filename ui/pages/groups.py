"""Groups of devices, which people's accounts can be limited to, and the tags of all devices."""

from __future__ import annotations

from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from appliance.core.errors import HomeportError
from appliance.core.limits import CATALOG_CHUNK_ROW_COUNT_MAX, PAGE_TAG_COUNT_MAX
from storage.catalog import Catalog, Group, TagCount
from ui.pages.scoped import scope_of
from ui.pages.shell import Shell, form_of, problem_text
from ui.pages.typed import check_typed
from ui.pages.views import Notice
from ui.problem import status_of

_NOTICES = {
    "made": "The group is there. Put devices into it from the list of devices, or on a device's page.",
    "edited": "The group was changed.",
    "removed": "The group is gone.",
    "tag": "The tag was renamed on every device that had it.",
}


async def show(shell: Shell, request: Request) -> Response:
    """`GET /groups`."""
    return await _page(shell, request)


async def make(shell: Shell, request: Request) -> Response:
    """`POST /groups` with group_id, name, description."""
    form = await form_of(request)

    def write(catalog: Catalog) -> Group:
        return catalog.add_group(
            form.get("group_id", "").strip(),
            name=form.get("name", ""),
            description=form.get("description", ""),
        )

    try:
        await shell.write(request, "group.create", write)
    except HomeportError as error:
        return await _page(shell, request, status=status_of(error), problem=problem_text(error), wish=form)
    return RedirectResponse("/groups?done=made", 303)


async def show_one(shell: Shell, request: Request) -> Response:
    """`GET /groups/{id}`: its words, and what removing it does. Raises NotFound: `group_unknown`."""
    return await _one(shell, request)


async def edit(shell: Shell, request: Request) -> Response:
    """`POST /groups/{id}` with name and description. Raises NotFound: `group_unknown`."""
    form, group_id = await form_of(request), request.path_params["group_id"]

    def write(catalog: Catalog) -> Group:
        return catalog.edit_group(
            group_id, name=form.get("name", ""), description=form.get("description", "")
        )

    try:
        await shell.write(request, "group.edit", write)
    except HomeportError as error:
        return await _one(shell, request, status=status_of(error), problem=problem_text(error))
    return RedirectResponse("/groups?done=edited", 303)


async def remove(shell: Shell, request: Request) -> Response:
    """`POST /groups/{id}/remove` with confirm: devices are taken out of it, and it goes.

    Raises:
        UsageError: `not_confirmed`. NotFound: `group_unknown`.
    """
    form, group_id = await form_of(request), request.path_params["group_id"]
    check_typed(form.get("confirm", ""), group_id)
    try:
        await shell.services.catalog.read(lambda catalog: catalog.check_group_unnamed(group_id))
        await _in_chunks(
            shell,
            request,
            "group.remove",
            lambda catalog, count: catalog.clean_group(group_id, count_max=count),
        )
        await shell.write(request, "group.remove", lambda catalog: catalog.remove_group(group_id))
    except HomeportError as error:
        return await _one(shell, request, status=status_of(error), problem=problem_text(error))
    return RedirectResponse("/groups?done=removed", 303)


async def rename_tag(shell: Shell, request: Request) -> Response:
    """`POST /tags` with tag and new: renames it on every device within one's scope. Taking it off is an action on devices.

    Raises:
        UsageError: `device_tags_invalid`.
    """
    form = await form_of(request)
    tag, new = form.get("tag", ""), form.get("new", "")
    scope = await scope_of(request)
    await _in_chunks(
        shell,
        request,
        "tag.rename",
        lambda catalog, count: catalog.change_tag(tag, new, scope=scope, count_max=count),
    )
    return RedirectResponse("/groups?done=tag#tags", 303)


async def _in_chunks(
    shell: Shell, request: Request, action: str, change: Callable[[Catalog, int], int]
) -> None:
    while (
        await shell.write(request, action, lambda catalog: change(catalog, CATALOG_CHUNK_ROW_COUNT_MAX))
        == CATALOG_CHUNK_ROW_COUNT_MAX
    ):
        pass


async def _page(
    shell: Shell,
    request: Request,
    *,
    status: int = 200,
    problem: str = "",
    wish: dict[str, str] | None = None,
) -> Response:
    scope = await scope_of(request)

    def read(catalog: Catalog) -> tuple[list[Group], list[TagCount], bool]:
        tags, more = catalog.list_tags(scope=scope, limit=PAGE_TAG_COUNT_MAX)
        return catalog.list_groups(scope=scope), tags, more is not None

    groups, tags, has_more_tags = await shell.services.catalog.read(read)
    notice = _NOTICES.get(request.query_params.get("done", ""))
    return await shell.render(
        request,
        "groups.html",
        status=status,
        title="Groups and tags",
        section="devices",
        groups=groups,
        tags=tags,
        has_more_tags=has_more_tags,
        wish={key: (wish or {}).get(key, "") for key in ("group_id", "name", "description")},
        problem=problem,
        notice=Notice(tone="good", text=notice) if notice else None,
    )


async def _one(shell: Shell, request: Request, *, status: int = 200, problem: str = "") -> Response:
    group_id = request.path_params["group_id"]
    scope = await scope_of(request)
    group = await shell.services.catalog.read(lambda catalog: catalog.get_group(group_id, scope=scope))
    return await shell.render(
        request,
        "group.html",
        status=status,
        title=f"Group {group_id}",
        section="devices",
        group=group,
        problem=problem,
    )
