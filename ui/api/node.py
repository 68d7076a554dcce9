"""Endpoints about the node and who is signed in."""

from __future__ import annotations

from typing import Final, get_args

from starlette.responses import Response

from appliance.core.clock_state import clock_state
from appliance.core.clock_words import clock_doubt_text
from appliance.core.errors import Conflict, NotAuthorized
from appliance.identity import SetupState
from appliance.pipeline.watch_statistics import WatchFeedStatistics
from ui import auth
from ui.api import structs
from ui.api.endpoint import Call, Endpoint, Reply
from ui.services import Services
from ui.setup import claim_box
from ui.sign_in_browser import sign_in
from ui.store_words import store_state, store_text

_SYNCHRONIZED: Final = {"synchronized": True, "unsynchronized": False}


async def get_status(call: Call) -> Reply:
    services = call.services
    by_state, active_ids = await services.catalog.read(
        lambda reader: (
            reader.count_by_state(scope=call.scope),
            reader.device_ids(states=("active",), scope=call.scope),
        )
    )
    live = services.live.devices()
    presence: dict[structs.Presence, int] = dict.fromkeys(get_args(structs.Presence), 0)
    for device_id in active_ids:
        device = live.get(device_id)
        word: structs.Presence = device.presence if device else "never_seen"  # type: ignore[assignment]
        presence[word] += 1
    pipeline = services.pipeline.statistics()
    return Reply(
        content=structs.Status(
            node=services.node_name,
            version=services.version,
            now_ms=services.clock.now_ms(),
            clock=_clock(services),
            started_at_ms=services.started_at_ms + services.believed.stepped_ms,
            devices=structs.Counts(state=by_state, presence=presence),
            message_rate=services.live.message_rate,
            broker=structs.BrokerState(
                connected=services.broker.connected,
                # As GET /broker has it: the whole site's.
                statistics=dict(services.broker.statistics) if call.scope is None else {},
            ),
            pipeline=structs.PipelineState(
                state=str(pipeline.state),
                text=store_text(store_state(pipeline), pipeline.behind_records),
                # Names the store's file and the system's words: the whole site's.
                doing=pipeline.doing if call.scope is None else "",
                lag_s=pipeline.lag_s,
                behind_records=pipeline.behind_records,
                behind_since_ms=pipeline.behind_since_ms,
                complete_seq=pipeline.complete_seq,
                backlog=structs.Backlog(
                    records=pipeline.backlog.records,
                    total=pipeline.backlog.total,
                    done=pipeline.backlog.done,
                    left_s=pipeline.backlog.left_s,
                ),
                rows_total=pipeline.rows_total,
                dead_letters_total=pipeline.dead_letters_total,
                dead_letters=pipeline.dead_letters,
                breaker=str(pipeline.breaker),
            ),
            rules=_rules(pipeline.watch, is_whole_site=call.scope is None),
            tls_fingerprint=services.tls.fingerprint,
            tls_not_after_ms=services.tls.not_after_ms,
        )
    )


def _clock(services: Services) -> structs.ClockState:
    believed, now_ms = services.believed, services.clock.now_ms()
    believed.look()
    step = believed.last_step
    return structs.ClockState(
        doubt=believed.doubt.value,
        text=clock_doubt_text(believed.doubt, now_ms, believed.off_by_ms),
        off_by_ms=believed.off_by_ms,
        synchronized=_SYNCHRONIZED.get(clock_state(now_ms=now_ms)),
        steps_total=believed.steps_total,
        last_step_ms=None if step is None else step.by_ms,
    )


def _rules(watch: WatchFeedStatistics | None, *, is_whole_site: bool) -> structs.RulesState | None:
    """An incident names rules: the whole site's."""
    if watch is None:
        return None
    return structs.RulesState(
        state=watch.state.value,
        text=watch.doing if is_whole_site or not watch.incident else "standing still",
        behind_records=watch.behind_records,
        rebuild_s=watch.rebuild_s,
        failures_total=watch.failures_total,
        late_total=watch.watch.late_total,
    )


