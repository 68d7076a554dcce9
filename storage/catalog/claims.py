"""Claims: tokens that let one device or a batch come in, so many times until then.

The token itself is nowhere, only its keyed hash. A claim is used by enrolments.py, in the transaction that makes the device.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

from appliance.core.errors import Conflict, LimitExceeded, NotFound, UsageError
from appliance.core.limits import (
    CLAIM_COUNT_MAX,
    CLAIM_GROUP_COUNT_MAX,
    CLAIM_LIFE_MS_MAX,
    CLAIM_NAME_LENGTH_MAX,
    CLAIM_USE_COUNT_MAX,
    PAGE_ITEM_COUNT_DEFAULT,
    PAGE_ITEM_COUNT_MAX,
)
from appliance.management.access import check_device_id
from storage.catalog.database import CatalogDatabase, Value
from storage.catalog.device_checks import check_tags

ClaimState = Literal["valid", "used_up", "expired", "revoked"]
CLAIM_STATES: Final[tuple[ClaimState, ...]] = get_args(ClaimState)
_COLUMNS: Final = (
    "claim_id, name, device_id, groups, tags, adopt, use_count, use_count_max, created_by, created_at_ms, expires_at_ms, "
    "revoked_at_ms"
)
_STATE_SQL: Final[dict[ClaimState, str]] = {
    "revoked": "revoked_at_ms IS NOT NULL",
    "expired": "revoked_at_ms IS NULL AND expires_at_ms <= ?",
    "used_up": "revoked_at_ms IS NULL AND expires_at_ms > ? AND use_count >= use_count_max",
    "valid": "revoked_at_ms IS NULL AND expires_at_ms > ? AND use_count < use_count_max",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A claim without its token. Times are UTC ms.

    Attributes:
        device_id: The one device that it is for, "" for any that nobody has.
        groups, tags: What a device that comes in gets.
        adopt: Whether it is let in at once; otherwise it waits for adoption.
        created_by: Who made it: a user id.
    """

    claim_id: str
    name: str
    device_id: str
    groups: tuple[str, ...]
    tags: tuple[str, ...]
    adopt: bool
    use_count: int
    use_count_max: int
    created_by: str
    created_at_ms: int
    expires_at_ms: int
    revoked_at_ms: int | None

    def state(self, now_ms: int) -> ClaimState:
        """What can be done with it now."""
        if self.revoked_at_ms is not None:
            return "revoked"
        if self.expires_at_ms <= now_ms:
            return "expired"
        return "used_up" if self.use_count >= self.use_count_max else "valid"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimPage:
    """Claims, the newest first; `next_cursor` is where the next page begins, None at the end."""

    claims: tuple[Claim, ...]
    next_cursor: str | None


def make_claim_id(now_ms: int, random: bytes) -> str:
    """An id that sorts by the time of its making.

    Args:
        random: 6 bytes.
    """
    return f"{now_ms:012x}{random.hex()}"


