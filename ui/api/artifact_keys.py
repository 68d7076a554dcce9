"""Endpoints for the keys whose signatures count on artifacts."""

from __future__ import annotations

from appliance.management.audit import Act
from appliance.management.manifest import Signed
from ui.api import artifact_structs as structs
from ui.api.artifact_answers import keys_answer
from ui.api.endpoint import Call, Endpoint, Reply
from ui.auth import actor_of


async def get_artifact_keys(call: Call) -> Reply:
    return await _reply(call)


async def set_artifact_keys(call: Call) -> Reply:
    wish: structs.KeySetWish = call.body
    signed = Signed(document=wish.document, signatures=wish.signatures)
    await call.services.artifacts.keys.set_keys(signed, await _act(call), sign_here=wish.sign_here)
    return await _reply(call)


async def reset_artifact_keys(call: Call) -> Reply:
    wish: structs.KeySetReset = call.body
    await call.services.artifacts.keys.set_keys(
        Signed(document=wish.document), await _act(call), sign_here=False, is_reset=True
    )
    return await _reply(call)


async def edit_artifact_keys(call: Call) -> Reply:
    edit: structs.KeysEdit = call.body
    await call.services.artifacts.keys.set_unsigned(edit.unsigned, await _act(call))
    return await _reply(call)


async def make_box_key(call: Call) -> Reply:
    await call.services.artifacts.keys.make_box_key(await _act(call))
    return await _reply(call)


async def remove_box_key(call: Call) -> Reply:
    await call.services.artifacts.keys.remove_box_key(await _act(call))
    return Reply(content=None)


async def _reply(call: Call) -> Reply:
    return Reply(content=keys_answer(await call.services.artifacts.keys.facts()))


async def _act(call: Call) -> Act:
    return Act(action=call.action, actor=await actor_of(call.request))


_TAGS = ("artifacts",)
_SET_CODES = {
    404: ("artifact_key_missing",),
    409: ("artifact_keys_version", "artifact_keys_unsigned", "signature_bad"),
    422: ("manifest_invalid", "artifact_keys_unusable", "artifact_key_invalid"),
}
ENDPOINTS = (
    Endpoint(
        method="GET",
        path="/artifact-keys",
        handler=get_artifact_keys,
        needs="firmware.read",
        summary="Whose signatures count, how many are needed, and what may go without",
        answer=structs.ArtifactKeys,
        tags=_TAGS,
    ),
    Endpoint(
        method="PUT",
        path="/artifact-keys",
        handler=set_artifact_keys,
        needs="artifact_keys.manage",
        action="artifact_keys.set",
        summary="Put a set of keys in force that enough of the old ones have signed",
        body=structs.KeySetWish,
        answer=structs.ArtifactKeys,
        errors=(404, 409),
        codes=_SET_CODES,
        tags=_TAGS,
    ),
    Endpoint(
        method="PATCH",
        path="/artifact-keys",
        handler=edit_artifact_keys,
        needs="artifact_keys.manage",
        action="artifact_keys.policy",
        summary="Say what may be rolled out without a signed manifest",
        body=structs.KeysEdit,
        answer=structs.ArtifactKeys,
        tags=_TAGS,
    ),
    Endpoint(
        method="POST",
        path="/artifact-keys/reset",
        handler=reset_artifact_keys,
        access="local",
        action="artifact_keys.reset",
        summary="Put a set of keys in force that nobody has signed, when keys are lost",
        body=structs.KeySetReset,
        answer=structs.ArtifactKeys,
        errors=(409,),
        codes={409: ("artifact_keys_version",), 422: _SET_CODES[422]},
        tags=_TAGS,
    ),
    Endpoint(
        method="POST",
        path="/artifact-keys/box",
        handler=make_box_key,
        needs="artifact_keys.manage",
        action="artifact_keys.box_make",
        summary="Make this box's own key; where nobody is trusted yet, it is",
        answer=structs.ArtifactKeys,
        status=201,
        errors=(409,),
        codes={409: ("artifact_key_exists",)},
        tags=_TAGS,
    ),
    Endpoint(
        method="DELETE",
        path="/artifact-keys/box",
        handler=remove_box_key,
        needs="artifact_keys.manage",
        action="artifact_keys.box_remove",
        summary="Forget this box's own key, for good",
        errors=(404,),
        codes={404: ("artifact_key_missing",)},
        tags=_TAGS,
    ),
)
