"""Browsers and programs that people are signed in with, as one kind of thing: read from the catalog, and ended in it.

The id of a browser's session is made of its hash by a key, so that a list is of no use to who gets hold of it; a program's is its
family's.

Must not know: who asks, and whether they may.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from appliance.core.errors import NotFound
from appliance.identity.bearer_secrets import BearerSecrets
from storage.catalog import Catalog

BROWSER_PREFIX: Final = "b"
PROGRAM_PREFIX: Final = "p"


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedIn:
    """A browser or a program that somebody is signed in with. Times are UTC ms."""

    session_id: str
    kind: Literal["browser", "program"]
    user_id: str
    created_at_ms: int
    last_used_at_ms: int
    expires_at_ms: int
    address: str
    agent: str
    is_this_one: bool


def all_signed_in(
    catalog: Catalog,
    secrets: BearerSecrets,
    user_id: str | None,
    *,
    session_hash: bytes = b"",
    family_id: str = "",
) -> list[SignedIn]:
    """All that a user is signed in with, everybody for None, the last used first.

    Args:
        session_hash, family_id: Of who asks.
    """
    found = [
        SignedIn(
            session_id=BROWSER_PREFIX + secrets.session_id(each.session_hash),
            kind="browser",
            user_id=each.user_id,
            created_at_ms=each.created_at_ms,
            last_used_at_ms=each.last_used_at_ms,
            expires_at_ms=each.expires_at_ms,
            address=each.address,
            agent=each.agent,
            is_this_one=each.session_hash == session_hash,
        )
        for each in catalog.list_sessions(user_id)
    ]
    found += [
        SignedIn(
            session_id=PROGRAM_PREFIX + each.family_id,
            kind="program",
            user_id=each.user_id,
            created_at_ms=each.created_at_ms,
            last_used_at_ms=each.last_used_at_ms,
            expires_at_ms=each.expires_at_ms,
            address=each.address,
            agent=each.agent,
            is_this_one=each.family_id == family_id,
        )
        for each in catalog.list_families(user_id)
    ]
    return sorted(found, key=lambda each: each.last_used_at_ms, reverse=True)


def end_one(catalog: Catalog, secrets: BearerSecrets, session_id: str, *, user_id: str | None) -> None:
    """End one of them at once, and have the audit say whose it was. Within a transaction.

    Args:
        user_id: Only if it is this user's; None for anybody's.
    Raises:
        NotFound: `session_unknown`.
    """
    ended_of = ""
    if session_id.startswith(PROGRAM_PREFIX):
        family = catalog.find_family(session_id.removeprefix(PROGRAM_PREFIX))
        if (
            family is not None
            and user_id in (None, family.user_id)
            and catalog.end_family(family.family_id, because="ended")
        ):
            ended_of = family.user_id
    else:
        for session in catalog.list_sessions(user_id):
            if BROWSER_PREFIX + secrets.session_id(session.session_hash) == session_id:
                catalog.close_session(session.session_hash)
                ended_of = session.user_id
    if not ended_of:
        raise NotFound(
            "There is no such session.",
            hint="See GET /api/v1/sessions or `homeport session list`; it may have ended meanwhile.",
            code="session_unknown",
        )
    catalog.note("session.end", object_kind="user", object_id=ended_of, detail=session_id)
