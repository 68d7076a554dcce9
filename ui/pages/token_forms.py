"""Making an API token on a page: what there is to choose, and the page that shows it, once."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from appliance.core.errors import UsageError
from appliance.management.permissions import ROLES, Role, Scope
from storage.catalog import Group
from storage.catalog.rows import ApiToken
from ui import api_tokens_desk
from ui.pages.connect_facts import CERTIFICATE_NAME
from ui.pages.people_facts import RoleChoice, chosen_scope, roles_up_to, scope_text
from ui.pages.shell import Shell, form_of

DAY_MS: Final = 86_400_000
LIFETIMES_DAYS: Final = (30, 90, 180, 365)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What a form offers.

    Attributes:
        groups: Those that a scope may name; none if there are none.
        whole_site: A scope may be the whole site.
    """

    roles: tuple[RoleChoice, ...]
    groups: tuple[Group, ...]
    whole_site: bool
    days: tuple[int, ...] = LIFETIMES_DAYS


async def choices(shell: Shell, role: Role, scope: Scope) -> Choices:
    """What somebody of that role and scope may give.

    Raises:
        Unavailable: the catalog can't be asked.
    """
    groups = await shell.services.catalog.read(lambda catalog: catalog.list_groups(scope=scope))
    return Choices(roles=roles_up_to(role), groups=tuple(groups), whole_site=scope is None)


async def create(shell: Shell, request: Request, user_id: str) -> tuple[ApiToken, str]:
    """Make the token that a form asks for: name, role, scope ("site", "own" or "groups" with group…), days.

    Raises:
        UsageError: `form_invalid`. Otherwise as api_tokens_desk.create_api_token.
    """
    form = await form_of(request)
    days = form.get("days", "")
    if not (days.isascii() and days.isdigit() and len(days) < 5):
        raise UsageError("That is no number of days.", hint="Choose one of the list.", code="form_invalid")
    kind = form.get("scope", "own")
    return await api_tokens_desk.create_api_token(
        request,
        user_id=user_id,
        name=form.get("name", "").strip(),
        role=role_of(form),
        scope=... if kind == "own" else chosen_scope(kind, await groups_of(request)),
        expires_at_ms=shell.services.clock.now_ms() + int(days) * DAY_MS,
    )


def role_of(form: dict[str, str]) -> Role:
    """The role that a form names.

    Raises:
        UsageError: `form_invalid`.
    """
    for role in ROLES:
        if form.get("role") == role:
            return role
    raise UsageError("There is no such role.", hint=f"Choose one of {', '.join(ROLES)}.", code="form_invalid")


async def groups_of(request: Request) -> list[str]:
    """The groups that are ticked."""
    return [value for value in (await request.form()).getlist("group") if isinstance(value, str)]


async def shown(shell: Shell, request: Request, token: ApiToken, secret: str, *, back_url: str) -> Response:
    """The page with the new token. It is not shown again."""
    return await shell.render(
        request,
        "api_token_shown.html",
        title="New API token",
        section="account",
        token=token,
        scope=scope_text(token.scope),
        secret=secret,
        command=try_command(f"{request.url.scheme}://{request.url.netloc}", secret),
        back_url=back_url,
    )


def try_command(base_url: str, secret: str) -> str:
    """A line for a POSIX shell that asks with the token, which is in no list of processes: printf is the shell's own."""
    header = shlex.quote(f"Authorization: Bearer {secret}")
    ask = shlex.join(["curl", "--cacert", CERTIFICATE_NAME, "-H", "@-", f"{base_url}/api/v1/status"])
    return f"printf '%s\\n' {header} | {ask}"
