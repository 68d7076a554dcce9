"""The same thing done with many devices, for the API and for the page: each by itself, in short transactions.

What fails for one device holds up no other and undoes none: whoever adopts 200 devices of which one was adopted by somebody else
meanwhile wants the 199. The answer says of each what came of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from appliance.core.clock import Clock
from appliance.core.errors import HomeportError, Unavailable, UsageError
from appliance.core.limits import CATALOG_CHUNK_MS, CATALOG_CHUNK_ROW_COUNT_MAX
from appliance.identity import SiteKeys, new_token
from appliance.management.audit import Act, Actor
from appliance.management.group_rules import check_group_change
from appliance.management.permissions import Permission, Role, Scope, check
from storage.catalog import Catalog, Device
from storage.catalog.device_import import OF_THE_ROW
from ui.api.import_structs import BulkOperation
from ui.services import Services

NEEDS: Final[dict[BulkOperation, Permission]] = {
    "adopt": "devices.operate",
    "reject": "devices.operate",
    "tag": "devices.operate",
    "untag": "devices.operate",
    "decommission": "devices.manage",
    "add_to_group": "devices.manage",
    "remove_from_group": "devices.manage",
}
ACTIONS: Final[dict[BulkOperation, str]] = {
    "adopt": "device.adopt",
    "reject": "device.reject",
    "tag": "device.edit",
    "untag": "device.edit",
    "decommission": "device.decommission",
    "add_to_group": "device.edit",
    "remove_from_group": "device.edit",
}
_CUTS: Final = frozenset({"reject", "decommission"})
"""Operations after which a device's connections are closed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """What to do with each device.

    Attributes:
        word: A tag, or a group's id, for the operations that take one; "" for the others.
    """

    op: BulkOperation
    word: str = ""

    @classmethod
    def of(cls, op: BulkOperation, *, tag: str | None, group: str | None) -> Operation:
        """Raises UsageError: `bulk_word_missing`, `bulk_word_unused`."""
        word, other, name = (group, tag, "group") if "group" in op else (tag, group, "tag")
        if op not in ("tag", "untag", "add_to_group", "remove_from_group"):
            word, other = "", tag or group
        if word is None:
            raise UsageError(f"{op} needs a {name}.", hint=f"Say which {name}.", code="bulk_word_missing")
        if other is not None:
            raise UsageError(
                f"{op} takes no such word.", hint="Leave tag or group out.", code="bulk_word_unused"
            )
        return cls(op=op, word=word)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of one device: how it is now, or why nothing was done."""

    device_id: str
    device: Device | None = None
    token: str | None = None
    error: HomeportError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkResult:
    """Outcomes in the order of the ids, each once.

    Attributes:
        connections_closed: False when live connections could not be cut because the broker is away; it does so when it is back.
    """

    outcomes: tuple[Outcome, ...]
    connections_closed: bool


async def carry_out(
    services: Services, ids: Sequence[str], operation: Operation, *, role: Role, scope: Scope, actor: Actor
) -> BulkResult:
    """Do something with each device.

    Raises:
        NotAuthorized: the role or scope doesn't allow it. Unavailable, StorageError: the catalog failed; what was done before stays.
    """
    check(role, scope, NEEDS[operation.op])
    by = Act(action=ACTIONS[operation.op], actor=actor)
    left = list(dict.fromkeys(ids))
    outcomes: list[Outcome] = []
    while left:
        some = partial(
            _do_some, ids=left, operation=operation, scope=scope, keys=services.keys, clock=services.clock
        )
        done = await services.catalog.write(some, by=by)
        outcomes += done
        left = left[len(done) :]
    closed = True
    if operation.op in _CUTS:
        for outcome in outcomes:
            if outcome.error is None:
                try:
                    await services.broker.revoke(outcome.device_id)
                except Unavailable:
                    closed = False
                    break
    services.hub.touch([outcome.device_id for outcome in outcomes if outcome.error is None])
    return BulkResult(outcomes=tuple(outcomes), connections_closed=closed)


def _do_some(
    catalog: Catalog,
    ids: Sequence[str],
    operation: Operation,
    scope: Scope,
    keys: SiteKeys,
    clock: Clock,
) -> list[Outcome]:
    outcomes: list[Outcome] = []
    began_at_mono_ms = clock.mono_ms()
    for device_id in ids[:CATALOG_CHUNK_ROW_COUNT_MAX]:
        if outcomes and clock.mono_ms() - began_at_mono_ms >= CATALOG_CHUNK_MS:
            break
        try:
            with catalog.part():
                device, token = _do(catalog, device_id, operation, scope, keys)
            outcomes.append(Outcome(device_id=device_id, device=device, token=token))
        except OF_THE_ROW as error:
            outcomes.append(Outcome(device_id=device_id, error=error))
    return outcomes


def _do(
    catalog: Catalog, device_id: str, operation: Operation, scope: Scope, keys: SiteKeys
) -> tuple[Device, str | None]:
    device = catalog.get_device(device_id, scope=scope)
    match operation.op:
        case "adopt":
            adopted = catalog.adopt_device(device_id)
            if device.state == "active" or catalog.tokens_of(device_id):
                return adopted, None  # Credentials of one that is in already are for whoever manages devices.
            token = new_token()
            catalog.set_token(device_id, keys.token_hash(token.encode()))
            return adopted, token
        case "reject":
            return catalog.reject_device(device_id), None
        case "decommission":
            return catalog.decommission_device(device_id), None
        case "tag":
            return catalog.edit_device(device_id, tags=(*device.tags, operation.word)), None
        case "untag":
            tags = [each for each in device.tags if each != operation.word]
            return catalog.edit_device(device_id, tags=tags), None
        case "add_to_group":
            groups = (*device.groups, operation.word)
        case "remove_from_group":
            groups = tuple(each for each in device.groups if each != operation.word)
    check_group_change(scope, before=device.groups, after=groups)
    return catalog.edit_device(device_id, groups=groups), None
