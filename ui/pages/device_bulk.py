"""The same done with the devices that were ticked: one page says what will happen to how many and which, the next what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, cast, get_args

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from appliance.core.errors import UsageError
from appliance.core.limits import PAGE_BULK_COUNT_MAX
from storage.catalog import Catalog, Group
from ui import auth, device_bulk
from ui.api.import_structs import BulkOperation
from ui.pages.format import plural
from ui.pages.scoped import scope_of
from ui.pages.shell import Shell
from ui.pages.typed import check_typed
from ui.problem import status_of


@dataclass(frozen=True, slots=True)
class Words:
    """How an operation is spoken of. `word` is what it needs beside devices: a tag, a group, or a typed confirmation."""

    verb: str
    done: str
    says: str
    word: str = ""


WORDS: Final[dict[BulkOperation, Words]] = {
    "adopt": Words(
        "Adopt", "adopted", "They may connect then. Each that has no token gets one, which is shown once."
    ),
    "reject": Words("Reject", "rejected", "They stay out, and their credentials end."),
    "tag": Words("Tag", "tagged", "They get this tag beside those they have.", "tag"),
    "untag": Words("Take a tag off", "changed", "The tag is taken off those that have it.", "tag"),
    "add_to_group": Words(
        "Add to a group", "added", "Whoever is limited to the group sees them then.", "group"
    ),
    "remove_from_group": Words(
        "Take out of a group", "taken out", "Whoever is limited to the group sees them no more.", "group"
    ),
    "decommission": Words(
        "Decommission",
        "decommissioned",
        "For good: their credentials end, their connections are cut, their ids stay taken. Their readings stay.",
        "confirm",
    ),
}


async def act(shell: Shell, request: Request) -> Response:
    """`POST /device-bulk` with op and ids: asks first; with go=1 (and tag, group or confirm) it is done.

    Raises:
        UsageError: nothing was ticked, too much was, or it was not confirmed. NotAuthorized: the role doesn't allow it.
    """
    form = await request.form()
    op = str(form.get("op", ""))
    ids = tuple(dict.fromkeys(each for each in form.getlist("ids") if isinstance(each, str)))
    if op not in get_args(BulkOperation):
        raise UsageError("There is no such action.", hint="Use the buttons of the list.", code="body_invalid")
    if not 1 <= len(ids) <= PAGE_BULK_COUNT_MAX:
        raise UsageError(
            "No device was ticked." if not ids else f"{len(ids)} devices are too many for a page.",
            hint=f"Go back and tick 1 to {PAGE_BULK_COUNT_MAX}; for more there is the command line.",
            code="bulk_count",
        )
    wanted = cast(BulkOperation, op)
    words = WORDS[wanted]
    confirmation = f"{words.verb.lower()} {len(ids)}"
    if form.get("go") != "1":
        return await _ask(shell, request, wanted, ids, confirmation)
    if words.word == "confirm":
        try:
            check_typed(str(form.get("confirm", "")), confirmation)
        except UsageError as error:
            return await _ask(
                shell, request, wanted, ids, confirmation, status=status_of(error), problem=error.message
            )
    identity = await auth.require(request)
    result = await device_bulk.carry_out(
        shell.services,
        ids,
        device_bulk.Operation.of(
            wanted,
            tag=str(form.get("tag", "")) or None if words.word == "tag" else None,
            group=str(form.get("group", "")) or None if words.word == "group" else None,
        ),
        role=identity.role,
        scope=identity.scope,
        actor=await auth.actor_of(request),
    )
    done = [each for each in result.outcomes if each.error is None]
    return await shell.render(
        request,
        "device_bulk_done.html",
        title=f"{plural(len(done), 'device', 'devices')} {words.done}",
        section="devices",
        done=done,
        tokens=[each for each in done if each.token],
        failed=[each for each in result.outcomes if each.error is not None],
        connections_closed=result.connections_closed,
    )


async def reload(shell: Shell, request: Request) -> Response:
    """`GET /device-bulk`: what a reload leads to; nothing is done twice and no token is shown again."""
    return RedirectResponse("/devices", 303)


async def _ask(
    shell: Shell,
    request: Request,
    op: BulkOperation,
    ids: tuple[str, ...],
    confirmation: str,
    *,
    status: int = 200,
    problem: str = "",
) -> Response:
    scope = await scope_of(request)

    def read(catalog: Catalog) -> tuple[list[str], list[Group]]:
        found = catalog.list_devices(ids=ids, scope=scope, limit=PAGE_BULK_COUNT_MAX)
        return [device.device_id for device in found.devices], catalog.list_groups(scope=scope, counted=False)

    there, groups = await shell.services.catalog.read(read)
    return await shell.render(
        request,
        "device_bulk.html",
        status=status,
        problem=problem,
        title=f"{WORDS[op].verb}: {plural(len(there), 'device', 'devices')}",
        section="devices",
        op=op,
        words=WORDS[op],
        ids=there,
        confirmation=confirmation if len(there) == len(ids) else f"{WORDS[op].verb.lower()} {len(there)}",
        groups=groups,
    )
