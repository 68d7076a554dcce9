"""People: who may sign in, as what, and what they are signed in with. For admins.

Rules are in ui/people_desk.py, sessions_desk.py and api_tokens_desk.py, which the API calls too.
"""

from __future__ import annotations

from typing import Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from appliance.core.errors import HomeportError, UsageError
from appliance.core.limits import PASSWORD_LENGTH_MIN
from ui import api_tokens_desk, auth, people_desk
from ui.pages.account import check_same
from ui.pages.people_facts import STANDING, chosen_scope, person_url, scope_text, token_look
from ui.pages.shell import Shell, form_of, problem_text
from ui.pages.token_forms import choices, groups_of, role_of
from ui.pages.views import Notice
from ui.problem import status_of

URL: Final = "/people"
DONE: Final = {
    "removed": "The user is removed, with all that they were signed in with and their API tokens.",
    "token": "The token is revoked; it doesn't work any more.",
}
BRAKE_WORD: Final = "end everything"
"""What has to be typed before everybody is signed out."""


async def show(shell: Shell, request: Request) -> Response:
    """`GET /people?done=WORD`."""
    text = DONE.get(request.query_params.get("done", ""))
    return await _page(shell, request, notice=Notice(tone="good", text=text) if text else None)


async def show_new(shell: Shell, request: Request) -> Response:
    """`GET /people/new`."""
    return await _new_page(shell, request, {"role": "viewer", "scope": "site"})


async def new(shell: Shell, request: Request) -> Response:
    """`POST /people/new` with user_id, display_name, role, scope, group…, password, password_again."""
    form = await form_of(request)
    groups = await groups_of(request)
    try:
        check_same(form)
        user = await people_desk.create_user(
            request,
            form.get("user_id", "").strip(),
            password=form.get("password", ""),
            role=role_of(form),
            scope=chosen_scope(form.get("scope", ""), groups),
            display_name=form.get("display_name", "").strip(),
        )
    except HomeportError as error:
        return await _new_page(
            shell, request, form, groups, status=status_of(error), problem=problem_text(error)
        )
    return RedirectResponse(f"{person_url(user.user_id)}&done=created", 303)


async def revoke_token(shell: Shell, request: Request) -> Response:
    """`POST /people/tokens/revoke` with token_id."""
    form = await form_of(request)
    try:
        await api_tokens_desk.revoke_api_token(request, form.get("token_id", ""))
    except HomeportError as error:
        return await _page(shell, request, status=status_of(error), problem=problem_text(error))
    return RedirectResponse(f"{URL}?done=token", 303)


async def pull_brake(shell: Shell, request: Request) -> Response:
    """`POST /people/end-everything` with confirm: the emergency brake. Whoever pulls it is signed out, too."""
    form = await form_of(request)
    if form.get("confirm", "").strip() != BRAKE_WORD:
        error = UsageError(
            "Nothing has ended.", hint=f"Type “{BRAKE_WORD}” to confirm.", code="not_confirmed"
        )
        return await _page(shell, request, status=status_of(error), problem=problem_text(error))
    await api_tokens_desk.rotate_keys(request)
    response = RedirectResponse("/sign-in", 303)
    auth.clear_cookie(request, response)
    return response


async def _page(
    shell: Shell, request: Request, *, status: int = 200, problem: str = "", notice: Notice | None = None
) -> Response:
    now_ms = shell.services.clock.now_ms()
    people = await people_desk.list_people(request)
    tokens = [
        each for each in await api_tokens_desk.list_api_tokens(request, None) if each.revoked_at_ms is None
    ]
    identity = await auth.require(request)
    return await shell.render(
        request,
        "people.html",
        status=status,
        title="People",
        section="people",
        problem=problem,
        notice=notice,
        people=[(each, scope_text(each.user.scope), person_url(each.user.user_id)) for each in people],
        tokens=[
            (each, token_look(each, now_ms), scope_text(each.scope), person_url(each.user_id))
            for each in tokens
        ],
        standing=STANDING,
        me=identity.user_id,
        brake_word=BRAKE_WORD,
    )


async def _new_page(
    shell: Shell,
    request: Request,
    form: dict[str, str],
    groups: list[str] | None = None,
    *,
    status: int = 200,
    problem: str = "",
) -> Response:
    return await shell.render(
        request,
        "person_new.html",
        status=status,
        title="Add a user",
        section="people",
        problem=problem,
        user_id=form.get("user_id", "")[:64],
        display_name=form.get("display_name", "")[:100],
        role=form.get("role", ""),
        is_whole_site=form.get("scope") != "groups",
        chosen=groups or [],
        choices=await choices(shell, "admin", None),
        password_length_min=PASSWORD_LENGTH_MIN,
    )
