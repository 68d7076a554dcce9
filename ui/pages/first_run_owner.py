"""The first step: whoever has the setup code makes the first admin. Nobody can do it a second time."""

from __future__ import annotations

from typing import Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from appliance.core.errors import HomeportError, UsageError
from appliance.core.limits import PASSWORD_LENGTH_MIN
from appliance.identity import SetupState
from ui import auth
from ui.pages.first_run_progress import BY_KEY, note_done, progress
from ui.pages.shell import SETUP_STATES, Shell, form_of, problem_text
from ui.problem import status_of
from ui.setup import claim_box

CLAIMED_CODES: Final = frozenset({"setup_code_used", "setup_code_missing", "claimed_already"})


async def show(shell: Shell, request: Request) -> Response:
    """`GET /setup`: the form while the box has no admin. Its admin is led to the next step, others are told."""
    if shell.services.setup_code.state in SETUP_STATES:
        return await _page(shell, request)
    if await auth.identify(request) is not None:
        step = (await progress(shell.services.catalog)).next_step
        return RedirectResponse(step.url if step else "/", 303)
    return await _claimed(shell, request)


async def claim(shell: Shell, request: Request) -> Response:
    """`POST /setup` with code, user, password and password_again: makes the admin, signs them in and goes on."""
    form = await form_of(request)
    user = form.get("user", "").strip()
    try:
        if form.get("password_again", "") != form.get("password", ""):
            raise UsageError(
                "The two passwords differ.", hint="Type the same one twice.", code="password_differs"
            )
        _, cookie = await claim_box(
            request,
            form.get("code", ""),
            user,
            form.get("password", ""),
            also=lambda catalog: note_done(catalog, "owner"),
        )
    except HomeportError as error:
        if error.code in CLAIMED_CODES:
            return await _claimed(shell, request, status=status_of(error), problem=error.message)
        return await _page(
            shell,
            request,
            status=status_of(error),
            code=form.get("code", "")[:64],
            user=user,
            problem=problem_text(error),
        )
    response = RedirectResponse(BY_KEY["site"].url, 303)
    auth.set_cookie(request, response, cookie)
    return response


async def _claimed(shell: Shell, request: Request, *, status: int = 200, problem: str = "") -> Response:
    return await shell.render(
        request, "first_run_claimed.html", status=status, title="This box has an owner", problem=problem
    )


async def _page(
    shell: Shell, request: Request, *, status: int = 200, code: str = "", user: str = "", problem: str = ""
) -> Response:
    setup_code = shell.services.setup_code
    return await shell.render(
        request,
        "first_run_owner.html",
        status=status,
        title="Set up this box",
        code=code,
        user=user,
        problem=problem,
        code_is_void=setup_code.state in (SetupState.EXPIRED, SetupState.LOCKED),
        code_ms=setup_code.remaining_ms,
        fingerprint=shell.services.tls.fingerprint if request.url.scheme == "https" else "",
        password_length_min=PASSWORD_LENGTH_MIN,
    )
