"""Limits of the pages about updates, as limits_updates.py has those of updates themselves."""

from __future__ import annotations

from typing import Final

ROLLOUT_FORM_BYTES_MAX: Final = 6_000
"""Characters of the page's form for a new rollout: it stands in an address, where each takes up to nine bytes: 54 of the 64 KiB that a
request's head may have."""
UPDATE_FACTS_CACHE_MS: Final = 400
"""How old the pages' lists of rollouts may be: with the 1.5 s of a stream's beat, what one browser did shows in another within 2 s."""
UPDATE_FACTS_SCOPE_COUNT_MAX: Final = 64
"""Scopes whose lists are kept: 64 times some 50 rollouts of 2 KiB are 6 MiB."""
