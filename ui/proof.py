"""Proving to be somebody: name, password and, where there is one, the second factor's code.

Whatever is wrong (the name, the password, the code, an account that is disabled, an account or address that waits after failures)
the answer is the same and so is the work: one look-up, one argon2 verification, the codes of three steps, one write. What it was
stands in the audit, for admins.

Before any of it the sign-in limiter is asked, which counts all attempts of an address and of all together in memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from starlette.requests import Request

from appliance.core.errors import NotAuthorized
from appliance.core.limits import LOCKOUT_ACCOUNT_FREE_COUNT, LOCKOUT_ADDRESS_FREE_COUNT, LOCKOUT_WAIT_MS_MAX
from appliance.core.token_bucket import network_of
from appliance.identity.bearer_secrets import BearerSecrets
from appliance.management.audit import Act, Actor
from appliance.management.lockout import Lockout
from storage.catalog import Catalog, User
from ui.auth import Identity, peer_address, services_of
from ui.refusals import Folded, Refusal

ACTION: Final = "session.sign_in"
REASONS: Final = (
    "user_unknown",
    "password_wrong",
    "user_disabled",
    "code_wrong",
    "code_used",
    "account_waits",
    "address_waits",
)
"""What the audit and the metrics say; whoever tried is told none of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Standing:
    """What the catalog says of who tries."""

    subject: str
    user: User | None
    account: Lockout
    address: Lockout
    is_known_address: bool


async def prove(request: Request, user_id: str, password: str, code: str) -> User:
    """The user that somebody proves to be. The answer is refused before it tells anything.

    Args:
        code: Of the second factor; "" for none.
    Raises:
        Retryable: `too_many_attempts`. NotAuthorized: `sign_in_failed`.
        Unavailable: `password_queue_full`, or the catalog can't be used.
    """
    services = services_of(request)
    services.sign_in_limiter.take(peer_address(request))
    network = network_of(peer_address(request))
    standing = await services.catalog.read(
        lambda catalog: _standing(catalog, services.people.secrets, user_id, network), pool="auth"
    )
    user = standing.user
    is_right = await services.passwords.verify(user.password_hash if user else None, password)
    step = services.people.totp.matching_step(user_id, user.totp_sealed if user else None, code)
    now_ms = services.clock.now_ms()
    reason = _reason(standing, is_right, step, now_ms)
    if reason or user is None:
        await _refuse(request, standing, reason, now_ms)
        raise _failed()
    proved = user

    def settle(catalog: Catalog) -> bool:
        if step is not None and not catalog.use_totp_step(proved.user_id, step):
            return False
        catalog.note_sign_in(proved.user_id, network)
        return True

    actor = Actor(name=user.user_id, kind="user", address=peer_address(request))
    if not await services.catalog.write(settle, by=Act(action=ACTION, actor=actor)):
        await _refuse(request, standing, "code_used", now_ms)
        raise _failed()
    return user


async def prove_again(request: Request, identity: Identity, password: str) -> User:
    """See that it is still the user themselves, before something that outlasts a session is changed.

    Raises:
        Retryable: `too_many_attempts`. NotAuthorized: `password_wrong`; failures count as those of signing in do.
    """
    services = services_of(request)
    services.sign_in_limiter.take(peer_address(request))
    network = network_of(peer_address(request))
    standing = await services.catalog.read(
        lambda catalog: _standing(catalog, services.people.secrets, identity.user_id, network), pool="auth"
    )
    user = standing.user
    is_right = await services.passwords.verify(user.password_hash if user else None, password)
    now_ms = services.clock.now_ms()
    if user is None or not is_right or standing.address.is_locked(now_ms):
        await _refuse(request, standing, "password_wrong", now_ms)
        raise NotAuthorized(
            "That is not your password.",
            hint=f"Check it; after many failures wait up to {LOCKOUT_WAIT_MS_MAX // 60_000} minutes.",
            code="password_wrong",
        )
    return user


def _standing(catalog: Catalog, secrets: BearerSecrets, user_id: str, network: str) -> _Standing:
    user = catalog.find_user(user_id)
    # Names that nobody has are counted like others. They may be passwords in the wrong field, so they aren't kept as they are.
    subject = f"user:{user_id}" if user else f"nobody:{secrets.name_hash(user_id)}"
    return _Standing(
        subject=subject,
        user=user,
        account=catalog.lockout_of(subject),
        address=catalog.lockout_of(f"address:{network}"),
        is_known_address=catalog.has_signed_in_from(user_id, network),
    )


def _reason(standing: _Standing, is_right: bool, step: int | None, now_ms: int) -> str:
    """What is wrong, "" for nothing."""
    user = standing.user
    if standing.address.is_locked(now_ms):
        return "address_waits"
    if standing.account.is_locked(now_ms) and not standing.is_known_address:
        return "account_waits"
    if user is None:
        return "user_unknown"
    if not is_right:
        return "password_wrong"
    if user.disabled:
        return "user_disabled"
    if user.totp_sealed is not None and step is None:
        return "code_wrong"
    return ""


async def _refuse(request: Request, standing: _Standing, reason: str, now_ms: int) -> None:
    """Count a failure and have the audit say what it was; one write, whatever it was."""
    services = services_of(request)
    address = peer_address(request)
    network = network_of(address)
    folded = services.people.refusals.take(
        Refusal(
            action=ACTION,
            address=network,
            object_kind="user",
            object_id=standing.user.user_id if standing.user else "",
            reason=reason,
        )
    )
    counts_for_address = not standing.address.is_locked(now_ms)
    counts_for_account = counts_for_address and not standing.account.is_locked(now_ms)

    def write(catalog: Catalog) -> None:
        if counts_for_address:
            catalog.note_failure(f"address:{network}", free_count=LOCKOUT_ADDRESS_FREE_COUNT)
        if counts_for_account:
            catalog.note_failure(standing.subject, free_count=LOCKOUT_ACCOUNT_FREE_COUNT)
        note_refusals(catalog, folded)

    by = Act(action=ACTION, actor=Actor(name="", kind="nobody", address=address))
    await services.catalog.write(write, by=by)


def note_refusals(catalog: Catalog, folded: list[Folded]) -> None:
    """Put refusals into the audit, as somebody unknown."""
    for each in folded:
        refusal = each.refusal
        catalog.note(
            refusal.action,
            object_kind=refusal.object_kind,
            object_id=refusal.object_id,
            outcome="refused",
            detail=each.detail,
            actor=Actor(
                name=refusal.actor, kind="user" if refusal.actor else "nobody", address=refusal.address
            ),
        )


def _failed() -> NotAuthorized:
    return NotAuthorized(
        "The user name, the password or the code is wrong.",
        hint="Check them, capital letters count; after many failures wait up to "
        f"{LOCKOUT_WAIT_MS_MAX // 60_000} minutes.",
        code="sign_in_failed",
    )
