"""One user, for admins: what they may, what signs them in, and their end."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from appliance.core.errors import HomeportError, NotFound, UsageError
from appliance.core.limits import PASSWORD_LENGTH_MIN, USER_NAME_LENGTH_MAX
from ui import api_tokens_desk, auth, people_desk, sessions_desk
from ui.pages.account import check_same
from ui.pages.people import URL
from ui.pages.people_facts import STANDING, agent_text, chosen_scope, person_url, scope_text, token_look
from ui.pages.shell import Shell, form_of, problem_text
from ui.pages.token_forms import choices, groups_of, role_of
from ui.pages.views import Notice
from ui.problem import status_of

DONE: Final = {
    "created": "The user is added. Tell them their name and password; they change the password on their Account page.",
    "changed": "Saved. It holds for their next request.",
    "password": "The password is changed. Everything that they were signed in with has ended.",
    "totp": "The second factor is off. They can set up a new one on their Account page.",
    "disabled": "The account is disabled. Nobody can sign in with it, and its API tokens rest.",
    "enabled": "The account is enabled again.",
    "signed-out": "Everything that they were signed in with has ended. Their API tokens go on.",
    "session": "It has ended.",
    "token": "The token is revoked; it doesn't work any more.",
}


async def show(shell: Shell, request: Request) -> Response:
    """`GET /people/user?id=NAME&done=WORD`.

    Raises:
        NotFound: `user_unknown`.
    """
    text = DONE.get(request.query_params.get("done", ""))
    user_id = request.query_params.get("id", "")
    return await _page(shell, request, user_id, notice=Notice(tone="good", text=text) if text else None)


async def change(shell: Shell, request: Request) -> Response:
    """`POST /people/user/change` with user_id, display_name, role, scope, group…; of one's own only the name."""
    form = await form_of(request)
    return await _do(shell, request, form, "changed", _change(request, form))


async def _change(request: Request, form: dict[str, str]) -> None:
    user_id, name = form.get("user_id", ""), form.get("display_name", "").strip()
    if "role" not in form:
        await people_desk.change_user(request, user_id, display_name=name)
        return
    scope = chosen_scope(form.get("scope", ""), await groups_of(request))
    await people_desk.change_user(request, user_id, role=role_of(form), scope=scope, display_name=name)


async def set_password(shell: Shell, request: Request) -> Response:
    """`POST /people/user/password` with user_id, password, password_again."""
    form = await form_of(request)
    return await _do(shell, request, form, "password", _set_password(request, form))


async def _set_password(request: Request, form: dict[str, str]) -> None:
    check_same(form)
    await people_desk.set_password(request, form.get("user_id", ""), form.get("password", ""))


async def reset_totp(shell: Shell, request: Request) -> Response:
    """`POST /people/user/reset-totp` with user_id."""
    form = await form_of(request)
    return await _do(shell, request, form, "totp", people_desk.reset_totp(request, form.get("user_id", "")))


async def set_standing(shell: Shell, request: Request) -> Response:
    """`POST /people/user/standing` with user_id and disabled, "1" or "0"."""
    form = await form_of(request)
    disabled = form.get("disabled") == "1"
    act = people_desk.change_user(request, form.get("user_id", ""), disabled=disabled)
    return await _do(shell, request, form, "disabled" if disabled else "enabled", act)


async def sign_out(shell: Shell, request: Request) -> Response:
    """`POST /people/user/sign-out` with user_id."""
    form = await form_of(request)
    act = people_desk.sign_out_user(request, form.get("user_id", ""))
    return await _do(shell, request, form, "signed-out", act)


async def end_session(shell: Shell, request: Request) -> Response:
    """`POST /people/user/end-session` with user_id and session_id."""
    form = await form_of(request)
    act = sessions_desk.end_signed_in(request, form.get("session_id", ""))
    return await _do(shell, request, form, "session", act)


async def revoke_token(shell: Shell, request: Request) -> Response:
    """`POST /people/user/revoke-token` with user_id and token_id."""
    form = await form_of(request)
    act = api_tokens_desk.revoke_api_token(request, form.get("token_id", ""))
    return await _do(shell, request, form, "token", act)


async def remove(shell: Shell, request: Request) -> Response:
    """`POST /people/user/remove` with user_id, typed once more as confirm."""
    form = await form_of(request)
    user_id = form.get("user_id", "")
    try:
        if form.get("confirm", "").strip() != user_id:
            raise UsageError(
                "The user was not removed.", hint=f"Type “{user_id}” to confirm.", code="not_confirmed"
            )
        await people_desk.remove_user(request, user_id)
    except HomeportError as error:
        return await _problem(shell, request, user_id, error)
    return RedirectResponse(f"{URL}?done=removed", 303)


async def _do(
    shell: Shell, request: Request, form: dict[str, str], done: str, act: Awaitable[object]
) -> Response:
    """Do it and say so on the page, or say why not."""
    user_id = form.get("user_id", "")
    try:
        await act
    except HomeportError as error:
        return await _problem(shell, request, user_id, error)
    return RedirectResponse(f"{person_url(user_id)}&done={done}", 303)


async def _problem(shell: Shell, request: Request, user_id: str, error: HomeportError) -> Response:
    if isinstance(error, NotFound) and error.code == "user_unknown":
        raise error
    return await _page(shell, request, user_id, status=status_of(error), problem=problem_text(error))


async def _page(
    shell: Shell,
    request: Request,
    user_id: str,
    *,
    status: int = 200,
    problem: str = "",
    notice: Notice | None = None,
) -> Response:
    person = await people_desk.get_person(request, user_id[: USER_NAME_LENGTH_MAX + 1])
    user = person.user
    now_ms = shell.services.clock.now_ms()
    identity = await auth.require(request)
    sessions = await sessions_desk.list_signed_in(request, user.user_id)
    tokens = await api_tokens_desk.list_api_tokens(request, user.user_id)
    return await shell.render(
        request,
        "person.html",
        status=status,
        title=user.user_id,
        section="people",
        problem=problem,
        notice=notice,
        p=person,
        u=user,
        is_me=identity.user_id == user.user_id,
        scope=scope_text(user.scope),
        standing=STANDING,
        role=user.role,
        is_whole_site=user.scope is None,
        chosen=sorted(user.scope or ()),
        choices=await choices(shell, "admin", None),
        sessions=[(each, agent_text(each.agent)) for each in sessions],
        tokens=[(each, token_look(each, now_ms), scope_text(each.scope)) for each in tokens],
        password_length_min=PASSWORD_LENGTH_MIN,
    )
