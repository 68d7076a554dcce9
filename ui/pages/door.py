"""Sign in, sign out, and the first run: claiming a new box with the code that was printed when it started."""

from __future__ import annotations

from typing import Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from appliance.core.errors import HomeportError, UsageError
from appliance.core.limits import PASSWORD_LENGTH_MIN
from ui import auth
from ui.pages.shell import SETUP_STATES, Shell, form_of, local_path, problem_text
from ui.problem import status_of
from ui.setup import claim_box

FIRST_DEVICE_URL: Final = "/devices/new?first=1"


async def show_sign_in(shell: Shell, request: Request) -> Response:
    """`GET /sign-in?next=PATH`."""
    if shell.services.setup_code.state in SETUP_STATES:
        return RedirectResponse("/setup", 303)
    wanted = local_path(request.query_params.get("next", "/"))
    if await auth.identify(request) is not None:
        return RedirectResponse(wanted, 303)
    return await shell.render(request, "sign_in.html", title="Sign in", user="", next=wanted)


async def sign_in(shell: Shell, request: Request) -> Response:
    """`POST /sign-in` with user, password and next."""
    form = await form_of(request)
    wanted = local_path(form.get("next", "/"))
    user = form.get("user", "").strip()
    try:
        _, cookie = await auth.sign_in(request, user, form.get("password", ""))
    except HomeportError as error:
        return await shell.render(
            request,
            "sign_in.html",
            status=status_of(error),
            title="Sign in",
            user=user,
            next=wanted,
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


async def show_setup(shell: Shell, request: Request) -> Response:
    """`GET /setup?code=CODE`; leads on to signing in once the box has an admin."""
    if shell.services.setup_code.state not in SETUP_STATES:
        return RedirectResponse("/sign-in", 303)
    return await _setup_page(shell, request, code=request.query_params.get("code", "")[:64])


async def setup(shell: Shell, request: Request) -> Response:
    """`POST /setup` with code, user, password and password_again: makes the admin and signs them in."""
    form = await form_of(request)
    code, user = form.get("code", ""), form.get("user", "").strip()
    try:
        if form.get("password_again", "") != form.get("password", ""):
            raise UsageError(
                "The two passwords differ.", hint="Type the same one twice.", code="password_differs"
            )
        _, cookie = await claim_box(request, code, user, form.get("password", ""))
    except HomeportError as error:
        return await _setup_page(
            shell, request, status=status_of(error), code=code[:64], user=user, problem=problem_text(error)
        )
    response = RedirectResponse(FIRST_DEVICE_URL, 303)
    auth.set_cookie(request, response, cookie)
    return response


async def _setup_page(
    shell: Shell, request: Request, *, status: int = 200, code: str = "", user: str = "", problem: str = ""
) -> Response:
    return await shell.render(
        request,
        "setup.html",
        status=status,
        title="Set up this box",
        code=code,
        user=user,
        problem=problem,
        fingerprint=shell.services.tls.fingerprint if request.url.scheme == "https" else "",
        password_length_min=PASSWORD_LENGTH_MIN,
    )