class ClaimTable(CatalogDatabase):
    """Methods of the catalog about claims."""

    def create_claim(
        self,
        claim_id: str,
        token_hash: bytes,
        *,
        name: str = "",
        device_id: str = "",
        groups: Sequence[str] = (),
        tags: Sequence[str] = (),
        adopt: bool = False,
        use_count_max: int = 1,
        life_ms: int,
        created_by: str,
    ) -> Claim:
        """Make a claim.

        Args:
            claim_id: From make_claim_id.
            token_hash: From SiteKeys.claim_hash, 32 bytes.
            device_id: The one device that it is for; "" for any that nobody has.
            adopt: Let devices in at once; otherwise they wait for adoption.
            use_count_max: How many devices, 1..CLAIM_USE_COUNT_MAX; 1 with `device_id`.
            life_ms: How long it lets devices in, from now: 1..CLAIM_LIFE_MS_MAX.
        Raises:
            UsageError: `claim_invalid`, `device_id_invalid`, `device_tags_invalid`. NotFound: `group_unknown`.
            LimitExceeded: `claim_count`.
        """
        assert len(token_hash) == 32
        name, tags = name.strip(), check_tags(tags)
        groups = tuple(dict.fromkeys(groups))
        now_ms = self._clock.now_ms()
        check_claim(name, device_id, groups, use_count_max, life_ms)
        with self.transaction():
            self._check_groups(groups)
            if self.count_claims("valid") >= CLAIM_COUNT_MAX:
                raise LimitExceeded(
                    f"There are {CLAIM_COUNT_MAX} claims that can still be used.",
                    hint="Revoke those that nobody needs any more.",
                    code="claim_count",
                )
            self.execute(
                "INSERT INTO claims (claim_id, token_hash, name, device_id, groups, tags, adopt, use_count_max, created_by, "
                "created_at_ms, expires_at_ms, origin, hlc) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    claim_id,
                    token_hash.hex(),
                    name,
                    device_id,
                    json.dumps(groups, ensure_ascii=False),
                    json.dumps(tags, ensure_ascii=False),
                    int(adopt),
                    use_count_max,
                    created_by,
                    now_ms,
                    now_ms + life_ms,
                    self.origin,
                    self.hlc,
                ),
            )
            return self.get_claim(claim_id)

    def get_claim(self, claim_id: str) -> Claim:
        """The claim.

        Raises:
            NotFound: `claim_unknown`.
        """
        found = self.row(f"SELECT {_COLUMNS} FROM claims WHERE claim_id = ?", (claim_id,))  # noqa: S608
        if found is None:
            raise NotFound(
                f"There is no claim “{claim_id[:100]}”.",
                hint="Look at the list of claims.",
                code="claim_unknown",
            )
        return _claim(found)

    def find_claim(self, token_hash: bytes) -> Claim | None:
        """The claim whose token has this keyed hash, in whatever state; None if there is none."""
        found = self.row(f"SELECT {_COLUMNS} FROM claims WHERE token_hash = ?", (token_hash.hex(),))  # noqa: S608
        return _claim(found) if found else None

    def list_claims(
        self,
        *,
        state: ClaimState | None = None,
        cursor: str | None = None,
        limit: int = PAGE_ITEM_COUNT_DEFAULT,
    ) -> ClaimPage:
        """A page of claims, the newest first.

        Args:
            cursor: The last page's `next_cursor`.
            limit: 1..1000.
        """
        if not 1 <= limit <= PAGE_ITEM_COUNT_MAX:
            raise UsageError(
                f"A page has 1 to {PAGE_ITEM_COUNT_MAX} items, not {limit}.", hint="Ask for fewer at a time."
            )
        where, parameters = _in_state(state, self._clock.now_ms())
        if cursor is not None:
            where += " AND claim_id < ?"
            parameters.append(cursor)
        found = self.rows(
            f"SELECT {_COLUMNS} FROM claims WHERE {where} ORDER BY claim_id DESC LIMIT ?",  # noqa: S608
            (*parameters, limit + 1),
        )
        claims = tuple(_claim(row) for row in found[:limit])
        return ClaimPage(claims=claims, next_cursor=claims[-1].claim_id if len(found) > limit else None)

    def count_claims(self, state: ClaimState | None = None) -> int:
        """How many claims there are, or are in a state."""
        where, parameters = _in_state(state, self._clock.now_ms())
        found = self.row(f"SELECT count(*) FROM claims WHERE {where}", parameters)  # noqa: S608
        assert found
        return int(found[0])

    def revoke_claim(self, claim_id: str) -> Claim:
        """Let nobody in by a claim any more; devices that came in stay. Revoking it again changes nothing.

        Raises:
            NotFound: `claim_unknown`.
        """
        with self.transaction():
            claim = self.get_claim(claim_id)
            if claim.revoked_at_ms is None:
                self.execute(
                    "UPDATE claims SET revoked_at_ms = ?, origin = ?, hlc = ? WHERE claim_id = ?",
                    (self._clock.now_ms(), self.origin, self.hlc, claim_id),
                )
            return self.get_claim(claim_id)

    def count_claim_use(self, claim_id: str) -> None:
        """Use a claim once, within the transaction of what it is used for; never beyond its maximum.

        Raises:
            Conflict: `claim_used_up`.
        """
        changed = self.execute(
            "UPDATE claims SET use_count = use_count + 1, origin = ?, hlc = ? "
            "WHERE claim_id = ? AND use_count < use_count_max",
            (self.origin, self.hlc, claim_id),
        )
        if not changed:
            raise Conflict(
                "The claim was used as often as it may be.",
                hint="Make another claim, and give the device its token.",
                code="claim_used_up",
            )

    def _check_groups(self, groups: Sequence[str]) -> None:
        known = {
            row[0]
            for row in self.rows(
                "SELECT group_id FROM groups WHERE group_id IN (SELECT value FROM json_each(?))",
                (json.dumps(list(groups)),),
            )
        }
        for group in groups:
            if group not in known:
                raise NotFound(
                    f"There is no group “{group[:100]}”.",
                    hint="Make the group first, or choose one of the list of groups.",
                    code="group_unknown",
                )


def check_claim(name: str, device_id: str, groups: Sequence[str], use_count_max: int, life_ms: int) -> None:
    """Whether a claim can be made like this; see create_claim.

    Raises:
        UsageError: `claim_invalid`, `device_id_invalid`.
    """
    if device_id:
        check_device_id(device_id)
    problem = hint = ""
    if len(name) > CLAIM_NAME_LENGTH_MAX or not name.isprintable():
        problem = f"A claim's name has at most {CLAIM_NAME_LENGTH_MAX} characters, all of them visible."
        hint = "Choose a shorter name without line breaks."
    elif len(groups) > CLAIM_GROUP_COUNT_MAX:
        problem = f"A claim names at most {CLAIM_GROUP_COUNT_MAX} groups."
        hint = "Put the devices into the other groups afterwards."
    elif not 1 <= use_count_max <= CLAIM_USE_COUNT_MAX:
        problem = f"A claim lets in 1 to {CLAIM_USE_COUNT_MAX} devices, not {use_count_max}."
        hint = "Make several claims for more."
    elif device_id and use_count_max != 1:
        problem = "A claim for one device can be used once."
        hint = "Leave the device out for a batch, or the number."
    elif not 0 < life_ms <= CLAIM_LIFE_MS_MAX:
        problem = "A claim ends later than now, and within 366 days."
        hint = "Choose an end within that time."
    if problem:
        raise UsageError(problem, hint=hint, code="claim_invalid")


def _in_state(state: ClaimState | None, now_ms: int) -> tuple[str, list[Value]]:
    if state is None:
        return "TRUE", []
    condition = _STATE_SQL[state]
    return condition, [now_ms] * condition.count("?")


def _claim(row: Any) -> Claim:
    return Claim(
        claim_id=row["claim_id"],
        name=row["name"],
        device_id=row["device_id"],
        groups=tuple(json.loads(row["groups"])),
        tags=tuple(json.loads(row["tags"])),
        adopt=bool(row["adopt"]),
        use_count=row["use_count"],
        use_count_max=row["use_count_max"],
        created_by=row["created_by"],
        created_at_ms=row["created_at_ms"],
        expires_at_ms=row["expires_at_ms"],
        revoked_at_ms=row["revoked_at_ms"],
    )
