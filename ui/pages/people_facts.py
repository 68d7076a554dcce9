"""How people, their browsers and their tokens read on a page. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from appliance.management.permissions import ROLES, Role, Scope, covers
from storage.catalog.rows import ApiToken
from ui.pages.format import visible
from ui.pages.looks import Look

ROLE_MEANING: Final[dict[Role, str]] = {
    "viewer": "sees devices and readings",
    "operator": "also adopts devices and edits their names and tags",
    "installer": "also adds devices, credentials and settings",
    "admin": "everything, people and secrets too",
}
AGENT_LENGTH_MAX: Final = 40
_BROWSERS: Final = (
    ("Edg/", "Edge"),
    ("OPR/", "Opera"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("Firefox/", "Firefox"),
    ("FxiOS/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
)
"""In this order: most call themselves Chrome and Safari, too."""
_SYSTEMS: Final = (
    ("Android", "Android"),
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Windows", "Windows"),
    ("CrOS", "ChromeOS"),
    ("Mac OS X", "Mac"),
    ("Linux", "Linux"),
)
STANDING: Final[dict[str, Look]] = {
    "on": Look("on", "ok", "good"),
    "off": Look("off", "never", "idle"),
    "active": Look("active", "ok", "good"),
    "disabled": Look("disabled", "rejected", "warn"),
    "revoked": Look("revoked", "rejected", "idle"),
    "ended": Look("ended", "late", "idle"),
}
"""Second factors, accounts and tokens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleChoice:
    role: Role
    meaning: str


def roles_up_to(role: Role) -> tuple[RoleChoice, ...]:
    """What somebody of a role may give, the lowest first."""
    return tuple(RoleChoice(role=r, meaning=ROLE_MEANING[r]) for r in ROLES if covers(role, r))


def scope_text(scope: Scope) -> str:
    """ "whole site", "hall-1, hall-2", "no device: none of its groups is left"."""
    if scope is None:
        return "whole site"
    return ", ".join(sorted(scope)) if scope else "no device: it is limited to no group"


def agent_text(agent: str) -> str:
    """What somebody signed in with, from what it says of itself: "Chrome on Android"; a program's own words, cut."""
    browser = next((name for sign, name in _BROWSERS if sign in agent), "")
    if not browser or not agent.startswith("Mozilla/"):
        return visible(agent[:AGENT_LENGTH_MAX]) or "says nothing of itself"
    system = next((name for sign, name in _SYSTEMS if sign in agent), "")
    return f"{browser} on {system}" if system else browser


def token_look(token: ApiToken, now_ms: int) -> Look:
    """Whether a token counts."""
    if token.revoked_at_ms is not None:
        return STANDING["revoked"]
    return STANDING["active"] if now_ms < token.expires_at_ms else STANDING["ended"]


def person_url(user_id: str) -> str:
    """A user's page. The name is in the query: ".." is one, and browsers take it for a folder."""
    return f"/people/user?id={quote(user_id, safe='')}"


def chosen_scope(kind: str, groups: Iterable[str]) -> Scope:
    """What a form's scope fields mean: the whole site only where that was chosen."""
    return None if kind == "site" else frozenset(groups)