async def get_setup(call: Call) -> Reply:
    has_admin = await call.services.catalog.read(lambda reader: reader.has_admin(), pool="auth")
    return Reply(
        content=structs.SetupState(
            needs_setup=not has_admin,
            code_valid=not has_admin and call.services.setup_code.state is SetupState.VALID,
        )
    )


async def claim(call: Call) -> Reply:
    body: structs.Claim = call.body
    identity, cookie = await claim_box(call.request, body.code, body.user_id, body.password)
    return _session(call, identity, cookie)


async def create_setup_code(call: Call) -> Reply:
    if await call.services.catalog.read(lambda reader: reader.has_admin(), pool="auth"):
        raise Conflict(
            "The box has an admin already.", hint="Sign in with that account.", code="claimed_already"
        )
    async with call.noted(object_kind="setup_code", object_id=call.services.node_name):
        code = call.services.setup_code.issue()
    return Reply(
        content=structs.SetupCode(code=code, expires_in_s=call.services.setup_code.remaining_ms // 1000)
    )


async def create_session(call: Call) -> Reply:
    body: structs.SignIn = call.body
    if auth.is_local(call.request):
        raise NotAuthorized("A program on the box needs no session.", hint="Just ask.", code="forbidden")
    identity, cookie = await sign_in(call.request, body.user_id, body.password, body.code)
    return _session(call, identity, cookie)


async def get_session(call: Call) -> Reply:
    assert call.identity
    return Reply(content=_session_answer(call.identity))


async def delete_session(call: Call) -> Reply:
    await auth.sign_out(call.request)
    return Reply(content=None, dress=lambda response: auth.clear_cookie(call.request, response))


def _session(call: Call, identity: auth.Identity, cookie: str) -> Reply:
    def dress(response: Response) -> None:
        auth.set_cookie(call.request, response, cookie)

    return Reply(content=_session_answer(identity), dress=dress)


def _session_answer(identity: auth.Identity) -> structs.Session:
    assert identity.via != "cloud", "a cloud node has no session"
    return structs.Session(
        user_id=identity.user_id, role=identity.role, via=identity.via, csrf_token=identity.csrf_token
    )


ENDPOINTS = (
    Endpoint(
        method="GET",
        path="/status",
        handler=get_status,
        needs="node.read",
        summary="The node at a glance",
        answer=structs.Status,
        tags=("node",),
    ),
    Endpoint(
        method="GET",
        path="/setup",
        handler=get_setup,
        summary="Whether the box waits for its admin",
        access="open",
        answer=structs.SetupState,
        tags=("setup",),
    ),
    Endpoint(
        method="POST",
        path="/setup",
        handler=claim,
        action="box.claim",
        summary="Claim the box with the setup code and sign in as its admin",
        access="open",
        body=structs.Claim,
        answer=structs.Session,
        status=201,
        errors=(409, 429),
        tags=("setup",),
    ),
    Endpoint(
        method="POST",
        path="/setup/code",
        handler=create_setup_code,
        action="setup_code.create",
        summary="Make a new setup code (only from the box itself, only while there is no admin)",
        access="local",
        answer=structs.SetupCode,
        status=201,
        errors=(409,),
        tags=("setup",),
    ),
    Endpoint(
        method="POST",
        path="/session",
        handler=create_session,
        action="session.sign_in",
        summary="Sign in",
        access="open",
        body=structs.SignIn,
        answer=structs.Session,
        status=201,
        errors=(401, 429),
        tags=("session",),
    ),
    Endpoint(
        method="GET",
        path="/session",
        handler=get_session,
        needs="account.own",
        summary="Who is signed in",
        answer=structs.Session,
        tags=("session",),
    ),
    Endpoint(
        method="DELETE",
        path="/session",
        handler=delete_session,
        needs="account.own",
        action="session.sign_out",
        summary="Sign out",
        tags=("session",),
        status=204,
    ),
)
