"""Who somebody is, found out from what they show: a browser's cookie, an access token, an API token.

Each is looked up with every request, through caches that forget a row the moment its change is on disk: what was revoked,
disabled or lowered holds for the next request. What depends on the time is compared with the clock each time.

Must not know: requests, headers, HTTP; ui/auth.py does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from appliance.core import logs
from appliance.core.clock import Clock
from appliance.core.errors import NotAuthorized, StorageError, Unavailable
from appliance.core.limits import API_TOKEN_TOUCH_MS, SESSION_TOUCH_MS, TOUCH_PAUSE_MS
from appliance.identity.access_tokens import AccessClaims
from appliance.management.audit import Act, Actor
from appliance.management.permissions import ROLES, Role, Scope, narrower
from storage.catalog import AsyncCatalog, BrowserSession, Catalog, Change, User
from storage.catalog.api_tokens import is_valid
from storage.catalog.cache import LookupCache
from storage.catalog.rows import ApiToken, TokenFamily

Via = Literal["session", "local", "bearer", "api_token", "cloud"]
_HOUR_MS: Final = 3_600_000
_log = logs.get(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who is asking.

    Attributes:
        role, scope: What they may now; of an API token the lower of its own and its user's. A scope of None is the whole site.
        via: "session" (a signed-in browser), "bearer" (an access token), "api_token", "local" (the node's Unix socket), or "cloud"
            (a cloud node of the fleet that may read this site; ui/site_answers.py).
        csrf_token: For forms and the X-CSRF-Token header of a session; empty otherwise.
        family_id: Of an access token.
        token_id, token_name: Of an API token. Of a cloud node `token_id` is its node id.
    """

    user_id: str
    role: Role
    scope: Scope = None
    via: Via
    session_hash: bytes = b""
    csrf_token: str = ""
    family_id: str = ""
    token_id: str = ""
    token_name: str = ""

    def actor(self, address: str) -> Actor:
        """As the audit names them: a token by its user's name and its own.

        Args:
            address: The peer's.
        """
        if self.via == "api_token":
            return Actor(name=f"{self.user_id}/{self.token_name}", kind="api_token", address=address)
        if self.via == "cloud":
            return Actor(name=self.user_id, kind="nobody", address=address)
        return Actor(name=self.user_id, kind="user", address=address)


LOCAL_ADMIN: Final = Identity(user_id="local", role="admin", via="local")


