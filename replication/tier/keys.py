"""With which keys pieces are sealed and opened: a site's own, of one generation after another. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from appliance.core.errors import NotFound
from appliance.core.limits_replication import TIER_KEY_GENERATION_MAX
from replication.tier.envelope import KeyOf
from storage.replicas.streams import StreamId

Derive = Callable[[str], bytes]
"""A key of the site key for one use of it (appliance/identity/keys.py)."""

_HINT: Final = "Somebody else put it there, or a later version of Homeport did."


class TierKeys(Protocol):
    """Keys by stream."""

    @property
    def generation(self) -> int:
        """That seals what is put there now; 0: it is left readable."""
        ...

    def sealing(self, stream: StreamId) -> tuple[bytes | None, int]:
        """The key that seals a stream's pieces and its generation; None and 0 to leave them readable."""
        ...

    def opening(self, stream: StreamId) -> KeyOf:
        """What opens a stream's pieces."""
        ...


class SiteTierKeys:
    """The keys of one site, derived from its site key, for the streams of all its nodes.

    Args:
        generation: That seals; every one from 1 on opens. 0: pieces are left readable.
    """

    def __init__(self, derive: Derive, generation: int) -> None:
        self._derive, self.generation = derive, generation
        self._known: dict[int, bytes] = {}

    def raise_to(self, generation: int) -> None:
        """Seals with a later generation from the next piece on; an earlier one changes nothing, and neither does any where nothing is sealed."""
        if self.generation:
            self.generation = max(self.generation, generation)

    def sealing(self, stream: StreamId) -> tuple[bytes | None, int]:
        generation = self.generation
        return (self._key(generation), generation) if generation else (None, 0)

    def opening(self, stream: StreamId) -> KeyOf:
        return self._key

    def _key(self, generation: int) -> bytes:
        if not 1 <= generation <= TIER_KEY_GENERATION_MAX:
            raise NotFound(
                f"There is no key of generation {generation}.", code="tier_key_unknown", hint=_HINT
            )
        if generation not in self._known:
            self._known[generation] = self._derive(f"tier/{generation}")
        return self._known[generation]
