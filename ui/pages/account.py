"""One's own account: password, second factor, what one is signed in with, API tokens.

Rules are in ui/account_desk.py, sessions_desk.py and api_tokens_desk.py, which the API calls too.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from appliance.core.errors import HomeportError, UsageError
from appliance.core.limits import PASSWORD_LENGTH_MIN
from appliance.identity.totp import totp_uri
from ui import account_desk, api_tokens_desk, auth, sessions_desk
from ui.account_desk import TotpEnrolment
from ui.pages import token_forms
from ui.pages.people_facts import STANDING, agent_text, scope_text, token_look
from ui.pages.shell import Shell, form_of, problem_text
from ui.pages.views import Notice
from ui.problem import status_of

URL: Final = "/account"
DONE: Final = {
    "name": "Your name is changed.",
    "password": "Your password is changed. Everything else that you were signed in with has ended.",
    "totp": "The second factor is on. From now on signing in asks for a code.",
    "totp-removed": "The second factor is off.",
    "session": "It has ended.",
    "sessions": "All others have ended.",
    "token": "The token is revoked; it doesn't work any more.",
}
SECRET_LENGTH_MAX: Final = 64


async def show(shell: Shell, request: Request) -> Response:
    """`GET /account?done=WORD`."""
    text = DONE.get(request.query_params.get("done", ""))
    return await _page(shell, request, notice=Notice(tone="good", text=text) if text else None)


async def change_name(shell: Shell, request: Request) -> Response:
    """`POST /account/name` with display_name."""
    form = await form_of(request)
    name = form.get("display_name", "").strip()
    return await _do(shell, request, "name", account_desk.set_own_name(request, name))


async def change_password(shell: Shell, request: Request) -> Response:
    """`POST /account/password` with old, password, password_again."""
    form = await form_of(request)
    return await _do(shell, request, "password", _change_password(request, form))


async def _change_password(request: Request, form: dict[str, str]) -> None:
    check_same(form)
    await account_desk.change_own_password(request, form.get("old", ""), form.get("password", ""))


async def begin_totp(shell: Shell, request: Request) -> Response:
    """`POST /account/totp/begin`: shows the secret, this once."""
    try:
        made = await account_desk.begin_totp(request)
    except HomeportError as error:
        return await _page(shell, request, status=status_of(error), problem=problem_text(error))
    return await _totp_page(shell, request, made)


async def confirm_totp(shell: Shell, request: Request) -> Response:
    """`POST /account/totp` with enrolment, secret (to show it again after a mistake), code and password."""
    form = await form_of(request)
    enrolment = form.get("enrolment", "")
    try:
        await account_desk.confirm_totp(
            request,
            enrolment=enrolment,
            code=form.get("code", "").replace(" ", ""),
            password=form.get("password", ""),
        )
    except HomeportError as error:
        secret = form.get("secret", "")[:SECRET_LENGTH_MAX]
        if error.code in ("totp_code_wrong", "password_wrong") and secret.isalnum():
            identity = await auth.require(request)
            uri = totp_uri(identity.user_id, secret, node_name=shell.services.node_name)
            made = TotpEnrolment(secret=secret, uri=uri, enrolment=enrolment)
            return await _totp_page(
                shell, request, made, status=status_of(error), problem=problem_text(error)
            )
        return await _page(shell, request, status=status_of(error), problem=problem_text(error))
    return RedirectResponse(f"{URL}?done=totp", 303)


async def remove_totp(shell: Shell, request: Request) -> Response:
    """`POST /account/totp/remove` with password."""
    form = await form_of(request)
    removal = account_desk.remove_own_totp(request, form.get("password", ""))
    return await _do(shell, request, "totp-removed", removal)


async def end_session(shell: Shell, request: Request) -> Response:
    """`POST /account/sessions/end` with session_id."""
    form = await form_of(request)
    ending = sessions_desk.end_signed_in(request, form.get("session_id", ""))
    return await _do(shell, request, "session", ending)


async def end_others(shell: Shell, request: Request) -> Response:
    """`POST /account/sessions/end-others`."""
    return await _do(shell, request, "sessions", sessions_desk.end_others(request))


async def create_token(shell: Shell, request: Request) -> Response:
    """`POST /account/tokens` with name, role, scope, group…, days: makes a token and shows it, this once."""
    identity = await auth.require(request)
    try:
        token, secret = await token_forms.create(shell, request, identity.user_id)
    except HomeportError as error:
        return await _page(shell, request, status=status_of(error), problem=problem_text(error))
    return await token_forms.shown(shell, request, token, secret, back_url=URL)


async def revoke_token(shell: Shell, request: Request) -> Response:
    """`POST /account/tokens/revoke` with token_id."""
    form = await form_of(request)
    revoking = api_tokens_desk.revoke_api_token(request, form.get("token_id", ""))
    return await _do(shell, request, "token", revoking)


def check_same(form: dict[str, str]) -> None:
    """Refuse a new password that was typed differently the second time.

    Raises:
        UsageError: `password_differs`.
    """
    if form.get("password", "") != form.get("password_again", ""):
        raise UsageError(
            "The two passwords differ.", hint="Type the same one twice.", code="password_differs"
        )


async def _do(shell: Shell, request: Request, done: str, act: Awaitable[object]) -> Response:
    """Do it and say so on the page, or say why not."""
    try:
        await act
    except HomeportError as error:
        return await _page(shell, request, status=status_of(error), problem=problem_text(error))
    return RedirectResponse(f"{URL}?done={done}", 303)


async def _totp_page(
    shell: Shell, request: Request, made: TotpEnrolment, *, status: int = 200, problem: str = ""
) -> Response:
    return await shell.render(
        request,
        "account_totp.html",
        status=status,
        title="Second factor",
        section="account",
        enrolment=made,
        problem=problem,
    )


async def _page(
    shell: Shell, request: Request, *, status: int = 200, problem: str = "", notice: Notice | None = None
) -> Response:
    identity = await account_desk.person_of(request)
    user = await account_desk.own_user(request)
    now_ms = shell.services.clock.now_ms()
    tokens = await api_tokens_desk.list_api_tokens(request, user.user_id)
    return await shell.render(
        request,
        "account.html",
        status=status,
        title="Your account",
        section="account",
        problem=problem,
        notice=notice,
        u=user,
        scope=scope_text(user.scope),
        standing=STANDING,
        sessions=[
            (each, agent_text(each.agent))
            for each in await sessions_desk.list_signed_in(request, user.user_id)
        ],
        tokens=[(each, token_look(each, now_ms), scope_text(each.scope)) for each in tokens],
        choices=await token_forms.choices(shell, user.role, identity.scope),
        password_length_min=PASSWORD_LENGTH_MIN,
    )
