"""Bodies, queries and answers about people: users, sessions, tokens. Times are UTC milliseconds; a null time is "never"."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType

from appliance.core.limits import (
    API_TOKEN_LIFETIME_MS_MAX,
    API_TOKEN_NAME_LENGTH_MAX,
    PASSWORD_LENGTH_MAX,
    SCOPE_GROUP_COUNT_MAX,
    USER_DISPLAY_NAME_LENGTH_MAX,
    USER_NAME_LENGTH_MAX,
)
from ui.api.structs import Answer, Query, Request

RoleOfUser = Literal["viewer", "operator", "installer", "admin"]
UserName = Annotated[str, Meta(min_length=1, max_length=USER_NAME_LENGTH_MAX)]
DisplayName = Annotated[str, Meta(max_length=USER_DISPLAY_NAME_LENGTH_MAX)]
Password = Annotated[str, Meta(min_length=1, max_length=4 * PASSWORD_LENGTH_MAX)]
Code = Annotated[str, Meta(max_length=16)]
GroupIds = Annotated[
    list[Annotated[str, Meta(min_length=1, max_length=128)]], Meta(max_length=SCOPE_GROUP_COUNT_MAX)
]


class UserAnswer(Answer, kw_only=True, frozen=True):
    """A user. `scope` is null for the whole site, otherwise ids of groups of devices."""

    user_id: str
    display_name: str
    role: RoleOfUser
    scope: list[str] | None
    disabled: bool
    has_second_factor: bool
    created_at_ms: int
    credentials_changed_at_ms: int


class PersonAnswer(UserAnswer, kw_only=True, frozen=True):
    """A user as admins see them: when they last signed in on this node, and with how much."""

    last_sign_in_at_ms: int | None
    sign_in_count: int
    api_token_count: int


class People(Answer, kw_only=True, frozen=True):
    users: list[PersonAnswer]


class CreateUser(Request, kw_only=True, frozen=True):
    """A new user. `scope`: null for the whole site, or ids of groups that exist."""

    user_id: UserName
    password: Password
    role: RoleOfUser
    scope: GroupIds | None = None
    display_name: DisplayName = ""


class ChangeUser(Request, kw_only=True, frozen=True):
    """What is left out stays as it is."""

    role: RoleOfUser | UnsetType = UNSET
    scope: GroupIds | UnsetType | None = UNSET
    display_name: DisplayName | UnsetType = UNSET
    disabled: bool | UnsetType = UNSET


class SetPassword(Request, kw_only=True, frozen=True):
    password: Password


class EndedCount(Answer, kw_only=True, frozen=True):
    """How many browsers and programs were signed out."""

    ended: int


class Account(UserAnswer, kw_only=True, frozen=True):
    """Oneself, and how this request was signed in. `role` and `scope` are the account's; `may` is what this request may."""

    via: Literal["session", "bearer", "api_token"]
    may: list[str]


class ChangeAccount(Request, kw_only=True, frozen=True):
    display_name: DisplayName


class ChangePassword(Request, kw_only=True, frozen=True):
    old_password: Password
    password: Password


class TotpEnrolment(Answer, kw_only=True, frozen=True):
    """A secret for an authenticator app, shown this once; `enrolment` comes back with the first code within 15 minutes."""

    secret: str
    uri: str
    enrolment: str


class ConfirmTotp(Request, kw_only=True, frozen=True):
    enrolment: Annotated[str, Meta(max_length=512)]
    code: Code
    password: Password


class ProvePassword(Request, kw_only=True, frozen=True):
    password: Password


class SessionsQuery(Query, kw_only=True, frozen=True):
    """`user`: somebody else's; `all`: everybody's. Both need users.manage."""

    user: UserName | None = None
    all: bool = False


class SignedIn(Answer, kw_only=True, frozen=True):
    """A browser, or a program with tokens, that somebody is signed in with."""

    session_id: str
    kind: Literal["browser", "program"]
    user_id: str
    created_at_ms: int
    last_used_at_ms: int
    expires_at_ms: int
    address: str
    agent: str
    is_this_one: bool


class SignedInList(Answer, kw_only=True, frozen=True):
    sessions: list[SignedIn]


class TokensAnswer(Answer, kw_only=True, frozen=True):
    """What a program signs in with: `Authorization: Bearer ACCESS_TOKEN` for an hour, then the refresh token, once."""

    token_type: Literal["Bearer"]
    access_token: str
    expires_in_s: int
    refresh_token: str
    refresh_expires_at_ms: int
    user_id: str
    role: RoleOfUser


class RefreshTokens(Request, kw_only=True, frozen=True):
    refresh_token: Annotated[str, Meta(min_length=1, max_length=512)]


class RevokeToken(Request, kw_only=True, frozen=True):
    """An access token, or a refresh token, which ends the whole sign-in."""

    token: Annotated[str, Meta(min_length=1, max_length=4096)]


class ApiTokenAnswer(Answer, kw_only=True, frozen=True):
    """A token of a program. What it may is the lower of this and of what its user may now."""

    token_id: str
    user_id: str
    name: str
    role: RoleOfUser
    scope: list[str] | None
    created_at_ms: int
    expires_at_ms: int
    revoked_at_ms: int | None
    last_used_at_ms: int | None
    last_address: str


class ApiTokens(Answer, kw_only=True, frozen=True):
    api_tokens: list[ApiTokenAnswer]


class CreateApiToken(Request, kw_only=True, frozen=True):
    """`user_id`: whose, by default one's own; `scope`: by default its user's."""

    name: Annotated[str, Meta(min_length=1, max_length=API_TOKEN_NAME_LENGTH_MAX)]
    role: RoleOfUser
    expires_in_s: Annotated[int, Meta(ge=1, le=API_TOKEN_LIFETIME_MS_MAX // 1000)]
    scope: GroupIds | UnsetType | None = UNSET
    user_id: UserName | UnsetType = UNSET


class CreatedApiToken(ApiTokenAnswer, kw_only=True, frozen=True):
    """`token` is shown this once."""

    token: str


class KeysRotated(Answer, kw_only=True, frozen=True):
    """What ended: browsers and programs that people were signed in with, and API tokens; and the new key's id."""

    sign_ins_ended: int
    api_tokens_ended: int
    key_id: str
