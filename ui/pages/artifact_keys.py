"""The page Keys: whose signatures count on artifacts, how many are needed, what may go without, and the box's own key."""

from __future__ import annotations

from typing import Final, get_args

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from appliance.core.errors import HomeportError, UsageError
from appliance.core.limits_updates import ARTIFACT_KEY_COUNT_MAX, ARTIFACT_KEY_NAME_LENGTH_MAX
from appliance.identity.artifact_key_files import public_key
from appliance.management import artifact_keys
from appliance.management.artifact_keys import KeySet, UnsignedPolicy
from appliance.management.audit import Act
from appliance.management.manifest import Signed
from ui import auth
from ui.artifact_keys_desk import KeyFacts
from ui.pages.artifact import document_response, read_document
from ui.pages.artifact_looks import KEY, UNSIGNED_WORDS
from ui.pages.shell import Shell, form_of, problem_text
from ui.pages.typed import check_typed
from ui.pages.views import Notice
from ui.problem import status_of

URL: Final = "/firmware/keys"
REMOVE_WORD: Final = "remove the key"
_NOTICES: Final = {
    "set": "These keys count from now on.",
    "policy": "That holds from now on.",
    "made": "This box has a signing key now.",
    "removed": "The box's own key is gone.",
}


async def show(shell: Shell, request: Request) -> Response:
    """`GET /firmware/keys`."""
    return await _page(shell, request)


async def policy(shell: Shell, request: Request) -> Response:
    """`POST /firmware/keys/policy` with unsigned."""
    wanted = (await form_of(request)).get("unsigned", "")
    policies: tuple[UnsignedPolicy, ...] = get_args(UnsignedPolicy)
    for each in policies:
        if each == wanted:
            act = await _act(request, "artifact_keys.policy")
            await shell.services.artifacts.keys.set_unsigned(each, act)
            return RedirectResponse(f"{URL}?done=policy", 303)
    raise UsageError("That is none of the choices.", hint="Choose one of the list.", code="body_unusable")


async def box_key(shell: Shell, request: Request) -> Response:
    """`POST /firmware/keys/box` with act: make, or remove with confirm."""
    form = await form_of(request)
    desk = shell.services.artifacts.keys
    try:
        if form.get("act") == "remove":
            check_typed(form.get("confirm", ""), REMOVE_WORD)
            await desk.remove_box_key(await _act(request, "artifact_keys.box_remove"))
            return RedirectResponse(f"{URL}?done=removed", 303)
        await desk.make_box_key(await _act(request, "artifact_keys.box_make"))
    except HomeportError as error:
        return await _page(shell, request, error=error)
    return RedirectResponse(f"{URL}?done=made", 303)


async def propose(shell: Shell, request: Request) -> Response:
    """`POST /firmware/keys/next` with name, public, remove, threshold, and act: apply, or file for one to be signed elsewhere."""
    form = await request.form()
    facts = await shell.services.artifacts.keys.facts()
    values = {key: str(form.get(key, "")) for key in ("name", "public", "threshold", "act")}
    removed = {str(each) for each in form.getlist("remove")}
    try:
        wanted = _wanted(facts, values, removed)
        if values["act"] == "file":
            return document_response(Signed(document=wanted.text()), f"keys-{wanted.version}.json")
        await shell.services.artifacts.keys.set_keys(
            Signed(document=wanted.text()),
            await _act(request, "artifact_keys.set"),
            sign_here=signs_here(facts),
        )
    except HomeportError as error:
        return await _page(shell, request, error=error, form=values)
    return RedirectResponse(f"{URL}?done=set", 303)


async def apply(shell: Shell, request: Request) -> Response:
    """`POST /firmware/keys/apply` with file: a set that was signed elsewhere."""
    try:
        signed = await read_document(request)
        facts = await shell.services.artifacts.keys.facts()
        act = await _act(request, "artifact_keys.set")
        await shell.services.artifacts.keys.set_keys(signed, act, sign_here=signs_here(facts))
    except HomeportError as error:
        return await _page(shell, request, error=error)
    return RedirectResponse(f"{URL}?done=set", 303)


def signs_here(facts: KeyFacts) -> bool:
    """Whether the box's own key counts, so that its signature helps."""
    return facts.box_key is not None and facts.box_key.key_id in facts.keys.by_id()


def _wanted(facts: KeyFacts, values: dict[str, str], removed: set[str]) -> KeySet:
    keys = [each for key_id, each in facts.keys.by_id().items() if key_id not in removed]
    name, public = values["name"].strip(), values["public"].strip()
    if name or public:
        keys.append(public_key(public, name=name))
    threshold = values["threshold"]
    if not (
        threshold.isascii() and threshold.isdigit() and 1 <= int(threshold[:3]) <= ARTIFACT_KEY_COUNT_MAX
    ):
        raise UsageError(
            "The number of signatures can't be used.",
            hint=f"Give one from 1 to {ARTIFACT_KEY_COUNT_MAX}.",
            code="artifact_keys_unusable",
        )
    made = KeySet(version=facts.keys.version + 1, threshold=int(threshold), keys=keys)
    wanted = artifact_keys.parse(made.text())
    artifact_keys.check_set(wanted)
    return wanted


async def _page(
    shell: Shell,
    request: Request,
    *,
    error: HomeportError | None = None,
    form: dict[str, str] | None = None,
) -> Response:
    facts = await shell.services.artifacts.keys.facts()
    notice = _NOTICES.get(request.query_params.get("done", ""))
    return await shell.render(
        request,
        "artifact_keys.html",
        status=200 if error is None else status_of(error),
        title="Keys",
        section="artifacts",
        facts=facts,
        rows=[(each, KEY[each.state]) for each in facts.known],
        trusted=[(key_id, each) for key_id, each in facts.keys.by_id().items()],
        box_id="" if facts.box_key is None else facts.box_key.key_id,
        signs_here=signs_here(facts),
        is_enough_here=not facts.keys.version or (signs_here(facts) and facts.keys.threshold == 1),
        policies=UNSIGNED_WORDS,
        name_length_max=ARTIFACT_KEY_NAME_LENGTH_MAX,
        key_count_max=ARTIFACT_KEY_COUNT_MAX,
        remove_word=REMOVE_WORD,
        form={"name": "", "public": "", "threshold": str(facts.keys.threshold), **(form or {})},
        problem="" if error is None else problem_text(error),
        notice=Notice(tone="good", text=notice) if notice else None,
    )


async def _act(request: Request, action: str) -> Act:
    return Act(action=action, actor=await auth.actor_of(request))
