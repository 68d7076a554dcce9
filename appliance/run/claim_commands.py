"""What `homeport claim` does: through the node while it runs, on the catalog itself while it is stopped."""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol
from urllib.parse import quote, urlencode

from appliance.core.config import Config
from appliance.identity.keys import new_claim_token
from appliance.management.audit import LOCAL, Act
from appliance.run.local_api import LocalApi
from appliance.run.node_or_catalog import StoppedNode, node_or_catalog
from storage.catalog.claims import Claim, ClaimState, make_claim_id

Row = dict[str, Any]
PAGE_SIZE = 1000


class ClaimCommands(Protocol):
    """What can be done with claims from the command line."""

    def create(
        self,
        *,
        name: str,
        device_id: str,
        groups: Sequence[str],
        tags: Sequence[str],
        adopt: bool,
        use_count_max: int,
        life_s: int,
    ) -> Row:
        """Make a claim and its token, which the answer holds as `token` and nobody can read again.

        Raises:
            UsageError, NotFound, LimitExceeded: as `ClaimTable.create_claim`.
        """

    def list(self, *, state: ClaimState | None) -> Iterator[Row]:
        """All claims, the newest first, or those in one state."""

    def revoke(self, claim_id: str) -> Row:
        """Let nobody in by a claim any more. Raises NotFound: there is none of that id."""


class ThroughNode:
    """Asks the running node."""

    def __init__(self, api: LocalApi) -> None:
        self._api = api

    def create(self, **wish: Any) -> Row:
        answer: Row = self._api.post("/api/v1/claims", wish)
        return answer

    def list(self, *, state: ClaimState | None) -> Iterator[Row]:
        query: dict[str, Any] = {"limit": PAGE_SIZE}
        if state:
            query["state"] = state
        while True:
            page = self._api.get(f"/api/v1/claims?{urlencode(query)}")
            yield from page["claims"]
            if not page.get("next_cursor"):
                return
            query["cursor"] = page["next_cursor"]

    def revoke(self, claim_id: str) -> Row:
        answer: Row = self._api.post(f"/api/v1/claims/{quote(claim_id, safe='')}/revoke", {})
        return answer


class OnCatalog:
    """Works on the catalog itself; the caller holds the node's lock."""

    def __init__(self, stopped: StoppedNode) -> None:
        self._catalog = stopped.catalog
        self._keys = stopped.keys
        self._clock = stopped.clock

    def create(
        self,
        *,
        name: str,
        device_id: str,
        groups: Sequence[str],
        tags: Sequence[str],
        adopt: bool,
        use_count_max: int,
        life_s: int,
    ) -> Row:
        token, now_ms = new_claim_token(), self._clock.now_ms()
        with self._catalog.transaction(Act(action="claim.create", actor=LOCAL)):
            claim = self._catalog.create_claim(
                make_claim_id(now_ms, secrets.token_bytes(6)),
                self._keys.claim_hash(token.encode()),
                name=name,
                device_id=device_id,
                groups=groups,
                tags=tags,
                adopt=adopt,
                use_count_max=use_count_max,
                life_ms=life_s * 1000,
                created_by=LOCAL.name,
            )
        return {**self._row(claim), "token": token}

    def list(self, *, state: ClaimState | None) -> Iterator[Row]:
        cursor: str | None = None
        while True:
            page = self._catalog.list_claims(state=state, cursor=cursor, limit=PAGE_SIZE)
            for claim in page.claims:
                yield self._row(claim)
            cursor = page.next_cursor
            if cursor is None:
                return

    def revoke(self, claim_id: str) -> Row:
        with self._catalog.transaction(Act(action="claim.revoke", actor=LOCAL)):
            return self._row(self._catalog.revoke_claim(claim_id))

    def _row(self, claim: Claim) -> Row:
        return {**dataclasses.asdict(claim), "state": claim.state(self._clock.now_ms())}


def claim_commands(config: Config) -> AbstractContextManager[ClaimCommands]:
    """The running node, or the catalog under the node's lock if none runs. Raises as node_or_catalog."""
    return node_or_catalog(config, holder="homeport claim", through_node=ThroughNode, on_catalog=OnCatalog)
