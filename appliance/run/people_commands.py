"""What `homeport user`, `token`, `session` and `key` do: through the node while it runs, on the catalog while it is stopped.

Both ways answer with the same plain mappings, so that a verb prints the same. Who has a shell as the service's user owns the files
anyway; so these verbs ask for no password of the one whom they change.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, cast
from urllib.parse import quote

from appliance.core.config import Config
from appliance.identity.access_tokens import AccessTokens
from appliance.identity.bearer_secrets import BearerSecrets, new_api_token, new_id
from appliance.identity.passwords import Passwords
from appliance.management.audit import LOCAL, Act
from appliance.management.permissions import Role
from appliance.run.local_api import LocalApi
from appliance.run.node_or_catalog import StoppedNode, node_or_catalog
from ui.api.tokens import token_fields
from ui.api.users import user_fields
from ui.api_tokens_desk import end_everything
from ui.signed_in import all_signed_in, end_one

Row = dict[str, Any]
Groups = Sequence[str] | None
"""A scope: ids of groups, None for the whole site."""


class PeopleCommands(Protocol):
    """What can be done with people from the command line. Errors are those of the catalog's methods."""

    def users(self) -> list[Row]: ...
    def add_user(
        self, user_id: str, *, password: str, role: str, scope: Groups, display_name: str
    ) -> Row: ...
    def set_role(self, user_id: str, *, role: str, scope: Groups) -> Row: ...
    def set_password(self, user_id: str, password: str) -> None: ...
    def set_disabled(self, user_id: str, *, disabled: bool) -> Row: ...
    def remove_user(self, user_id: str) -> None: ...
    def reset_totp(self, user_id: str) -> None: ...
    def sign_out(self, user_id: str) -> int:
        """How many browsers and programs were signed out."""

    def api_tokens(self, user_id: str | None) -> list[Row]: ...
    def create_api_token(
        self, user_id: str, *, name: str, role: str, groups: Sequence[str], lifetime_s: int
    ) -> Row:
        """With the secret as `token`, which nobody can read again.

        Args:
            groups: Empty for the user's own scope.
        """

    def revoke_api_token(self, token_id: str) -> Row: ...
    def sessions(self, user_id: str | None) -> list[Row]: ...
    def end_session(self, session_id: str) -> None: ...
    def rotate_keys(self) -> Row:
        """The emergency brake: what ended, and the new key's id."""


class ThroughNode:
    """Asks the running node."""

    def __init__(self, api: LocalApi) -> None:
        self._api = api

    def users(self) -> list[Row]:
        return cast(list[Row], self._api.get("/api/v1/users")["users"])

    def add_user(self, user_id: str, *, password: str, role: str, scope: Groups, display_name: str) -> Row:
        body = {
            "user_id": user_id,
            "password": password,
            "role": role,
            "scope": _list(scope),
            "display_name": display_name,
        }
        return cast(Row, self._api.post("/api/v1/users", body))

    def set_role(self, user_id: str, *, role: str, scope: Groups) -> Row:
        body = {"role": role, "scope": _list(scope)}
        return cast(Row, self._api.request("PATCH", _user(user_id), body))

    def set_password(self, user_id: str, password: str) -> None:
        self._api.post(f"{_user(user_id)}/password", {"password": password})

    def set_disabled(self, user_id: str, *, disabled: bool) -> Row:
        return cast(Row, self._api.request("PATCH", _user(user_id), {"disabled": disabled}))

    def remove_user(self, user_id: str) -> None:
        self._api.request("DELETE", _user(user_id))

    def reset_totp(self, user_id: str) -> None:
        self._api.request("DELETE", f"{_user(user_id)}/totp")

    def sign_out(self, user_id: str) -> int:
        return int(self._api.request("POST", f"{_user(user_id)}/sign-out")["ended"])

    def api_tokens(self, user_id: str | None) -> list[Row]:
        return cast(list[Row], self._api.get(f"/api/v1/api-tokens?{_whose(user_id)}")["api_tokens"])

    def create_api_token(
        self, user_id: str, *, name: str, role: str, groups: Sequence[str], lifetime_s: int
    ) -> Row:
        body: Row = {"user_id": user_id, "name": name, "role": role, "expires_in_s": lifetime_s}
        if groups:
            body["scope"] = list(groups)
        return cast(Row, self._api.post("/api/v1/api-tokens", body))

    def revoke_api_token(self, token_id: str) -> Row:
        return cast(Row, self._api.request("DELETE", f"/api/v1/api-tokens/{quote(token_id, safe='')}"))

    def sessions(self, user_id: str | None) -> list[Row]:
        return cast(list[Row], self._api.get(f"/api/v1/sessions?{_whose(user_id)}")["sessions"])

    def end_session(self, session_id: str) -> None:
        self._api.request("DELETE", f"/api/v1/sessions/{quote(session_id, safe='')}")

    def rotate_keys(self) -> Row:
        return cast(Row, self._api.request("POST", "/api/v1/keys/rotate"))