class IdentityLookups:
    """See the module's docstring. One per node.

    Args:
        session_hours: How long a browser's session lasts without being used.
        csrf_token: Makes a session's token from its hash.
    """

    def __init__(
        self,
        catalog: AsyncCatalog,
        *,
        clock: Clock,
        session_hours: int,
        csrf_token: Callable[[bytes], str],
    ) -> None:
        self._catalog = catalog
        self._clock = clock
        self._session_unused_ms_max = session_hours * _HOUR_MS
        self._csrf_token = csrf_token
        self._touch_again_at_mono_ms = 0
        self.users: LookupCache[str, User] = LookupCache(
            "users", catalog, _users, rows_of=lambda key, _: [Change("users", key)], clock=clock
        )
        self.sessions: LookupCache[bytes, BrowserSession] = LookupCache(
            "sessions",
            catalog,
            _sessions,
            rows_of=lambda key, value: [
                Change("browser_sessions", key.hex()),
                Change("users", value.user_id),
            ],
            clock=clock,
        )
        self.families: LookupCache[str, TokenFamily] = LookupCache(
            "token_families",
            catalog,
            _families,
            rows_of=lambda key, _: [Change("token_families", key)],
            clock=clock,
        )
        self.api_tokens: LookupCache[bytes, ApiToken] = LookupCache(
            "api_tokens",
            catalog,
            _api_tokens,
            rows_of=lambda _, value: [Change("api_tokens", value.token_id)],
            clock=clock,
        )

    async def of_session(self, session_hash: bytes, *, address: str) -> Identity | None:
        """Who a browser belongs to, None if its session ended.

        Raises:
            Unavailable: the catalog can't be asked.
        """
        session = await self.sessions.get(session_hash)
        user = await self._user(session.user_id) if session else None
        if session is None or user is None:
            return None
        now_ms = self._clock.now_ms()
        unused_ms = now_ms - session.last_used_at_ms
        if now_ms >= session.expires_at_ms or unused_ms >= self._session_unused_ms_max:
            return None
        found = Identity(
            user_id=user.user_id,
            role=user.role,
            scope=user.scope,
            via="session",
            session_hash=session_hash,
            csrf_token=self._csrf_token(session_hash),
        )
        if unused_ms >= SESSION_TOUCH_MS:
            await self._touch(lambda catalog: catalog.touch_session(session_hash), found.actor(address))
        return found

    async def of_access_token(self, claims: AccessClaims) -> Identity:
        """Who an access token belongs to.

        Args:
            claims: Of a token that was verified.
        Raises:
            NotAuthorized: `access_token_revoked`, or `access_token_stale`: the user's credentials, role or scope changed
                since it was made. Unavailable: the catalog can't be asked.
        """
        family = await self.families.get(claims.family_id)
        user = await self._user(claims.user_id)
        if (
            family is None
            or user is None
            or family.user_id != claims.user_id
            or family.revoked_at_ms is not None
            or self._clock.now_ms() >= family.expires_at_ms
            or claims.token_id in family.revoked_tokens
        ):
            raise NotAuthorized(
                "The access token was revoked.",
                hint="Sign in again with POST /api/v1/tokens.",
                code="access_token_revoked",
            )
        if claims.credentials_changed_at_ms != user.credentials_changed_at_ms:
            raise NotAuthorized(
                "What this user may do, or how they sign in, changed since this access token was made.",
                hint="Get another one with POST /api/v1/tokens/refresh; if that is refused, sign in again.",
                code="access_token_stale",
            )
        return Identity(
            user_id=user.user_id,
            role=user.role,
            scope=user.scope,
            via="bearer",
            family_id=claims.family_id,
        )

    async def of_api_token(self, token_hash: bytes, *, address: str) -> Identity:
        """Who an API token belongs to, and what it may: never more than its user now.

        Raises:
            NotAuthorized: `api_token_invalid`. Unavailable: the catalog can't be asked.
        """
        token = await self.api_tokens.get(token_hash)
        user = await self._user(token.user_id) if token else None
        now_ms = self._clock.now_ms()
        if token is None or user is None or not is_valid(token, now_ms):
            raise NotAuthorized(
                "The API token is unknown, revoked or past its end.",
                hint="Make a new one on the Account page or with `homeport token create`.",
                code="api_token_invalid",
            )
        found = Identity(
            user_id=user.user_id,
            role=min(token.role, user.role, key=ROLES.index),
            scope=narrower(token.scope, user.scope),
            via="api_token",
            token_id=token.token_id,
            token_name=token.name,
        )
        if now_ms - (token.last_used_at_ms or 0) >= API_TOKEN_TOUCH_MS:
            token_id = token.token_id
            await self._touch(
                lambda catalog: catalog.touch_api_token(token_id, address=address), found.actor(address)
            )
        return found

    async def _user(self, user_id: str) -> User | None:
        """One who may sign in."""
        user = await self.users.get(user_id)
        return user if user is not None and not user.disabled else None

    async def _touch(self, write: Callable[[Catalog], None], actor: Actor) -> None:
        """Write down a last use; a request goes on without it while the catalog can't be written."""
        if self._clock.mono_ms() < self._touch_again_at_mono_ms:
            return
        try:
            await self._catalog.write(write, by=Act(action="session.use", actor=actor))
        except (Unavailable, StorageError) as error:
            self._touch_again_at_mono_ms = self._clock.mono_ms() + TOUCH_PAUSE_MS
            _log.warning("a last use could not be written", code=error.code)


def _users(catalog: Catalog, keys: Sequence[str]) -> Mapping[str, User]:
    return {key: found for key in keys if (found := catalog.find_user(key))}


def _sessions(catalog: Catalog, keys: Sequence[bytes]) -> Mapping[bytes, BrowserSession]:
    return {key: found for key in keys if (found := catalog.find_session(key))}


def _families(catalog: Catalog, keys: Sequence[str]) -> Mapping[str, TokenFamily]:
    return {key: found for key in keys if (found := catalog.find_family(key))}


def _api_tokens(catalog: Catalog, keys: Sequence[bytes]) -> Mapping[bytes, ApiToken]:
    return {key: found for key in keys if (found := catalog.find_api_token(key))}
