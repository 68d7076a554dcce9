"""Endpoints about commands to devices: sending one or many, waiting for the answer, taking back what was not said yet."""

from __future__ import annotations

from msgspec import UNSET

from appliance.management.commands import CommandState, CommandWish
from appliance.management.twin_json import decode
from storage.catalog import Catalog
from storage.catalog.commands import Command, CommandPage
from ui.api import twin_structs
from ui.api.chosen_devices import choose, each_by_itself
from ui.api.endpoint import Call, Endpoint, Reply
from ui.auth import actor_of


def command_answer(command: Command) -> twin_structs.Command:
    """A command of the catalog as the API tells it."""
    return twin_structs.Command(
        command_id=command.command_id,
        device_id=command.device_id,
        method=command.method,
        params=command.params,
        when_away=command.when_away,
        state=command.state.value,
        created_by=command.created_by,
        created_at_ms=command.created_at_ms,
        expires_at_ms=command.expires_at_ms,
        sent_at_ms=command.sent_at_ms,
        ended_at_ms=command.ended_at_ms,
        answered_at_ms=command.answered_at_ms,
        is_late=command.is_late,
        result=command.result,
        error=command.error,
    )


def wish_of(new: twin_structs.NewCommand) -> CommandWish:
    """What somebody wants done, its params read strictly.

    Raises:
        UsageError: `json_invalid`, and as CommandWish.check.
    """
    wish = CommandWish(
        method=new.method,
        params=None if new.params is UNSET else decode(bytes(new.params)),
        when_away=new.when_away,
        expires_in_ms=new.expires_s * 1000,
    )
    wish.check()
    return wish


async def list_commands(call: Call) -> Reply:
    query: twin_structs.CommandQuery = call.query
    device_id = call.path["device_id"]

    def read(reader: Catalog) -> CommandPage:
        reader.get_device(device_id, scope=call.scope)
        states = [CommandState(each) for each in query.state]
        return reader.list_commands(device_id, states=states, before=query.before, limit=query.limit)

    page = await call.services.catalog.read(read)
    return Reply(
        content=twin_structs.CommandPage(
            device_id=device_id,
            commands=tuple(map(command_answer, page.commands)),
            next_before=page.next_before,
        )
    )


async def get_command(call: Call) -> Reply:
    query: twin_structs.WaitQuery = call.query
    device_id, command_id = call.path["device_id"], call.path["command_id"]

    def read(reader: Catalog) -> Command:
        reader.get_device(device_id, scope=call.scope)
        return reader.get_command(device_id, command_id)

    command = await call.services.catalog.read(read)
    if query.wait_s:
        command = await call.services.twins.commands.wait(device_id, command_id, wait_s=query.wait_s)
    return Reply(content=command_answer(command))


async def send_command(call: Call) -> Reply:
    query: twin_structs.WaitQuery = call.query
    wish, device_id = wish_of(call.body), call.path["device_id"]
    desk, created_by = call.services.twins.commands, (await actor_of(call.request)).name

    def write(writer: Catalog) -> Command:
        writer.get_device(device_id, scope=call.scope)
        return desk.add(writer, device_id, wish, created_by=created_by)

    command = await call.write(write)
    desk.look([device_id])
    if query.wait_s:
        command = await desk.wait(device_id, command.command_id, wait_s=query.wait_s)
    return Reply(content=command_answer(command))


async def cancel_command(call: Call) -> Reply:
    device_id, command_id = call.path["device_id"], call.path["command_id"]

    def write(writer: Catalog) -> Command:
        writer.get_device(device_id, scope=call.scope)
        return writer.cancel_command(device_id, command_id)

    command = await call.write(write)
    call.services.twins.commands.look([device_id])
    return Reply(content=command_answer(command))


async def send_commands_to_many(call: Call) -> Reply:
    body: twin_structs.BulkCommand = call.body
    wish = wish_of(body.command)
    device_ids = await choose(call, body.devices, body.device_count)
    desk, created_by = call.services.twins.commands, (await actor_of(call.request)).name

    def do(catalog: Catalog, device_id: str) -> str:
        return desk.add(catalog, device_id, wish, created_by=created_by).command_id

    outcome = await each_by_itself(call, device_ids, do)
    desk.look([each.device_id for each in outcome.items if each.command_id is not None])
    return Reply(content=outcome)


_COMMANDS = "/devices/{device_id}/commands"
_COMMAND = _COMMANDS + "/{command_id}"
_TAGS = ("commands",)
_UNKNOWN = ("device_unknown", "command_unknown")
_REFUSALS = ("json_invalid", "command_params_invalid")
ENDPOINTS = (
    Endpoint(
        method="GET",
        path=_COMMANDS,
        handler=list_commands,
        needs="devices.read",
        summary="List a device's commands, the newest first",
        query=twin_structs.CommandQuery,
        answer=twin_structs.CommandPage,
        errors=(404,),
        codes={404: ("device_unknown",)},
        tags=_TAGS,
    ),
    Endpoint(
        method="POST",
        path=_COMMANDS,
        handler=send_command,
        needs="commands.send",
        action="command.send",
        idempotent=True,
        summary="Send a device a command, and wait for its answer if wanted",
        query=twin_structs.WaitQuery,
        body=twin_structs.NewCommand,
        answer=twin_structs.Command,
        status=201,
        errors=(404, 409),
        codes={
            404: ("device_unknown",),
            409: ("device_away", "device_waiting", "device_rejected", "device_decommissioned"),
            422: _REFUSALS,
            429: ("commands_open",),
        },
        tags=_TAGS,
    ),
    Endpoint(
        method="GET",
        path=_COMMAND,
        handler=get_command,
        needs="devices.read",
        summary="Get a command, and wait for it to end if wanted",
        query=twin_structs.WaitQuery,
        answer=twin_structs.Command,
        errors=(404,),
        codes={404: _UNKNOWN},
        tags=_TAGS,
    ),
    Endpoint(
        method="POST",
        path=_COMMAND + "/cancel",
        handler=cancel_command,
        needs="commands.send",
        action="command.cancel",
        idempotent=True,
        summary="Take back a command that the device was not told yet",
        answer=twin_structs.Command,
        errors=(404, 409),
        codes={404: _UNKNOWN, 409: ("command_sent", "command_ended")},
        tags=_TAGS,
    ),
    Endpoint(
        method="POST",
        path="/commands/bulk",
        handler=send_commands_to_many,
        needs="commands.send",
        action="command.send",
        idempotent=True,
        summary="Send up to 1,000 devices the same command; the answer says of each what came of it",
        body=twin_structs.BulkCommand,
        is_bulk=True,
        answer=twin_structs.BulkOutcome,
        codes={
            409: ("device_count_unconfirmed", "device_count_differs"),
            422: (*_REFUSALS, "devices_not_chosen", "devices_too_many"),
        },
        tags=_TAGS,
    ),
)
