"""A person's word that a box may write as its node, where no majority of the fleet can be asked: signed with the site's key.

    fleet/grant.json     a grant that waits for the replicator to use it
    fleet/grants.json    those that were used, the newest last, each with its epoch

Whoever grants says that no other body of this node writes any more, and nothing can check that. Should one have written all the
same, the branch, 16 random bytes in the header of the epoch's first segment, tells the two histories apart for good.
"""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from appliance.core.errors import Conflict
from appliance.core.ids import RandomBytes
from appliance.core.limits_replication import GRANT_COUNT_MAX, GRANT_LIFE_MS, GRANT_REASON_LENGTH_MAX
from appliance.identity import files
from appliance.identity.fleet import check_site, fleet_folder, site_id_of, site_signer
from appliance.identity.keys import SiteKeys

PENDING: Final = "grant.json"
USED: Final = "grants.json"
BRANCH_BYTES: Final = 16
_DOMAIN: Final = b"homeport epoch grant 1\0"


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """One grant.

    Attributes:
        branch: 32 hexadecimal digits. by: Who granted, as the audit has it. epoch: That it was used for; 0 before.
        signature: With the site's key, hexadecimal, over all but itself and the epoch.
    """

    node_id: Annotated[str, Meta(pattern=r"^[0-9a-f]{32}\Z")]
    branch: Annotated[str, Meta(pattern=r"^[0-9a-f]{32}\Z")]
    at_ms: Annotated[int, Meta(ge=0, le=2**53)]
    by: Annotated[str, Meta(max_length=200)]
    reason: Annotated[str, Meta(max_length=GRANT_REASON_LENGTH_MAX)]
    signature: Annotated[str, Meta(pattern=r"^[0-9a-f]{128}\Z")] = "0" * 128
    epoch: Annotated[int, Meta(ge=0, le=2**32 - 1)] = 0

    def signed_text(self) -> bytes:
        """What the signature is of."""
        return _DOMAIN + msgspec.json.encode([self.node_id, self.branch, self.at_ms, self.by, self.reason])


def check_doubted(doubt: object | None) -> None:
    """See that there is something to grant: why this box writes nothing.

    Raises:
        Conflict: `epoch_not_needed`.
    """
    if doubt is None:
        raise Conflict(
            "This box writes as its node: nobody has to grant it anything.",
            hint="homeport doctor says how it stands.",
            code="epoch_not_needed",
        )


def make_grant(
    data_dir: Path,
    keys: SiteKeys,
    *,
    by: str,
    reason: str,
    now_ms: int,
    random_bytes: RandomBytes = secrets.token_bytes,
) -> Grant:
    """Grant this box an epoch, in place of a grant that still waits.

    Raises:
        StorageError: it can't be written.
    """
    grant = Grant(
        node_id=keys.node_id.hex(),
        branch=random_bytes(BRANCH_BYTES).hex(),
        at_ms=now_ms,
        by=by[:200],
        reason=reason[:GRANT_REASON_LENGTH_MAX],
    )
    signature = site_signer(keys).sign(grant.signed_text()).hex()
    grant = msgspec.structs.replace(grant, signature=signature)
    files.replace(fleet_folder(data_dir) / PENDING, msgspec.json.encode(grant))
    return grant


def pending_grant(data_dir: Path, keys: SiteKeys, *, now_ms: int) -> Grant | None:
    """A grant that may be used now: of this site and node, and not older than a day.

    Raises:
        ConfigError: `secret_file_open`. NotAuthorized: `site_unproved`: somebody else made it. Conflict: `grant_invalid`: it is none, or over.
    """
    path = fleet_folder(data_dir) / PENDING
    data = files.read_secret(path)
    if data is None:
        return None
    try:
        grant = msgspec.json.decode(data, type=Grant)
    except msgspec.MsgspecError as error:
        raise _invalid(path, "it can't be read") from error
    if grant.node_id != keys.node_id.hex():
        raise _invalid(path, "it is for another node")
    if not 0 <= now_ms - grant.at_ms < GRANT_LIFE_MS:
        raise _invalid(path, "it is older than a day, or from a clock that was ahead")
    check_site(
        site_id_of(keys), site_signer(keys).key_id, grant.signed_text(), bytes.fromhex(grant.signature)
    )
    return grant


def note_used(data_dir: Path, grant: Grant, epoch: int) -> None:
    """A grant was used: it is kept with its epoch, and waits no more.

    Raises:
        StorageError: it can't be written.
    """
    used = [*used_grants(data_dir), msgspec.structs.replace(grant, epoch=epoch)]
    files.replace(fleet_folder(data_dir) / USED, msgspec.json.encode(used[-GRANT_COUNT_MAX:]))
    files.remove(fleet_folder(data_dir) / PENDING)


def used_grants(data_dir: Path) -> list[Grant]:
    """Grants that were used, oldest first; none where they can't be read.

    Raises:
        ConfigError: `secret_file_open`.
    """
    data = files.read_secret(fleet_folder(data_dir) / USED)
    try:
        return msgspec.json.decode(data, type=list[Grant]) if data is not None else []
    except msgspec.MsgspecError:
        return []


def _invalid(path: Path, why: str) -> Conflict:
    return Conflict(
        f"The grant in {path} is not used: {why}.",
        hint="Grant anew: homeport peer grant.",
        code="grant_invalid",
    )