class OnCatalog:
    """Works on the catalog itself; the caller holds the node's lock."""

    def __init__(self, stopped: StoppedNode) -> None:
        self._stopped = stopped
        self._catalog = stopped.catalog
        self._secrets = BearerSecrets(stopped.keys)

    def users(self) -> list[Row]:
        last = self._catalog.last_sign_ins()
        return [
            {**user_fields(user), "last_sign_in_at_ms": last.get(user.user_id)}
            for user in self._catalog.list_users()
        ]

    def add_user(self, user_id: str, *, password: str, role: str, scope: Groups, display_name: str) -> Row:
        password_hash = Passwords().hash_now(password, user_id=user_id)
        with self._catalog.transaction(_act("user.create")):
            user = self._catalog.add_user(
                user_id,
                role=cast(Role, role),
                password_hash=password_hash,
                scope=None if scope is None else frozenset(scope),
                display_name=display_name,
            )
        return user_fields(user)

    def set_role(self, user_id: str, *, role: str, scope: Groups) -> Row:
        with self._catalog.transaction(_act("user.change")):
            user = self._catalog.set_role(
                user_id, cast(Role, role), None if scope is None else frozenset(scope)
            )
        return user_fields(user)

    def set_password(self, user_id: str, password: str) -> None:
        self._catalog.get_user(user_id)
        password_hash = Passwords().hash_now(password, user_id=user_id)
        with self._catalog.transaction(_act("user.set_password")):
            self._catalog.set_password(user_id, password_hash)

    def set_disabled(self, user_id: str, *, disabled: bool) -> Row:
        change = self._catalog.disable_user if disabled else self._catalog.enable_user
        with self._catalog.transaction(_act("user.change")):
            user = change(user_id)
        return user_fields(user)

    def remove_user(self, user_id: str) -> None:
        with self._catalog.transaction(_act("user.remove")):
            self._catalog.remove_user(user_id)

    def reset_totp(self, user_id: str) -> None:
        with self._catalog.transaction(_act("user.reset_totp")):
            self._catalog.set_totp(user_id, None)

    def sign_out(self, user_id: str) -> int:
        with self._catalog.transaction(_act("user.sign_out")):
            self._catalog.get_user(user_id)
            count = self._catalog.end_sign_ins(user_id, because="ended_by_admin")
            self._catalog.note(
                "user.sign_out", object_kind="user", object_id=user_id, detail=f"{count} ended"
            )
        return count

    def api_tokens(self, user_id: str | None) -> list[Row]:
        return [token_fields(token) for token in self._catalog.list_api_tokens(user_id)]

    def create_api_token(
        self, user_id: str, *, name: str, role: str, groups: Sequence[str], lifetime_s: int
    ) -> Row:
        secret = new_api_token()
        with self._catalog.transaction(_act("api_token.create")):
            user = self._catalog.get_user(user_id)
            token = self._catalog.add_api_token(
                new_id(),
                token_hash=self._secrets.api_hash(secret),
                user=user,
                name=name,
                role=cast(Role, role),
                scope=frozenset(groups) if groups else user.scope,
                expires_at_ms=self._stopped.clock.now_ms() + lifetime_s * 1000,
            )
        return {**token_fields(token), "token": secret}

    def revoke_api_token(self, token_id: str) -> Row:
        with self._catalog.transaction(_act("api_token.revoke")):
            token = self._catalog.revoke_api_token(token_id)
        return token_fields(token)

    def sessions(self, user_id: str | None) -> list[Row]:
        return [dataclasses.asdict(each) for each in all_signed_in(self._catalog, self._secrets, user_id)]

    def end_session(self, session_id: str) -> None:
        with self._catalog.transaction(_act("session.end")):
            end_one(self._catalog, self._secrets, session_id, user_id=None)

    def rotate_keys(self) -> Row:
        tokens = AccessTokens.load_or_create(
            self._stopped.config.node.data_dir,
            node_id=self._stopped.keys.node_id,
            clock=self._stopped.clock,
        )
        with self._catalog.transaction(_act("key.rotate")):
            sign_ins_ended, api_tokens_ended = end_everything(self._catalog)
        return {
            "sign_ins_ended": sign_ins_ended,
            "api_tokens_ended": api_tokens_ended,
            "key_id": tokens.rotate(),
        }


def people_commands(config: Config, *, verb: str) -> AbstractContextManager[PeopleCommands]:
    """The running node, or the catalog under the node's lock if none runs. Raises as `node_or_catalog`.

    Args:
        verb: Which one asks, such as user.
    """
    return node_or_catalog(config, holder=f"homeport {verb}", through_node=ThroughNode, on_catalog=OnCatalog)


def _act(action: str) -> Act:
    return Act(action=action, actor=LOCAL)


def _user(user_id: str) -> str:
    return f"/api/v1/users/{quote(user_id, safe='')}"


def _whose(user_id: str | None) -> str:
    return "all=true" if user_id is None else f"user={quote(user_id, safe='')}"


def _list(scope: Groups) -> list[str] | None:
    return None if scope is None else list(scope)
