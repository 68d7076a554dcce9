"""Claims: tokens that let devices come in by themselves. They are made, shown once, listed and revoked here."""

from __future__ import annotations

import secrets
from typing import Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from appliance.core.errors import HomeportError, UsageError
from appliance.core.limits import CLAIM_USE_COUNT_MAX, PAGE_ROW_COUNT_DEFAULT
from appliance.identity.keys import new_claim_token
from storage.catalog import Catalog, Group
from storage.catalog.claims import Claim, ClaimPage, make_claim_id
from ui import auth
from ui.pages.looks import CLAIM
from ui.pages.shell import Shell, form_of, problem_text
from ui.pages.views import Notice
from ui.problem import status_of

LIVES: Final = {
    "3600": "an hour",
    "86400": "a day",
    "604800": "a week",
    "2592000": "30 days",
    "31536000": "a year",
}
"""How long a claim may be good, in seconds, and its word."""
EMPTY: Final = {
    "name": "",
    "count": "1",
    "device_id": "",
    "life": "604800",
    "group": "",
    "tags": "",
    "adopt": "",
}
"""The form before anything was typed."""
_NOTICES: Final = {"revoked": "The claim is revoked. Devices that came in by it stay."}


async def show(shell: Shell, request: Request) -> Response:
    """`GET /claims?before=`: all claims, the newest first."""
    before = request.query_params.get("before", "")[:64] or None

    def read(catalog: Catalog) -> tuple[ClaimPage, int]:
        return catalog.list_claims(cursor=before, limit=PAGE_ROW_COUNT_DEFAULT), catalog.count_claims()

    page, total = await shell.services.catalog.read(read)
    now_ms = shell.services.clock.now_ms()
    notice = _NOTICES.get(request.query_params.get("done", ""))
    return await shell.render(
        request,
        "claims.html",
        title="Claims",
        section="devices",
        rows=[(claim, CLAIM[claim.state(now_ms)]) for claim in page.claims],
        total=total,
        next_url=f"/claims?before={page.next_cursor}" if page.next_cursor else "",
        notice=Notice(tone="good", text=notice) if notice else None,
    )


async def show_new(shell: Shell, request: Request) -> Response:
    """`GET /claims/new`: the form."""
    return await _form_page(shell, request)


async def new(shell: Shell, request: Request) -> Response:
    """`POST /claims/new` with what the form holds: makes the claim and shows its token, once."""
    identity = await auth.require(request)
    form = await form_of(request)
    token, now_ms = new_claim_token(), shell.services.clock.now_ms()
    token_hash = shell.services.keys.claim_hash(token.encode())
    claim_id = make_claim_id(now_ms, secrets.token_bytes(6))
    try:
        life_s, use_count_max = _life_s(form.get("life", "")), _count(form.get("count", "1"))

        def write(catalog: Catalog) -> Claim:
            return catalog.create_claim(
                claim_id,
                token_hash,
                name=form.get("name", ""),
                device_id=form.get("device_id", "").strip(),
                groups=[form["group"]] if form.get("group") else [],
                tags=[tag for tag in form.get("tags", "").split(",") if tag.strip()],
                adopt=form.get("adopt") == "1",
                use_count_max=use_count_max,
                life_ms=life_s * 1000,
                created_by=identity.user_id,
            )

        claim = await shell.write(request, "claim.create", write)
    except HomeportError as error:
        return await _form_page(
            shell, request, status=status_of(error), form=form, problem=problem_text(error)
        )
    return await shell.render(
        request, "claim_token.html", title="A new claim", section="devices", claim=claim, token=token
    )


async def revoke(shell: Shell, request: Request) -> Response:
    """`POST /claims/revoke` with claim_id.

    Raises:
        NotFound: `claim_unknown`.
    """
    claim_id = (await form_of(request)).get("claim_id", "")
    await shell.write(request, "claim.revoke", lambda catalog: catalog.revoke_claim(claim_id))
    return RedirectResponse("/claims?done=revoked", 303)


async def _form_page(
    shell: Shell,
    request: Request,
    *,
    status: int = 200,
    form: dict[str, str] | None = None,
    problem: str = "",
) -> Response:
    groups: list[Group] = list(
        await shell.services.catalog.read(lambda catalog: catalog.list_groups(scope=None))
    )
    return await shell.render(
        request,
        "claim_new.html",
        status=status,
        title="Make a claim",
        section="devices",
        form={**EMPTY, **(form or {})},
        lives=LIVES,
        groups=groups,
        count_max=CLAIM_USE_COUNT_MAX,
        problem=problem,
    )


def _life_s(text: str) -> int:
    if text not in LIVES:
        raise UsageError("That is none of the times.", hint="Choose one of the list.", code="claim_invalid")
    return int(text)


def _count(text: str) -> int:
    if text.isascii() and text.isdigit() and len(text) < 8:
        return int(text)
    raise UsageError(
        "The number of devices is not a number.",
        hint=f"Give one of 1 to {CLAIM_USE_COUNT_MAX}.",
        code="claim_invalid",
    )
