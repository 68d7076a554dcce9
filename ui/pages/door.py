"""Sign in and sign out."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from appliance.core.errors import HomeportError
from ui import auth, sign_in_browser
from ui.pages.shell import SETUP_STATES, Shell, form_of, local_path, problem_text
from ui.problem import status_of


async def show_sign_in(shell: Shell, request: Request) -> Response:
    """`GET /sign-in?next=PATH`; `again=1` asks whoever is signed in already, too."""
    if shell.services.setup_code.state in SETUP_STATES:
        return RedirectResponse("/setup", 303)
    wanted = local_path(request.query_params.get("next", "/"))
    identity = await auth.identify(request)
    again = identity is not None and request.query_params.get("again") == "1"
    if identity is not None and not again:
        return RedirectResponse(wanted, 303)
    user = identity.user_id if identity is not None else ""
    return await shell.render(request, "sign_in.html", title="Sign in", user=user, next=wanted, again=again)


async def sign_in(shell: Shell, request: Request) -> Response:
    """`POST /sign-in` with user, password, code (of the second factor, where there is one) and next."""
    form = await form_of(request)
    wanted = local_path(form.get("next", "/"))
    user = form.get("user", "").strip()
    try:
        _, cookie = await sign_in_browser.sign_in(
            request, user, form.get("password", ""), form.get("code", "")
        )
    except HomeportError as error:
        return await shell.render(
            request,
            "sign_in.html",
            status=status_of(error),
            title="Sign in",
            user=user,
            next=wanted,
            again=False,
            problem=problem_text(error),
        )
    response = RedirectResponse(wanted, 303)
    auth.set_cookie(request, response, cookie)
    return response


async def sign_out(shell: Shell, request: Request) -> Response:
    """`POST /sign-out`."""
    del shell
    await auth.sign_out(request)
    response = RedirectResponse("/sign-in", 303)
    auth.clear_cookie(request, response)
    return response
