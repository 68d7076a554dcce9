"""Limits of what a cloud node reads at sites, over the link that stands (replication/tier/reading.py)."""

from __future__ import annotations

from typing import Final

from appliance.core.limits import DEVICE_ID_BYTES_MAX, KIB, MIB

READING_QUESTION_BYTES_MAX: Final = 4 * KIB
"""Of a question with its query and the name of who asks: a query has 3 KiB of it, the names the rest."""
READING_QUERY_LENGTH_MAX: Final = 3_000
READING_PERSON_LENGTH_MAX: Final = 100
READING_NAME_LENGTH_MAX: Final = DEVICE_ID_BYTES_MAX
READING_ANSWER_BYTES_MAX: Final = MIB
"""Of what the site's API answers: 3,000 devices, or 30,000 points of a chart."""
READING_PART_BYTES_MAX: Final = READING_ANSWER_BYTES_MAX + KIB
"""An answer with what stands around it on the link."""
READING_LINK_COUNT_MAX: Final = 4
"""Questions under way on one link, at both ends: a page asks three."""
READING_ASKING_COUNT_MAX: Final = 12
"""Questions under way of a cloud node, to all sites: fewer than its control socket's places, of which the pages need some for other things."""
READING_S: Final = 8.0
"""For an answer to be there: whoever asks waits on the replicator's control socket, for 10 s."""
READING_NODE_S: Final = 6.0
"""For the box's own node to answer its replicator: so that a node that hangs is said, and not taken for a silent link."""
READING_RATE_COUNT: Final = 120
READING_RATE_S: Final = 60
"""Questions that a box answers one cloud node in that time, and at once."""
READING_AUDIT_INTERVAL_MS: Final = 3_600_000
"""Whoever reads a site is noted once in that time."""
READING_AUDIT_COUNT_MAX: Final = 10_000
"""People and sites that are remembered for that; beyond, somebody is noted again too early."""
