"""Endpoints about rollouts: making, approving, starting and stopping them, and who would get one."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from functools import partial

from appliance.management.rollout_plan import Plan, Targets
from appliance.management.rollouts import RolloutState
from appliance.management.waves import DEFAULT_WAVES, Wave
from appliance.updates import rollout_acts
from appliance.updates.rollout_acts import Author
from appliance.updates.rollout_choosing import look_ahead
from storage.catalog import Catalog
from storage.catalog.rollouts import ID_BYTES, Rollout, make_rollout_id
from ui.api import rollout_structs as structs
from ui.api.endpoint import Call, Endpoint, Reply
from ui.rollout_answers import draft_of, edited, preview_answer, rollout_answer


def author_of(call: Call) -> Author:
    """Who asks; an API token counts as its owner, so that nobody approves their own rollout by way of one."""
    assert call.identity is not None
    return Author(user_id=call.identity.user_id)


async def list_rollouts(call: Call) -> Reply:
    query: structs.RolloutQuery = call.query
    now_ms = call.services.clock.now_ms()
    states = [RolloutState(state) for state in query.state]

    def read(catalog: Catalog) -> structs.RolloutPage:
        page = catalog.list_rollouts(
            states=states, artifact_id=query.artifact_id, cursor=query.cursor, limit=query.limit
        )
        return structs.RolloutPage(
            rollouts=tuple(
                rollout_answer(catalog, each, scope=call.scope, now_ms=now_ms) for each in page.rollouts
            ),
            next_cursor=page.next_cursor,
        )

    return Reply(content=await call.services.catalog.read(read))


async def get_rollout(call: Call) -> Reply:
    rollout_id = call.path["rollout_id"]
    now_ms = call.services.clock.now_ms()

    def read(catalog: Catalog) -> structs.Rollout:
        rollout = catalog.get_rollout(rollout_id)
        return rollout_answer(catalog, rollout, scope=call.scope, now_ms=now_ms)

    answer = await call.services.catalog.read(read)
    return Reply(content=answer, version=answer.version)


async def _write(call: Call, fn: Callable[[Catalog], Rollout]) -> Reply:
    """Do something with a rollout, and answer with how it stands then. The planner looks at it afterwards."""
    now_ms = call.services.clock.now_ms()

    def write(catalog: Catalog) -> structs.Rollout:
        return rollout_answer(catalog, fn(catalog), scope=call.scope, now_ms=now_ms)

    answer = await call.write(write)
    call.services.wake_updates()
    return Reply(content=answer, version=answer.version)


async def create_rollout(call: Call) -> Reply:
    draft = draft_of(call.body)
    rollout_id = make_rollout_id(call.services.clock.now_ms(), secrets.token_bytes(ID_BYTES))
    return await _write(
        call, lambda catalog: rollout_acts.create(catalog, rollout_id, draft, author_of(call))
    )


async def edit_rollout(call: Call) -> Reply:
    rollout_id = call.path["rollout_id"]

    def write(catalog: Catalog) -> Rollout:
        rollout = catalog.get_rollout(rollout_id)
        call.expect(str(rollout.version))
        return rollout_acts.edit(catalog, rollout_id, edited(rollout, call.body), author_of(call))

    return await _write(call, write)


async def submit_rollout(call: Call) -> Reply:
    rollout_id, now_ms = call.path["rollout_id"], call.services.clock.now_ms()
    return await _write(
        call, lambda catalog: rollout_acts.submit(catalog, rollout_id, author_of(call), now_ms)
    )


async def approve_rollout(call: Call) -> Reply:
    rollout_id, now_ms = call.path["rollout_id"], call.services.clock.now_ms()

    def write(catalog: Catalog) -> Rollout:
        # If-Match: what is approved is what was read.
        call.expect(str(catalog.get_rollout(rollout_id).version))
        return rollout_acts.approve(catalog, rollout_id, author_of(call), now_ms)

    return await _write(call, write)


async def refuse_rollout(call: Call) -> Reply:
    rollout_id = call.path["rollout_id"]
    return await _write(
        call, lambda catalog: rollout_acts.refuse(catalog, rollout_id, author_of(call), call.body.reason)
    )


async def start_rollout(call: Call) -> Reply:
    rollout_id, now_ms = call.path["rollout_id"], call.services.clock.now_ms()
    return await _write(
        call, lambda catalog: rollout_acts.start(catalog, rollout_id, author_of(call), now_ms)
    )


async def pause_rollout(call: Call) -> Reply:
    rollout_id = call.path["rollout_id"]
    return await _write(
        call, lambda catalog: rollout_acts.pause(catalog, rollout_id, author_of(call), call.body.reason)
    )


async def resume_rollout(call: Call) -> Reply:
    rollout_id, now_ms = call.path["rollout_id"], call.services.clock.now_ms()
    return await _write(
        call, lambda catalog: rollout_acts.resume(catalog, rollout_id, author_of(call), now_ms)
    )


async def abort_rollout(call: Call) -> Reply:
    rollout_id, now_ms = call.path["rollout_id"], call.services.clock.now_ms()
    body: structs.RolloutAbort = call.body
    return await _write(
        call,
        lambda catalog: rollout_acts.abort(
            catalog, rollout_id, author_of(call), body.reason, confirm_count=body.confirm_count, now_ms=now_ms
        ),
    )


async def roll_back_rollout(call: Call) -> Reply:
    rollout_id = call.path["rollout_id"]
    body: structs.RolloutRollback = call.body
    return await _write(
        call,
        lambda catalog: rollout_acts.roll_back(
            catalog,
            rollout_id,
            author_of(call),
            wave=body.from_wave,
            reason=body.reason,
            confirm_count=body.confirm_count,
        ),
    )


async def preview_rollout(call: Call) -> Reply:
    query: structs.PreviewQuery = call.query
    targets = Targets(
        devices=query.device,
        groups=query.group,
        tags=query.tag,
        all=query.all,
        hw=query.hw,
        except_=query.except_,
    )
    plan = Plan(waves=tuple(Wave.of(text) for text in query.wave) or DEFAULT_WAVES)
    preview = await call.services.catalog.read(
        lambda catalog: look_ahead(catalog, query.artifact_id, targets, plan)
    )
    return Reply(content=preview_answer(preview))


_ROLLOUT = "/rollouts/{rollout_id}"
_TAGS = ("rollouts",)
_WORDS_UNKNOWN = ("artifact_unknown", "device_unknown", "group_unknown", "tag_unknown")
_DRAFT_INVALID = ("plan_invalid", "rollout_name", "targets_invalid", "wave_invalid", "window_invalid")
_WRITES = partial(Endpoint, needs="rollouts.manage", answer=structs.Rollout, errors=(404, 409), tags=_TAGS)
_ACT = partial(_WRITES, method="POST", idempotent=True)
_STATE = {404: ("rollout_unknown",), 409: ("rollout_state",)}
_USABLE = {404: ("rollout_unknown",), 409: ("rollout_state", "targets_none", "artifact_expired")}
_CONFIRMED = {404: ("rollout_unknown",), 409: ("rollout_state", "confirmation_differs")}
ENDPOINTS = (
    Endpoint(
        method="GET",
        path="/rollouts",
        handler=list_rollouts,
        needs="firmware.read",
        summary="List rollouts, the newest first",
        query=structs.RolloutQuery,
        answer=structs.RolloutPage,
        tags=_TAGS,
    ),
    Endpoint(
        method="GET",
        path="/rollouts/preview",
        handler=preview_rollout,
        needs="rollouts.manage",
        summary="Which devices a rollout would get, and who is left out and why",
        query=structs.PreviewQuery,
        answer=structs.RolloutPreview,
        errors=(404, 409),
        codes={404: _WORDS_UNKNOWN, 409: ("rollout_devices",), 422: ("targets_invalid", "wave_invalid")},
        tags=_TAGS,
    ),
    _ACT(
        path="/rollouts",
        handler=create_rollout,
        action="rollout.create",
        summary="Make a rollout, as a draft",
        body=structs.NewRollout,
        status=201,
        codes={404: _WORDS_UNKNOWN, 422: _DRAFT_INVALID},
    ),
    Endpoint(
        method="GET",
        path=_ROLLOUT,
        handler=get_rollout,
        needs="firmware.read",
        summary="Get a rollout with how its waves stand",
        etag=True,
        answer=structs.Rollout,
        errors=(404,),
        codes={404: ("rollout_unknown",)},
        tags=_TAGS,
    ),
    _WRITES(
        method="PATCH",
        path=_ROLLOUT,
        handler=edit_rollout,
        action="rollout.edit",
        summary="Change a draft; whoever does it counts as its maker",
        body=structs.RolloutEdit,
        etag=True,
        codes={404: ("rollout_unknown", *_WORDS_UNKNOWN), 409: ("rollout_state",), 422: _DRAFT_INVALID},
    ),
    _ACT(
        path=_ROLLOUT + "/submit",
        handler=submit_rollout,
        action="rollout.submit",
        summary="Say that a draft is done: it waits for a second person, or is ready",
        codes=_USABLE,
    ),
    _ACT(
        path=_ROLLOUT + "/approve",
        handler=approve_rollout,
        needs="rollouts.approve",
        action="rollout.approve",
        etag=True,
        summary="Approve what somebody else made",
        codes={**_STATE, 403: ("own_rollout",)},
    ),
    _ACT(
        path=_ROLLOUT + "/refuse",
        handler=refuse_rollout,
        action="rollout.refuse",
        summary="Send a rollout that has not started back to be a draft, with a reason",
        body=structs.RolloutReason,
        codes=_STATE,
    ),
    _ACT(
        path=_ROLLOUT + "/start",
        handler=start_rollout,
        action="rollout.start",
        summary="Choose the devices, and begin with the first wave",
        codes={
            **_USABLE,
            409: (*_USABLE[409], "rollout_needs_approval", "rollouts_live", "rollout_devices"),
        },
    ),
    _ACT(
        path=_ROLLOUT + "/pause",
        handler=pause_rollout,
        action="rollout.pause",
        summary="Halt whoever has not begun to install",
        body=structs.RolloutReason,
        codes=_STATE,
    ),
    _ACT(
        path=_ROLLOUT + "/resume",
        handler=resume_rollout,
        action="rollout.resume",
        summary="Go on; the failures so far are accepted by that",
        codes=_STATE,
    ),
    _ACT(
        path=_ROLLOUT + "/abort",
        handler=abort_rollout,
        action="rollout.abort",
        summary="Stop for good: whoever has not begun to install is let off",
        body=structs.RolloutAbort,
        codes=_CONFIRMED,
    ),
    _ACT(
        path=_ROLLOUT + "/rollback",
        handler=roll_back_rollout,
        action="rollout.rollback",
        summary="Have the devices of a wave and later ones, or of all, go back to what they ran before",
        body=structs.RolloutRollback,
        codes={404: ("rollout_unknown",), 409: ("rollout_state", "confirmation_differs", "rollback_none")},
    ),
)
