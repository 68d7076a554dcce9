"""What the node keeps for people's accounts: keys, hashes, caches and counters, in one value for Services."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from appliance.core.clock import Clock
from appliance.identity import SiteKeys
from appliance.identity.access_tokens import AccessTokens
from appliance.identity.bearer_secrets import BearerSecrets
from appliance.identity.totp import Totp
from storage.catalog import AsyncCatalog
from ui.identities import IdentityLookups
from ui.refusals import RefusalFold


@dataclass(frozen=True, slots=True, kw_only=True)
class PeopleServices:
    """See the module's docstring."""

    access_tokens: AccessTokens
    secrets: BearerSecrets
    totp: Totp
    lookups: IdentityLookups
    refusals: RefusalFold

    @classmethod
    def load(
        cls, data_dir: Path, catalog: AsyncCatalog, keys: SiteKeys, *, clock: Clock, session_hours: int
    ) -> Self:
        """All of it, over an open catalog.

        Args:
            data_dir: Its identity folder holds the access tokens' key, which is made at the first start.
            session_hours: `ui.session_hours`.
        Raises:
            ConfigError, StorageError: as AccessTokens.load_or_create.
        """
        return cls(
            access_tokens=AccessTokens.load_or_create(data_dir, node_id=keys.node_id, clock=clock),
            secrets=BearerSecrets(keys),
            totp=Totp(keys, clock=clock),
            lookups=IdentityLookups(
                catalog, clock=clock, session_hours=session_hours, csrf_token=keys.csrf_token
            ),
            refusals=RefusalFold(clock=clock),
        )
